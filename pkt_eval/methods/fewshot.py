"""Few-shot prompting: the student's base as it is, asked behind worked examples of the train split.

What it gains over vanilla was in the student all along; a transfer that gains less has elicited at most. The examples
are part of the chat template that the student carries, so that whatever asks it in the chat format shows them.
"""

import json
from collections.abc import Sequence

from pydantic import Field

from pkt_eval._util.options import MethodConfig
from pkt_eval._util.progress import Progress
from pkt_eval.data.rows import Message
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import DataError
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student


class FewshotConfig(MethodConfig):
    """Options of few-shot prompting."""

    shots: int = Field(4, ge=1, le=1024)
    """Train records that stand before the question."""


@register(
    "fewshot",
    title="Student base, unchanged, behind worked examples",
    reference="arXiv 2005.14165",
    paradigm="baseline",
    uses=("data",),
)
class Fewshot(TransferMethod[FewshotConfig]):
    """Put the first train records, whose order the seed draws, before every conversation."""

    Config = FewshotConfig
    #: Those of LoRA: the same records, however small the pool.
    splits = ("extract", "train", "validation")

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """A student without edits, whose template begins with the examples."""
        records = data.splits.train[: self.config.shots]
        if len(records) < self.config.shots:
            raise DataError(f"shots={self.config.shots} and {data.splits.benchmark} has {len(records)} train records")
        shown = [message for record in records for message in record["messages"]]
        tokenizer = pair.student.tokenizer
        template = shown_before(shown, data.chat.template(tokenizer))
        length = len(tokenizer.encode(data.chat.prompt(tokenizer, shown), add_special_tokens=False))
        return Student(
            base=pair.student, chat_template=template, record={"shots": len(records), "prompt_tokens": length}
        )


def shown_before(messages: Sequence[Message], template: str) -> str:
    """A chat template that renders some messages before those that it is given.

    A system message that it is given stays the first.

    Args:
        messages: Turns of worked examples.
        template: Jinja.
    """
    # Jinja reads a string as Python does, and JSON's escapes are Python's.
    turns = ", ".join(f"{{'role': {_literal(m['role'])}, 'content': {_literal(m['content'])}}}" for m in messages)
    return (
        "{% set behind = 1 if messages and messages[0]['role'] == 'system' else 0 %}"
        f"{{% set messages = messages[:behind] + [{turns}] + messages[behind:] %}}{template}"
    )


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
