"""The items of a samples file: what each document scored, and what there is to read of it."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, NotRequired, TypedDict, cast

from pkt_eval._util.files import check_regular
from pkt_eval.code import Verdict
from pkt_eval.errors import DataError


class SampleLine(TypedDict):
    """A line of lm-eval's samples JSONL, as far as it is read; its metrics are in it by their names."""

    doc_id: int
    doc: object
    target: object
    # "gen_args_0" and so on, one a request → "arg_0", the prompt, and "arg_1", the choice or the settings
    arguments: dict[str, dict[str, object]]
    # request → answers
    resps: list[list[object]]
    filtered_resps: list[object]
    filter: str
    doc_hash: str
    prompt_hash: str
    target_hash: str
    # of the files that ``keep`` writes
    task: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Item:
    """One document, answered.

    Attributes:
        score: In [0, 1].
        prompt_hash: lm-eval's, of the text that the model saw.
        target_hash: lm-eval's.
        doc_id: Place among the task's documents.
        cluster: The document's ``subject``, where it has one.
        prompt: What the model saw.
        answer: What it wrote (the first of several answers), or the choice it found likeliest.
        target: The right answer; for code, the tests.
        verdict: For code, how the program ended.
    """

    score: float
    prompt_hash: str
    target_hash: str
    doc_id: int
    cluster: str | None
    prompt: str
    answer: str
    target: str
    verdict: str = ""


def read_items(
    path: Path,
    task: str,
    metric: str,
    filter_name: str,
    texts: dict[str, str],
    see: Callable[[SampleLine], None] | None = None,
) -> dict[str, Item] | None:
    """Items by document hash; None where the metric is no number in [0, 1] for each item.

    A document that occurs twice in a task is two items: the second's key ends in ``#2``.

    Args:
        path: See ``samples_of``.
        task: Whose items are wanted.
        metric: Whose value is the score.
        filter_name: Whose lines count.
        texts: Prompts and targets met so far, so that those of many students are in memory once.
        see: Is called with every line, of other filters too.

    Raises:
        DataError: A line cannot be read, or an item is there twice; names the file and the line or item.
    """
    keyed: list[tuple[str, Item]] = []
    numbers = True
    for number, sample in samples_of(path, task, filter_name, see):
        try:
            score = score_of(sample, metric)
            if not isinstance(score, int | float) or not 0 <= score <= 1:
                numbers = False
                continue
            keyed.append((sample["doc_hash"], _item(sample, float(score), texts)))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise _no_sample(path, number, error) from None
    if not numbers:
        return None
    keyed.sort(key=lambda pair: pair[1].doc_id)
    if twice := [a.doc_id for (_, a), (_, b) in pairwise(keyed) if a.doc_id == b.doc_id]:
        raise DataError(f"{path} has item {twice[0]} of {task} twice: it was changed. Run that evaluation again.")
    items: dict[str, Item] = {}
    for key, item in keyed:
        unique, copies = key, 1
        while unique in items:
            copies += 1
            unique = f"{key}#{copies}"
        items[unique] = item
    return items


def score_of(sample: SampleLine, metric: str) -> object:
    """The value of a metric, which a sample has under its name; None where it has none."""
    return cast(dict[str, object], sample).get(metric)


def _check_hashes(sample: SampleLine) -> None:
    for name in ("doc_hash", "prompt_hash", "target_hash"):
        if not isinstance(value := cast(dict[str, object], sample)[name], str):
            raise TypeError(f"{name} is {value!r}")


def samples_of(
    path: Path, task: str, filter_name: str, see: Callable[[SampleLine], None] | None = None
) -> Iterator[tuple[int, SampleLine]]:
    """The samples of a task and filter, with the number of their line.

    Args:
        path: lm-eval's samples JSONL, which has a line for each item and filter; or what ``keep`` made of several, the
            answers alone, whose first line names the file of what was asked.
        task: Whose are wanted, where the file has those of several tasks.
        filter_name: Whose are wanted.
        see: Is called with every line, wanted or not.

    Raises:
        DataError: A line cannot be read; names the file and the line.
    """
    number = 0
    try:
        with _opened(path) as file:
            asked: Iterator[str] | None = None
            for number, line in enumerate(file, 1):
                sample = json.loads(line)
                if number == 1 and "items" in sample:
                    asked = _asked(path.parent / sample["items"])
                    continue
                if asked:
                    sample |= json.loads(next(asked, "{}"))
                if see:
                    see(sample)
                if sample["filter"] == filter_name and sample.get("task", task) == task:
                    _check_hashes(sample)
                    yield number, sample
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if not isinstance(error, UnicodeDecodeError):
            raise _no_sample(path, number, error) from None
        raise DataError(f"cannot read {path}: {error}") from None
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}") from None


def _opened(path: Path) -> IO[str]:
    check_regular(path)
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _asked(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        yield from file


def _no_sample(path: Path, number: int, error: Exception) -> DataError:
    said = f"it lacks {error}" if isinstance(error, KeyError) else "it is no whole sample of lm-eval"
    return DataError(f"{path}, line {number}: {said}. Truncated? Run that evaluation again.")


def _item(sample: SampleLine, score: float, texts: dict[str, str]) -> Item:
    doc = sample["doc"] if isinstance(sample["doc"], dict) else {}
    requests = list(sample["arguments"].values())
    first = sample["filtered_resps"][0] if sample["filtered_resps"] else None
    if _is_choice(first):
        (answer, target), verdict = _choices(sample, requests), ""
    else:
        answer, target = str(sample["resps"][0][0]), str(sample["target"])
        verdict = _verdict(first)
    subject = doc.get("subject")
    prompt = str(requests[0]["arg_0"])
    return Item(
        score=score,
        prompt_hash=sample["prompt_hash"],
        target_hash=sample["target_hash"],
        doc_id=sample["doc_id"],
        cluster=str(subject) if subject else None,
        prompt=texts.setdefault(prompt, prompt),
        answer=answer,
        target=texts.setdefault(target, target),
        verdict=verdict,
    )


def _is_choice(response: object) -> bool:
    """A log-likelihood and whether it is greedy, which lm-eval writes as text."""
    return isinstance(response, list) and len(response) == 2 and str(response[1]) in ("True", "False")


def _choices(sample: SampleLine, requests: list[dict[str, object]]) -> tuple[str, str]:
    """The likeliest of a document's choices, and the right one."""
    choices = [str(request["arg_1"]).strip() for request in requests]
    values = [float(likelihood) for likelihood, _ in cast(list[list[str]], sample["filtered_resps"])]
    answer = choices[max(range(len(values)), key=values.__getitem__)]
    target = str(sample["target"])
    return answer, choices[int(target)] if target.isdigit() and int(target) < len(choices) else target


def _verdict(first: object) -> str:
    """``status: message`` of a code answer; "" for other answers."""
    text = first[0] if isinstance(first, list) and first else None
    if not isinstance(text, str) or not text.startswith("{"):
        return ""
    try:
        verdict = Verdict.from_text(text)
    except DataError:
        return ""
    return f"{verdict.status}: {verdict.message}" if verdict.message else verdict.status
