"""The numbers of a cell, from its records: score, differences, gap. Which statistic answers what, and when."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

import numpy as np

from pkt_eval.report.board.model import ALPHA, LEVEL, POWER, Difference, Subject
from pkt_eval.report.records import Aligned, Record, side_by_side
from pkt_eval.report.stats import (
    Estimate,
    aggregate_seeds,
    crossed_difference,
    detectable_in,
    gap_recovered,
    paired_score_interval,
    seed_difference,
    wilson_interval_of_scores,
)
from pkt_eval.report.stats.crossed import ZERO, Crossed
from pkt_eval.report.stats.wilson import wilson_interval

MIN_CLUSTERS = 20
"""With fewer, subjects are not resampled whole: a test over a handful of them can show nothing (five: p >= 0.06), and
an interval over them is too narrow. Conclusions are then about the documents of these very subjects."""
FEW = 10
"""Below as many discordant documents the bootstrap, which knows nothing but what it sees, is too sure of itself."""


def score_interval(records: Sequence[Record]) -> tuple[float, float | None, float | None, float | None]:
    """Score of a student over its seeds: value, both ends of the interval, and the spread between seeds.

    One seed: Wilson's interval, over documents. More: ``aggregate_seeds``, over seeds and documents. Without items, and
    with more than one seed, there is no interval.
    """
    if len(records) == 1:
        return *wilson(records[0]), None
    if not all(record.items for record in records):
        scores = [record.score for record in records]
        return fmean(scores), None, None, float(np.std(scores, ddof=1))
    mean = aggregate_seeds(side_by_side(records).scores, level=LEVEL)
    return mean.value, mean.low, mean.high, mean.spread


def standard_error(records: Sequence[Record]) -> float | None:
    """Of a student's score: over items, and over seeds too where there are several; None without items."""
    if not all(record.items for record in records):
        return None
    scores = side_by_side(records).scores
    return float(np.sqrt(Crossed.of(scores, [len(scores)]).variance))


def wilson(record: Record) -> Estimate:
    """The interval of one record: of its items, or of as many right-or-wrong ones where only the score is known."""
    if record.items:
        return wilson_interval_of_scores([item.score for item in record.items.values()], level=LEVEL)
    interval = wilson_interval(round(record.score * record.count), record.count, level=LEVEL)
    return Estimate(record.score, interval.low, interval.high)


class Comparison(NamedTuple):
    """A comparison, notes of the matching, and what it could have shown at a level; None where nothing."""

    difference: Difference
    notes: tuple[str, ...]
    detectable: Callable[[float], float | None]


def difference(a: Sequence[Record], b: Sequence[Record], against: str) -> Comparison:
    """``a - b``, two students with a record for each seed, on the documents that all records have.

    The adjusted p-value is that of this comparison alone until the table is complete, and so is what it
    could have shown.

    Raises:
        NotComparableError: See ``match.align``.
    """
    both = side_by_side([*a, *b])
    x, y = both.scores[: len(a)], both.scores[len(a) :]
    seeds = [[record.student.seed for record in side] for side in (a, b)]
    same_seeds = seeds[0] == seeds[1] and None not in seeds[0]
    clusters = enough_clusters(both)
    apart = seed_difference(x, y, same_seeds, clusters, level=LEVEL)
    # With the same seeds the s-th student meets the s-th; else each meets each.
    gaps = x - y if same_seeds else (x[:, None] - y[None]).reshape(-1, x.shape[1])
    won, lost = won_and_lost(gaps)
    low, high = apart.low, apart.high
    if floor := few(gaps):
        low, high = min(low, floor.low), max(high, floor.high)

    def detectable(alpha: float) -> float | None:
        squared = float((gaps.mean(axis=0) ** 2).mean())
        crossed = crossed_difference(x, y, same_seeds, clusters)
        smallest = detectable_in(crossed, len(both.keys), squared, POWER, alpha)
        return smallest if np.isfinite(smallest) else None

    result = Difference(
        against=against,
        value=apart.value,
        low=low,
        high=high,
        p=apart.p,
        adjusted=apart.p,
        significant=False,
        count=len(both.keys),
        won=won,
        lost=lost,
        detectable=detectable(ALPHA),
        clusters=None if clusters is None else len(set(clusters)),
        seeds=apart.seeds,
        hypothesis=answers_digest([[answers(record, both.keys) for record in side] for side in (a, b)]),
    )
    return Comparison(result, both.notes, detectable)


