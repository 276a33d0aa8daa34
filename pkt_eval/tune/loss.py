"""The loss of a transfer: next-token likelihood of the supervised tokens, and no logits for the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval.data.chat import IGNORE

Objective: TypeAlias = "Callable[[Any, dict[str, torch.Tensor]], tuple[torch.Tensor, int]]"
"""From a model and a batch to a sum over the supervised tokens, which carries gradients, and their number."""


def supervised_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Summed negative log-likelihood of the supervised tokens, in nats, and their number.

    It is what ``model(**batch).loss`` is the mean of, but the head sees only the positions that are scored: with a
    vocabulary of 150,000, the logits of prompts and padding would be most of the memory and much of the time.

    Args:
        model: A decoder, wrapped by peft or not.
        batch: ``input_ids`` and ``labels (B, T)``, with ``IGNORE`` where nothing is supervised, and optionally
            ``attention_mask (B, T)``.

    Returns:
        A float32 scalar that carries gradients, and the count; the sum over nothing is 0.
    """
    logits, labels = supervised_logits(model, batch)
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum"), len(labels)


def supervised_logits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits ``(N, V)``, in float32, and labels ``(N,)`` of the supervised tokens, row by row of the batch.

    Args:
        model: As for ``supervised_loss``.
        batch: As for ``supervised_loss``.
    """
    labels = batch["labels"][:, 1:]
    keep = labels != IGNORE  # (B, T-1): position t predicts token t+1
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, args: (args[0][:, :-1][keep], *args[1:]))
    try:
        inputs = {k: v for k, v in batch.items() if k != "labels"}
        logits = model(**inputs, use_cache=False).logits  # (N, V)
    finally:
        handle.remove()
    return logits.float(), labels[keep]
