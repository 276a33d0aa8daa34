"""The texts of transfers without training: which tokens are looked at, and questions with worked examples before them.

Closed forms need thousands of tokens, not all records: a budget of tokens bounds their time. Records are taken in the
order of their splits, which are seeded draws; a record that is too long is left out, not cut.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from pkt_eval.data.chat import IGNORE, collate
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import DataError

TOKENS = 8192
"""Tokens that maps and covariances are fitted on, at most."""
SHOTS = 4
"""Worked examples before a question, at most; fewer where they do not fit."""

_BATCH = 4
_HELD_OUT = 4  # one text in so many


def texts(
    data: TransferData,
    tokenizer: Any,
    splits: Sequence[str],
    *,
    rows: Literal["all", "answer"],
    budget: int = TOKENS,
) -> list[Example]:
    """Encoded records whose *labels* say which positions are rows: those that predict a supervised token.

    Args:
        data: Of the transfer.
        tokenizer: The pair's.
        splits: Taken one after the other.
        rows: ``"all"``: every token but the last and the first, whose activation is often hundreds of times as large as
            any other (arXiv 2402.17762) and the same in every text. ``"answer"``: where the answer is predicted.
        budget: Tokens of all texts together, rows or not; the first text is always taken.

    Raises:
        DataError: No record is left.
    """
    chosen: list[Example] = []
    used = 0
    for record in (r for split in splits for r in data.splits[split]):
        example = data.chat.encode(tokenizer, record, loss_on=rows)
        length = len(example["input_ids"])
        if length > data.max_length:
            continue
        if chosen and used + length > budget:
            break
        if rows == "all":
            example["labels"][:2] = [IGNORE] * 2
        used += length
        chosen.append(example)
    if not chosen:
        raise DataError(
            f"no record of {data.splits.benchmark} ({', '.join(splits)}) fits: raise transfer_max_length="
            f"{data.max_length}"
        )
    return chosen


def fitted_and_held_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Every fourth text is held out, or the last of fewer.

    Raises:
        DataError: There is one text alone.
    """
    if len(examples) < 2:
        raise DataError(f"{len(examples)} text cannot be parted into fitted and held-out ones: give more align records")
    held = [i for i in range(len(examples)) if i % _HELD_OUT == _HELD_OUT - 1] or [len(examples) - 1]
    return [e for i, e in enumerate(examples) if i not in held], [examples[i] for i in held]


def batches(examples: Sequence[Example], size: int = _BATCH) -> Iterator[dict[str, torch.Tensor]]:
    """The examples in order, padded on the right: ``input_ids``, ``labels``, ``attention_mask`` ``(B, T)``."""
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size], 0)
