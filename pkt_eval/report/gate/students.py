"""Which student of a folder is meant: the only one, or the one that is named behind ``::``; with all its seeds."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pkt_eval._util.options import did_you_mean
from pkt_eval.errors import ConfigError
from pkt_eval.report.records import Record, join, read


def load(place: str) -> tuple[list[Record], list[str]]:
    """Records of one student.

    Args:
        place: A folder of records, a results JSON, or ``FOLDER::STUDENT``. A student is named as the error names it
            that is raised where there are several, ``lora``, which means all its seeds; one of them is ``lora/seed1``.

    Returns:
        One record a benchmark and seed, and the notes of ``records.read``.

    Raises:
        ConfigError: There is no such student, or there are several; lists them.
        MissingDataError: The folder is not there, or holds no results.
        DataError: A file is truncated or altered.
    """
    folder, colons, name = place.rpartition("::")
    if not colons or os.path.exists(place):
        folder, name = place, ""
    elif not folder or not name:
        raise ConfigError(f"{place!r} is not of the form FOLDER::STUDENT, e.g. suite::lora")
    tasks, notes = read([Path(folder)])
    records = join(tasks)
    if name:
        chosen = [record for record in records if name in _names(record)]
        if not chosen:
            there = _listed(records)
            head, slash, seed = name.rpartition("/seed")
            seeds = {str(r.student.seed) for r in records if slash and head in _names(r)} - {"None"}
            if seeds:
                raise ConfigError(f"{folder} holds {head}, but not its seed {seed}; it has {', '.join(sorted(seeds))}")
            raise ConfigError(f"{folder} holds no student {name!r}: {did_you_mean(name, there)}{_it_holds(there)}")
        records = chosen
    return only_student(records, folder, f"; choose one, such as '{folder}::{{}}'"), notes


def _it_holds(students: Sequence[str]) -> str:
    return f"it holds {', '.join(students)}"


def only_student(records: Sequence[Record], where: str, how: str = "") -> list[Record]:
    """The records, if they are of one student and one a benchmark and seed.

    Args:
        records: Joined.
        where: They come from, for the error.
        how: What to do; ``{}`` becomes one of the names.

    Raises:
        ConfigError: There are none, or they are of several students; lists them.
    """
    if not records:
        raise ConfigError(f"{where} has no records")
    several = len({(r.student.label, r.student.base.name) for r in records}) > 1
    if several or max(Counter((r.benchmark, r.fewshot, r.student.seed) for r in records).values()) > 1:
        listed = _listed(records)
        if len(listed) == 1:  # one name, made twice from other data
            files = ", ".join(sorted({str(record.results) for record in records}))
            raise ConfigError(f"{where} holds {listed[0]} more than once; name one of {files}")
        raise ConfigError(f"{where} holds several students: {', '.join(listed)}{how.format(listed[-1])}")
    return list(records)


def name_of(records: Sequence[Record]) -> str:
    """What a table calls the student of some records, with its seeds where it has any."""
    label = records[0].student.label
    seeds = sorted({record.student.seed for record in records if record.student.seed is not None})
    if not seeds:
        return label
    if len(seeds) > _SEEDS_NAMED:
        return f"{label}, {len(seeds)} seeds"
    *most, last = map(str, seeds)
    return f"{label}, seeds {', '.join(most)} and {last}" if most else f"{label}, seed {last}"


_SEEDS_NAMED = 5


def _listed(records: Sequence[Record]) -> list[str]:
    """Every student once, whatever its seeds, by the shortest name that tells them apart."""
    bases: dict[str, set[str]] = {}
    cells: dict[tuple[str, str, str, int | None], set[str | None]] = {}
    for record in records:
        student = record.student
        bases.setdefault(student.label, set()).add(student.base.name)
        cell = (student.label, student.base.name, record.benchmark, record.fewshot)
        cells.setdefault(cell, set()).add(student.transfer_task)
    names = set()
    for (label, base, *_), tasks in cells.items():
        head = f"{label} of {base}" if len(bases[label]) > 1 else label
        names |= {f"{head}/{task}" if len(tasks) > 1 else head for task in tasks}
    return sorted(names)


def _names(record: Record) -> set[str]:
    """Everything that a student can be called."""
    student = record.student
    heads = {student.label, f"{student.label} of {student.base.name}"}
    heads |= {student.method} if student.method else {student.base.name}
    seed = f"/seed{student.seed}"
    tails = {"", seed, f"/{student.transfer_task}", f"/{student.transfer_task}{seed}"}
    return {head + tail for head in heads for tail in tails}
