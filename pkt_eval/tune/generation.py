"""Answers of a model, a token at a time: the likeliest, or drawn.

No penalties and no bans, whatever the model's own configuration says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pkt_eval._util.lazy import torch

Pick: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Logits ``(B, V)`` → ids ``(B,)``."""


def likeliest(logits: torch.Tensor, vocabulary: int | None = None) -> torch.Tensor:
    """Greedy decoding, over the tokens that there are; what pads an embedding may be likely, and be no token."""
    return logits[:, :vocabulary].argmax(-1)


def drawn(generator: torch.Generator, vocabulary: int, temperature: float = 1.0) -> Pick:
    """Sampling from the whole distribution.

    Args:
        generator: On the CPU, so that every device draws the same.
        vocabulary: Tokens that there are; what pads an embedding is never drawn.
        temperature: Above 0.
    """

    def pick(logits: torch.Tensor) -> torch.Tensor:
        p = (logits[:, :vocabulary].float().cpu() / temperature).softmax(-1)
        return torch.multinomial(p, 1, generator=generator)[:, 0].to(logits.device)

    return pick


@torch.no_grad()
def generate_ids(
    model: Any, prompts: Sequence[list[int]], limits: Sequence[int], stop: set[int], pick: Pick = likeliest
) -> list[list[int]]:
    """The answers to a batch of prompts, with the token that ended them.

    Args:
        model: In eval mode, on its device.
        prompts: Ids.
        limits: New tokens at most, of each; at least 1.
        stop: Ids that end an answer.
        pick: Chooses the next tokens.
    """
    from pkt_eval.inference.prefixes import padded  # with transformers, which takes its time

    ids, mask = padded(prompts, model.device, left=True)
    positions, cache = (mask.cumsum(-1) - 1).clamp(min=0), None
    said: list[list[int]] = [[] for _ in prompts]
    speaking = list(range(len(prompts)))  # the rows that are still being written
    while True:
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        following = pick(out.logits[:, -1])
        for i, token in zip(speaking, following.tolist(), strict=True):
            said[i].append(token)
        go_on = [row for row, i in enumerate(speaking) if said[i][-1] not in stop and len(said[i]) < limits[i]]
        if not go_on:
            return said
        ids, positions, cache = following[:, None], positions[:, -1:] + 1, out.past_key_values
        if len(go_on) < len(speaking):
            left = torch.tensor(go_on, device=ids.device)
            ids, positions, mask = ids[left], positions[left], mask[left]
            cache.batch_select_indices(left)
            speaking = [speaking[row] for row in go_on]
        mask = torch.cat([mask, mask.new_ones(len(speaking), 1)], dim=1)
