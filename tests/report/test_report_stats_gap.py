"""Gap recovered: fixed points, Fieller's interval by its definition, and coverage by simulation."""

import numpy as np
import pytest
from scipy.stats import t as student_t

from pkt_eval.errors import DataError
from pkt_eval.report.stats import gap_recovered, paired_test


def family(rng: np.random.Generator, n: int, recovered: float, lead: float = 0.2) -> tuple[np.ndarray, ...]:
    """Right-or-wrong answers of a student, vanilla and a teacher that share the difficulty of the items."""
    difficulty = rng.random(n)
    rates = (0.4 + recovered * lead, 0.4, 0.4 + lead)
    # Chance of ±0.1 about one's own rate: within [0, 1] throughout, so that the rates are exact.
    return tuple((difficulty + rng.uniform(-0.1, 0.1, size=n) < rate).astype(float) for rate in rates)


def test_vanilla_recovers_nothing_and_the_teacher_all():
    _, vanilla, teacher = family(np.random.default_rng(0), 300, 0.5)
    assert gap_recovered(vanilla, vanilla, teacher) == (0, 0, 0)
    assert gap_recovered(teacher, vanilla, teacher) == pytest.approx((1, 1, 1))
    half = gap_recovered((vanilla + teacher) / 2, vanilla, teacher)
    assert half == pytest.approx((0.5, 0.5, 0.5))


def test_blank_where_the_teacher_has_no_sure_lead():
    _, vanilla, teacher = family(np.random.default_rng(1), 300, 0.5)
    assert gap_recovered(teacher, vanilla, vanilla) is None
    assert gap_recovered(vanilla, teacher, vanilla) is None  # significant, but the wrong way round
    first = np.zeros(100)
    five, nine = first.copy(), first.copy()
    five[:5], nine[:9] = 1, 1
    assert gap_recovered(five, first, five) is None  # 5 : 0, p = 0.0625
    assert gap_recovered(five, first, nine).value == pytest.approx(5 / 9)
    # Twice as many items in as many clusters are no more evidence.
    assert gap_recovered(five.repeat(3), first.repeat(3), five.repeat(3), np.arange(100).repeat(3)) is None
    assert gap_recovered(nine, first, nine, clusters=np.zeros(100)) is None
    # Six clusters led, one by far: p = 2 · 2^-6 by sign flips, but the lead is within t standard errors of zero.
    won, clusters = np.zeros(60), np.arange(60) % 6
    won[:6], won[clusters == 0] = 1, 1
    assert paired_test(won, np.zeros(60), clusters) < 0.05
    assert gap_recovered(won, np.zeros(60), won, clusters) is None


@pytest.mark.parametrize("clusters", [None, np.arange(400) // 8])
def test_interval_is_what_fieller_does_not_reject(clusters):
    student, vanilla, teacher = family(np.random.default_rng(2), 400, 0.4)
    estimate = gap_recovered(student, vanilla, teacher, clusters)
    assert estimate.value == pytest.approx((student - vanilla).mean() / (teacher - vanilla).mean())
    names = np.arange(400) if clusters is None else clusters

    def t(ratio: float) -> float:
        contrast = (student - vanilla) - ratio * (teacher - vanilla)
        groups = np.bincount(names, contrast - contrast.mean())
        return contrast.mean() / np.sqrt(len(groups) / (len(groups) - 1) * (groups**2).sum()) * 400

    bound = student_t.isf(0.025, names.max())
    assert t(estimate.low) == pytest.approx(bound, abs=1e-6)
    assert t(estimate.high) == pytest.approx(-bound, abs=1e-6)


def test_does_not_depend_on_order():
    rng = np.random.default_rng(3)
    scores = family(rng, 200, 0.7)
    order = rng.permutation(200)
    assert gap_recovered(*(x[order] for x in scores)) == pytest.approx(gap_recovered(*scores))


@pytest.mark.parametrize("recovered", [-0.25, 0.5, 1.0])
def test_interval_covers(recovered):
    rng, runs = np.random.default_rng(4), 800
    estimates = [gap_recovered(*family(rng, 200, recovered)) for _ in range(runs)]
    assert None not in estimates
    covered = np.mean([low <= recovered <= high for _, low, high in estimates])
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / runs)


def test_unmatched_items_are_refused():
    with pytest.raises(DataError, match="teacher has 3 items and vanilla has 2"):
        gap_recovered([1, 0], [0, 0], [1, 1, 1])
