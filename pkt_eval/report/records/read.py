"""The records of a comparison: lm-eval's results JSON with its samples, of our students and of anybody's.

A record is one student on one task. Its items are keyed by the hash that lm-eval gives a document, so that two records
can be matched whatever their order and subset. Nothing here compares (``match``) or counts (``stats``).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pkt_eval.errors import DataError, MissingDataError
from pkt_eval.report.records.items import Item, read_items
from pkt_eval.report.records.primary_metric import primary_metric
from pkt_eval.report.records.students import Student, labelled, relabel, student_of


@dataclass(frozen=True)
class Record:
    """One student on one task, or on all tasks of a benchmark (see `join`).

    Attributes:
        results: The results JSON.
        samples: The samples files; none where lm-eval was not asked for them.
        task: lm-eval's name of the task.
        benchmark: The group whose score it is part of, such as ``mmlu`` for a subject; else the task.
        version: Of the task.
        metric: Of the score.
        filter: Of the score.
        score: The task's primary metric, as in the results JSON.
        count: Items behind it.
        others: ``metric,filter`` → value of the task's other metrics.
        student: Who was scored.
        fewshot: Examples in the prompt.
        template: sha256 of the chat template; None where none was applied.
        generation: lm-eval's ``generation_kwargs``; {} where nothing is generated.
        dtype: Of the evaluation.
        batch_size: As lm-eval records it.
        limit: Items that were asked for; None for all.
        date: Seconds since 1970.
        items: Document → item; {} where ``reason`` says why.
        reason: Why there are no items, and so no paired statistics.
    """

    results: Path
    samples: tuple[Path, ...]
    task: str
    benchmark: str
    version: str
    metric: str
    filter: str
    score: float
    count: int
    others: dict[str, float]
    student: Student
    fewshot: int | None
    template: str | None
    generation: dict[str, Any]
    dtype: str
    batch_size: str
    limit: float | None
    date: float
    items: dict[str, Item] = field(default_factory=dict, repr=False)
    reason: str = ""


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
    found = [record for path in _results_files(paths) for record in _read_file(path, texts)]
    labels = labelled(record.student for record in found)
    found = [replace(r, student=relabel(r.student, labels[r.student.variant])) for r in found]
    return _newest(found)


def join(records: Sequence[Record]) -> list[Record]:
    """One record a student and benchmark: the tasks of a group, run together, become one record with all their items.

    An item's cluster is then its subject: the document's ``subject``, or its task.
    """
    groups: dict[tuple[Path, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.results, record.benchmark), []).append(record)
    return [_joined(group) if group[0].task != benchmark else group[0] for (_, benchmark), group in groups.items()]


def _joined(group: list[Record]) -> Record:
    first = group[0]
    count = sum(record.count for record in group)
    reasons = [record.reason for record in group if record.reason]
    items = {
        f"{record.task}/{key}": replace(item, cluster=item.cluster or record.task)
        for record in group
        for key, item in record.items.items()
    }
    return replace(
        first,
        samples=tuple(path for record in group for path in record.samples),
        task=first.benchmark,
        version="+".join(sorted({record.version for record in group})),
        score=sum(record.score * record.count for record in group) / count,
        count=count,
        others={},
        items={} if reasons else items,
        reason=reasons[0] if reasons else "",
    )


def _results_files(paths: Sequence[Path]) -> list[Path]:
    files: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise MissingDataError(f"{path} is not there; name the folder of a suite or of lm_eval's --output_path")
        here = [path] if path.is_file() else sorted(path.rglob("results_*.json"))
        if not here:
            raise MissingDataError(f"{path} holds no results_*.json: run lm_eval with --output_path {path}, or a suite")
        files |= {os.path.realpath(file): file for file in here if os.path.realpath(file) not in files}
    return list(files.values())


def _read_file(path: Path, texts: dict[str, str]) -> list[Record]:
    content = _load(path)
    config = content["config"]
    student = student_of(config)
    members = _benchmarks(content)
    # With --output_path NAME.json, lm-eval calls the file NAME_<time>.json.
    stamp = path.stem.rpartition("_")[2]
    found = []
    for task in content["configs"]:
        values = content["results"].get(task) or {}
        scores = {k: v for k, v in values.items() if "," in k and "_stderr," not in k and _is_number(v)}
        if not scores:
            continue
        name = primary_metric(task, scores) or next(iter(scores))
        metric, _, filter_name = name.partition(",")
        samples = path.with_name(f"samples_{task}_{stamp}.jsonl")
        if not samples.exists():
            samples = path.with_name(f"samples_{stamp}.jsonl.gz")  # as `keep` writes those of all tasks
        record = Record(
            results=path,
            samples=(samples,) if samples.exists() else (),
            task=task,
            benchmark=members.get(task, task),
            version=str(content.get("versions", {}).get(task)),
            metric=metric,
            filter=filter_name,
            score=float(scores.pop(name)),
            count=int((content.get("n-samples", {}).get(task) or {}).get("effective") or values.get("sample_len") or 0),
            others={name: float(value) for name, value in scores.items()},
            student=student,
            fewshot=content.get("n-shot", {}).get(task),
            template=content.get("chat_template_sha"),
            generation=content["configs"][task].get("generation_kwargs") or {},
            dtype=str(config.get("model_dtype", "")).removeprefix("torch."),
            batch_size=str(config.get("batch_size", "")),
            limit=config.get("limit"),
            date=float(content.get("date") or 0),
        )
        found.append(_with_items(record, texts))
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}. Remove it, or run that evaluation again.") from None
    shape = {"results": dict, "configs": dict, "config": dict}
    if not isinstance(content, dict) or any(not isinstance(content.get(k), t) for k, t in shape.items()):
        raise DataError(f"{path} is no results file of lm-eval: it needs {', '.join(shape)}")
    return content


def _benchmarks(content: dict[str, Any]) -> dict[str, str]:
    """task → its topmost group that has a score of its own; ``pkt_all`` and other mere lists have none."""
    subtasks = content.get("group_subtasks") or {}
    scored = [
        group
        for group in subtasks
        if any(_is_number(v) for k, v in (content["results"].get(group) or {}).items() if "," in k)
    ]

    def leaves(name: str) -> list[str]:
        below = subtasks.get(name) or []
        return [leaf for each in below for leaf in leaves(each)] if below else [name]

    found: dict[str, str] = {}
    for group in sorted(scored, key=lambda name: (-len(leaves(name)), name)):
        for leaf in leaves(group):
            found.setdefault(leaf, group)
    return found


def _with_items(record: Record, texts: dict[str, str]) -> Record:
    if not record.samples:
        return replace(record, reason=f"{record.results.name} has no samples beside it (lm_eval --log_samples)")
    path = record.samples[0]
    items = read_items(path, record.task, record.metric, record.filter, texts)
    if items is None:
        return replace(record, reason=f"{record.metric} is not a number between 0 and 1 for each item")
    if not items or (record.count and len(items) != record.count):
        raise DataError(f"{path} holds {len(items)} items, {record.results.name} counts {record.count}: truncated?")
    mean = sum(item.score for item in items.values()) / len(items)
    if abs(mean - record.score) > 1e-6:
        return replace(record, reason=f"the items' mean {mean:.4f} is not the score {record.score:.4f}")
    return replace(record, items=items, count=len(items))


def _newest(records: list[Record]) -> tuple[list[Record], list[str]]:
    kept: dict[tuple, Record] = {}
    notes = set()
    for record in sorted(records, key=lambda r: (r.date, str(r.results))):
        key = (record.student.identity, record.task, record.benchmark, record.fewshot)
        if older := kept.pop(key, None):
            notes.add(
                f"{record.student.label} was run more than once on {record.benchmark}: {record.results.name} counts, "
                f"the older {older.results.name} does not"
            )
        kept[key] = record
    order = {id(record): place for place, record in enumerate(records)}
    return sorted(kept.values(), key=lambda r: order[id(r)]), sorted(notes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
