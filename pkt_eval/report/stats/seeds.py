"""Students that were made several times, with different seeds, and scored on the same items."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from pkt_eval.errors import DataError
from pkt_eval.report.stats.crossed import ZERO, Crossed
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

    All seeds answer the same items, so seeds and items cross, and the interval speaks of other seeds on other
    items: see ``crossed``. Drawing items anew for each seed, as for nested data, would treat the S answers to one
    item as S items.
    For scores, which end at 0 and 1, the interval is Wilson's, at the number of right-or-wrong items whose mean would
    vary as much (as in ``wilson_interval_of_scores``) and with the quantile of ``crossed``.

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
    means = scores.mean(axis=1)
    value, spread = float(means.mean()), float(means.std(ddof=1))
    low, high = -np.inf, np.inf
    if units.number > 1:
        check_probability(level, "level")
        low, high = _wilson_ends(
            value, float(Crossed.of(scores, [len(scores)], clusters).half_width(level)), units, level
        )
    return SeedMean(value, low, high, spread if spread > ZERO else 0.0, len(scores))


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
    and, with more than one seed, ``Crossed.p_value``. It is the more careful of the two statements: p <= 0.05 has an
    interval without zero, not the other way round.

    An sd between seeds near the score itself or near its distance to 1 (10 points about a score of 10) makes the seeds
    skewed; three draws of such cannot tell, and the interval covers 86 to 92 %.

    Args:
        a: ``(S_a, N)`` scores of the first student.
        b: ``(S_b, N)`` scores of the second.
        same_seeds: The rows are matched as well.
        clusters: ``(N,)`` names of groups of items that are drawn whole.
        level: Coverage of the interval.
        resamples: Bootstrap resamples, and draws of signs.
        seed: Of both.

    Returns:
        The difference, its interval as in ``crossed``, the p-value, and ``(S_a, S_b)``.

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

    check_probability(level, "level")
    crossed = crossed_difference(a, b, same_seeds, clusters)
    value = float(crossed.value)
    if crossed.units == 1:
        return SeedDifference(value, -np.inf, np.inf, p, seeds)
    half = float(crossed.half_width(level))
    p = max(p, float(crossed.p_value()))
    return SeedDifference(value, max(value - half, -1.0), min(value + half, 1.0), p, seeds)


def crossed_difference(a: np.ndarray, b: np.ndarray, same_seeds: bool, clusters: ArrayLike | None = None) -> Crossed:
    """The parts of the variance of ``mean(a) - mean(b)``; arguments as of ``seed_difference``."""
    if same_seeds:
        return Crossed.of(a - b, [len(a)], clusters)
    return Crossed.of(np.vstack([a, -b]), [len(a), len(b)], clusters)


def _wilson_ends(p: float, half: float, units: Units, level: float) -> tuple[float, float]:
    """Wilson's ends where the plain interval would be ``p ± half``; where all is right or wrong, of as many items."""
    z2 = float(norm.isf((1 - level) / 2)) ** 2
    between = p * (1 - p)
    ratio = half**2 / between if between > ZERO else z2 / units.items
    centre, width = p + ratio / 2, sqrt(ratio * between + ratio**2 / 4)
    low, high = (centre - width) / (1 + ratio), (centre + width) / (1 + ratio)
    return min(max(low, 0.0), p), max(min(high, 1.0), p)
