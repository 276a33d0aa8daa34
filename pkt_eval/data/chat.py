"""Chat record → token ids with a loss mask, and the chat template that makes scoring see the same tokens.

Two formats: ``paper``, the text of the papers (``<|user|>\\n…\\n\\n<|assistant|>\\n…`` and the
end-of-sequence token), and ``model``, the tokenizer's own chat template. In both, a training prompt is
*rendered by the template that the student carries*, so what lm-eval builds with ``--apply_chat_template`` is,
token for token, what was trained on. A template that prints today's date prints ``DATE`` in a student: else the same
recipe would make another student tomorrow, and ask it otherwise.

Not here: the wording of questions (``records``) and batching by length (the training loop).
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pkt_eval.data.rows import ChatRecord, Message
from pkt_eval.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

IGNORE = -100
"""The label of a token that carries no loss (torch's and transformers' convention)."""

LossOn = Literal["answer", "all"]

DATE = datetime(2024, 7, 26)
"""What a template that prints today's date prints in a student: the day that Llama 3.2's falls back to."""

# transformers' only clock in a template; whether it is there may be asked.
_CLOCK = re.compile(r"\bstrftime_now\b(?!\s+is\s+(?:not\s+)?defined)")
_CLOCK_READ = re.compile(r"""\bstrftime_now\s*\(\s*(["'])((?:(?!\1).)*)\1\s*\)""")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)

# A turn that is not the assistant's ends in an empty line, as in the published data. Between an answer's
# end-of-sequence token and the next turn stands one newline: the published data have no second turn that
# would say otherwise.
_PAPER_TEMPLATE = (
    r"{% for message in messages %}"
    r"{% if message['role'] == 'assistant' %}"
    r"{{ '<|assistant|>\n' + message['content'] + eos_token }}"
    r"{% if not loop.last or add_generation_prompt %}{{ '\n' }}{% endif %}"
    r"{% else %}"
    r"{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n\n' }}"
    r"{% endif %}"
    r"{% endfor %}"
    r"{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class ChatFormat:
    """How a chat record is written as text.

    Attributes:
        name: ``"paper"`` or ``"model"``; see the head of this file.
        arguments: What the template is given besides the messages, e.g. ``{"enable_thinking": False}``.
    """

    name: Literal["paper", "model"] = "paper"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in ("paper", "model"):
            raise ConfigError(f"chat_format is 'paper' or 'model', not {self.name!r}")

    def template(self, tokenizer: Any) -> str:
        """The Jinja chat template that a student trained in this format carries.

        The papers' template opens with the BOS token exactly where the tokenizer itself would add one:
        lm-eval sees it and adds no second one, and ``apply_chat_template(tokenize=True)``, which adds none,
        has it too.

        Raises:
            ConfigError: ``model`` is asked for and the tokenizer has no chat template, several without a default, or
                one that uses today's date otherwise than by printing it; or it has no EOS token.
        """
        if tokenizer.eos_token_id is None:
            raise ConfigError("the tokenizer has no eos_token, so an answer cannot end; set one and start again")
        if self.name == "paper":
            return ("{{ bos_token }}" if adds_bos(tokenizer) else "") + _PAPER_TEMPLATE
        if not tokenizer.chat_template:
            raise ConfigError(
                "chat_format='model' needs a tokenizer with a chat template, and this one has none: "
                "choose chat_format='paper', or set tokenizer.chat_template"
            )
        named = tokenizer.chat_template
        if isinstance(named, dict) and "default" not in named:
            raise ConfigError(
                f"the tokenizer has the chat templates {', '.join(sorted(named))} and no default: choose "
                "chat_format='paper', or give the one that is meant the name 'default' in the model's folder"
            )
        return _dated(tokenizer.get_chat_template())

    def prompt(self, tokenizer: Any, messages: list[Message]) -> str:
        """The text before the assistant's answer to ``messages``, which end in the user's turn."""
        return self._render(tokenizer, messages, add_generation_prompt=True)

    def encode(
        self, tokenizer: Any, record: ChatRecord, *, loss_on: LossOn = "answer", max_length: int | None = None
    ) -> dict[str, list[int]]:
        """One record as token ids and labels.

        Prompt and answer are tokenised as one text, as lm-eval does, followed by EOS, which is supervised.
        There is exactly one BOS where the tokenizer uses one. Only the last assistant turn is an answer.

        A record longer than ``max_length`` is cut, never dropped: the prompt gives way first, from its left
        (as lm-eval cuts a context), down to half the window; then the answer loses its end, and with it EOS.

        Args:
            tokenizer: a ``transformers`` tokenizer.
            record: ``{"messages": [..., user, assistant]}``.
            loss_on: ``"answer"`` or ``"all"`` tokens (for MMLU, whose answer is one letter).
            max_length: in tokens; None for no limit.

        Returns:
            ``{"input_ids": [int] * T, "labels": [int] * T}``, labels being ``IGNORE`` outside the loss.

        Raises:
            DataError: the record is not a chat that ends in a non-empty answer.
            ConfigError: an unknown ``loss_on``, or as ``template``.
        """
        return self._encode(tokenizer, record, loss_on, max_length)[0]

    def encode_all(
        self,
        tokenizer: Any,
        records: Sequence[ChatRecord],
        *,
        loss_on: LossOn = "answer",
        max_length: int | None = None,
    ) -> list[dict[str, list[int]]]:
        """``encode`` for every record; logs how many of them had to be cut."""
        encoded = [self._encode(tokenizer, record, loss_on, max_length) for record in records]
        cut = sum(was_cut for _, was_cut in encoded)
        if cut:
            log.warning("%d of %d records are longer than %d tokens and were cut", cut, len(records), max_length)
        return [example for example, _ in encoded]

    def _encode(
        self, tokenizer: Any, record: ChatRecord, loss_on: LossOn, max_length: int | None
    ) -> tuple[dict[str, list[int]], bool]:
        if loss_on not in ("answer", "all"):
            raise ConfigError(f"loss_on is 'answer' or 'all', not {loss_on!r}")
        messages = _checked(record)
        prompt = self.prompt(tokenizer, messages[:-1])
        whole = self._render(tokenizer, messages, add_generation_prompt=False)
        text = prompt + _answer_text(prompt, whole, messages[-1]["content"])

        ids = with_bos(tokenizer, text)
        # Where a merge straddles the boundary, the merged token belongs to the answer.
        start = _common_prefix(with_bos(tokenizer, prompt), ids)
        ids.append(tokenizer.eos_token_id)

        was_cut = False
        if max_length is not None and len(ids) > max_length:
            was_cut = True
            ids, start = _cut(ids, start, max_length, keep_first=adds_bos(tokenizer))
        labels = list(ids) if loss_on == "all" else [IGNORE] * start + ids[start:]
        return {"input_ids": ids, "labels": labels}, was_cut

    def _render(self, tokenizer: Any, messages: list[Message], *, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        template = self.template(tokenizer)
        try:
            return tokenizer.apply_chat_template(
                messages,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **self.arguments,
            )
        except (TemplateError, TypeError) as error:
            raise ConfigError(
                f"the chat template cannot write the transfer's records: {' '.join(str(error).split())[:200]}. What it "
                "asks for is given by chat_template_args; or choose chat_format='paper'"
            ) from error


@cache
def _dated(template: str) -> str:
    """A template that prints ``DATE`` where it would print today's date; others as they are.

    Raises:
        ConfigError: It does something else with the date.
    """
    if not _CLOCK.search(_COMMENT.sub("", template)):
        return template
    pinned = _CLOCK_READ.sub(lambda read: read[1] + DATE.strftime(read[2]) + read[1], template)
    if _CLOCK.search(_COMMENT.sub("", pinned)):
        raise ConfigError(
            "the chat template uses today's date (strftime_now) in a way that cannot be pinned, so that no two runs "
            "would be alike: write the date into the template, or choose chat_format='paper'"
        )
    log.warning(
        "the chat template prints today's date; in the student it is %s. Where it takes one, another is given by "
        'chat_template_args={"date_string": "…"}',
        DATE.date(),
    )
    return pinned


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a BOS token before a plain text."""
    return tokenizer.bos_token_id is not None and tokenizer.encode("a")[:1] == [tokenizer.bos_token_id]


def collate(batch: Sequence[dict[str, list[int]]], pad_id: int) -> "dict[str, Tensor]":
    """Pad examples on the right into one batch.

    Args:
        batch: B examples of ``ChatFormat.encode``, the longest of T tokens.
        pad_id: fills ``input_ids``; its labels are ``IGNORE`` and its attention 0, so any id will do.

    Returns:
        ``input_ids``, ``labels`` and ``attention_mask``, int64 tensors of shape (B, T).
    """
    import torch

    length = max(len(example["input_ids"]) for example in batch)

    def padded(rows: list[list[int]], fill: int) -> "Tensor":
        return torch.tensor([row + [fill] * (length - len(row)) for row in rows], dtype=torch.long)

    ids = [list(example["input_ids"]) for example in batch]
    return {
        "input_ids": padded(ids, pad_id),
        "labels": padded([list(example["labels"]) for example in batch], IGNORE),
        "attention_mask": padded([[1] * len(row) for row in ids], 0),
    }


def _checked(record: ChatRecord) -> list[Message]:
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list) or len(messages) < 2 or messages[-1].get("role") != "assistant":
        raise DataError(f'a chat record is {{"messages": [..., user, assistant]}}, not {str(record)[:200]}')
    if not all(isinstance(message.get("content"), str) for message in messages):
        raise DataError(f"every message needs a text as its content: {str(record)[:200]}")
    if not messages[-1]["content"].strip():
        raise DataError(f"the answer is empty, there is nothing to learn: {str(record)[:200]}")
    return messages


def _answer_text(prompt: str, whole: str, answer: str) -> str:
    """The answer as the template writes it after the prompt: some add a space before it or strip it.

    A template that renders a finished turn unlike an open one (reasoning blocks) leaves the answer as it is.
    """
    if whole.startswith(prompt):
        for text in (answer, answer.strip()):
            start = whole.find(text, len(prompt))
            if start >= 0:
                return whole[len(prompt) : start + len(text)]
    return answer


def with_bos(tokenizer: Any, text: str) -> list[int]:
    """Ids with exactly one BOS where the tokenizer uses one, whether or not the template wrote it."""
    ids = list(tokenizer.encode(text, add_special_tokens=False))
    if adds_bos(tokenizer) and ids[:1] != [tokenizer.bos_token_id]:
        ids.insert(0, tokenizer.bos_token_id)
    return ids


def _common_prefix(a: list[int], b: list[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _cut(ids: list[int], start: int, max_length: int, *, keep_first: bool) -> tuple[list[int], int]:
    """Ids cut by the rule of ``ChatFormat.encode``, and where the answer now starts."""
    keep = min(start, max(max_length - (len(ids) - start), max_length // 2))
    first = ids[:1] if keep_first and keep else []
    prompt = first + ids[start - keep + len(first) : start]
    return (prompt + ids[start:])[:max_length], len(prompt)
