"""Many comparisons at once. NaN marks a comparison that was not made: it stays NaN and counts for nothing."""

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control

from pkt_eval.errors import DataError


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values: flagging those at or below q keeps the false share of what is flagged at q or less.

    ``p_(i) ← min over j >= i of min(1, m·p_(j)/j)``. Benjamini & Hochberg 1995
    (doi:10.1111/j.2517-6161.1995.tb02031.x); holds for independent p-values and for positively dependent ones, as those
    of students that share a baseline (Benjamini & Yekutieli 2001, doi:10.1214/aos/1013699998). Where no student
    differs, everything flagged is false, so that q also bounds the chance that the table flags anything.

    Args:
        p: p-values of any shape.

    Returns:
        An array of the same shape.

    Raises:
        DataError: A p-value lies outside [0, 1].

    Example:
        Of four comparisons three were made; the second alone is flagged at 0.05.

        >>> benjamini_hochberg([0.04, 0.01, float("nan"), 0.2]).round(3).tolist()
        [0.06, 0.03, nan, 0.2]
    """
    return _adjust(p, false_discovery_control)


def benjamini_yekutieli(p: ArrayLike) -> np.ndarray:
    """As ``benjamini_hochberg``, under any dependence of the p-values, for ``1 + 1/2 + … + 1/m`` times the price.

    Benjamini & Yekutieli 2001 (doi:10.1214/aos/1013699998).

    Args:
        p: p-values of any shape.

    Returns:
        An array of the same shape.

    Raises:
        DataError: A p-value lies outside [0, 1].

    Example:
        >>> benjamini_yekutieli([0.04, 0.01, float("nan"), 0.2]).round(3).tolist()
        [0.11, 0.055, nan, 0.367]
    """
    return _adjust(p, lambda made: false_discovery_control(made, method="by"))


class Correction(StrEnum):
    """How the p-values of a table are adjusted."""

    BH = "bh"
    BY = "by"

    @property
    def author(self) -> str:
        """Whose it is."""
        return {"bh": "Benjamini–Hochberg", "by": "Benjamini–Yekutieli"}[self]

    def adjust(self, p: ArrayLike) -> np.ndarray:
        """The adjusted p-values."""
        return benjamini_hochberg(p) if self is Correction.BH else benjamini_yekutieli(p)

    def level(self, comparisons: int, flagged: int = 0, alpha: float = 0.05) -> float:
        """The p-value at which one more comparison of a table would be flagged.

        ``α·(flagged + 1)/comparisons``, over ``1 + 1/2 + …`` for Benjamini–Yekutieli: the step of the rule after those
        that were passed. Before a table is made nothing is flagged, and the first step is the hardest.

        Args:
            comparisons: m, of the table.
            flagged: Of them.
            alpha: Level of the table.

        Returns:
            A level in (0, α].
        """
        m = max(comparisons, 1)
        price = 1.0 if self is Correction.BH else float((1 / np.arange(1, m + 1)).sum())
        return alpha * (min(flagged + 1, m) / m) / price


def holm(p: ArrayLike) -> np.ndarray:
    """Adjusted p-values: flagging those at or below α flags anything falsely with a chance of α or less.

    ``p_(i) ← max over j <= i of min(1, (m-j+1)·p_(j))``, under any dependence. Holm 1979 (Scandinavian Journal of
    Statistics 6:65–70).

    Args:
        p: p-values of any shape.

    Returns:
        An array of the same shape.

    Raises:
        DataError: A p-value lies outside [0, 1].

    Example:
        >>> holm([0.04, 0.01, 0.2]).round(3).tolist()
        [0.08, 0.03, 0.2]
    """
    return _adjust(p, _holm)


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def _adjust(p: ArrayLike, rule: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    adjusted = np.array(p, dtype=np.float64)
    made = ~np.isnan(adjusted)
    if (adjusted[made] < 0).any() or (adjusted[made] > 1).any():
        raise DataError(f"p-values must lie in [0, 1], got {adjusted[made].min()} to {adjusted[made].max()}")
    if made.any():
        adjusted[made] = rule(adjusted[made])
    return adjusted
