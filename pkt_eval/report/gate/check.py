"""The gate: is a candidate at most a tolerated loss worse than its baseline, on every benchmark?

Two claims can be made of a benchmark. Both are about the tolerance τ, so that a loss within it fails no gate however
significant it is, and each is false with a chance of α at most:

- *holds*: a loss of τ or more is excluded (``non_inferiority``). The gate holds where every benchmark does, which needs
  no correction: where one of them has lost τ, its own test lets the whole pass with a chance of α (an
  intersection–union test, Berger 1982, doi:10.1080/00401706.1982.10487790).
- *worse*: a loss of more than τ is shown (the same test turned round). One benchmark suffices to fail the gate, so
  these p-values are Holm's over the benchmarks.

Between the two a benchmark is *undecided*, and the reason says how many items would decide it.

A student may have several seeds. Both claims are then about the means over them, and must hold over other seeds as well
as over other items; with the same seeds on both sides the s-th meets the s-th, as on the leaderboard.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pkt_eval.errors import ConfigError
from pkt_eval.report.board.compare import enough_clusters
from pkt_eval.report.board.wording import points
from pkt_eval.report.gate.outcome import HOLDS, UNDECIDED, WORSE, Check, Compared, Gate
from pkt_eval.report.gate.power import GATE_POWER, MOST_ITEMS, Promise, needed_if_alike
from pkt_eval.report.gate.students import name_of, only_student
from pkt_eval.report.records import NotComparableError, Record, join, side_by_side
from pkt_eval.report.stats import Crossed, crossed_difference, holm, non_inferiority_of_seeds
from pkt_eval.report.stats.crossed import ZERO

TOLERANCE, ALPHA = 0.02, 0.05


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
        baseline: Records of one student, one a benchmark and seed; the tasks of a group are joined here.
        candidate: Records of one student.
        tolerance: The loss in score that is tolerated, as a share: two points are 0.02.
        own: Benchmark → tolerance, where it differs. ``gsm8k`` stands for every benchmark with that word in its name.
        alpha: Chance that a candidate that has lost a tolerance passes, and that one within the tolerances fails.
        notes: Of the reading, which are passed on.

    Raises:
        ConfigError: A tolerance or alpha is out of range, a name fits no benchmark, or there are several students.
    """
    if not 0 < alpha < 0.5:
        raise ConfigError(f"alpha, the chance of a wrong claim, must lie strictly between 0 and 0.5, got {alpha!r}")
    for name, value in {"": tolerance, **(own or {})}.items():
        _check_tolerance(name, value, alpha)
    a, b = (
        only_student(join(records), who) for who, records in (("the baseline", baseline), ("the candidate", candidate))
    )
    pairs, not_asked = _pairs(a, b)
    tolerances = _tolerances(pairs, tolerance, own or {})
    said: list[str] = list(notes)
    checks: list[Check] = []
    for name, (old, new) in pairs.items():
        try:
            if not new:
                raise NotComparableError("the candidate has no record of it")
            checks.append(_check(name, old, new, tolerances[name], alpha, len(pairs), said))
        except NotComparableError as error:
            # The row says on what, the table who.
            reason = str(error)
            reason = reason.partition(f" on {old[0].task}: ")[2] or reason
            checks.append(Check(name, tolerances[name], reason=reason))
    return Gate(name_of(a), name_of(b), alpha, tuple(_corrected(checks, alpha)), not_asked, tuple(said))


def _pairs(
    a: Sequence[Record], b: Sequence[Record]
) -> tuple[dict[str, tuple[list[Record], list[Record]]], tuple[str, ...]]:
    """Benchmark → the records of both, by seed; with the number of examples where one side has it with several."""
    shots = [Counter(name for name, _ in {(r.benchmark, r.fewshot) for r in side}) for side in (a, b)]
    several = {name for counts in shots for name, count in counts.items() if count > 1}

    def named(side: Sequence[Record]) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in side:
            shot = f" ({record.fewshot}-shot)" if record.benchmark in several else ""
            found.setdefault(f"{record.benchmark}{shot}", []).append(record)
        return {name: sorted(records, key=lambda r: r.student.seed or 0) for name, records in found.items()}

    old, new = named(a), named(b)
    return {name: (records, new.get(name, [])) for name, records in old.items()}, tuple(sorted(new.keys() - old.keys()))


