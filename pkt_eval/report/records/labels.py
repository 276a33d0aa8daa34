"""What a table calls the students of a comparison: by their method, and by what tells them apart."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import partial

from pkt_eval.report.records.students import CONTENT, ScoredStudent, sources


def labelled(students: Iterable[ScoredStudent]) -> dict[str, str]:
    """variant → label: the method, and the options in which students of one method and pair differ.

    How many records there are is a task's own affair, so it is said only where that alone makes the difference on one
    and the same task.
    """
    labels: dict[str, str] = {}
    for group in _grouped(students, lambda s: (s.label, *sources(s))):
        options = _varying(group, samples=False)
        for alike in _grouped(group, partial(_said, keys=options)):
            sized = _grouped(alike, lambda s: s.transfer_task)
            keys = options + sorted({key for of in sized for key in _varying(of, samples=True)})
            for student in alike:
                labels[student.variant] = _label(student, _said(student, keys))
    return labels


def _grouped(students: Iterable[ScoredStudent], key: Callable[[ScoredStudent], Hashable]) -> list[list[ScoredStudent]]:
    groups: dict[Hashable, list[ScoredStudent]] = defaultdict(list)
    for student in students:
        groups[key(student)].append(student)
    return list(groups.values())


def _varying(students: list[ScoredStudent], samples: bool) -> list[str]:
    """Options that are not the same for all that know them: numbers of records, or all others.

    A record of before an option was there says nothing of it.
    """
    known = [_options(student) for student in students]
    keys = {key for options in known for key in options if key.endswith("_samples") == samples}
    return sorted(key for key in keys if len({repr(options[key]) for options in known if key in options}) > 1)


def _said(student: ScoredStudent, keys: Iterable[str]) -> str:
    options = _options(student)
    return ", ".join(f"{key}={_value(options[key])}" for key in keys if key in options)


def _options(student: ScoredStudent) -> dict[str, object]:
    """What may tell students of one label apart: two adapters may have one name."""
    return student.options | {key: value for key, value in student.loaded.items() if key == CONTENT}


def _label(student: ScoredStudent, said: str) -> str:
    if not said:
        return student.label
    ours = student.method and student.loaded  # its label ends in what it was loaded with
    return f"{student.label.removesuffix(')')}, {said})" if ours else f"{student.label} ({said})"


def relabel(student: ScoredStudent, label: str) -> ScoredStudent:
    """The same student under another label."""
    return student if student.label == label else replace(student, label=label)


def _value(value: object) -> str:
    if value in (None, []):
        return "default"
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
