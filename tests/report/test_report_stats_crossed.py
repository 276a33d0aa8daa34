"""Seeds crossed with items: the parts of a variance by hand, what an interval covers, what a null table shows."""

import numpy as np
import pytest
from scipy.stats import t as student_t
from simulated import draw

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.stats import (
    Crossed,
    aggregate_seeds,
    benjamini_hochberg,
    benjamini_yekutieli,
    crossed_difference,
    detectable_difference,
    minimum_detectable_difference,
    paired_test,
    seed_difference,
)
from pkt_eval.report.stats.units import Units

SPREADS = (0.019, 0.038, 0.055, 0.10)


def test_the_parts_are_the_mean_squares_of_the_two_way_layout():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 30)) + rng.normal(size=30) + rng.normal(size=(4, 1))
    s, n, grand = 4, 30, rows.mean()
    by_seed, by_item = rows.mean(axis=1) - grand, rows.mean(axis=0) - grand
    rest = rows - grand - by_seed[:, None] - by_item
    seeds, items = n * (by_seed**2).sum() / (s - 1), s * (by_item**2).sum() / (n - 1)
    crossing = (rest**2).sum() / ((s - 1) * (n - 1))
    crossed = Crossed.of(rows, [4])
    assert crossed.value == pytest.approx(grand)
    assert crossed.variance == pytest.approx((seeds + items - crossing) / (s * n))
    assert crossed.seeds == pytest.approx(seeds / (s * n)) and crossed.seeds_freedom == pytest.approx(3)
    assert crossed.fixed == pytest.approx(items / (s * n))


def test_two_sides_with_seeds_of_their_own_are_welch_over_seeds():
    # Constant seeds: items say nothing, and what is left is Welch's test.
    a, b = np.array([0.30, 0.42, 0.37]), np.array([0.50, 0.44, 0.52, 0.61])
    crossed = crossed_difference(*(np.repeat(x[:, None], 40, axis=1) for x in (a, b)), same_seeds=False)
    va, vb = a.var(ddof=1) / 3, b.var(ddof=1) / 4
    freedom = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 3)
    assert crossed.half_width(0.95) == pytest.approx(student_t.isf(0.025, freedom) * np.sqrt(va + vb), rel=1e-6)
    t = (b.mean() - a.mean()) / np.sqrt(va + vb + crossed.rounding)
    assert crossed.p_value() == pytest.approx(2 * student_t.sf(t, freedom), rel=1e-6)


def test_clusters_and_leading_dimensions():
    rng = np.random.default_rng(1)
    rows, clusters = rng.integers(2, size=(5, 3, 60)).astype(float), rng.integers(9, size=60)
    many = Crossed.of(rows, [3], clusters)
    for k in range(5):
        one = Crossed.of(rows[k], [3], clusters)
        assert one.variance == pytest.approx(many.variance[k]) and one.p_value() == pytest.approx(many.p_value()[k])
        assert one.fixed == pytest.approx(Units.of(rows[k].mean(axis=0)[None], clusters).covariance()[0, 0])
    assert many.units == 9
    with pytest.raises(DataError, match="cluster names"):
        Crossed.of(rows, [3], clusters[:5])


def test_a_comparison_is_as_sure_as_its_parts():
    students, vanilla = draw(np.random.default_rng(2), 1, 1, 3, 200, 0.4, 0.05)
    a, b = students[0, 0], vanilla[0]
    crossed, difference = crossed_difference(a, b, False), seed_difference(a, b, False)
    assert difference.high - difference.value == pytest.approx(crossed.half_width(0.95))
    assert difference.p == max(paired_test(a.mean(axis=0), b[0]), float(crossed.p_value()))
    # The threshold of a p-value is the difference that has it.
    moved = Crossed.of(np.vstack([a, -b]) + (crossed.threshold(0.01) - crossed.value) / 2, [3, 1])
    assert moved.p_value() == pytest.approx(0.01, rel=1e-3)


def test_zero_is_zero_though_thirds_are_not_thirds():
    """Means over three seeds: 1/3 + 1/3 + 1/3 - 1 and its like are no differences."""
    rng = np.random.default_rng(3)
    thirds = rng.integers(4, size=90) / 3
    noisy = (thirds + 0.1) * 3 / 3 - 0.1
    assert (noisy != thirds).any() and np.abs(noisy - thirds).max() < 1e-15
    assert paired_test(noisy, thirds) == 1
    better = thirds.copy()
    better[:8] = thirds[:8] + 0.1
    assert paired_test(better + (noisy - thirds), thirds) == 2**-7  # eight of one size: exact McNemar
    rows = np.tile(thirds, (3, 1)) * np.array([[1], [1 + 1e-16], [1 - 1e-16]])
    assert seed_difference(rows, thirds[None], False)[:4] == (0, pytest.approx(0), pytest.approx(0), 1)