def answers(record: Record, keys: Sequence[str]) -> list[tuple[str, str, float]]:
    """What was answered to the documents, and how it was scored."""
    return [(key, record.items[key].answer, record.items[key].score) for key in keys]


def answers_digest(value: object) -> str:
    """Short, and the same for the same answers."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Sides:
    """A student and those it is set against, on the documents that all have.

    Attributes:
        scores: ``student`` and the others' roles → ``(seeds, N)``.
        clusters: ``(N,)`` subjects to be resampled whole; None where documents are.
    """

    scores: Mapping[str, np.ndarray]
    clusters: np.ndarray | None

    @classmethod
    def of(cls, records: Mapping[str, Sequence[Record]]) -> "Sides":
        """Of the records of each role, one a seed.

        Raises:
            NotComparableError: See ``records.align``.
        """
        every = side_by_side([record for side in records.values() for record in side])
        ends = np.cumsum([len(side) for side in records.values()])[:-1]
        return cls(dict(zip(records, np.split(every.scores, ends), strict=True)), enough_clusters(every))

    def mean(self, role: str = "student") -> np.ndarray:
        """``(N,)``: each document's mean over the seeds."""
        return self.scores[role].mean(axis=0)


def gap(sides: Sides) -> Estimate | None:
    """Share of the teacher's lead that arrived, each student's documents averaged over its seeds.

    Where hardly a document differs from vanilla, the interval is not narrower than the gain's by ``few``, over the
    lead.

    Args:
        sides: ``student``, ``vanilla`` and ``teacher``.
    """
    ours, base, theirs = (sides.mean(role) for role in ("student", "vanilla", "teacher"))
    share = gap_recovered(ours, base, theirs, clusters=sides.clusters, level=LEVEL)
    floor = few((ours - base)[None])
    if share is None or floor is None:
        return share
    lead = (theirs - base).mean()
    return Estimate(share.value, min(share.low, floor.low / lead), max(share.high, floor.high / lead))


def few(gaps: np.ndarray) -> Estimate | None:
    """An interval of the mean of ``gaps (S, N)`` that has a width; None if ``FEW`` documents or more differ."""
    if np.count_nonzero((np.abs(gaps) > ZERO).any(axis=0)) >= FEW:
        return None
    won, lost = won_and_lost(gaps)
    return paired_score_interval(round(won), round(lost), gaps.shape[1], level=LEVEL)


def won_and_lost(gaps: np.ndarray) -> tuple[float, float]:
    """Documents gained and lost in ``gaps (S, N)``, a mean over rows."""
    won, lost = (float(np.clip(sign * gaps, 0, None).sum(axis=1).mean()) for sign in (1, -1))
    return won, lost


def subjects(records: Sequence[Record], vanilla: Sequence[Record]) -> dict[str, Subject]:
    """Scores of each subject, and the differences to vanilla where there is one to compare with.

    Raises:
        NotComparableError: See ``match.align``.
    """
    both = side_by_side([*records, *vanilla])
    if both.clusters is None:
        return {}
    ours, theirs = both.scores[: len(records)].mean(axis=0), both.scores[len(records) :]
    by_subject = {}
    for name in sorted(set(both.clusters)):
        here = both.clusters == name
        subject = Subject(int(here.sum()), float(ours[here].mean()), None)
        if len(theirs):
            gaps = (ours - theirs.mean(axis=0))[None, here]
            won, lost = map(round, won_and_lost(gaps))
            around = paired_score_interval(won, min(lost, subject.count - won), subject.count, level=LEVEL)
            change = float(gaps.mean())
            subject = replace(subject, difference=change, low=min(around.low, change), high=max(around.high, change))
        by_subject[str(name)] = subject
    return by_subject


def enough_clusters(aligned: Aligned) -> np.ndarray | None:
    """The clusters to resample, or None: see ``MIN_CLUSTERS``."""
    enough = aligned.clusters is not None and len(set(aligned.clusters)) >= MIN_CLUSTERS
    return aligned.clusters if enough else None
