"""Which student of a folder is meant: the only one, or the one that is named behind ``::``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pkt_eval.errors import ConfigError
from pkt_eval.report.records import Record, join, read


def load(place: str) -> tuple[list[Record], list[str]]:
    """Records of one student.

    Args:
        place: A folder of records, a results JSON, or ``FOLDER::STUDENT``. A student is named as the error names it
            that is raised where there are several: ``lora``, ``lora/seed1``.

    Returns:
        One record a benchmark, and the notes of ``records.read``.

    Raises:
        ConfigError: There is no such student, or there are several; lists them.
        MissingDataError: The folder is not there, or holds no results.
        DataError: A file is truncated or altered.
    """
    folder, colons, name = place.rpartition("::")
    if not colons or Path(place).exists():
        folder, name = place, ""
    tasks, notes = read([Path(folder)])
    records = join(tasks)
    if name:
        chosen = [record for record in records if name in _names(record)]
        if not chosen:
            raise ConfigError(f"{folder} holds no student {name!r}; it holds {', '.join(_listed(records))}")
        records = chosen
    return only_student(records, folder, f"; choose one, such as '{folder}::{{}}'"), notes


def only_student(records: Sequence[Record], where: str, how: str = "") -> list[Record]:
    """The records, if they are of one student and one a benchmark.

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
    if several or max(Counter((r.benchmark, r.fewshot) for r in records).values()) > 1:
        listed = _listed(records)
        if len(listed) == 1:  # one name, made twice from other data
            files = ", ".join(sorted({str(record.results) for record in records}))
            raise ConfigError(f"{where} holds {listed[0]} more than once; name one of {files}")
        raise ConfigError(f"{where} holds several students: {', '.join(listed)}{how.format(listed[-1])}")
    return list(records)


def name_of(record: Record) -> str:
    """What a table calls the student, with its seed where it has one."""
    student = record.student
    return student.label if student.seed is None else f"{student.label}, seed {student.seed}"


def _listed(records: Sequence[Record]) -> list[str]:
    """Every student once, by the shortest name that tells them apart."""
    bases: dict[str, set[str]] = {}
    cells: dict[tuple[str, str, str, int | None], list[Record]] = {}
    for record in records:
        student = record.student
        bases.setdefault(student.label, set()).add(student.base.name)
        cells.setdefault((student.label, student.base.name, record.benchmark, record.fewshot), []).append(record)
    names = []
    for (label, base, *_), group in cells.items():
        head = f"{label} of {base}" if len(bases[label]) > 1 else label
        tasks, seeds = ({getattr(r.student, key) for r in group} for key in ("transfer_task", "seed"))
        for record in group:
            task = f"/{record.student.transfer_task}" if len(tasks) > 1 else ""
            seed = f"/seed{record.student.seed}" if len(seeds) > 1 else ""
            names.append(f"{head}{task}{seed}")
    return sorted(set(names))


def _names(record: Record) -> set[str]:
    """Everything that a student can be called."""
    student = record.student
    heads = {student.label, f"{student.label} of {student.base.name}"}
    heads |= {student.method} if student.method else {student.base.name}
    seed = f"/seed{student.seed}"
    tails = {"", seed, f"/{student.transfer_task}", f"/{student.transfer_task}{seed}"}
    return {head + tail for head in heads for tail in tails}
