"""A record: one student on one task, with its items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pkt_eval.report.records.samples import Item
from pkt_eval.report.records.students import ScoredStudent

ENDINGS = ("ended", "looped", "answer_tokens")
"""Metrics of how answers ended, as our models' evaluations name them (``pkt_eval.lm.answers``)."""


@dataclass(frozen=True)
class Record:
    """One student on one task, or on all tasks of a benchmark (see ``join``).

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
        backend: lm-eval's model type, and the device that it ran on, as the record has them.
        versions: Of the evaluation: library → version.
        generic: Cross-entropy on generic text, in nats a token, by the digest of that text; {} where not measured.
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
    student: ScoredStudent
    fewshot: int | None
    template: str | None
    generation: Mapping[str, object]
    dtype: str
    batch_size: str
    limit: float | None
    date: float
    items: dict[str, Item] = field(default_factory=dict, repr=False)
    reason: str = ""
    backend: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    generic: Mapping[str, float] = field(default_factory=dict)

    @property
    def answered_by(self) -> str:
        """``vllm``, or ``hf``, by whichever loops."""
        return str(self.student.options.get("evaluation_backend", "hf"))


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
