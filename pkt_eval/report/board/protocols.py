"""What stands beside a table of scores: what was asked, how, with what and when, as far as the records say."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pkt_eval.report.records import Record
from pkt_eval.report.records.students import ScoredStudent


def protocols(records: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, list[str]]]:
    """Benchmark → what → its values, each once.

    Args:
        records: Benchmark → all records of a pair.
    """
    return {benchmark: _of(each) for benchmark, each in records.items()}


def _of(records: Sequence[Record]) -> dict[str, list[str]]:
    students = [record.student for record in records]
    said = {
        "task": [f"{r.task}, version {r.version}" for r in records],
        "score": [f"{r.metric} ({r.filter})" for r in records],
        "examples in the prompt": [_or(r.fewshot, "not recorded") for r in records],
        "chat template": [r.template[:12] if r.template else "none" for r in records],
        "limit": [_or(r.limit, "all items") for r in records],
        "documents": [_documents(r) for r in records],
        "records learnt from": [each for student in students for each in _learnt_from(student)],
        "dtype": [r.dtype for r in records],
        "batch size": [r.batch_size for r in records],
        "model type and device": [r.backend for r in records],
        "evaluated with": [_versions(r.versions) for r in records],
        "transferred with": [_versions(_made_with(student)) for student in students],
        "date": _days(r.date for r in records),
    }
    each_once = {what: list(dict.fromkeys(filter(None, values))) for what, values in said.items()}
    return {what: values for what, values in each_once.items() if values}


def _or(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:g}"


def _documents(record: Record) -> str:
    """How many, and a digest of which: the sha256 of lm-eval's hashes of them, in order."""
    if not record.items:
        return f"{record.count:,}, which ones is not recorded"
    return f"{len(record.items):,}, {hashlib.sha256(' '.join(sorted(record.items)).encode()).hexdigest()[:12]}"


def _learnt_from(student: ScoredStudent) -> list[str]:
    """Of the split that is learnt from, the size and digest."""
    digest = (student.data or {}).get("train") if student.tuned_on else None
    return [f"{student.budget.samples.get('train', 0):,}, {digest[:12]}"] if digest else []


def _made_with(student: ScoredStudent) -> Mapping[str, object]:
    made = (student.provenance or {}).get("versions")
    return made if isinstance(made, Mapping) and student.transfer_task else {}


def _versions(of: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(of.items()))


def iso(time: float) -> str:
    """Seconds since 1970 → ``2026-01-15T10:30:00+00:00``; "" for none, and for what is no date of ours."""
    try:
        return datetime.fromtimestamp(int(time), UTC).isoformat() if time else ""
    except (OverflowError, ValueError, OSError):
        return ""


def _days(times: Iterable[float]) -> list[str]:
    """First and last day, in UTC."""
    known = sorted(filter(None, map(iso, times)))
    days = [time[:10] for time in known[:1] + known[-1:]]
    return [" to ".join(dict.fromkeys(days))] if days else []
