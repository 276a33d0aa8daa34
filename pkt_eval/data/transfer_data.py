"""What a method may learn from: the splits of a task and how their records become tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pkt_eval.data.chat import ChatFormat, collate
from pkt_eval.data.records import kind
from pkt_eval.data.splits import Splits
from pkt_eval.errors import ConfigError

if TYPE_CHECKING:  # encoding loads no torch
    from torch import Tensor

Example = dict[str, list[int]]
"""An encoded record: ``input_ids`` and ``labels``, ``T`` ids each, ``-100`` where nothing is supervised."""


@dataclass(frozen=True)
class TransferData:
    """What a method may learn from.

    Attributes:
        splits: extract, align, train and validation records of the task that is transferred.
        chat: The text format of the records.
        loss_on: ``"answer"`` or ``"all"`` tokens.
        max_length: Longest example, in tokens.
        other: Task name → its splits, for controls that look at another task.
    """

    splits: Splits
    chat: ChatFormat
    loss_on: Literal["answer", "all"]
    max_length: int
    other: Callable[[str], Splits]

    @property
    def kind(self) -> str:
        """Kind of the benchmark, e.g. ``gsm8k`` for ``nano_gsm8k``: what published budgets go by."""
        return kind(self.splits.benchmark)

    def examples(self, tokenizer: Any, split: str, *, task: str | None = None) -> list[Example]:
        """The encoded records of a split.

        Args:
            tokenizer: The pair's.
            split: ``"extract"``, ``"align"``, ``"train"`` or ``"validation"``.
            task: Another task than the one that is transferred; it must be among the method's ``other_tasks``.
        """
        splits = self.other(task) if task else self.splits
        return self.chat.encode_all(tokenizer, splits[split], loss_on=self.loss_on, max_length=self.max_length)

    def batches(self, tokenizer: Any, split: str, size: int = 1) -> "Iterator[dict[str, Tensor]]":
        """The encoded records of a split in order, ``size`` at a time, padded on the right.

        Yields:
            ``input_ids``, ``labels`` and ``attention_mask``, int64 tensors ``(B, T)``.
        """
        encoded = self.examples(tokenizer, split)
        for start in range(0, len(encoded), size):
            yield collate(encoded[start : start + size], 0)


class Undeclared(TransferData):
    """What a method is given that is registered without ``uses=("data",)``: it says so as soon as it is looked at.

    Args:
        method: The method's name.
    """

    _method = ""

    def __init__(self, method: str) -> None:
        object.__setattr__(self, "_method", method)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # asked by copy, pickle and the like
            raise AttributeError(name)
        raise ConfigError(f"method={self._method} looks at data.{name}: register it with uses=(…, 'data')")
