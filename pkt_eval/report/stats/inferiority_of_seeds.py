"""Is a candidate no more than a margin worse, where it or its baseline was made several times, with different seeds?

The margin must be excluded over items *and* over seeds: ``non_inferiority`` of the means over seeds asks the items, and
has a floor where all answers agree; ``Crossed`` asks both, of the difference from the margin on. The claim needs both,
so its p-value is the larger.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from pkt_eval.report.stats.inferiority import NonInferiority, non_inferiority
from pkt_eval.report.stats.seeds import crossed_difference


def non_inferiority_of_seeds(
    candidate: np.ndarray,
    baseline: np.ndarray,
    margin: float,
    same_seeds: bool,
    alpha: float = 0.05,
    clusters: ArrayLike | None = None,
) -> NonInferiority:
    """Tests ``mean(candidate) - mean(baseline) <= -margin`` on matched items, one-sided.

    Args:
        candidate: ``(S_c, N)`` scores in [0, 1], a row a seed.
        baseline: ``(S_b, N)`` scores of the same items.
        margin: The loss that is not tolerated; below zero a gain that is asked for.
        same_seeds: Row s of both was made with one seed; then ``S_c = S_b``.
        alpha: One minus the confidence of ``low``.
        clusters: ``(N,)`` names of groups of items, such as MMLU's subjects.

    Returns:
        As ``non_inferiority``, which it is with one seed a side.

    Raises:
        DataError: Scores are not matched, or not finite.
        ConfigError: Not ``0 < |margin| < 1`` and ``0 < alpha < 1/2``.
    """
    of_items = non_inferiority(candidate.mean(axis=0), baseline.mean(axis=0), margin, alpha, clusters)
    if len(candidate) == len(baseline) == 1:
        return of_items
    crossed = crossed_difference(candidate, baseline, same_seeds, clusters)
    from_margin = replace(crossed, value=crossed.value + margin)
    two_sided = float(from_margin.p_value())
    p = two_sided / 2 if from_margin.value > 0 else 1 - two_sided / 2
    low = float(crossed.value - crossed.threshold(2 * alpha))
    return of_items._replace(low=max(min(of_items.low, low), -1.0), p=max(of_items.p, p))
