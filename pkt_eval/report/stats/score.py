"""The score test of two students on right-or-wrong items, and the interval that it inverts to."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from pkt_eval.errors import DataError
from pkt_eval.report.stats.estimate import Estimate, check_probability


def paired_score_z(b: np.ndarray | int, c: np.ndarray | int, n: int, theta: float) -> np.ndarray:
    """Score statistic of "the true difference is θ", for b items won and c lost of n.

    ``z = (b - c - nθ) / √(n(2q + θ(1-θ)))``, where q is the rate of lost items that is most likely under θ: the larger
    root of ``2n·q² + ((2n - b + c)θ - b - c)·q - cθ(1-θ) = 0``. The variance holds under the hypothesis itself, so that
    it stays sound where few items are discordant, or none. Nam 1997 (doi:10.2307/2533508), Tango 1998
    (doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B), Liu et al. 2002 (doi:10.1002/sim.1012).

    Args:
        b: Items that only the first student has right; broadcasts with ``c``.
        c: Items that only the second has right.
        n: Items.
        theta: The difference asked about, strictly between -1 and 1.

    Returns:
        The statistic, standard normal under θ for large n; positive where the difference seen is above θ.
    """
    linear = (2 * n - b + c) * theta - b - c
    lost = (np.sqrt(linear**2 + 8 * n * c * theta * (1 - theta)) - linear) / (4 * n)
    return (b - c - n * theta) / np.sqrt(n * (2 * lost + theta * (1 - theta)))


def paired_score_interval(b: int, c: int, n: int, level: float = 0.95) -> Estimate:
    """Interval of the difference ``(b - c)/n``: every θ that ``paired_score_z`` does not reject (Tango 1998).

    It has a width also where no item is discordant, ``±z²/(n + z²)``, where a bootstrap sees nothing but zeros.

    Args:
        b: Items that only the first student has right.
        c: Items that only the second has right.
        n: Items, concordant ones included.
        level: Coverage of the interval.

    Returns:
        The difference and its interval, inside [-1, 1].

    Raises:
        DataError: Unless ``b, c >= 0`` and ``1 <= n >= b + c``.
        ConfigError: ``level`` is no probability.
    """
    check_probability(level, "level")
    if min(b, c) < 0 or n < max(b + c, 1):
        raise DataError(f"needs b, c >= 0 and n >= max(b + c, 1), got b={b}, c={c}, n={n}")
    return Estimate((b - c) / n, _lower(b, c, n, level), -_lower(c, b, n, level))


def _lower(b: int, c: int, n: int, level: float) -> float:
    if c == n:
        return -1.0
    z = norm.isf((1 - level) / 2)
    # The statistic falls as θ rises: without bound at -1, where not every item is lost, to 0 at the difference seen.
    return float(brentq(lambda theta: paired_score_z(b, c, n, theta) - z, -1 + 1e-12, (b - c) / n - 1e-12))
