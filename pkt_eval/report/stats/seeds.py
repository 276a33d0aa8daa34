"""Students that were made several times, with different seeds, and scored on the same items."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pkt_eval.errors import DataError
from pkt_eval.report.stats.estimate import check_probability, checked
from pkt_eval.report.stats.paired import bca_of_mean, paired_bootstrap, paired_test
from pkt_eval.report.stats.units import Units


class SeedMean(NamedTuple):
    """The score of a student over its seeds."""

    value: float
    low: float
    high: float
    spread: float
    """Standard deviation of the seeds' means (divisor S - 1); NaN with one seed, whose interval is over items alone."""
    seeds: int


class SeedDifference(NamedTuple):
    """The difference of two students over their seeds."""

    value: float
    low: float
    high: float
    p: float
    seeds: tuple[int, int]


def aggregate_seeds(
    scores: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> SeedMean:
    """Mean, spread between seeds, and an interval over seeds *and* items.

    All seeds answer the same items, so seeds and items cross: both are drawn with replacement, independently, and a
    resample is the mean of what lies at the crossings (the pigeonhole bootstrap, Owen 2007, arXiv 0712.1111). The
    interval speaks of other seeds on other items. Drawing items anew for each seed, as for nested data, would treat the
    S answers to one item as S items. By counting chance at a single crossing more than once it errs on the wide side
    (Owen). S seeds drawn from S vary too little by (S-1)/S, which matters at three: their deviations from equal weight
    are widened by ``√(S/(S-1))`` (Rao & Wu 1988, doi:10.1080/01621459.1988.10478591). Ends are percentiles.

    With one seed there is nothing to be learnt about seeds: the interval is ``paired_bootstrap``'s, over items, and the
    spread is NaN.

    Args:
        scores: ``(S, N)``, seeds × items.
        clusters: ``(N,)`` names of groups of items that are drawn whole.
        level: Coverage of the interval.
        resamples: Bootstrap resamples.
        seed: Of the resamples.

    Returns:
        The mean over seeds and items, its interval, the spread, and ``S``.

    Raises:
        DataError: ``scores`` is not two-dimensional and finite.
        ConfigError: ``level`` is no probability.
    """
    scores = checked(scores, "scores", ndim=2)
    units = Units.of(scores, clusters)
    if len(scores) == 1:
        return SeedMean(*bca_of_mean(units, level, resamples, seed), spread=float("nan"), seeds=1)
    low, high = _percentiles(_pigeonhole(units, [len(scores)], resamples, seed), units, level)
    means = scores.mean(axis=1)
    return SeedMean(float(means.mean()), low, high, float(means.std(ddof=1)), len(scores))


def seed_difference(
    a: ArrayLike,
    b: ArrayLike,
    same_seeds: bool,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> SeedDifference:
    """Difference ``mean(a) - mean(b)`` of two students with seeds, on the same items.

    Items are always matched. With ``same_seeds`` so are the seeds (row s of both was made with one seed, which decided
    data and order alike) and the difference is one student; else each student's seeds are drawn apart. A student that
    is made once because chance has no part in it, such as vanilla, is one row, with ``same_seeds=False``.

    The p-value must hold over items and over seeds, so it is the larger of two: ``paired_test`` of the means over seeds
    and, with more than one seed, twice the smaller share of bootstrap differences on either side of zero.

    Args:
        a: ``(S_a, N)`` scores of the first student.
        b: ``(S_b, N)`` scores of the second.
        same_seeds: The rows are matched as well.
        clusters: ``(N,)`` names of groups of items that are drawn whole.
        level: Coverage of the interval.
        resamples: Bootstrap resamples, and draws of signs.
        seed: Of both.

    Returns:
        The difference, its interval as in ``aggregate_seeds``, the p-value, and ``(S_a, S_b)``.

    Raises:
        DataError: The items are not matched, or the seeds are not though ``same_seeds`` says so.
        ConfigError: ``level`` is no probability.
    """
    a, b = checked(a, "a", ndim=2), checked(b, "b", ndim=2)
    seeds = (len(a), len(b))
    if a.shape[1] != b.shape[1]:
        raise DataError(f"a has {a.shape[1]} items and b has {b.shape[1]}: match them by document first")
    if same_seeds and len(a) != len(b):
        raise DataError(f"a has {len(a)} seeds and b has {len(b)}: they cannot be the same seeds")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    p = paired_test(mean_a, mean_b, clusters, resamples=resamples, seed=seed)
    if seeds == (1, 1):
        return SeedDifference(*paired_bootstrap(mean_a, mean_b, clusters, level, resamples, seed), p, seeds)

    units = Units.of(a - b if same_seeds else np.vstack([a, -b]), clusters)
    differences = _pigeonhole(units, [len(a)] if same_seeds else [len(a), len(b)], resamples, seed)
    low, high = _percentiles(differences, units, level)
    sides = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p = max(p, min(1.0, float(2 * (1 + sides) / (1 + resamples))))
    return SeedDifference(float(mean_a.mean() - mean_b.mean()), low, high, p, seeds)


def _pigeonhole(units: Units, groups: list[int], resamples: int, seed: int) -> np.ndarray:
    """``(resamples,)``: sum over ``groups`` of rows of the mean over drawn rows and drawn units."""
    rng = np.random.default_rng(seed)
    columns = units.resampled(rng, resamples)  # (resamples, R)
    weights = []
    for rows in groups:
        drawn = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples) / rows
        weights.append(1 / rows + (drawn - 1 / rows) * np.sqrt(rows / max(rows - 1, 1)))
    return (columns * np.hstack(weights)).sum(axis=1)


def _percentiles(means: np.ndarray, units: Units, level: float) -> tuple[float, float]:
    check_probability(level, "level")
    if units.number == 1:
        return -np.inf, np.inf
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
