"""Reading the records of a comparison: lm-eval's results JSON with its samples, of our students and of anybody's.

Items are keyed by the hash that lm-eval gives a document, so that two records can be matched whatever their order and
subset. Nothing here compares (``match``) or counts (``stats``).
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pkt_eval.errors import MissingDataError
from pkt_eval.report.records.digests import UNFINISHED
from pkt_eval.report.records.labels import labelled, relabel
from pkt_eval.report.records.record import Record
from pkt_eval.report.records.results import records_of


def read(paths: Sequence[Path]) -> tuple[list[Record], list[str]]:
    """Read every record under ``paths``.

    Args:
        paths: Folders of suites, ``--output_path`` folders of lm-eval, or results JSON files.

    Returns:
        The records, in an order that does not depend on the file system, and notes on what was left out: of a student
        that was run twice on a task the newest record counts.

    Raises:
        MissingDataError: A path is not there, or there are no results under it.
        DataError: A file is truncated, altered, or not lm-eval's; names it.
    """
    texts: dict[str, str] = {}
    records = [record for path in _results_files(paths) for record in records_of(path, texts)]
    labels = labelled(record.student for record in records)
    return _newest([replace(r, student=relabel(r.student, labels[r.student.variant])) for r in records])


def _results_files(paths: Sequence[Path]) -> list[Path]:
    files: dict[str, Path] = {}
    for path in paths:
        if not os.path.exists(path):  # also where the name is too long to be anything's
            raise MissingDataError(
                f"{str(path)[:200]} is not there; name the folder of a suite or of lm_eval's --output_path"
            )
        here = [path] if path.is_file() else sorted(f for f in path.rglob("results_*.json") if _is_in_place(f, path))
        if not here:
            raise MissingDataError(f"{path} holds no results_*.json: run lm_eval with --output_path {path}, or a suite")
        files |= {os.path.realpath(file): file for file in here if os.path.realpath(file) not in files}
    return list(files.values())


def _is_in_place(file: Path, within: Path) -> bool:
    return UNFINISHED not in file.relative_to(within).parts


def _newest(records: list[Record]) -> tuple[list[Record], list[str]]:
    newest: dict[tuple[str, str, str, int | None], Record] = {}
    notes = set()
    for record in sorted(records, key=lambda r: (r.date, str(r.results))):
        key = (record.student.identity, record.task, record.benchmark, record.fewshot)
        if older := newest.pop(key, None):
            notes.add(
                f"{record.student.label} was run more than once on {record.benchmark}: {record.results.name} counts, "
                f"the older {older.results.name} does not"
            )
        newest[key] = record
    order = {id(record): place for place, record in enumerate(records)}
    return sorted(newest.values(), key=lambda r: order[id(r)]), sorted(notes)
