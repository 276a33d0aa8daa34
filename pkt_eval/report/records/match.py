"""Records side by side: the same documents, by hash and not by position, or the reason why they cannot be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pkt_eval.errors import DataError
from pkt_eval.report.records.record import Record


class NotComparableError(DataError):
    """Two records were not made under the same conditions."""


@dataclass(frozen=True)
class Aligned:
    """Records on the documents that all of them have.

    Attributes:
        keys: ``(N,)`` documents, in the order of the first record.
        scores: ``(R, N)``.
        clusters: ``(N,)`` subjects; None where the documents have none.
        left_out: For each record, how many of its documents the others lack.
        notes: What differs and is compared nevertheless.
    """

    keys: list[str]
    scores: np.ndarray
    clusters: np.ndarray | None
    left_out: tuple[int, ...]
    notes: tuple[str, ...]


def side_by_side(records: Sequence[Record]) -> Aligned:
    """Match records by document.

    Different subsets are compared on what they have in common, which ``notes`` says; so are different batch sizes and
    dtypes, which move a few answers. What makes it another question is refused.

    Args:
        records: Of one task or benchmark.

    Raises:
        NotComparableError: They differ in task, version, metric, filter, examples, template, generation, or, for one
            and the same document, in prompt or target; or they have no document in common, or no items at all.
    """
    first = records[0]
    for other in records:
        if reason := not_comparable(first, other):
            raise NotComparableError(reason)
    keys = [key for key in first.items if all(key in other.items for other in records)]
    if not keys:
        raise NotComparableError(f"{_who(records)} have no document of {first.task} in common")
    left_out = tuple(len(record.items) - len(keys) for record in records)
    notes = []
    if any(left_out):
        sizes = sorted({len(record.items) for record in records})
        notes.append(f"{_who(records)}: compared on the {len(keys)} documents in common (of {_words(sizes)})")
    conditions = {"batch_size": "batch_size", "dtype": "dtype", "backend": "answered_by"}
    for name, attribute in conditions.items():
        values = sorted({getattr(record, attribute) for record in records})
        if len(values) > 1:
            notes.append(
                f"{_who(records)}: evaluated with different {name} ({_words(values)}), which moves a few answers"
            )
    if len(shots := sorted({record.student.shots for record in records})) > 1:
        notes.append(f"{_who(records)}: with {_words(shots)} worked examples in the chat template")
    clusters = [first.items[key].cluster for key in keys]
    return Aligned(
        keys=keys,
        scores=np.array([[record.items[key].score for key in keys] for record in records]),
        clusters=np.array(clusters) if all(clusters) else None,
        left_out=left_out,
        notes=tuple(notes),
    )


def not_comparable(a: Record, b: Record) -> str:
    """Why two records cannot be compared, as a sentence; "" where they can be."""
    for record in (a, b):
        if not record.items:
            return f"{record.student.label} on {record.task}: {record.reason}"
    # Few-shot prompting is a student of another prompt: what it was asked is the same in the document alone.
    prompted = a.student.shots or b.student.shots
    for name, said in _SETTINGS.items():
        if prompted and name == "template":
            continue
        x, y = getattr(a, name), getattr(b, name)
        if x != y:
            return f"{_who([a, b])} on {a.task}: {said} ({_shown(x)} against {_shown(y)})"
    for key, item in a.items.items():
        other = b.items.get(key)
        if other is None:
            continue
        for name in ("target",) if prompted else ("prompt", "target"):
            if getattr(item, f"{name}_hash") != getattr(other, f"{name}_hash"):
                return f"{_who([a, b])} on {a.task}: the {name}s of document {item.doc_id} differ"
    return ""


def conditions(record: Record) -> tuple[object, ...]:
    """How a record was asked and scored; another one under other conditions cannot be compared with it."""
    return tuple(getattr(record, name) for name in _SETTINGS)


_SETTINGS = {
    "task": "different tasks",
    "version": "different versions of the task",
    "metric": "different metrics",
    "filter": "different filters",
    "fewshot": "different numbers of examples in the prompt",
    "template": "different chat templates",
    "generation": "different generation settings",
}


def _who(records: Sequence[Record]) -> str:
    return _words(list(dict.fromkeys(record.student.label for record in records)))


def _words(values: Sequence[object]) -> str:
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def _shown(value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if len(text) == 64 else text
