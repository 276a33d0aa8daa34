"""Intervals of one student's score."""

from math import sqrt

from numpy.typing import ArrayLike
from scipy.stats import norm

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.stats.estimate import Estimate, check_probability, checked


def wilson_interval(passed: int, n: int, level: float = 0.95) -> Estimate:
    """Score interval of a proportion: all p that a two-sided score test at ``1 - level`` does not reject.

    ``(p̂ + z²/2n ± z·√(p̂(1-p̂)/n + z²/4n²)) / (1 + z²/n)``. Wilson 1927 (doi:10.1080/01621459.1927.10502953); advised
    over Wald and Clopper–Pearson by Brown, Cai & DasGupta 2001 (doi:10.1214/ss/1009213286).

    Args:
        passed: Items answered right.
        n: Items.
        level: Coverage of the interval.

    Returns:
        ``passed / n`` and an interval inside [0, 1], which has a width even where none or all passed.

    Raises:
        DataError: Unless ``0 <= passed <= n`` and ``n >= 1``.
        ConfigError: ``level`` is no probability.

    Example:
        Twenty right answers out of twenty do not show that a student is perfect.

        >>> value, low, high = wilson_interval(20, 20)
        >>> value, round(low, 3), high
        (1.0, 0.839, 1.0)
    """
    if not 0 <= passed <= n or n < 1:
        raise DataError(f"a proportion needs 0 <= passed <= n and n >= 1, got passed={passed}, n={n}")
    return _wilson(passed / n, n, level)


def wilson_interval_of_scores(scores: ArrayLike, samples: int = 1, level: float = 0.95) -> Estimate:
    """Wilson interval of a mean of fractional scores, e.g. pass@1 from several answers an item.

    The items are the sample, the answers of one item are not independent of each other. So Wilson's formula is taken
    at the effective sample size ``n* = p̂(1-p̂) / (v/n)``, the number of right-or-wrong items whose mean would vary as
    much as this one does; ``v`` is the variance of the item scores (divisor n). Korn & Graubard 1998 (Survey
    Methodology 24:193–201); with Wilson's formula, Dean & Pagano 2015 (doi:10.1093/jssam/smv024).

    ``n <= n* <= n·samples``: the lower end is reached where each item is wholly right or wrong, and then the interval
    is ``wilson_interval``'s; the upper end, independent answers, caps it. Where ``p̂`` is 0 or 1 nothing is known of how
    the answers to one item go together, and ``n* = n``.

    Args:
        scores: ``(N,)``, each in [0, 1].
        samples: Answers behind each score.
        level: Coverage of the interval.

    Returns:
        The mean and its interval.

    Raises:
        DataError: No scores, or one outside [0, 1].
        ConfigError: ``level`` is no probability, or ``samples`` is below 1.
    """
    scores = checked(scores, "scores")
    if scores.min() < 0 or scores.max() > 1:
        raise DataError(f"scores must lie in [0, 1], got {scores.min()} to {scores.max()}")
    if samples < 1:
        raise ConfigError(f"samples must be at least 1, got {samples}")
    n, p, variance = len(scores), float(scores.mean()), float(scores.var())
    between = p * (1 - p)
    effective = n * min(between / variance, samples) if variance > 0 else n * (samples if between > 0 else 1)
    return _wilson(p, effective, level)


def _wilson(p: float, n: float, level: float) -> Estimate:
    check_probability(level, "level")
    z = norm.isf((1 - level) / 2)
    centre = p + z * z / (2 * n)
    half = z * sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    scale = 1 + z * z / n
    low, high = float((centre - half) / scale), float((centre + half) / scale)
    # Rounding must not put an end outside [0, 1], nor short of p where that is 0 or 1.
    return Estimate(p, min(max(low, 0.0), p), max(min(high, 1.0), p))
