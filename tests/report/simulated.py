"""Students that were never made: right-or-wrong answers by a probit model, for the simulations of the statistics."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

ITEM, CROSSING = 1.6, 0.6
"""Standard deviations of how hard an item is, and of chance at each crossing of seed and item; about a fifth of the
answers of two students differ then."""


def draw(
    rng: np.random.Generator, tables: int, students: int, seeds: int, n: int, p: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Students that are like vanilla on average, over all seeds that could have been drawn.

    Args:
        rng: Of the draw.
        tables: How many times all of it is drawn.
        students: Rows of a table.
        seeds: Of each student.
        n: Items.
        p: Pass rate of vanilla and of each student.
        spread: Standard deviation between the seeds' true pass rates.

    Returns:
        ``(tables, students, seeds, n)`` and vanilla's ``(tables, 1, n)``.
    """
    quantiles = norm.ppf((np.arange(2000) + 0.5) / 2000)
    alone = np.hypot(ITEM, CROSSING)

    def between(sd: float) -> float:
        return float(np.std(norm.cdf((norm.ppf(p) * np.hypot(alone, sd) + sd * quantiles) / alone)))

    sd = brentq(lambda sd: between(sd) - spread, 0, 9) if spread else 0.0

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    items = ITEM * normal(tables, 1, 1, n)
    shift = norm.ppf(p) * np.hypot(alone, sd) + sd * normal(tables, students, seeds, 1)
    rows = items + shift.astype(np.float32) + CROSSING * normal(tables, students, seeds, n) > 0
    vanilla = items[:, 0] + np.float32(norm.ppf(p) * alone) + CROSSING * normal(tables, 1, n) > 0
    return rows.astype(np.float64), vanilla.astype(np.float64)
