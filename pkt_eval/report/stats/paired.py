"""Two students on the same items: is the difference real, and how large is it?"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm

from pkt_eval.errors import DataError
from pkt_eval.report.stats.crossed import ZERO
from pkt_eval.report.stats.estimate import Estimate, check_probability, matched
from pkt_eval.report.stats.units import Units, blocks

Alternative = Literal["two-sided", "less", "greater"]


def mcnemar_exact(b: int, c: int, alternative: Alternative = "two-sided") -> float:
    """Exact McNemar test: the b + c discordant items fall to either side like a fair coin.

    Two-sided ``p = min(1, 2·P(X <= min(b, c)))`` with ``X ~ Bin(b + c, 1/2)``. McNemar 1947 (doi:10.1007/BF02295996),
    exact form of Cochran 1950. The mid-p variant has more power but can exceed its level; a table that is corrected for
    multiplicity needs p-values that do not.

    Args:
        b: Items that only the first student has right.
        c: Items that only the second has right.
        alternative: What to show: that the first is different, worse (``less``) or better (``greater``).

    Returns:
        The p-value; 1.0 where no item is discordant.

    Raises:
        DataError: A count is negative.

    Example:
        One student alone is right on ten items, the other alone on two; how many both are right on says nothing.

        >>> round(mcnemar_exact(10, 2), 4)
        0.0386
        >>> round(mcnemar_exact(10, 2, "greater"), 4)
        0.0193
    """
    if b < 0 or c < 0:
        raise DataError(f"counts of discordant items cannot be negative, got b={b}, c={c}")
    return float(binomtest(b, b + c, 0.5, alternative).pvalue) if b + c else 1.0


def paired_test(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike | None = None,
    alternative: Alternative = "two-sided",
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """p-value of the difference ``mean(a) - mean(b)`` over matched items, by sign flips.

    Where the students are alike, their names could be swapped on every item, or on every cluster of items as a whole:
    each sum of differences keeps its size and gets a random sign (Fisher's randomisation test; Lehmann & Romano 2005,
    Testing Statistical Hypotheses, chapter 5). Where all sums that are not zero have one size, as with right-or-wrong
    items, this *is* the exact McNemar test and is computed as such. Else signs are drawn, and
    ``p = (1 + hits)/(1 + resamples)``, which never promises too much (Phipson & Smyth 2010, arXiv 1603.05766).

    Args:
        a: ``(N,)`` scores of the first student.
        b: ``(N,)`` scores of the second on the same items.
        clusters: ``(N,)`` names of groups whose items may gain or lose together, such as MMLU's subjects.
        alternative: What to show: that ``a`` is different, worse (``less``) or better (``greater``).
        resamples: Draws of signs, where they are drawn.
        seed: Of those draws.

    Returns:
        The p-value; 1.0 where no item differs.

    Raises:
        DataError: Scores are not matched, or not finite.
    """
    a, b = matched(a, b)
    units = Units.of((a - b)[None], clusters)
    sums, counts = units.sums[0], units.counts
    # Units of one size |sum|: how many there are, and how many of them are positive.
    # Sums that are equal but for rounding are equal, and zero is zero: a mean of three seeds is a third only nearly.
    sums = np.round(sums / ZERO) * ZERO
    sizes, where = np.unique(np.abs(sums), return_inverse=True)
    either = np.bincount(where, counts).astype(int)[sizes > 0]
    positive = np.bincount(where, counts * (sums > 0)).astype(int)[sizes > 0]
    sizes = sizes[sizes > 0]
    if len(sizes) <= 1:
        return mcnemar_exact(int(positive.sum()), int((either - positive).sum()), alternative)

    observed = sizes @ (2 * positive - either)
    rng = np.random.default_rng(seed)
    hits = 0
    # Sums that are equal but for rounding count as equal.
    slack = 1e-9 * sizes.max()
    for size in blocks(resamples, len(sizes)):
        flipped = (2 * rng.binomial(either, 0.5, size=(size, len(sizes))) - either) @ sizes
        if alternative == "two-sided":
            hits += int(np.count_nonzero(np.abs(flipped) >= abs(observed) - slack))
        elif alternative == "less":
            hits += int(np.count_nonzero(flipped <= observed + slack))
        else:
            hits += int(np.count_nonzero(flipped >= observed - slack))
    return float((1 + hits) / (1 + resamples))


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """BCa interval of the difference ``mean(a) - mean(b)`` over matched items.

    Resampling draws items or, with ``clusters``, *whole* clusters with replacement: the pairs cluster bootstrap (Field
    & Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). The items of a subject share what a transfer does to that
    subject; drawing within fixed subjects would leave that out and be too sure. The difference stays a mean over items,
    so that large subjects weigh more, as in lm-eval's MMLU. With few clusters the interval is too narrow (Cameron,
    Gelbach & Miller 2008, doi:10.1162/rest.90.3.414): of 57 it covers about 93 %, not 95.

    The ends are the quantiles ``Φ(z0 + (z0 ± z)/(1 - â(z0 ± z)))`` of the resampled differences, with the bias
    ``z0 = Φ⁻¹(share below the difference, ties half)`` and the acceleration ``â = Σu³ / 6(Σu²)^1.5``, u the
    jackknife's deviations over the units that are drawn. Efron 1987 (doi:10.1080/01621459.1987.10478410).

    Args:
        a: ``(N,)`` scores of the first student.
        b: ``(N,)`` scores of the second on the same items.
        clusters: ``(N,)`` names of groups of items, such as MMLU's subjects.
        level: Coverage of the interval.
        resamples: Bootstrap resamples.
        seed: Of the resamples.

    Returns:
        The difference and its interval. Where all units have the same difference, an interval of no width, for the
        bootstrap knows nothing beyond what it sees: ``paired_score_interval`` does. With a single unit, -inf to inf.

    Raises:
        DataError: Scores are not matched, or not finite.
        ConfigError: ``level`` is no probability.
    """
    a, b = matched(a, b)
    return bca_of_mean(Units.of((a - b)[None], clusters), level, resamples, seed)


def bca_of_mean(units: Units, level: float, resamples: int, seed: int) -> Estimate:
    """BCa interval of the mean of the one row of ``units``; see ``paired_bootstrap``."""
    check_probability(level, "level")
    mean = float(units.means[0])
    if units.number == 1:
        return Estimate(mean, -np.inf, np.inf)
    scale = np.abs(units.sums[0] / units.sizes).max()
    left_out = (mean * units.items - units.sums[0]) / (units.items - units.sizes)
    deviations = (units.counts @ left_out) / units.number - left_out
    if np.abs(deviations).max() <= 1e-12 * scale:
        return Estimate(mean, mean, mean)
    acceleration = units.counts @ deviations**3 / (6 * (units.counts @ deviations**2) ** 1.5)

    means = units.resampled(np.random.default_rng(seed), resamples)[:, 0]
    ties = np.abs(means - mean) <= 1e-9 * scale
    below = (np.count_nonzero(~ties & (means < mean)) + ties.sum() / 2) / resamples
    # A share of 0 or 1 would send the bias to infinity; few resamples cannot tell it from half a resample.
    bias = norm.ppf(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples))
    shifted = bias + norm.ppf([(1 - level) / 2, (1 + level) / 2])
    # |acceleration| < 1/6 for any mean, so the denominator is positive at every level that a bootstrap can resolve.
    low, high = np.quantile(means, norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return Estimate(mean, float(low), float(high))
