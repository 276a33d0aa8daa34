"""Records of a transfer as LaTen takes them: whole, or left out and counted; none is cut."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import DataError

log = logging.getLogger(__name__)

_STRIPPED = '." )\n,]'  # not the last token that anything should be attributed to

Sample: TypeAlias = "tuple[torch.Tensor, int]"
"""Ids before the target, and the target."""


def attribution_samples(data: TransferData, tokenizer: Any) -> tuple[list[Sample], dict[str, int]]:
    """Extract records as ``(ids before the target, target)``, and how many were skipped, by reason.

    Raises:
        DataError: No record is left.
    """
    extract, skipped = extract_records(data, tokenizer)
    return [sample for sample, _ in extract], skipped


def extract_records(data: TransferData, tokenizer: Any) -> tuple[list[tuple[Sample, Example]], dict[str, int]]:
    """Extract records twice: to locate with and to align with; and how many were skipped, by reason.

    The target is the last token of the answer without trailing punctuation, brackets and spaces.

    Raises:
        DataError: No record is left.
    """
    kept: list[tuple[Sample, Example]] = []
    skipped = {"extract: empty answer": 0, "extract: too long": 0}
    for record in data.splits.extract:
        *before, answer = record["messages"]
        stripped = answer["content"].rstrip(_STRIPPED)
        if not stripped.strip():
            skipped["extract: empty answer"] += 1
            continue
        ids = data.chat.encode(tokenizer, {"messages": [*before, {**answer, "content": stripped}]})["input_ids"]
        example = data.chat.encode(tokenizer, record, loss_on=data.loss_on)
        if max(len(ids), len(example["input_ids"])) > data.max_length:
            skipped["extract: too long"] += 1
            continue
        *ids, target, _ = ids  # the last is the end of the sequence
        kept.append(((torch.tensor(ids), target), example))
    if not kept:
        raise DataError(
            f"no extract record of {data.splits.benchmark} can be located with: {skipped} of "
            f"{len(data.splits.extract)}, at transfer_max_length={data.max_length}"
        )
    return kept, skipped


def examples(data: TransferData, tokenizer: Any, split: str, skipped: dict[str, int]) -> list[Example]:
    """Encoded records of a split; those too long are left out and counted, not cut."""
    encoded = [data.chat.encode(tokenizer, record, loss_on=data.loss_on) for record in data.splits[split]]
    kept = [example for example in encoded if len(example["input_ids"]) <= data.max_length]
    skipped[f"{split}: too long"] = len(encoded) - len(kept)
    if too_long := len(encoded) - len(kept):
        log.warning("%d of %d %s records are over %d tokens: skipped", too_long, len(encoded), split, data.max_length)
    return kept
