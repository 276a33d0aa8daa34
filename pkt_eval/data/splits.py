"""The four splits of a transfer: ``extract`` (locate), ``align``, ``train`` and ``validation``, out of
training data.

A method names those that it uses (``TransferMethod.splits``), and only these take records. They are disjoint by
question, seeded, and identified by a hash of their content. ``validation`` is the only one that may choose anything (a
step, a rate). A training question that is, word for word, a test question of the same benchmark is left out (MBPP has
one); what else they share with it is left out where ``decontaminate`` asks for that, and what they share with any test
set is for ``data.decontaminate`` to report.
"""

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from pkt_eval.data import benchmarks
from pkt_eval.data.contamination import held_out
from pkt_eval.data.records import to_chat, user_turn
from pkt_eval.data.rows import ChatRecord, Row
from pkt_eval.data.sources import has_split, load_rows
from pkt_eval.errors import ConfigError, DataError, MissingDataError

log = logging.getLogger(__name__)

SplitName = Literal["extract", "align", "train", "validation"]
SPLIT_NAMES: tuple[SplitName, ...] = ("extract", "align", "train", "validation")


@dataclass(frozen=True)
class Splits:
    """Four disjoint lists of chat records, and where they came from.

    Attributes:
        benchmark: Canonical name, e.g. ``gsm8k``.
        extract: Records that locate.
        align: Records that align.
        train: Records that fine-tune.
        validation: Records that choose among the outcomes.
        source: In words, for provenance.
        names: Of those that are used; the others are empty, and are named in nothing.
        dropped: Records that were left out since a test set has them (``decontaminate``).
    """

    benchmark: str
    extract: list[ChatRecord]
    align: list[ChatRecord]
    train: list[ChatRecord]
    validation: list[ChatRecord]
    source: str
    names: tuple[SplitName, ...] = SPLIT_NAMES
    dropped: int = 0

    def __getitem__(self, name: str) -> list[ChatRecord]:
        if name not in SPLIT_NAMES:
            raise KeyError(f"{name!r}: the splits are {', '.join(SPLIT_NAMES)}")
        if name not in self.names:
            raise ConfigError(
                f"the {name} split is not there: the method declares splits = ({', '.join(map(repr, self.names))})"
            )
        records: list[ChatRecord] = getattr(self, name)
        return records

    @property
    def sizes(self) -> dict[str, int]:
        """Number of records of each split."""
        return {name: len(self[name]) for name in self.names}

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each split's content; the order of the records counts."""
        return {name: _sha256(self[name]) for name in self.names}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all splits."""
        return _sha256(self.digests)

    def overlaps(self) -> dict[tuple[str, str], int]:
        """Questions that two splits share, for each pair that shares any; empty where all are disjoint."""
        questions = {name: {question_text(record) for record in self[name]} for name in self.names}
        pairs = [(a, b) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]
        return {(a, b): n for a, b in pairs if (n := len(questions[a] & questions[b]))}


def canonical_task(name: str) -> str:
    """The benchmark that a task's name means: ``pkt_gsm8k_chat`` → ``gsm8k``, ``nano_mbpp`` → ``nano_mbpp``.

    Raises:
        ConfigError: the name means none; the message names the nearest.
    """
    if meant := benchmarks.benchmark_of_task(name):
        return meant.name
    near = benchmarks.nearest(name)
    hint = f"did you mean {near.name!r}? " if near else ""
    raise ConfigError(f"unknown transfer_task {name!r}: {hint}choose from {', '.join(benchmarks.names())}")


def default_sizes(benchmark: str) -> dict[str, int]:
    """Split → number of records that ``build_splits`` asks for."""
    return dict(benchmarks.benchmark(benchmark).sizes)


def build_splits(
    transfer_task: str,
    *,
    seed: int = 0,
    data_dir: str | Path | None = None,
    splits_dir: str | Path | None = None,
    sizes: Mapping[str, int] | None = None,
    names: tuple[SplitName, ...] = SPLIT_NAMES,
    decontaminate: bool = False,
) -> Splits:
    """The splits of a transfer.

    Without ``splits_dir`` they are drawn from the benchmark's training data, shuffled with ``seed``. Where these have
    room for all four, each split has its place whether or not the others are used: methods that use different ones
    have the same records in those that they share. Where they have not, the splits that are used follow each other,
    and where even these are too large each of them shrinks in proportion, and a warning gives the sizes.

    With ``splits_dir`` they are the records of its ``{stem}_{split}_split.jsonl`` in the order of the files
    (``gsm`` is the stem of gsm8k). Where there is no validation file, the validation records are drawn with
    ``seed`` out of the train file and leave it; ``sizes={"validation": 0}`` keeps the train file whole.

    Args:
        transfer_task: a benchmark's or a task's name, see ``canonical_task``.
        seed: decides which records are in which split.
        data_dir: as for ``pkt_eval.data.sources.load_rows``.
        splits_dir: a folder of chat JSONL.
        sizes: split → number of records, over the benchmark's own (with ``splits_dir``: over the whole
            file).
        names: of the splits that are used, in the order of ``SPLIT_NAMES``.
        decontaminate: leave out records that share a 13-gram or a whole question with the benchmark's test set, before
            anything is drawn.

    Raises:
        ConfigError: an unknown task, split or size.
        DataError: malformed rows or records, or files that share a question.
        MissingDataError: the rows or files are not there.
    """
    benchmark = canonical_task(transfer_task)
    sizes = dict(sizes or {})
    for name, size in sizes.items():
        if name not in SPLIT_NAMES or not isinstance(size, int) or size < 0:
            raise ConfigError(
                f"sizes: {name}={size!r}; a size is a number of records, 0 or more, of one of {', '.join(SPLIT_NAMES)}"
            )
    if splits_dir is not None:
        return _from_folder(benchmark, Path(splits_dir).expanduser(), seed, sizes, names, decontaminate, data_dir)
    return _from_rows(benchmark, seed, data_dir, default_sizes(benchmark) | sizes, names, decontaminate)


def write_splits(splits: Splits, folder: str | Path) -> list[Path]:
    """Write the four files of ``splits`` as ``splits_dir`` reads them; returns their paths."""
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in SPLIT_NAMES:
        path = folder / _file_name(splits.benchmark, name)
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in splits[name]]
        path.write_text("".join(lines), encoding="utf-8")
        paths.append(path)
    return paths


def question_text(record: ChatRecord) -> str:
    """What makes two records the same: everything before the answer."""
    return "\n".join(message["content"] for message in record["messages"][:-1])


def _from_rows(
    benchmark: str,
    seed: int,
    data_dir: str | Path | None,
    sizes: dict[str, int],
    names: tuple[SplitName, ...],
    decontaminate: bool,
) -> Splits:
    rows, source, dropped = _pool(benchmark, data_dir, sum(sizes.values()), decontaminate)
    if sum(sizes.values()) > len(rows):  # no place for the four: those that are not used give theirs up
        sizes = {name: sizes[name] for name in names}
    fitted = _fit(sizes, len(rows))
    if fitted != sizes:
        _say_once(
            f"{benchmark}: the splits ask for {sum(sizes.values())} records and {source} has {len(rows)}; "
            f"they shrink to {', '.join(f'{name} {size}' for name, size in fitted.items())}"
        )
    random.Random(seed).shuffle(rows)
    parts: dict[str, list[ChatRecord]] = {name: [] for name in SPLIT_NAMES}
    start = 0
    for name in [name for name in SPLIT_NAMES if name in fitted]:
        if name in names:
            parts[name] = [to_chat(benchmark, row) for row in rows[start : start + fitted[name]]]
        start += fitted[name]
    said = f"{source}, {dropped} of the test set's left out" if decontaminate else source
    return Splits(benchmark=benchmark, source=f"{said}, seed {seed}", names=names, dropped=dropped, **parts)


@cache
def _say_once(message: str) -> None:
    log.warning(message)


def _pool(benchmark: str, data_dir: str | Path | None, need: int, decontaminate: bool) -> tuple[list[Row], str, int]:
    """The training records of a benchmark, no question twice and none of the test set; their source; and how many
    more than that ``decontaminate`` has left out.
    """
    pool = benchmarks.benchmark(benchmark).pool
    origin = pool.lender or benchmark
    present = [name for name in pool.splits if has_split(origin, name, data_dir=data_dir)]
    if not present:
        load_rows(origin, pool.splits[0], data_dir=data_dir)  # raises, and says what to set
    rows = [row for name in present for row in load_rows(origin, name, data_dir=data_dir)]
    kept, dropped = _fit_to_use(benchmark, rows, data_dir, decontaminate)
    if (
        pool.reserve
        and len(kept if decontaminate else rows) < need
        and has_split(origin, pool.reserve, data_dir=data_dir)
    ):
        present.append(pool.reserve)
        rows += load_rows(origin, pool.reserve, data_dir=data_dir)
        kept, dropped = _fit_to_use(benchmark, rows, data_dir, decontaminate)
    words = f"{origin} {'+'.join(present)}" + (f" {pool.converted}" if pool.converted else "")
    return kept, words, dropped


def _fit_to_use(
    benchmark: str, rows: list[Row], data_dir: str | Path | None, decontaminate: bool
) -> tuple[list[Row], int]:
    """Rows of a pool, converted, no question twice and none of the test set; and how many more were contaminated."""
    if convert := benchmarks.benchmark(benchmark).pool.convert:
        rows = [converted for row in rows if (converted := convert(row))]
    unique = {user_turn(benchmark, row): row for row in rows}
    if not has_split(benchmark, "test", data_dir=data_dir):
        if decontaminate:
            load_rows(benchmark, "test", data_dir=data_dir)  # raises, and says what to set
        return list(unique.values()), 0
    tests = load_rows(benchmark, "test", data_dir=data_dir)
    for row in tests:
        unique.pop(user_turn(benchmark, row), None)
    kept = list(unique.values())
    if not decontaminate:
        return kept, 0
    known = held_out(tuple(benchmarks.benchmark(benchmark).compared(row) for row in tests))
    clean = [row for row in kept if not known.has(to_chat(benchmark, row))]
    return clean, len(kept) - len(clean)


def _fit(sizes: dict[str, int], available: int) -> dict[str, int]:
    """``sizes``, scaled down in proportion to fit ``available``; no split that was asked for gets empty."""
    asked = sum(sizes.values())
    if asked <= available:
        return sizes
    fitted = {name: max(1, size * available // asked) if size else 0 for name, size in sizes.items()}
    # What the smallest were given so as not to be empty is the largest's.
    largest = max(fitted, key=lambda name: fitted[name])
    fitted[largest] -= max(0, sum(fitted.values()) - available)
    if sizes[largest] and fitted[largest] < 1:
        raise DataError(f"{available} training records are too few for the splits {sizes}")
    return fitted


def _from_folder(
    benchmark: str,
    folder: Path,
    seed: int,
    sizes: dict[str, int],
    names: tuple[SplitName, ...],
    decontaminate: bool,
    data_dir: str | Path | None,
) -> Splits:
    if not folder.is_dir():
        raise MissingDataError(f"the folder of splits does not exist: {folder}")
    own_validation = (folder / _file_name(benchmark, "validation")).is_file()
    carved_from_train = "validation" in names and not own_validation
    read = [n for n in SPLIT_NAMES if n in names and (n != "validation" or own_validation)]
    parts = {n: _read_split(folder, benchmark, n) for n in [*read, *(["train"] if carved_from_train else [])]}
    dropped = {name: 0 for name in parts}
    if decontaminate:
        tests = load_rows(benchmark, "test", data_dir=data_dir)
        known = held_out(tuple(benchmarks.benchmark(benchmark).compared(row) for row in tests))
        for name, records in parts.items():
            parts[name] = [record for record in records if not known.has(record)]
            dropped[name] = len(records) - len(parts[name])
        if any(dropped.values()):
            said = ", ".join(f"{count} of {name}" for name, count in dropped.items() if count)
            _say_once(
                f"{benchmark}: {said} in {folder} are left out: they share 13 words in a row or a whole question with "
                "the test set"
            )
    if carved_from_train:
        wanted = sizes.get("validation", default_sizes(benchmark)["validation"])
        if wanted >= len(parts["train"]):
            raise ConfigError(f"validation={wanted} would use up the {len(parts['train'])} train records of {folder}")
        taken = set(random.Random(seed).sample(range(len(parts["train"])), wanted))
        parts["validation"] = [record for i, record in enumerate(parts["train"]) if i in taken]
        parts["train"] = [record for i, record in enumerate(parts["train"]) if i not in taken]
    parts = {name: parts.get(name, []) if name in names else [] for name in SPLIT_NAMES}
    for name, size in sizes.items():
        if name not in names:
            continue
        if size > len(parts[name]):
            raise ConfigError(f"{name}={size}, but {folder} has {len(parts[name])} {name} records of {benchmark}")
        parts[name] = parts[name][:size]
    carved = f", validation carved from train with seed {seed}" if carved_from_train else ""
    left_out = sum(dropped.values())
    without = f", {left_out} of the test set's left out" if decontaminate else ""
    splits = Splits(
        benchmark=benchmark, source=f"files of {folder.name}{without}{carved}", names=names, dropped=left_out, **parts
    )
    if shared := splits.overlaps():
        raise DataError(f"splits of {benchmark} in {folder} share questions: {shared}")
    return splits


def _file_name(benchmark: str, split: str) -> str:
    return f"{benchmarks.benchmark(benchmark).stem}_{split}_split.jsonl"


def _read_split(folder: Path, benchmark: str, split: str) -> list[ChatRecord]:
    path = folder / _file_name(benchmark, split)
    if not path.is_file():
        raise MissingDataError(f"no {path.name} in {folder}")
    records: list[ChatRecord] = []
    # Not splitlines(): it would also cut at the U+2028 inside some published records.
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            roles = [message["role"] for message in messages]
            complete = roles[-1] == "assistant" and set(roles) <= {"system", "user", "assistant"}
            for message in messages:
                message["content"].encode()  # text, and without halves of characters
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            complete = False
        if not complete or len(messages) < 2:
            raise DataError(f'{path}, line {number}: a record is {{"messages": [user, assistant]}}')
        records.append({"messages": [{"role": m["role"], "content": m["content"]} for m in messages]})
    return records


def _sha256(content: Sequence[object] | Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, sort_keys=True).encode()).hexdigest()
