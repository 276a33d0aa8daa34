"""How the next token is chosen: the likeliest, or drawn.

No penalties and no bans, whatever the model's own configuration says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

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
