"""What a candidate answers to validation records: the judge of steps, rates and strengths that the loss is not.

A student can learn the wording of an answer, and lose what it knew and how to end: its loss falls all the while. So a
candidate answers, greedily and in the words of the chat tasks, and the benchmark's own scorer says how many are right.
Whether answers end by themselves, or go round in circles, is told of every student.

A program is not run here: nobody has consented to that while a student is made. Those benchmarks go by the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.data.benchmarks import benchmark
from pkt_eval.data.chat import with_bos
from pkt_eval.data.numbers import final_number, same_number
from pkt_eval.data.rows import ChatRecord
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.inference.greedy import ending_tokens

Criterion = Literal["score", "loss"]

VALIDATION_ITEMS = 64  # validation records that a candidate answers, at most
_LETTER = 16  # tokens of an answer that is one letter: whether it ends there is all that is looked at


@dataclass(frozen=True)
class Question:
    """A question, and what tells whether its answer is right.

    Attributes:
        prompt: Ids of the question, up to where the answer begins.
        number: The right number; None where the answer is none.
        limit: New tokens at most.
        stem: Of a choice: ids up to where the choices' answers differ; empty where nothing is chosen.
        choices: The id with which each choice goes on; the first is the right one's.
    """

    prompt: list[int]
    number: str | None
    limit: int
    stem: list[int]
    choices: list[int]


@dataclass(frozen=True)
class Answers:
    """How a candidate answered.

    Attributes:
        accuracy: Share of right answers; None where nothing tells, as of programs.
        ended: Share of answers that ended by themselves.
        looped: Share of answers that did not and end in one passage, time and again.
        items: Number of questions.
    """

    accuracy: float | None
    ended: float
    looped: float
    items: int


def criterion(name: str, asked: Criterion | None) -> tuple[Criterion, str]:
    """What chooses among candidates on a benchmark, and why it is not what was asked for, if so.

    Args:
        name: Benchmark.
        asked: None: the score where a number is generated, else the loss.
    """
    scoring = benchmark(name).scoring
    if scoring not in ("number", "choice"):
        return "loss", "" if asked == "loss" else f"{name} asks for programs, which are not run while a student is made"
    return asked or ("score" if scoring == "number" else "loss"), ""


def validation_items(data: TransferData, tokenizer: Any, count: int = VALIDATION_ITEMS) -> list[Question]:
    """The first validation records as questions; those that leave no room for an answer are left out."""
    # The letters that there are: no record has a row's choices, and all of a benchmark's are worded alike.
    records = [r for split in data.splits.names for r in data.splits[split]]
    worded = {r["messages"][-1]["content"] for r in records}
    asked = benchmark(data.splits.benchmark)
    scoring = asked.scoring
    # The task's own limit: a student that answers in more words than the reference is not wrong for that.
    limit = _LETTER if scoring == "choice" else asked.answer_tokens
    items: list[Question] = []
    for record in data.splits.validation:
        *question, answer = record["messages"]
        text = data.chat.prompt(tokenizer, question)
        prompt = with_bos(tokenizer, text)
        if len(prompt) >= data.max_length:
            continue
        stem, choices = _choices(data, tokenizer, record, worded) if scoring == "choice" else ([], [])
        number = final_number(answer["content"]) if scoring == "number" else None
        items.append(Question(prompt, number, limit, stem, choices))
    return items[:count]


def generate_answers(
    model: Any, tokenizer: Any, items: Sequence[Question], bar: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> Answers | None:
    """Let a model, with whatever is in force on it, answer; None for no items.

    Args:
        model: In eval mode, on its device.
        tokenizer: Its tokenizer.
        items: Of ``validation_items``.
        bar: Shows progress over items.
    """
    from pkt_eval.inference.slots import decode  # with transformers, which takes its time

    if not items:
        return None
    ordered = sorted(items, key=lambda item: len(item.prompt), reverse=True)
    chosen = _chosen(model, ordered)
    stops = ending_tokens(model, tokenizer.eos_token_id)
    # The likeliest token, time and again: no sampling, no penalties, whatever the model's own configuration.
    answers = decode(
        model,
        [item.prompt for item in ordered],
        slots=VALIDATION_ITEMS,
        most=max(item.limit for item in ordered),
        stops=stops,
    )
    right, ended, looped, judged = 0, 0, 0, 0
    for (i, ids, ending), _ in zip(answers, bar(ordered), strict=True):
        item, choice = ordered[i], chosen[i]
        ended += ending.ended
        looped += ending.looped
        if choice is not None:
            judged, right = judged + 1, right + choice
        elif item.number is not None:
            said = final_number(tokenizer.decode(ids[:-1] if ending.ended else ids, skip_special_tokens=True))
            judged, right = judged + 1, right + (said is not None and same_number(said, item.number))
    n = len(items)
    return Answers(right / n if judged == n else None, ended / n, looped / n, n)


def _choices(
    data: TransferData, tokenizer: Any, record: ChatRecord, worded: Iterable[str]
) -> tuple[list[int], list[int]]:
    """What the answers begin with and how each goes on, the right one first; empty where one token does not tell."""
    *question, right = record["messages"]
    texts = [right["content"], *sorted(set(worded) - {right["content"]})]
    records: list[ChatRecord] = [{"messages": [*question, {**right, "content": text}]} for text in texts]
    encoded = [data.chat.encode(tokenizer, r)["input_ids"] for r in records]
    same = next((i for i, column in enumerate(zip(*encoded, strict=False)) if len(set(column)) > 1), 0)
    told = [ids[same] for ids in encoded]
    return (encoded[0][:same], told) if len(texts) > 1 and len(set(told)) == len(told) else ([], [])


@torch.no_grad()
def _chosen(model: Any, items: Sequence[Question]) -> list[bool | None]:
    """Whether the right choice is the likeliest, none being as likely; None where nothing is chosen."""
    from pkt_eval.inference.prefixes import Prefix, padded

    if not all(item.choices for item in items):
        return [None] * len(items)
    ids, mask = padded([item.stem for item in items], model.device, left=True)
    logits, *_ = Prefix().extend(model, ids, mask)
    rows = [row[item.choices] for row, item in zip(logits, items, strict=True)]
    return [bool(row[0] > row[1:].max()) for row in rows]


def merit(step: Mapping[str, Any]) -> tuple[float, float]:
    """Larger is better: the score where there is one, and among equals the smaller loss."""
    answered, loss = step.get("answers"), step["validation_loss"]
    return (answered["accuracy"] or 0.0) if answered else 0.0, -math.inf if loss is None else -loss


def told(answered: Answers | None) -> dict[str, float | None] | None:
    """As it stands in the record: the shares of right answers, of those that ended by themselves, and that loop."""
    return {k: v if v is None else round(v, 4) for k, v in vars(answered).items()} if answered else None


def as_json(value: float) -> float | None:
    """NaN, which stands for no validation, is no JSON."""
    return value if value == value else None
