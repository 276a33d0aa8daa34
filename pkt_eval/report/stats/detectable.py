"""The smallest true difference that a comparison would show, for the items and the seeds that it has.

At the level that the table asks of one more comparison (``Correction.level``), not at 5 %: in a table of 96 a p-value
of 0.04 is not bold. A board asks after the fact, the planner of a suite before it; both ask the same function.
"""

from math import inf

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from pkt_eval.errors import ConfigError
from pkt_eval.report.stats.crossed import Crossed
from pkt_eval.report.stats.estimate import check_probability
from pkt_eval.report.stats.power import check_discordance, minimum_detectable_difference

_DRAWS = 200
"""Quantiles of the variance between seeds that the power is a mean over."""


def detectable_difference(
    n: int, discordance: float, seeds: int = 1, spread: float = 0.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """For a plan: n items, and a student of some seeds against one that is made once, such as vanilla.

    Args:
        n: Items.
        discordance: Share of the items that one student has right and the other wrong.
        seeds: Of the student.
        spread: Standard deviation between its seeds' scores.
        power: Chance to show the difference.
        alpha: Two-sided level of the one comparison; ``Correction.level`` says that of a table.

    Returns:
        A difference in (0, 1]; inf where none can be shown.

    Raises:
        ConfigError: A share, a probability or a number is out of range.

    Example:
        Three seeds that differ by three points show less than one seed seems to: that one does not know its luck.

        >>> round(detectable_difference(500, 0.2), 3)
        0.057
        >>> round(detectable_difference(500, 0.2, seeds=3, spread=0.03), 3) > 0.1
        True
    """
    check_discordance(n, 0, discordance)
    if seeds < 1 or not 0 <= spread <= 1:
        raise ConfigError(f"needs seeds >= 1 and a spread in [0, 1], got seeds={seeds}, spread={spread}")
    several = seeds > 1
    items, freedom = np.asarray(discordance / n), np.asarray(float(max(seeds - 1, 1)))
    between = np.asarray(spread**2 / seeds if several else 0.0)
    crossed = Crossed(np.zeros(()), items, items, n, between, freedom, seeds, 0.25 / seeds / n**2 if several else 0.0)
    return detectable_in(crossed, n, discordance, power, alpha)


def detectable_in(crossed: Crossed, n: int, discordance: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """For a comparison that was made.

    The larger of two, as the p-value is: what the exact McNemar test shows on n items, and over several seeds the
    difference at which ``Crossed.p_value`` is at or below ``alpha`` with ``power``, the variance between seeds being
    drawn anew as often as chance would (``ν·s²/σ²`` is χ² with ν degrees of freedom).

    Args:
        crossed: Its variance.
        n: Items.
        discordance: Share of the items that differ; of a mean over seeds the mean squared difference.
        power: Chance to show the difference.
        alpha: Two-sided level.

    Returns:
        A difference in (0, 1]; inf where none can be shown.

    Raises:
        ConfigError: A share or probability is out of range.
    """
    check_probability(alpha, "alpha")
    items_alone = minimum_detectable_difference(n, discordance, power, alpha)
    if crossed.fewest == 1 or items_alone == inf:
        return items_alone
    freedom = crossed.seeds_freedom
    drawn = crossed.seeds * chi2.ppf((np.arange(_DRAWS) + 0.5) / _DRAWS, freedom) / freedom
    thresholds = crossed.with_seeds(drawn).threshold(alpha)
    # Nothing varies where all students are alike: then the items decide.
    error = max(float(np.sqrt(crossed.variance)), 1e-12)

    def missing(difference: float) -> float:
        return float(norm.cdf((difference - thresholds) / error).mean()) - power

    if missing(1.0) < 0:
        return inf
    return max(items_alone, float(brentq(missing, 0.0, 1.0, xtol=1e-6)))
