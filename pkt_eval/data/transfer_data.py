"""What a method may learn from: the splits of a task and how their records become tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits


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

    def examples(self, tokenizer: Any, split: str, *, task: str | None = None) -> list[dict[str, list[int]]]:
        """The encoded records of a split: ``input_ids`` and ``labels``, ``T`` ids each."""
        splits = self.other(task) if task else self.splits
        return self.chat.encode_all(tokenizer, splits[split], loss_on=self.loss_on, max_length=self.max_length)
