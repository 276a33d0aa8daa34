"""The record of a cell, ``cell.json``: its scores, what decided them, and the files that belong to it.

It is written before lm-eval's files are moved beside it, and so names them at every moment: a cell whose files are not
all there, as they were written, is a cell to redo, and what an earlier one left is known by name.
"""

import json
import logging
from pathlib import Path
from typing import Any, TypedDict, cast

from pkt_eval._util.digests import file_digest
from pkt_eval._util.files import save_text

log = logging.getLogger(__name__)

RECORD = "cell.json"

_ASIDE = "replaced"
"""Ending of what is set aside."""

Identity = dict[str, Any]
"""Everything that decides the samples of a cell, as JSON."""


class CellRecord(TypedDict):
    """What is kept of a finished cell.

    Attributes:
        scores: Task → metric (as lm-eval names it, ``exact_match,flexible-extract``) → value.
        items: Task → number of items that were asked.
        seconds: From the first request to the last file.
        identity: What decided the samples.
        files: Name in the cell's folder → sha256.
    """

    scores: dict[str, dict[str, float]]
    items: dict[str, int]
    seconds: float
    identity: Identity
    files: dict[str, str]


def read_record(folder: Path) -> CellRecord | None:
    """The record in a cell's folder, None where there is none; one that is malformed is said and is none."""
    path = folder / RECORD
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s): the cell is done again", path, error)
        return None
    if not _is_record(content):
        log.warning("%s is not a cell's record: the cell is done again", path)
        return None
    return cast(CellRecord, content)


def _is_record(content: object) -> bool:
    if not isinstance(content, dict):
        return False
    scores, items, files = (content.get(key) for key in ("scores", "items", "files"))
    if not (isinstance(scores, dict) and isinstance(items, dict) and isinstance(files, dict)):
        return False
    numbers = [value for values in scores.values() if isinstance(values, dict) for value in values.values()]
    return (
        all(isinstance(values, dict) for values in scores.values())
        and all(isinstance(value, int | float) for value in [*numbers, *items.values(), content.get("seconds")])
        and isinstance(content.get("identity"), dict)
        and bool(files)
        and all(_is_ours(name) and isinstance(digest, str) for name, digest in files.items())
    )


def _is_ours(name: str) -> bool:
    """Whether a file may belong to a cell: no path out of its folder, and named as lm-eval names what it writes."""
    return name.startswith(("results_", "samples_")) and not set(name) & set("/\\\0")


def _is_read(name: str) -> bool:
    """Whether a report would read a file."""
    return _is_ours(name) and name.endswith((".json", ".jsonl", ".jsonl.gz"))


def is_whole(folder: Path, record: CellRecord) -> bool:
    """Whether a cell's files are as they were written."""
    try:
        return all(file_digest(folder / name) == digest for name, digest in record["files"].items())
    except OSError:
        return False


def finished(folder: Path, identity: Identity) -> CellRecord | None:
    """The record of a cell that was evaluated under the same identity and whose files are as they were written."""
    record = read_record(folder)
    return record if record and record["identity"] == identity and is_whole(folder, record) else None


def replace(folder: Path, record: CellRecord, files: list[Path]) -> None:
    """Put a cell's record and files in the place of an earlier evaluation's.

    What the earlier record lists goes. Results and samples that it does not list, or that are left of a record which
    was damaged, are not known to be ours: they are set aside under another name, where no report finds them.

    Args:
        folder: The cell's.
        record: The new one.
        files: Those that it names, elsewhere on the same disk.
    """
    for name in (read_record(folder) or {"files": {}})["files"]:
        (folder / name).unlink(missing_ok=True)
    for stray in [path for path in folder.iterdir() if path.is_file() and _is_read(path.name)]:
        aside = stray.with_name(f"{stray.name}.{_ASIDE}")
        log.warning("%s is of no record of this cell: it is called %s now", stray, aside.name)
        stray.replace(aside)
    save_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")
    for path in files:
        path.replace(folder / path.name)
