"""The gate: is a candidate at most a tolerated loss worse than its baseline, on every benchmark?

Two claims can be made of a benchmark. Both are about the tolerance τ, so that a loss within it fails no gate however
significant it is, and each is false with a chance of α at most:

- *holds*: a loss of τ or more is excluded (`non_inferiority`). The gate holds where every benchmark does, which needs
  no correction: where one of them has lost τ, its own test lets the whole pass with a chance of α (an
  intersection–union test, Berger 1982, doi:10.1080/00401706.1982.10487790).
- *worse*: a loss of more than τ is shown (the same test turned round). One benchmark suffices to fail the gate, so
  these p-values are Holm's over the benchmarks.

Between the two a benchmark is *undecided*, and the reason says how many items would decide it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pkt_eval.errors import ConfigError
from pkt_eval.report.board.compare import enough_clusters
from pkt_eval.report.board.wording import points
from pkt_eval.report.gate.power import POWER, Promise
from pkt_eval.report.gate.students import name_of, only_student
from pkt_eval.report.records import NotComparableError, Record, align, join
from pkt_eval.report.stats import holm, non_inferiority

HOLDS, WORSE, UNDECIDED, REFUSED = "holds", "worse", "undecided", "not compared"
TOLERANCE, ALPHA = 0.02, 0.05


@dataclass(frozen=True)
class Check:
    """One benchmark.

    Attributes:
        benchmark: Its name.
        tolerance: The loss in score that is tolerated, e.g. 0.02 for two points.
        verdict: `HOLDS`, `WORSE`, `UNDECIDED` or `REFUSED`; a refused one has none of what follows but the reason.
        reason: Of the verdict, as a sentence; "" where it holds.
        items: Documents that both have.
        baseline: Score on them.
        candidate: Score on them.
        difference: ``candidate - baseline``.
        low: The difference is above this, with confidence ``1 - alpha``: above ``-tolerance`` where it holds.
        high: The difference is below this, with confidence ``1 - alpha``.
        p_holds: Against "the loss is the tolerance or more".
        p_worse: Against "the loss is within the tolerance", after Holm.
        won: Documents that the candidate scores higher on, by their place in the task.
        lost: Documents that it scores lower on.
        promise: What could have been told.
    """

    benchmark: str
    tolerance: float
    verdict: str
    reason: str = ""
    items: int = 0
    baseline: float | None = None
    candidate: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_holds: float | None = None
    p_worse: float | None = None
    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    promise: Promise | None = None


@dataclass(frozen=True)
class Gate:
    """A candidate against a baseline.

    Attributes:
        baseline: Name of the student.
        candidate: Name of the student.
        alpha: Chance of either wrong claim.
        checks: One for each benchmark of the baseline.
        not_asked: Benchmarks that only the candidate has.
        notes: What differs and was compared nevertheless, as sentences.
    """

    baseline: str
    candidate: str
    alpha: float
    checks: tuple[Check, ...]
    not_asked: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """`WORSE` if any benchmark is, `HOLDS` if all do, else `UNDECIDED`, or `REFUSED` if some were not compared."""
        found = {check.verdict for check in self.checks}
        return next(verdict for verdict in (WORSE, REFUSED, UNDECIDED, HOLDS) if verdict in found)

    @property
    def exit_code(self) -> int:
        """0 holds, 1 worse, 2 undecided or not compared."""
        return {HOLDS: 0, WORSE: 1}.get(self.verdict, 2)


def gate(
    baseline: Sequence[Record],
    candidate: Sequence[Record],
    tolerance: float = TOLERANCE,
    own: Mapping[str, float] | None = None,
    alpha: float = ALPHA,
    notes: Sequence[str] = (),
) -> Gate:
    """Test a candidate on every benchmark of its baseline.

    Args:
        baseline: Records of one student, one a benchmark; the tasks of a group are joined here.
        candidate: Records of one student.
        tolerance: The loss in score that is tolerated, as a share: two points are 0.02.
        own: Benchmark → tolerance, where it differs. ``gsm8k`` stands for every benchmark with that word in its name.
        alpha: Chance that a candidate that has lost a tolerance passes, and that one within the tolerances fails.
        notes: Of the reading, which are passed on.

    Raises:
        ConfigError: A tolerance or alpha is out of range, a name fits no benchmark, or there are several students.
    """
    if not 0 < alpha < 0.5:
        raise ConfigError(f"alpha must lie strictly between 0 and 0.5, got {alpha!r}")
    a, b = (
        only_student(join(records), who) for who, records in (("the baseline", baseline), ("the candidate", candidate))
    )
    pairs, not_asked = _pairs(a, b)
    tolerances = _tolerances(pairs, tolerance, own or {})
    notes, checks = list(notes), []
    for name, (old, new) in pairs.items():
        try:
            if new is None:
                raise NotComparableError("the candidate has no record of it")
            checks.append(_check(name, old, new, tolerances[name], alpha, len(pairs), notes))
        except NotComparableError as error:
            # The row says on what, the table who.
            reason = str(error)
            checks.append(Check(name, tolerances[name], REFUSED, reason.partition(f" on {old.task}: ")[2] or reason))
    return Gate(name_of(a[0]), name_of(b[0]), alpha, tuple(_corrected(checks, alpha)), not_asked, tuple(notes))


def _pairs(a: Sequence[Record], b: Sequence[Record]) -> tuple[dict[str, tuple[Record, Record | None]], tuple[str, ...]]:
    """Benchmark → its two records; with the number of examples where one side has it with several."""
    shots = [{(r.benchmark, r.fewshot): r for r in side} for side in (a, b)]
    several = {r.benchmark for r in (*a, *b) if any(sum(key[0] == r.benchmark for key in side) > 1 for side in shots)}
    old, new = (
        {f"{r.benchmark} ({r.fewshot}-shot)" if r.benchmark in several else r.benchmark: r for r in side}
        for side in (a, b)
    )
    return {name: (record, new.get(name)) for name, record in old.items()}, tuple(sorted(new.keys() - old.keys()))


def _tolerances(names: Mapping[str, object], tolerance: float, own: Mapping[str, float]) -> dict[str, float]:
    for name, value in {"": tolerance, **own}.items():
        if not 0 < value < 1:
            said = f"the tolerance of {name}" if name else "the tolerance"
            raise ConfigError(f"{said} must lie strictly between 0 and 1 (two points are 0.02), got {value}")
    found = dict.fromkeys(names, tolerance)
    # A full name counts more than a word of it.
    for word in sorted(own, key=lambda word: word in found):
        fit = [word] if word in found else [n for n in found if f"_{word}_" in f"_{n.partition(' ')[0]}_"]
        if not fit:
            raise ConfigError(f"a tolerance is given for {word!r}, but the baseline has: {', '.join(found)}")
        found |= dict.fromkeys(fit, own[word])
    return found


def _check(name: str, old: Record, new: Record, tolerance: float, alpha: float, tests: int, notes: list[str]) -> Check:
    """A benchmark by itself: it holds, or is undecided before the correction."""
    both = align([old, new])
    notes += [f"On {name}, {note}" for note in both.notes]
    baseline, candidate = both.scores
    clusters = enough_clusters(both)
    holds = non_inferiority(candidate, baseline, tolerance, alpha, clusters)
    beyond = non_inferiority(baseline, candidate, -tolerance, alpha, clusters)
    changes = candidate - baseline
    check = Check(
        benchmark=name,
        tolerance=tolerance,
        verdict=UNDECIDED,
        items=len(both.keys),
        baseline=float(baseline.mean()),
        candidate=float(candidate.mean()),
        difference=holds.difference,
        low=holds.low,
        high=-beyond.low,
        p_holds=holds.p,
        p_worse=beyond.p,
        won=_ids(old, both.keys, changes > 0),
        lost=_ids(old, both.keys, changes < 0),
        promise=Promise.of(changes, clusters, tolerance, alpha, tests),
    )
    return replace(check, verdict=HOLDS) if holds.p <= alpha else check


def _corrected(checks: Sequence[Check], alpha: float) -> list[Check]:
    adjusted = holm([np.nan if check.p_worse is None else check.p_worse for check in checks])
    found = []
    for check, p in zip(checks, adjusted, strict=True):
        if check.p_worse is not None:
            check = replace(check, p_worse=float(p))
            if check.verdict != HOLDS and p <= alpha:
                reason = (
                    f"{points(check.difference)} points [{points(check.low)}, {points(check.high)}], which is beyond "
                    f"the tolerance of {100 * check.tolerance:g}"
                )
                check = replace(check, verdict=WORSE, reason=reason)
            elif check.verdict == UNDECIDED:
                check = replace(check, reason=_why_undecided(check, check.promise))
        found.append(check)
    return found


def _why_undecided(check: Check, promise: Promise) -> str:
    if promise.power < POWER:
        needed = promise.needed_if_equal()
        return (
            f"too few items: with {check.items}, an equal candidate would hold with a chance of "
            f"{100 * promise.power:.0f} %; {_about(needed)} would make it {100 * POWER:.0f} %"
        )
    return (
        f"the difference seen, {points(check.difference)} points, is too near the tolerance of "
        f"{100 * check.tolerance:g}: were it the true one, {_about(promise.needed_if(check.difference))} would tell"
    )


def _about(items: int | None) -> str:
    return f"about {items:,} items" if items else "only more items than any benchmark has"


def _ids(record: Record, keys: Sequence[str], which: np.ndarray) -> tuple[str, ...]:
    """Places in the task; in a joined record with the task before them."""
    chosen = [key for key, yes in zip(keys, which, strict=True) if yes]
    return tuple("/".join(filter(None, [k.rpartition("/")[0], str(record.items[k].doc_id)])) for k in chosen)
