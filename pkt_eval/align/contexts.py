"""The texts of transfers without training: which tokens are looked at, and questions with worked examples before them.

Closed forms need thousands of tokens, not all records: a budget of tokens bounds their time. Records are taken in the
order of their splits, which are seeded draws; a record that is too long is left out, not cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.data.benchmarks import benchmark
from pkt_eval.data.chat import IGNORE, collate
from pkt_eval.data.rows import ChatRecord
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import DataError

TOKENS = 4096
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


def worked_examples(data: TransferData) -> list[ChatRecord]:
    """What stands before a question in a few-shot prompt: the first train records."""
    return data.splits.train[:SHOTS]


def encoded_behind(
    data: TransferData, tokenizer: Any, record: ChatRecord, before: Sequence[ChatRecord]
) -> Example | None:
    """A record behind as many worked examples as fit, its own answer supervised; None where not one fits."""
    for count in range(len(before), 0, -1):
        messages = [message for one in (*before[:count], record) for message in one["messages"]]
        example = data.chat.encode(tokenizer, {"messages": messages})
        if len(example["input_ids"]) <= data.max_length:
            return example
    return None


def with_examples(
    data: TransferData,
    tokenizer: Any,
    splits: Sequence[str],
    before: Sequence[ChatRecord] | None,
    *,
    budget: int = TOKENS,
) -> list[tuple[Example, Example]]:
    """Records as they are, and the same behind worked examples, their answers supervised.

    A record whose answer is not the same tokens in both is left out: a token merged across its beginning.

    Args:
        data: Of the transfer.
        tokenizer: The pair's.
        splits: Taken one after the other.
        before: The worked examples; None: each record is its own, answered once already.
        budget: Tokens of the longer texts together; the first is always taken.

    Raises:
        DataError: No record is left.
    """
    pairs: list[tuple[Example, Example]] = []
    used = 0
    for record in (r for split in splits for r in data.splits[split]):
        plain = data.chat.encode(tokenizer, record)
        behind = encoded_behind(data, tokenizer, record, [record] if before is None else before)
        if behind is None or len(plain["input_ids"]) > data.max_length or _answer(plain) != _answer(behind):
            continue
        if pairs and used + len(behind["input_ids"]) > budget:
            break
        used += len(behind["input_ids"])
        pairs.append((plain, behind))
    if not pairs:
        raise DataError(
            f"no record of {data.splits.benchmark} ({', '.join(splits)}) fits behind a worked example: raise "
            f"transfer_max_length={data.max_length}"
        )
    return pairs


def prompt_part(data: TransferData, example: Example) -> Example:
    """An example cut so that its one row is the position at which the answer is decided.

    That is the last token of the prompt; where a letter is the answer, the token before the letter.
    """
    supervised = [i for i, label in enumerate(example["labels"]) if label != IGNORE]
    letter = benchmark(data.splits.benchmark).scoring == "choice" and len(supervised) > 1
    place = supervised[-2] if letter else supervised[0]  # the last is the end of the sequence
    ids = example["input_ids"][: place + 1]
    return {"input_ids": ids, "labels": [IGNORE] * place + ids[-1:]}


def _answer(example: Example) -> list[int]:
    return [label for label in example["labels"] if label != IGNORE]


def fitted_and_held_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Every fourth text is held out, or the last of fewer.

    Raises:
        DataError: There is one text alone.
    """
    if len(examples) < 2:
        raise DataError(f"{len(examples)} text cannot be parted into fitted and held-out ones: give more align records")
    held = [i for i in range(len(examples)) if i % _HELD_OUT == _HELD_OUT - 1] or [len(examples) - 1]
    return [e for i, e in enumerate(examples) if i not in held], [examples[i] for i in held]


def text_batches(examples: Sequence[Example], size: int = _BATCH) -> Iterator[dict[str, torch.Tensor]]:
    """The examples in order, padded on the right: ``input_ids``, ``labels``, ``attention_mask`` ``(B, T)``."""
    for start in range(0, len(examples), size):
        yield collate(examples[start : start + size], 0)


def within_budget(examples: Sequence[Example], budget: int) -> list[Example]:
    """The first examples that together hold no more tokens; the first in any case."""
    lengths = [len(example["input_ids"]) for example in examples]
    return [e for i, e in enumerate(examples) if i == 0 or sum(lengths[: i + 1]) <= budget]
