"""What a gate found out, as plain data."""

from dataclasses import dataclass

from pkt_eval.report.gate.power import Promise

HOLDS, WORSE, UNDECIDED, REFUSED = "holds", "worse", "undecided", "not compared"


@dataclass(frozen=True)
class Check:
    """One benchmark. By itself it was not compared; a ``Compared`` was.

    Attributes:
        benchmark: Its name.
        tolerance: The loss in score that is tolerated, e.g. 0.02 for two points.
        verdict: ``HOLDS``, ``WORSE``, ``UNDECIDED`` or ``REFUSED``.
        reason: Of the verdict, as a sentence; "" where it holds.
    """

    benchmark: str
    tolerance: float
    verdict: str = REFUSED
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Compared(Check):
    """A benchmark that both have, with its numbers.

    Attributes:
        items: Documents that both have.
        seeds: Of the baseline and of the candidate: how many times each was made.
        baseline: Score on them, a mean over its seeds.
        candidate: Score on them, likewise.
        difference: ``candidate - baseline``.
        low: The difference is above this, with confidence ``1 - alpha``: above ``-tolerance`` where it holds.
        high: The difference is below this, with confidence ``1 - alpha``.
        p_holds: Against "the loss is the tolerance or more".
        p_worse: Against "the loss is within the tolerance", after Holm.
        by_seeds: Share of the variance that is by seeds, which more items do not lessen; 0 with one seed a side.
        won: Documents that the candidate scores higher on, a mean over seeds, by their place in the task.
        lost: Documents that it scores lower on.
        promise: What could have been told.
    """

    items: int
    seeds: tuple[int, int]
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p_holds: float
    p_worse: float
    by_seeds: float
    won: tuple[str, ...]
    lost: tuple[str, ...]
    promise: Promise


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
        """``WORSE`` if any benchmark is, ``HOLDS`` if all do, else ``UNDECIDED``, or ``REFUSED`` if some were not
        compared."""
        verdicts = {check.verdict for check in self.checks}
        return next(verdict for verdict in (WORSE, REFUSED, UNDECIDED, HOLDS) if verdict in verdicts)

    @property
    def exit_code(self) -> int:
        """0 holds, 1 worse, 2 undecided or not compared."""
        return {HOLDS: 0, WORSE: 1}.get(self.verdict, 2)
