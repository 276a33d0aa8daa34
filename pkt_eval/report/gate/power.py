"""What the gate promises on the items at hand, and how many items it would take.

By the exact power of the score test for right-or-wrong items. Fractional scores enter by their mean squared
difference, which is what the share of flipped items is for right-or-wrong ones, and clusters by the design effect, so
that for both the numbers are approximate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from pkt_eval.report.stats import Crossed, non_inferiority_power
from pkt_eval.report.stats.units import Units

GATE_POWER = 0.8
MOST_ITEMS = 20_000
"""Items; beyond that no number is told: the largest benchmark in use, MMLU, has 14,042."""


def needed_if_alike(tolerance: float, alpha: float) -> int:
    """Items for two sides with the same answers to hold: with fewer, the test cannot exclude the tolerance.

    >>> needed_if_alike(0.02, 0.05), needed_if_alike(0.03, 0.05)
    (133, 88)
    """
    return ceil(float(norm.isf(alpha)) ** 2 * (1 - tolerance) / tolerance)


def _variance(changes: np.ndarray, clusters: np.ndarray | None) -> float:
    """Of the mean of ``changes (N,)``."""
    return float(Units.of(changes[None], clusters).covariance()[0, 0])


@dataclass(frozen=True)
class Promise:
    """The gate's power on one benchmark.

    Attributes:
        items: Documents.
        effect: Design effect: how many items, of clusters and of these seeds, tell as much as one that stands alone.
        discordance: Share of the items that flip, as seen.
        tolerance: Loss that is tolerated.
        alpha: Level of "holds", and of "worse" over all benchmarks.
        tests: How many benchmarks Holm corrects for.
    """

    items: int
    effect: float
    discordance: float
    tolerance: float
    alpha: float
    tests: int

    @classmethod
    def of(
        cls,
        changes: np.ndarray,
        clusters: np.ndarray | None,
        tolerance: float,
        alpha: float,
        tests: int,
        crossed: Crossed | None = None,
    ) -> "Promise":
        """The promise for items that change as ``changes (N,)`` do, a mean over seeds where ``crossed`` says how."""
        effect = 1.0
        if (clusters is not None or crossed) and (alone := _variance(changes, None)) > 0:
            effect = max(1.0, (float(crossed.variance) if crossed else _variance(changes, clusters)) / alone)
        return cls(len(changes), effect, float((changes**2).mean()), tolerance, alpha, tests)

    @cached_property
    def power(self) -> float:
        """Chance that an equal candidate holds."""
        return self._holds(self._alone, 0.0)

    @cached_property
    def detectable(self) -> float | None:
        """Smallest true loss, on this benchmark alone, that is called worse with ``GATE_POWER``; None where none is."""
        n = self._alone
        if self._worse(n, 1.0) < GATE_POWER:
            return None
        return float(brentq(lambda loss: self._worse(n, loss) - GATE_POWER, self.tolerance, 1.0, xtol=1e-4))

    def needed_if_equal(self) -> int | None:
        """Items for an equal candidate to hold with ``GATE_POWER``; None above ``MOST_ITEMS``."""
        return self.needed_if(0.0)

    def needed_if(self, difference: float) -> int | None:
        """Items for a candidate that differs so to hold or be called worse, with the same power; None if above."""
        if difference >= -self.tolerance:
            return self._search(self._holds, difference, self.alpha)
        return self._search(lambda n, d: self._worse(n, -d), difference, self.alpha / self.tests)

    @property
    def _alone(self) -> int:
        return max(1, round(self.items / self.effect))

    def _holds(self, n: int, difference: float) -> float:
        flips = max(self.discordance, abs(difference))
        return non_inferiority_power(n, flips, self.tolerance, difference, self.alpha)

    def _worse(self, n: int, loss: float) -> float:
        # The first of Holm's steps: what a loss on one benchmark has to pass.
        flips = max(self.discordance, loss)
        return non_inferiority_power(n, flips, -self.tolerance, loss, self.alpha / self.tests)

    def _search(self, power: Callable[[int, float], float], difference: float, alpha: float) -> int | None:
        """Upwards from below the normal approximation, in steps of 4 %: the exact power is not monotone in n."""
        away = abs(difference + self.tolerance)
        variance = max(self.discordance, abs(difference)) - difference**2
        z = norm.isf(alpha)
        if away == 0 or (rough := (z + norm.isf(1 - GATE_POWER)) ** 2 * variance / away**2) > MOST_ITEMS:
            return None
        # Where no item flips, the test itself asks for as many.
        least = needed_if_alike(self.tolerance, alpha) if -self.tolerance < difference <= 0 else 1
        n = ceil(max(0.6 * rough, least))
        while power(n, difference) < GATE_POWER:
            if n > MOST_ITEMS:
                return None
            n = ceil(1.04 * n)
        return ceil(n * self.effect)
