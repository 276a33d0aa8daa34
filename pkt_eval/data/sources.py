"""Where benchmark rows come from: a local folder, the Hugging Face hub, or the embedded nano family.

In this order: the ``data_dir`` argument (``--metadata '{"data_dir": …}'`` in lm-eval), the environment
variable ``PKT_EVAL_DATA``, the hub. A local folder holds ``{benchmark}/{split}.jsonl`` or ``.parquet`` in the
hub's columns; MMLU is one file a split, with its ``subject`` column. Rows are returned as they are: wording
is the business of ``records``. Offline, without a folder and with nothing in the hub's cache, the answer is
one line and takes seconds.
"""

import difflib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pkt_eval._util import hub
from pkt_eval.data.benchmarks import Embedded, Hub, benchmark
from pkt_eval.data.rows import Row
from pkt_eval.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from datasets import DatasetDict

DATA_ENV = "PKT_EVAL_DATA"

SUFFIXES = (".jsonl", ".parquet")


def load_rows(name: str, split: str, *, data_dir: str | Path | None = None) -> list[Row]:
    """The rows of one split, in their published order.

    Args:
        name: A benchmark, of either family.
        split: One of its row's ``splits``, or another that the source has (MMLU's ``auxiliary_train``).
        data_dir: A local folder; default: the folder named by ``PKT_EVAL_DATA``, else the hub.

    Raises:
        DataError: An unknown benchmark, or a file that is not rows.
        MissingDataError: No such split, or nothing local and the hub out of reach; the message says what to
            set.
    """
    source = benchmark(name).source
    if isinstance(source, Embedded):
        return _embedded_rows(source, split)
    folder = local_folder(data_dir)
    if folder is None:
        return list(_hub_rows(name, source, split))
    path = _split_file(folder, name, split)
    return list(_read(path, path.stat().st_mtime_ns))


def has_split(name: str, split: str, *, data_dir: str | Path | None = None) -> bool:
    """Whether ``load_rows`` can find a split; False, not an error, where only this split is missing."""
    try:
        load_rows(name, split, data_dir=data_dir)
    except MissingDataError:
        return False
    return True


def load_dataset(name: str, *, data_dir: str | Path | None = None, subject: str | None = None) -> "DatasetDict":
    """The splits of a benchmark as lm-eval wants them.

    Args:
        name: As for ``load_rows``.
        data_dir: As for ``load_rows``.
        subject: Keep the rows of this MMLU subject alone.

    Returns:
        A ``datasets.DatasetDict`` with ``test`` and those of the benchmark's other ``splits`` that are there.

    Raises:
        DataError: An unknown benchmark or subject (with the nearest names), or a malformed file.
        MissingDataError: No test split can be found.
    """
    from datasets import Dataset, DatasetDict

    rows: dict[str, list[Row]] = {}
    for split in benchmark(name).splits:
        if split == "test" or has_split(name, split, data_dir=data_dir):
            rows[split] = load_rows(name, split, data_dir=data_dir)
    if subject is not None:
        _check_subject(subject, {row["subject"] for row in rows["test"]}, benchmark(name).title)
        rows = {split: [row for row in of_all if row["subject"] == subject] for split, of_all in rows.items()}
    return DatasetDict({split: Dataset.from_list(kept) for split, kept in rows.items() if kept})


def local_folder(data_dir: str | Path | None = None) -> Path | None:
    """The local folder in force, or None for the hub.

    Raises:
        MissingDataError: a folder is named and does not exist.
    """
    named = data_dir or os.environ.get(DATA_ENV)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        source = "data_dir" if data_dir else DATA_ENV
        raise MissingDataError(f"{source} names a folder that does not exist: {folder}")
    return folder


def _split_file(folder: Path, name: str, split: str) -> Path:
    candidates = [folder / name / f"{split}{suffix}" for suffix in SUFFIXES]
    for path in candidates:
        if path.is_file():
            return path
    present = sorted(p.stem for p in (folder / name).glob("*") if p.suffix in SUFFIXES)  # an absent folder has none
    raise MissingDataError(
        f"no split {split!r} of {name} in {folder}: expected {name}/{split}.jsonl or .parquet; "
        f"there: {', '.join(present) or 'nothing'}"
    )


@lru_cache(maxsize=16)
def _read(path: Path, _mtime_ns: int) -> list[Row]:
    """The rows of a file, cached (57 MMLU subjects read one); the time stamp notices a changed file."""
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            table: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
            return table
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, OSError, RecursionError) as error:  # json's and pyarrow's errors are ValueErrors
        raise DataError(f"{path} cannot be read as rows: {error}") from None
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: every line must be a JSON object")
    return rows


def _embedded_rows(source: Embedded, split: str) -> list[Row]:
    from pkt_eval.nano import benchmarks as nano

    try:
        return nano.rows(source.name, split)
    except DataError as error:  # the benchmark is known to exist, so it is the split that does not
        raise MissingDataError(str(error)) from None


@lru_cache(maxsize=16)
def _hub_rows(name: str, source: Hub, split: str) -> list[Row]:
    import datasets

    try:
        with hub.offline_if_unreachable():
            return list(datasets.load_dataset(source.path, source.config, split=split))
    except ValueError as error:  # datasets' word for a split or configuration that does not exist
        raise MissingDataError(f"{source.path} ({source.config}) on the hub: {error}") from None
    except OSError:  # ConnectionError and FileNotFoundError: neither reachable nor cached
        raise MissingDataError(
            f"the {split} rows of {name} ({source.path}) are neither in the hub's cache nor reachable: "
            f"set {DATA_ENV} (or --metadata '{{\"data_dir\": …}}') to a folder that holds "
            f"{name}/{split}.jsonl or .parquet"
        ) from None


def _check_subject(subject: str, known: set[str], title: str) -> None:
    if subject not in known:
        near = difflib.get_close_matches(subject, sorted(known), n=3)
        raise DataError(f"no {title} subject {subject!r} in the test rows; nearest: {', '.join(near) or 'none'}")
