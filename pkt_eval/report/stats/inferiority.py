"""Is a candidate no more than a margin worse than its baseline? The test behind the gate.

Two questions, two p-values. ``p``: can a loss of ``margin`` or more be excluded? ``p_worse``: is there a loss at all,
beyond chance? On few items neither may be answered. Over several benchmarks, "all hold" needs every ``p`` at or below
α and no correction: one benchmark that is worse suffices to make it false, and that one test lets it pass with a chance
of α at most (an intersection–union test, Berger 1982, doi:10.1080/00401706.1982.10487790). "Any is worse" needs
``holm`` over the ``p_worse``.

"Is it worse by more than the margin?" is the same test with the students' names swapped and the margin negated:
``non_inferiority(baseline, candidate, -margin).p``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, norm
from scipy.stats import t as student_t

from pkt_eval.report.stats.estimate import check_probability, matched
from pkt_eval.report.stats.paired import paired_test
from pkt_eval.report.stats.power import check_discordance, support
from pkt_eval.report.stats.score import paired_score_interval, paired_score_z
from pkt_eval.report.stats.units import Units


class NonInferiority(NamedTuple):
    """A candidate against a baseline."""

    difference: float
    """``mean(candidate) - mean(baseline)``."""
    low: float
    """The difference is above this, with confidence ``1 - alpha``; above ``-margin`` if and only if ``p < alpha``."""
    p: float
    """Against "the candidate is worse by ``margin`` or more"."""
    p_worse: float
    """Against "the candidate is no worse"."""


def non_inferiority(
    candidate: ArrayLike,
    baseline: ArrayLike,
    margin: float,
    alpha: float = 0.05,
    clusters: ArrayLike | None = None,
) -> NonInferiority:
    """Tests ``mean(candidate) - mean(baseline) <= -margin`` on matched items, one-sided.

    **Right-or-wrong items without clusters**: the score test, ``paired_score_z`` at ``θ = -margin``.

    **Fractional scores or clusters**: ``t = (d - θ)/se`` with (units - 1) degrees of freedom and the standard error of
    ``Units.covariance``. A sample without spread would make any margin sure, so the variance of an item is not taken
    below that of "d everywhere, but rare total losses that make θ true", ``(d - θ)(1 + θ)``. Without discordant items
    that is the score test's own variance.

    ``p_worse`` is one-sided ``paired_test``: exact McNemar for right-or-wrong items, else by sign flips.

    Args:
        candidate: ``(N,)`` scores in [0, 1].
        baseline: ``(N,)`` scores of the same items.
        margin: The loss that is not tolerated, e.g. 0.03 for three points; below zero a gain that is asked for.
        alpha: One minus the confidence of ``low``.
        clusters: ``(N,)`` names of groups of items, such as MMLU's subjects.

    Returns:
        Both p-values, the difference and its lower bound. Where all answers agree, ``p <= 0.05`` from
        ``2.71·(1 - margin)/margin`` items on: 88 for three points. With a single cluster, ``p = 1`` and ``low = -1``.

    Raises:
        DataError: Scores are not matched, or not finite.
        ConfigError: Not ``0 < |margin| < 1`` and ``0 < alpha < 1/2``.
    """
    check_probability(abs(margin), "margin")
    check_probability(2 * alpha, "twice alpha")
    candidate, baseline = matched(candidate, baseline, ("candidate", "baseline"))
    differences = candidate - baseline
    p_worse = paired_test(candidate, baseline, clusters, alternative="less")
    if clusters is None and np.isin(differences, (-1, 0, 1)).all():
        won, lost, n = int((differences > 0).sum()), int((differences < 0).sum()), len(differences)
        low = paired_score_interval(won, lost, n, level=1 - 2 * alpha).low
        p = float(norm.sf(paired_score_z(won, lost, n, -margin)))
    else:
        low, p = _wald(Units.of(differences[None], clusters), margin, alpha)
    return NonInferiority(float(differences.mean()), low, p, p_worse)


def non_inferiority_power(
    n: int, discordance: float, margin: float, difference: float = 0.0, alpha: float = 0.05
) -> float:
    """Chance that ``non_inferiority`` of right-or-wrong items gives ``p <= alpha``, exactly.

    Sums over the won and lost items, b and c, that are likely at all. At ``difference=0`` it is the chance that an
    equal candidate holds; at a loss of ``margin`` the chance that the loss is missed: about ``alpha``, as the test is
    approximate (up to 0.06 for 0.05 with five discordant items). The chance that
    ``p_worse <= alpha`` is ``mcnemar_power`` with ``sides=1``.

    Args:
        n: Items.
        discordance: Share of items that one has right and the other wrong.
        margin: The loss that is not tolerated; below zero a gain that is asked for.
        difference: The true difference, candidate - baseline.
        alpha: Level of the test.

    Returns:
        The power.

    Raises:
        ConfigError: A probability is out of range, or not ``|difference| <= discordance <= 1``.
    """
    check_probability(abs(margin), "margin")
    check_probability(alpha, "alpha")
    check_discordance(n, difference, discordance)
    win, loss = (discordance + difference) / 2, (discordance - difference) / 2
    c = np.arange(*support(n, loss))[:, None]
    b = np.arange(*support(n, win))[None]
    weights = binom.pmf(c, n, loss) * binom.pmf(b, n - c, win / (1 - loss) if loss < 1 else 0.0)
    held = (b + c <= n) & (paired_score_z(np.minimum(b, n - c), c, n, -margin) >= norm.isf(alpha))
    return float((weights * held).sum())


def _wald(units: Units, margin: float, alpha: float) -> tuple[float, float]:
    """Lower bound and p-value by the t-test with a floor under the variance."""
    if units.number == 1:
        return -1.0, 1.0
    mean, n, freedom = float(units.means[0]), units.items, units.number - 1
    variance, above = float(units.covariance()[0, 0]), mean + margin
    t = above / np.sqrt(max(variance, above * (1 - margin) / n, np.finfo(float).tiny))
    quantile = student_t.isf(alpha, freedom)
    # Both conditions solved for θ: (d-θ)² >= t²·variance, and (d-θ)² >= t²·(d-θ)(1+θ)/n.
    below = max(quantile * np.sqrt(variance), quantile**2 * (1 + mean) / (n + quantile**2))
    return float(max(mean - below, -1.0)), float(student_t.sf(t, freedom))
