"""Means over seeds: algebra, the variance of the bootstrap in closed form, and coverage by simulation."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student_t

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.stats import aggregate_seeds, paired_bootstrap, paired_test, seed_difference


def students(rng: np.random.Generator, seeds: int, items: np.ndarray, seed_sd: float, shift: float = 0.0) -> np.ndarray:
    """``(seeds, N)`` right-or-wrong answers by a probit model: items, seeds, and chance at each crossing (sd 0.6)."""
    ability = items + shift + seed_sd * rng.normal(size=(seeds, 1)) + 0.6 * rng.normal(size=(seeds, len(items)))
    return (ability > 0).astype(float)


def test_mean_and_spread():
    result = aggregate_seeds([[1, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    assert result.value == pytest.approx(0.75)
    assert result.spread == pytest.approx(np.std([0.5, 0.75, 1.0], ddof=1))
    assert result.seeds == 3
    assert result.low < 0.75 < result.high


def test_one_seed_is_the_bootstrap_over_items():
    scores = np.random.default_rng(0).integers(2, size=(1, 80))
    result = aggregate_seeds(scores)
    assert result[:3] == paired_bootstrap(scores[0], np.zeros(80))
    assert np.isnan(result.spread) and result.seeds == 1
    other = np.random.default_rng(1).integers(2, size=(1, 80))
    difference = seed_difference(scores, other, same_seeds=False)
    assert difference[:3] == paired_bootstrap(scores[0], other[0])
    assert difference.p == paired_test(scores[0], other[0])


def test_equal_seeds_have_the_interval_of_one():
    scores = np.random.default_rng(2).integers(2, size=200)
    three, one = aggregate_seeds(np.tile(scores, (3, 1))), aggregate_seeds(scores[None])
    assert three.spread == 0
    assert three[:3] == pytest.approx(one[:3], abs=0.006)


def test_equal_items_leave_the_variance_of_the_seeds():
    # Five seeds with constant scores: the interval is t standard errors, sd/√S, about the mean.
    levels = np.array([0.30, 0.34, 0.35, 0.37, 0.44])
    result = aggregate_seeds(np.repeat(levels[:, None], 50, axis=1), level=0.6827)
    half = student_t.isf(0.15865, 4) * levels.std(ddof=1) / np.sqrt(5)
    assert (result.high - result.low) / 2 == pytest.approx(half, rel=0.005)
    assert student_t.isf(0.15865, 4) == pytest.approx(1.142, abs=1e-3)  # of normal errors it would be 1.000


def test_order_does_not_matter():
    rng = np.random.default_rng(3)
    scores, clusters = rng.integers(2, size=(3, 60)), rng.integers(7, size=60)
    order = rng.permutation(60)
    assert aggregate_seeds(scores[:, order], clusters[order]) == aggregate_seeds(scores, clusters)
    mirrored = seed_difference(scores[:2], scores[1:], True, clusters)
    straight = seed_difference(scores[1:], scores[:2], True, clusters)
    assert mirrored.value == -straight.value
    assert -mirrored.high == pytest.approx(straight.low, abs=0.02)
    assert mirrored.p == pytest.approx(straight.p, abs=0.03)


def test_a_student_differs_from_itself_by_nothing():
    scores = np.random.default_rng(4).integers(2, size=(3, 60))
    assert seed_difference(scores, scores, same_seeds=True) == (0, 0, 0, 1, (3, 3))
    # Drawn apart, two seeds of one student can differ.
    apart = seed_difference(scores, scores, same_seeds=False)
    assert apart.value == 0 and apart.low < 0 < apart.high and apart.p == 1


def test_matched_seeds_narrow_the_interval():
    rng = np.random.default_rng(5)
    shared = 0.4 * rng.normal(size=(4, 1))
    items = rng.normal(0.3, 1.6, size=150)
    a, b = ((items + shared + 0.3 * rng.normal(size=(4, 150)) > 0).astype(float) for _ in range(2))
    same, apart = seed_difference(a, b, True), seed_difference(a, b, False)
    assert same.high - same.low < apart.high - apart.low


def test_one_cluster_says_nothing():
    scores = np.random.default_rng(6).integers(2, size=(3, 9))
    assert aggregate_seeds(scores, clusters=np.zeros(9))[1:3] == (-np.inf, np.inf)


@pytest.mark.parametrize(("seeds", "seed_sd"), [(2, 0.1), (3, 0.0), (3, 0.2), (5, 0.1)])
def test_interval_covers_over_seeds_and_items(seeds, seed_sd):
    rng, runs, covered = np.random.default_rng(7), 500, 0
    truth = norm.cdf(0.4 / np.sqrt(1.6**2 + 0.6**2 + seed_sd**2))
    for _ in range(runs):
        scores = students(rng, seeds, rng.normal(0.4, 1.6, size=150), seed_sd)
        result = aggregate_seeds(scores, resamples=1000)
        covered += result.low <= truth <= result.high
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs) < covered / runs < 0.99  # errs on the wide side


def test_false_alarms_of_a_method_that_changes_nothing_on_average():
    """Seeds that scatter about vanilla: a test over items alone calls these three seeds different, and is wrong."""
    rng, runs = np.random.default_rng(8), 500
    alarms = np.zeros(2)
    for _ in range(runs):
        items = rng.normal(0.4, 1.6, size=150)
        vanilla, tuned = students(rng, 1, items, 0.0), students(rng, 3, items, 0.2)
        alarms += [
            seed_difference(tuned, vanilla, same_seeds=False, resamples=1000).p <= 0.05,
            paired_test(tuned.mean(axis=0), vanilla[0], resamples=1000) <= 0.05,
        ]
    both, items_alone = alarms / runs
    assert both < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert items_alone > 0.08


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: aggregate_seeds([1, 0, 1]), DataError),
        (lambda: aggregate_seeds([[1, 0], [1, np.nan]]), DataError),
        (lambda: aggregate_seeds([[1, 0], [1, 1]], level=2), ConfigError),
        (lambda: seed_difference([[1, 0]], [[1, 0, 1]], True), DataError),
        (lambda: seed_difference([[1, 0]], [[1, 0], [0, 1]], True), DataError),
    ],
)
def test_bad_input_is_refused(call, error):
    with pytest.raises(error):
        call()