@pytest.mark.parametrize("p", [0.3, 0.6])
@pytest.mark.parametrize(("n", "tables"), [(100, 6000), (400, 3000), (1300, 1200)])
def test_coverage_over_seeds_and_items(n, tables, p):
    """94 to 96.5 % of the intervals of a difference hold the truth, but for two seeds, which err on the wide side.

    Of one cell of spreads and seeds that is within the error of the simulation, of the mean over the spreads closely.
    """
    rng = np.random.default_rng(round(1000 * p) + n)
    for seeds in (2, 3, 5, 10):
        shares = []
        for spread in SPREADS:
            rows, vanilla = draw(rng, tables, 1, seeds, n, p, spread)
            crossed = Crossed.of(rows[:, 0] - vanilla, [seeds])
            shares.append(float(np.mean(np.abs(crossed.value) <= crossed.half_width(0.95))))
        error = np.sqrt(0.95 * 0.05 / tables)
        high = 0.98 if seeds == 2 else 0.965
        assert all(0.94 - 3 * error < share < high + 3 * error for share in shares), (seeds, shares)
        assert 0.94 - 1.5 * error < np.mean(shares) < high + 1.5 * error, (seeds, shares)


@pytest.mark.parametrize("same_seeds", [True, False])
def test_coverage_of_two_students_with_seeds(same_seeds):
    rng, tables = np.random.default_rng(4), 1000
    for seeds in (2, 3, 5):
        for spread in SPREADS[::3]:
            rows, _ = draw(rng, tables, 2, seeds, 150, 0.4, spread)
            a, b = rows[:, 0], rows[:, 1]
            crossed = Crossed.of(a - b, [seeds]) if same_seeds else Crossed.of(np.hstack([a, -b]), [seeds, seeds])
            share = np.mean(np.abs(crossed.value) <= crossed.half_width(0.95))
            assert 0.94 - 0.02 < share < (0.985 if seeds == 2 else 0.975) + 0.01, (seeds, spread, share)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_null_tables_show_nothing(seeds):
    """10 students × 4 benchmarks with vanilla and with LoRA, none better or worse: bold is a false alarm."""
    rng, tables = np.random.default_rng(5), 300
    for spread in SPREADS:
        p: list[np.ndarray] = []
        for n, rate in ((100, 0.4), (164, 0.5), (200, 0.3), (300, 0.6)):
            rows, vanilla = draw(rng, tables, 10, seeds, n, rate, spread)
            p += [Crossed.of(rows - vanilla[:, None], [seeds]).p_value()]
            p += [Crossed.of(rows[:, 1:] - rows[:, :1], [seeds]).p_value()]
        alarms = np.mean([(benjamini_hochberg(table) <= 0.05).any() for table in np.concatenate(p, axis=1)])
        assert alarms < 0.05 + 2 * np.sqrt(0.05 * 0.95 / tables), spread
        strict = np.mean([(benjamini_yekutieli(table) <= 0.05).any() for table in np.concatenate(p, axis=1)])
        assert strict <= alarms


def test_percentiles_would_not_do():
    """What the simulation is for: normal quantiles of the same variance are too sure over three seeds."""
    rows, vanilla = draw(np.random.default_rng(6), 1500, 1, 3, 200, 0.4, 0.10)
    crossed = Crossed.of(rows[:, 0] - vanilla, [3])
    assert np.mean(np.abs(crossed.value) <= 1.96 * np.sqrt(crossed.variance)) < 0.88


def test_the_interval_of_a_score_covers_near_its_end_too():
    rng, tables, held = np.random.default_rng(7), 400, 0
    rows, _ = draw(rng, tables, 1, 3, 150, 0.1, 0.019)
    for scores in rows[:, 0]:
        result = aggregate_seeds(scores)
        held += result.low <= 0.1 <= result.high
        assert 0 <= result.low <= result.value <= result.high <= 1
    assert 0.93 < held / tables < 0.985


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.019), (3, 0.055), (5, 0.03), (10, 0.055)])
def test_a_detectable_difference_is_detected_four_times_in_five(seeds, spread):
    """Students that are better by as much, by simulation; the plan errs on the careful side, not by much."""
    rng, tables, n, p = np.random.default_rng(8), 1500, 400, 0.4
    rows, vanilla = draw(rng, tables, 1, seeds, n, p, spread)
    apart = rows[:, 0] - vanilla
    discordance = float(np.mean(apart.mean(axis=1) ** 2))
    total = float(np.sqrt(apart.mean(axis=2).var(axis=1, ddof=1).mean()))
    smallest = detectable_difference(n, discordance, seeds, total, alpha=0.01)
    shown = np.mean(Crossed.of(apart + smallest, [seeds]).p_value() <= 0.01)
    assert 0.72 < shown < 0.93


def test_detectable_differences_of_plans():
    one = detectable_difference(500, 0.2)
    assert one == minimum_detectable_difference(500, 0.2)
    assert detectable_difference(500, 0.2, alpha=0.01) > one
    few, many = (detectable_difference(500, 0.2, seeds, 0.03, alpha=0.01) for seeds in (3, 10))
    assert many < few
    assert detectable_difference(500, 0.2, 10, 0.06, alpha=0.01) > many
    assert detectable_difference(100, 0.2, 2, 0.1, alpha=0.001) == np.inf
    assert detectable_difference(500, 0.2, 3, 0.0) >= one
    for bad in (dict(seeds=0), dict(spread=1.5), dict(alpha=0), dict(power=1)):
        with pytest.raises(ConfigError):
            detectable_difference(500, 0.2, **bad)
