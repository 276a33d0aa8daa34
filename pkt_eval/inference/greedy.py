"""Greedy decoding's own facts: the likeliest token, which tokens end an answer, and how an answer ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pkt_eval._util.lazy import torch
from pkt_eval.errors import DataError

_CIRCLE, _TIMES = 12, 3  # tokens, and rounds, of an end that goes round in circles


class Ending(NamedTuple):
    """Whether an answer ended by itself, and if not, whether it goes round in circles."""

    ended: bool
    looped: bool

    @classmethod
    def of(cls, tokens: Sequence[int], ended: bool) -> Ending:
        """The ending of an answer of which is known whether it ended by itself."""
        return cls(ended, not ended and goes_round(tokens))


def refuse_nan(tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """A logits processor that changes nothing.

    Raises:
        DataError: The logits are no numbers: the largest of them would still be some token.
    """
    if scores.isnan().any():
        raise DataError("the model's logits are NaN: its weights are broken, or overflow in its dtype")
    return scores


def ending_tokens(model: Any, eos: int | None) -> set[int]:
    """Ids that end an answer: the tokenizer's ``eos``, and what the model itself ends with."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {eos, *(own if isinstance(own, list) else [own])} - {None}


def goes_round(ids: Sequence[int]) -> bool:
    """Whether tokens end in one passage, said three times or more and over twelve tokens or more.

    >>> goes_round([7, *[1, 2, 3, 4] * 3]), goes_round([1, 2, 3, 4] * 2 + [1, 2, 3])
    (True, False)
    """
    for period in range(1, len(ids) // _TIMES + 1):
        span = max(_TIMES * period, _CIRCLE)
        if span <= len(ids) and all(ids[-i] == ids[-i - period] for i in range(1, span - period + 1)):
            return True
    return False
