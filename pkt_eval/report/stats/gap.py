"""How much of the teacher's lead over the vanilla student arrived in a transferred one."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t

from pkt_eval.report.stats.estimate import Estimate, check_probability, matched
from pkt_eval.report.stats.paired import paired_test
from pkt_eval.report.stats.units import Units

_ROUNDING = 1e-12
"""A mean of scores below this is the zero that another order of its sum gives."""


def gap_recovered(
    student: ArrayLike,
    vanilla: ArrayLike,
    teacher: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate | None:
    """``(student - vanilla) / (teacher - vanilla)`` with Fieller's interval; None where the teacher has no sure lead.

    The lead must be positive and significant at ``1 - level`` in ``paired_test``. A quotient by a lead that may be zero
    can be anything; Fieller's set says so by itself: it is all ρ for which ``d_s - ρ·d_t`` is within ``t`` standard
    errors of zero, and is bounded if and only if ``d_t`` is more than ``t`` standard errors from zero. That is asked as
    well. Fieller 1954 (doi:10.1111/j.2517-6161.1954.tb00159.x). The two differences share vanilla and the items; their
    covariance is ``Units.covariance``'s, and ``t`` has (units - 1) degrees of freedom.

    Args:
        student: ``(N,)`` scores of the transferred student; with several seeds, each item's mean over them, and the
            interval is then about these seeds.
        vanilla: ``(N,)`` scores of the student before the transfer.
        teacher: ``(N,)`` scores of the teacher.
        clusters: ``(N,)`` names of groups of items, such as MMLU's subjects.
        level: Coverage of the interval, and one minus the level of the test.

    Returns:
        1.0 for a student as good as the teacher, 0.0 for one like vanilla, below 0 for one that lost; or None.

    Raises:
        DataError: Scores are not matched, or not finite.
        ConfigError: ``level`` is no probability.
    """
    check_probability(level, "level")
    student, vanilla = matched(student, vanilla, ("student", "vanilla"))
    teacher, vanilla = matched(teacher, vanilla, ("teacher", "vanilla"))
    units = Units.of(np.stack([student - vanilla, teacher - vanilla]), clusters)
    gain, lead = units.means
    gain = 0.0 if abs(gain) < _ROUNDING else gain
    if lead <= 0 or paired_test(teacher, vanilla, clusters) > 1 - level:
        return None

    t2 = student_t.isf((1 - level) / 2, units.number - 1) ** 2
    (gain_var, shared), (_, lead_var) = units.covariance()
    # (gain - ρ·lead)² <= t²·Var(gain - ρ·lead), a quadratic in ρ.
    square, middle, constant = lead**2 - t2 * lead_var, gain * lead - t2 * shared, gain**2 - t2 * gain_var
    if square <= 0:
        return None
    root = sqrt(max(middle**2 - square * constant, 0.0))
    return Estimate(*(float(x) for x in (gain / lead, (middle - root) / square, (middle + root) / square)))
