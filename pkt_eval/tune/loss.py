"""The loss of a transfer: next-token likelihood of the supervised tokens, and no logits for the others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval.data.chat import IGNORE
from pkt_eval.models import blocks

_LOGITS = 1 << 25  # entries at a time: 128 MB of float32

Objective: TypeAlias = "Callable[[Any, dict[str, torch.Tensor]], tuple[torch.Tensor, int]]"
"""From a model and a batch to a sum over the supervised tokens, which carries gradients, and their number."""


def supervised_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Summed negative log-likelihood of the supervised tokens, in nats, and their number.

    It is what ``model(**batch).loss`` is the mean of, but the head sees only the positions that are scored, some at a
    time: with a vocabulary of 150,000, the logits of prompts and padding would be most of the memory and much of the
    time.

    Args:
        model: A decoder of a known family, wrapped by peft or not.
        batch: ``input_ids`` and ``labels (B, T)``, with ``IGNORE`` where nothing is supervised, and optionally
            ``attention_mask (B, T)``.

    Returns:
        A float32 scalar that carries gradients, and the count; the sum over nothing is 0.
    """
    from pkt_eval.tune.loss_in_pieces import InPieces, negative_log_likelihood

    states, labels = _supervised_states(model, batch)
    decoder = _unwrapped(model)
    step = max(1, _LOGITS // len(blocks.unembedding(decoder)))
    trained = any(parameter.requires_grad for parameter in decoder.get_output_embeddings().parameters())
    if trained or len(labels) <= step:
        return negative_log_likelihood(decoder, states, labels), len(labels)
    total: torch.Tensor = InPieces.apply(states, labels, decoder, step)  # type: ignore[no-untyped-call]  # torch's
    return total, len(labels)


def supervised_logits(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits ``(N, V)``, in float32, and labels ``(N,)`` of the supervised tokens, row by row of the batch.

    Args:
        model: As for ``supervised_loss``.
        batch: As for ``supervised_loss``.
    """
    states, labels = _supervised_states(model, batch)
    return blocks.logits(_unwrapped(model), states).float(), labels


def _supervised_states(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the head is given ``(N, d)`` and what it is to say ``(N,)`` at the supervised tokens."""
    labels = batch["labels"][:, 1:]
    keep = labels != IGNORE  # (B, T-1): position t predicts token t+1
    inputs = {k: v for k, v in batch.items() if k != "labels"}
    mask = inputs.get("attention_mask")
    decoder = blocks.decoder(_unwrapped(model))
    with ExitStack() as stack:
        # Padding behind a text is seen by none of its tokens; without a mask, attention leaves out what is not seen.
        # It is taken away in the last moment: who counts the tokens of a pass reads it.
        if mask is not None and bool((mask[:, 1:] <= mask[:, :-1]).all()) and bool(mask[:, 0].all()):
            handle = decoder.register_forward_pre_hook(_without_mask, with_kwargs=True)
            stack.callback(handle.remove)
        states = decoder(**inputs, use_cache=False).last_hidden_state
    return states[:, :-1][keep], labels[keep]


def _without_mask(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {name: value for name, value in kwargs.items() if name != "attention_mask"}


def _unwrapped(model: Any) -> Any:
    """The model within peft's, whose layers it has changed."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
