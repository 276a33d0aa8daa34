"""The journal of a cell: every answer of the model is on disk before the next batch is begun.

Every line carries its checksum: what follows a line that is not as it was written is asked again.

Requests are cut into blocks, each of which is one call: prompts that are answered the longest first, so that an answer
that ends gives its place to the next, and texts that are judged in the order of their words, so that what they begin
with is computed once. A run that goes on after an interruption computes what the interrupted one would have, in that
company: padding, and with it the last bits of a logit, depend on who is computed beside.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from pkt_eval._util.files import is_full, why
from pkt_eval.errors import StoreError
from pkt_eval.lm.answers import answer_from_json, is_kept
from pkt_eval.suite.model import SuiteModel, answered
from pkt_eval.suite.schema import BatchSize

log = logging.getLogger(__name__)

ORDER = "blocks of 4 batches: answers longest prompt first, then by its text; likelihoods by their prompts"
"""The order of requests and the size of a block, which decide who is computed beside whom."""

_BLOCK = 4  # batches of a block, which an interruption loses
_LARGEST = 64  # items that a block has at most, unless a batch alone has more


class Journal:
    """An append-only file of answers, under a header that says what they are answers to.

    Args:
        path: The file. What it holds under another header is not used again.
        header: Everything that decides an answer.

    Attributes:
        answers: Batch → answers to its requests, in the order in which they were kept.

    Raises:
        StoreError: The file cannot be read or written.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.answers: dict[str, list[Any]] = {}
        self._starts: dict[str, int] = {}  # of each batch's line, in bytes
        first = json.dumps({"header": header}, sort_keys=True)
        kept = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for number, line in enumerate(_whole_lines(path)):
                if number == 0 and line.decode("utf-8", "replace").rstrip("\n") != first:
                    log.warning("%s: code, data or options have changed since; its answers are not used", path)
                    break
                if number:
                    record = _checked(line)
                    if record is None:
                        log.warning("%s, line %d is damaged: it and what follows is asked again", path, number + 1)
                        break
                    self.answers[record["batch"]], self._starts[record["batch"]] = record["answers"], kept
                kept += len(line)
            # A line that was being written when the process ended goes.
            self._file = path.open("r+b" if path.exists() else "wb")
            self._file.truncate(kept)
            self._file.seek(kept)
            if not kept:
                self._write(first)
        except OSError as error:
            anew = "" if is_full(error) else ". Remove it to begin the cell anew."
            raise StoreError(f"cannot use the journal {path}: {why(error)}{anew}") from error

    def add(self, batch: str, answers: list[Any]) -> None:
        """Keep the answers to a batch; they are on disk when this returns.

        Raises:
            StoreError: They are not, e.g. since the disk is full.
        """
        try:
            self._starts[batch] = self._file.tell()
            self._write(_line(batch, answers))
        except OSError as error:
            raise StoreError(f"cannot write the journal {self.path}: {why(error)}") from error
        self.answers[batch] = answers

    def cut(self, batch: str) -> None:
        """Forget a batch whose answers cannot be right, and those that were kept after it: they are asked again."""
        log.warning("%s: the answers to %s are not of its kind: it and what follows is asked again", self.path, batch)
        start = self._starts[batch]
        for later in [name for name, at in self._starts.items() if at >= start]:
            del self.answers[later], self._starts[later]
        try:
            self._file.truncate(start)
            self._file.seek(start)
        except OSError as error:
            raise StoreError(f"cannot write the journal {self.path}: {why(error)}") from error

    def _write(self, line: str) -> None:
        self._file.write(line.encode("utf-8", "surrogatepass") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def _whole_lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield line


def _line(batch: str, answers: list[Any]) -> str:
    """What is written of a batch: JSON, with the first 16 digits of the sha256 of what it is without them."""
    line = json.dumps({"batch": batch, "answers": answers}, ensure_ascii=False)
    digest = hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f'{line[:-1]}, "sha256": "{digest}"}}'


def _checked(line: bytes) -> dict[str, Any] | None:
    """A line's content, None if it is not as ``_line`` writes it."""
    try:
        text = line.decode("utf-8", "surrogatepass").rstrip("\n")
        record = json.loads(text)
        batch, answers = record["batch"], record["answers"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return record if isinstance(answers, list) and text == _line(batch, answers) else None


class JournalledLM(LM):
    """An lm-eval model that looks into a journal before it asks another one.

    Args:
        inner: The model, of lm-eval's ``hf`` family.
        journal: Where its answers are kept.
        batch_size: Items that are computed at a time.
        advance: Called with the numbers of batches done and of all batches, whenever some are.
        ask: Answers some blocks of a kind, so many items at a time; default: the inner model, block by block.
        at_once: How many batches it is asked at a time.
    """

    def __init__(
        self,
        inner: SuiteModel,
        journal: Journal,
        batch_size: BatchSize,
        advance: Callable[[int, int], None] = lambda done, all: None,
        ask: Callable[[str, list[list[Instance]], BatchSize], list[list[Any]]] | None = None,
        at_once: int = 1,
    ) -> None:
        super().__init__()
        self.inner, self.journal, self.batch_size = inner, journal, batch_size
        self.advance, self.at_once = advance, at_once
        self.ask = ask or (lambda kind, blocks, rows: [answered(inner, kind, block, rows) for block in blocks])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    # To lm-eval this is the only process; others are asked by `ask`.
    rank, world_size = 0, 1

    @property
    def tokenizer_name(self) -> str:
        return self.inner.tokenizer_name

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> str:
        return self.inner.apply_chat_template(*args, **kwargs)

    def chat_template(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner.chat_template(*args, **kwargs)

    def get_model_info(self) -> dict[str, Any]:
        """As the inner model's."""
        return self.inner.get_model_info()

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Not journalled: none of our tasks asks for it."""
        return self.inner.loglikelihood_rolling(requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """As the inner model's."""
        by_arguments: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            by_arguments.setdefault(json.dumps(request.args[1], sort_keys=True, default=str), []).append(i)
        batches = []
        for places in by_arguments.values():
            lengths = {i: len(self.inner.tok_encode(requests[i].args[0])) for i in places}
            ordered = sorted(places, key=lambda i: (-lengths[i], requests[i].args[0], i))
            batches += self._cut([[i] for i in ordered])
        return [answer_from_json(answer) for answer in self._run("generate_until", requests, batches)]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """As the inner model's; the choices of one item share a forward pass, and so a batch."""
        by_context: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            by_context.setdefault(request.args[0], []).append(i)
        ordered = sorted(by_context)
        answers = self._run("loglikelihood", requests, self._cut([by_context[context] for context in ordered]))
        return [(value, greedy) for value, greedy in answers]

    def _cut(self, groups: list[list[int]]) -> list[list[int]]:
        rows = self.batch_size
        size = _LARGEST if rows == "auto" else max(rows, min(_BLOCK * rows, _LARGEST))
        return [list(chain(*groups[i : i + size])) for i in range(0, len(groups), size)]

    def _run(self, kind: str, requests: list[Instance], batches: list[list[int]]) -> list[Any]:
        asked = [[requests[i] for i in places] for places in batches]
        keys = [_key(kind, number, batch) for number, batch in enumerate(asked)]
        for key, batch in zip(keys, asked, strict=True):
            kept = self.journal.answers.get(key)
            if kept is not None and not (len(kept) == len(batch) and all(_is_answer(kind, answer) for answer in kept)):
                self.journal.cut(key)
        left = [number for number, key in enumerate(keys) if key not in self.journal.answers]
        for start in range(0, len(left), self.at_once):
            self.advance(len(batches) - len(left) + start, len(batches))
            now = left[start : start + self.at_once]
            for number, answers_to in zip(now, self.ask(kind, [asked[n] for n in now], self.batch_size), strict=True):
                self.journal.add(keys[number], answers_to)
        self.advance(len(batches), len(batches))
        answers: list[Any] = [None] * len(requests)
        for key, places in zip(keys, batches, strict=True):
            for i, answer in zip(places, self.journal.answers[key], strict=True):
                answers[i] = answer
        return answers


def _is_answer(kind: str, answer: object) -> bool:
    """Whether an answer is of the type that a kind of request has."""
    if kind == "generate_until":
        return is_kept(answer)
    return (
        isinstance(answer, list | tuple)
        and len(answer) == 2
        and isinstance(answer[0], float)
        and isinstance(answer[1], bool)
    )


def _key(kind: str, number: int, batch: list[Instance]) -> str:
    """Name of a batch: what is asked, and where among the batches, since repeats may ask the same twice."""
    asked = json.dumps([request.args for request in batch], sort_keys=True, default=str, ensure_ascii=False)
    return f"{kind}/{number}/{hashlib.sha256(asked.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