def _check_tolerance(name: str, value: float, alpha: float) -> None:
    """Refuse a tolerance that is none, or that no benchmark has the items for."""
    said = f"the tolerance of {name}" if name else "the tolerance"
    if not 0 < value < 1:
        meant = f"; {value:g} points are {value / 100:g}" if 1 <= value < 100 else ""
        raise ConfigError(
            f"{said} is a share of the score, strictly between 0 and 1 (two points are 0.02), got {value:g}{meant}"
        )
    if (least := needed_if_alike(value, alpha)) > MOST_ITEMS:
        raise ConfigError(
            f"{said}, {value:g}, is {100 * value:g} points: even equal answers would need {least:,} items to hold, "
            "more than any benchmark has; it is a share of the score, so two points are 0.02"
        )


def _tolerances(names: Mapping[str, object], tolerance: float, own: Mapping[str, float]) -> dict[str, float]:
    each = dict.fromkeys(names, tolerance)
    # A full name counts more than a word of it.
    for word in sorted(own, key=lambda word: word in each):
        fit = [word] if word in each else [n for n in each if f"_{word}_" in f"_{n.partition(' ')[0]}_"]
        if not fit:
            raise ConfigError(f"a tolerance is given for {word!r}, but the baseline has: {', '.join(each)}")
        each |= dict.fromkeys(fit, own[word])
    return each


def _check(
    name: str,
    old: Sequence[Record],
    new: Sequence[Record],
    tolerance: float,
    alpha: float,
    tests: int,
    notes: list[str],
) -> Compared:
    """A benchmark by itself: it holds, or is undecided before the correction."""
    both = side_by_side([*old, *new])
    notes += [f"On {name}, {note}" for note in both.notes]
    baseline, candidate = both.scores[: len(old)], both.scores[len(old) :]
    seeds = [[record.student.seed for record in side] for side in (old, new)]
    same = seeds[0] == seeds[1] and None not in seeds[0]
    clusters = enough_clusters(both)
    holds = non_inferiority_of_seeds(candidate, baseline, tolerance, same, alpha, clusters)
    beyond = non_inferiority_of_seeds(baseline, candidate, -tolerance, same, alpha, clusters)
    changes = candidate.mean(axis=0) - baseline.mean(axis=0)
    crossed = crossed_difference(candidate, baseline, same, clusters) if len(both.scores) > 2 else None
    check = Compared(
        benchmark=name,
        tolerance=tolerance,
        verdict=UNDECIDED,
        items=len(both.keys),
        seeds=(len(old), len(new)),
        baseline=float(baseline.mean()),
        candidate=float(candidate.mean()),
        difference=holds.difference,
        low=holds.low,
        high=-beyond.low,
        p_holds=holds.p,
        p_worse=beyond.p,
        by_seeds=_by_seeds(crossed),
        won=_ids(old[0], both.keys, changes > ZERO),
        lost=_ids(old[0], both.keys, changes < -ZERO),
        promise=Promise.of(changes, clusters, tolerance, alpha, tests, crossed),
    )
    return replace(check, verdict=HOLDS) if holds.p <= alpha else check


def _by_seeds(crossed: Crossed | None) -> float:
    return float(crossed.seeds / crossed.variance) if crossed and crossed.variance > 0 else 0.0


def _corrected(checks: Sequence[Check], alpha: float) -> list[Check]:
    adjusted = holm([check.p_worse if isinstance(check, Compared) else np.nan for check in checks])
    pairs = zip(checks, adjusted, strict=True)
    return [_decided(check, float(p), alpha) if isinstance(check, Compared) else check for check, p in pairs]


def _decided(check: Compared, p: float, alpha: float) -> Compared:
    check = replace(check, p_worse=p)
    if check.verdict == HOLDS:
        return check
    if p <= alpha:
        reason = (
            f"{points(check.difference)} points [{points(check.low)}, {points(check.high)}], which is beyond the "
            f"tolerance of {100 * check.tolerance:g}"
        )
        return replace(check, verdict=WORSE, reason=reason)
    return replace(check, reason=_why_undecided(check))


def _why_undecided(check: Compared) -> str:
    promise = check.promise
    if check.by_seeds > 0.5:
        return (
            f"the seeds differ too much: {100 * check.by_seeds:.0f} % of the uncertainty is between "
            f"{' and '.join(map(str, check.seeds))} seeds, which more items do not lessen; more seeds do"
        )
    if promise.power < GATE_POWER:
        needed = promise.needed_if_equal()
        return (
            f"too few items: with {check.items}, an equal candidate would hold with a chance of "
            f"{100 * promise.power:.0f} %; {_about(needed)} would make it {100 * GATE_POWER:.0f} %"
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
