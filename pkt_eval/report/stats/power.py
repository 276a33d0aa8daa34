"""What could have been seen: power, and the smallest difference that a benchmark of n items shows."""

from math import inf, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm

from pkt_eval.errors import ConfigError
from pkt_eval.report.stats.estimate import check_probability


def mcnemar_power(n: int, difference: float, discordance: float, alpha: float = 0.05, sides: int = 2) -> float:
    """Chance that the exact McNemar test shows a difference, exactly.

    Of n items ``m ~ Bin(n, ψ)`` are discordant, and of these ``Bin(m, (1 + |δ|/ψ)/2)`` go the better student's way; the
    test rejects where that binomial falls into its tails under 1/2. The sum over m is the unconditional power of Duffy
    1984 (Biometrics 40:1005–1015), no approximation. With ``sides=1`` it is the power of the test for the direction
    in which the difference lies, e.g. for a loss.

    Args:
        n: Items.
        difference: δ, the true difference of the two pass rates, in [-ψ, ψ].
        discordance: ψ, the share of items that one has right and the other wrong.
        alpha: Level of the test.
        sides: 2 for "different", 1 for "worse" or "better".

    Returns:
        The power. At ``difference=0`` the chance of a false alarm, at most ``alpha``.

    Raises:
        ConfigError: ``alpha`` is no probability, or not ``|δ| <= ψ <= 1``.

    Example:
        A true difference of ten points, where a fifth of the answers differ, is seen on 100 items every second time.

        >>> round(mcnemar_power(100, 0.1, 0.2), 2)
        0.54
        >>> round(mcnemar_power(400, 0.1, 0.2), 2)
        0.99
    """
    check_probability(alpha, "alpha")
    check_discordance(n, difference, discordance)
    m = np.arange(*support(n, discordance))
    better = (1 + abs(difference) / discordance) / 2 if discordance > 0 else 0.5
    # The largest k with P(X <= k) <= α/sides; ppf gives the first that reaches it, so one less unless it is met.
    tail = alpha / sides
    k = binom.ppf(tail, m, 0.5)
    k = np.where(binom.cdf(k, m, 0.5) <= tail, k, k - 1)
    shown = binom.cdf(k, m, 1 - better)
    if sides == 2:
        shown = shown + binom.cdf(k, m, better)
    return float(binom.pmf(m, n, discordance) @ shown)


def minimum_detectable_difference(n: int, discordance: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true difference of two students that the exact McNemar test shows with ``power`` on n matched items.

    Solves ``mcnemar_power(n, δ, max(ψ, δ)) = power`` for δ: a difference brings at least as many discordant items as it
    has itself. Near the closed form of Connor 1987 (doi:10.2307/2531961),
    ``δ√n = z_{α/2}·√ψ + z_β·√(ψ - δ²)``, and above it by what an exact test costs.

    Args:
        n: Items.
        discordance: ψ, the share of items that one student has right and the other wrong, as observed; 0 where none.
        power: Chance to show it.
        alpha: Two-sided level.

    Returns:
        A difference in (0, 1]; inf where n items cannot show any.

    Raises:
        ConfigError: A share or probability is out of range.
    """
    check_probability(power, "power")
    check_discordance(n, 0, discordance)

    def missing(difference: float) -> float:
        return mcnemar_power(n, difference, max(discordance, difference), alpha) - power

    return inf if missing(1.0) < 0 else float(brentq(missing, 0.0, 1.0, xtol=1e-6))


def minimum_detectable_difference_unpaired(n: int, base: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest gain over ``base`` that a two-sided z-test shows with ``power`` on n items for each student, unpaired.

    ``(z_{α/2} + z_β)·√(2·p(1-p)/n)``, both variances taken at the base rate p (Fleiss, Levin & Paik 2003, Statistical
    Methods for Rates and Proportions, §4.2, to first order in the difference). For scores of which only the totals are
    known, such as published ones; with the items at hand, pair them.

    Args:
        n: Items.
        base: Pass rate of the baseline.
        power: Chance to show it.
        alpha: Two-sided level.

    Returns:
        A difference above 0; 0.0 where the base is 0 or 1, whose variance says nothing.

    Raises:
        ConfigError: A rate or probability is out of range.
    """
    check_probability(power, "power")
    check_probability(alpha, "alpha")
    if n < 1 or not 0 <= base <= 1:
        raise ConfigError(f"needs n >= 1 and a base rate in [0, 1], got n={n}, base={base}")
    return float((norm.isf(alpha / 2) + norm.isf(1 - power)) * sqrt(2 * base * (1 - base) / n))


def support(n: int, rate: float) -> tuple[int, int]:
    """Half-open range that holds ``Bin(n, rate)`` but for 1e-9 on either side."""
    return int(binom.ppf(1e-9, n, rate)), int(binom.isf(1e-9, n, rate)) + 1


def check_discordance(n: int, difference: float, discordance: float) -> None:
    """Raises ConfigError unless n items can differ by ``difference`` with that share of discordant ones."""
    if n < 1 or not abs(difference) <= discordance <= 1:
        raise ConfigError(
            f"needs n >= 1 and |difference| <= discordance <= 1, "
            f"got n={n}, difference={difference}, discordance={discordance}"
        )
