"""The four splits of a transfer: ``extract`` (locate), ``align``, ``train`` and ``validation``, out of
training data.

They are disjoint by question, seeded, and identified by a hash of their content. ``validation`` is the only
one that may choose anything (a step, a rate). A training question that is, word for word, a test question of
the same benchmark is left out (MBPP has one); what else they share with test sets is for ``decontaminate`` to
report.
"""

import hashlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pkt_eval.data import benchmarks
from pkt_eval.data.records import to_chat, user_turn
from pkt_eval.data.rows import ChatRecord, Row
from pkt_eval.data.sources import has_split, load_rows
from pkt_eval.errors import ConfigError, DataError, MissingDataError

log = logging.getLogger(__name__)

SPLIT_NAMES = ("extract", "align", "train", "validation")


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
    """

    benchmark: str
    extract: list[ChatRecord]
    align: list[ChatRecord]
    train: list[ChatRecord]
    validation: list[ChatRecord]
    source: str

    def __getitem__(self, name: str) -> list[ChatRecord]:
        if name not in SPLIT_NAMES:
            raise KeyError(f"{name!r}: the splits are {', '.join(SPLIT_NAMES)}")
        records: list[ChatRecord] = getattr(self, name)
        return records

    @property
    def sizes(self) -> dict[str, int]:
        """Number of records of each split."""
        return {name: len(self[name]) for name in SPLIT_NAMES}

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each split's content; the order of the records counts."""
        return {name: _sha256(self[name]) for name in SPLIT_NAMES}

    @property
    def digest(self) -> str:
        """SHA-256 of all four splits."""
        return _sha256(self.digests)

    def overlaps(self) -> dict[tuple[str, str], int]:
        """Questions that two splits share, for each pair that shares any; empty where all are disjoint."""
        questions = {name: {question_text(record) for record in self[name]} for name in SPLIT_NAMES}
        pairs = [(a, b) for i, a in enumerate(SPLIT_NAMES) for b in SPLIT_NAMES[i + 1 :]]
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
) -> Splits:
    """The splits of a transfer.

    Without ``splits_dir`` they are drawn from the benchmark's training data, shuffled with ``seed``. Where
    these are too few, every split shrinks in proportion, and a warning gives the sizes.

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
        return _from_folder(benchmark, Path(splits_dir).expanduser(), seed, sizes)
    return _from_rows(benchmark, seed, data_dir, default_sizes(benchmark) | sizes)


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


def _from_rows(benchmark: str, seed: int, data_dir: str | Path | None, sizes: dict[str, int]) -> Splits:
    rows, source = _pool(benchmark, data_dir, need=sum(sizes.values()))
    fitted = _fit(sizes, len(rows))
    if fitted != sizes:
        _say_once(
            f"{benchmark}: the splits ask for {sum(sizes.values())} records and {source} has {len(rows)}; "
            f"they shrink to {', '.join(f'{name} {size}' for name, size in fitted.items())}"
        )
    random.Random(seed).shuffle(rows)
    parts: dict[str, list[ChatRecord]] = {}
    start = 0
    for name in SPLIT_NAMES:
        parts[name] = [to_chat(benchmark, row) for row in rows[start : start + fitted[name]]]
        start += fitted[name]
    return Splits(benchmark=benchmark, source=f"{source}, seed {seed}", **parts)


@cache
def _say_once(message: str) -> None:
    log.warning(message)


def _pool(benchmark: str, data_dir: str | Path | None, need: int) -> tuple[list[Row], str]:
    """The training records of a benchmark, no question twice and none of the test set; and their source."""
    pool = benchmarks.benchmark(benchmark).pool
    origin = pool.lender or benchmark
    present = [name for name in pool.splits if has_split(origin, name, data_dir=data_dir)]
    if not present:
        load_rows(origin, pool.splits[0], data_dir=data_dir)  # raises, and says what to set
    rows = [row for name in present for row in load_rows(origin, name, data_dir=data_dir)]
    if pool.reserve and len(rows) < need and has_split(origin, pool.reserve, data_dir=data_dir):
        present.append(pool.reserve)
        rows += load_rows(origin, pool.reserve, data_dir=data_dir)
    if pool.convert:
        rows = [converted for row in rows if (converted := pool.convert(row))]
    unique = {user_turn(benchmark, row): row for row in rows}
    if has_split(benchmark, "test", data_dir=data_dir):
        for row in load_rows(benchmark, "test", data_dir=data_dir):
            unique.pop(user_turn(benchmark, row), None)
    words = f"{origin} {'+'.join(present)}" + (f" {pool.converted}" if pool.converted else "")
    return list(unique.values()), words


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


def _from_folder(benchmark: str, folder: Path, seed: int, sizes: dict[str, int]) -> Splits:
    if not folder.is_dir():
        raise MissingDataError(f"the folder of splits does not exist: {folder}")
    parts = {name: _read_split(folder, benchmark, name) for name in ("extract", "align", "train")}
    own_validation = (folder / _file_name(benchmark, "validation")).is_file()
    if own_validation:
        parts["validation"] = _read_split(folder, benchmark, "validation")
    else:
        wanted = sizes.get("validation", default_sizes(benchmark)["validation"])
        if wanted >= len(parts["train"]):
            raise ConfigError(f"validation={wanted} would use up the {len(parts['train'])} train records of {folder}")
        taken = set(random.Random(seed).sample(range(len(parts["train"])), wanted))
        parts["validation"] = [record for i, record in enumerate(parts["train"]) if i in taken]
        parts["train"] = [record for i, record in enumerate(parts["train"]) if i not in taken]
    for name, size in sizes.items():
        if size > len(parts[name]):
            raise ConfigError(f"{name}={size}, but {folder} has {len(parts[name])} {name} records of {benchmark}")
        parts[name] = parts[name][:size]
    carved = "" if own_validation else f", validation carved from train with seed {seed}"
    splits = Splits(benchmark=benchmark, source=f"files of {folder.name}{carved}", **parts)
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
