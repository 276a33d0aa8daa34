"""Intervals of one score and the score test of two: published values, scipy, likelihoods maximised by brute force."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, multinomial, norm

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.stats import paired_score_interval, wilson_interval, wilson_interval_of_scores
from pkt_eval.report.stats.score import paired_score_z


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17:857–872), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_textbook(passed, n, low, high):
    assert wilson_interval(passed, n) == pytest.approx((passed / n, low, high), abs=5e-5)


@pytest.mark.parametrize(("n", "level"), list(product([1, 7, 164, 14_042], [0.5, 0.95, 0.999])))
def test_wilson_is_scipys(n, level):
    for passed in {0, 1, n // 3, n - 1, n}:
        interval = binomtest(passed, n).proportion_ci(level, method="wilson")
        assert wilson_interval(passed, n, level)[1:] == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_wilson_mirrors():
    for passed in range(11):
        value, low, high = wilson_interval(passed, 10)
        assert wilson_interval(10 - passed, 10) == pytest.approx((1 - value, 1 - high, 1 - low))
        assert 0 <= low <= value <= high <= 1


def test_wilson_covers_on_average():
    n, rates = 200, np.linspace(0.05, 0.95, 181)
    inside = np.array(
        [[low <= rates, rates <= high] for _, low, high in map(lambda k: wilson_interval(k, n), range(n + 1))]
    )
    covers = (binom.pmf(np.arange(n + 1)[:, None], n, rates) * inside.all(axis=1)).sum(axis=0)
    assert 0.948 < covers.mean() < 0.954
    assert covers.min() > 0.92


def test_scores_that_are_right_or_wrong_have_wilsons_interval():
    for passed in (0, 3, 9):
        scores = np.arange(9) < passed
        assert wilson_interval_of_scores(scores, samples=5) == pytest.approx(wilson_interval(passed, 9), abs=1e-12)


def test_more_samples_an_item_narrow_the_interval_between_two_bounds():
    rng = np.random.default_rng(0)
    scores = rng.binomial(5, rng.beta(1, 1, size=100)) / 5
    p, low, high = wilson_interval_of_scores(scores, samples=5)
    assert p == pytest.approx(scores.mean())
    one, five = (wilson_interval_of_scores(np.arange(k) < round(k * p), 1) for k in (100, 500))
    assert five.high - five.low < high - low < one.high - one.low
    # All items alike: as many items as samples, not infinitely many.
    assert wilson_interval_of_scores(np.full(100, 0.4), samples=5) == pytest.approx(wilson_interval(200, 500))


def test_interval_of_fractional_scores_covers():
    rng = np.random.default_rng(1)
    p = rng.beta(0.6, 0.9, size=(1500, 150))  # mean 0.4
    intervals = [wilson_interval_of_scores(row, samples=4) for row in rng.binomial(4, p) / 4]
    covered = np.mean([low <= 0.4 <= high for _, low, high in intervals])
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 1500)


def test_score_statistic_of_a_published_trial():
    # Tango 1998, example 1: 44 patients, b = 0, c = 1, margin 0.1: z = 1.709, one-sided p = 0.044.
    z = paired_score_z(0, 1, 44, -0.1)
    assert z == pytest.approx(1.709, abs=5e-4)
    assert norm.sf(z) == pytest.approx(0.044, abs=5e-4)


@pytest.mark.parametrize(
    ("b", "c", "n", "theta"), [(3, 5, 20, -0.1), (0, 2, 9, -0.3), (4, 1, 12, 0.2), (2, 2, 4, -0.5)]
)
def test_score_statistic_is_the_one_of_the_most_likely_rates(b, c, n, theta):
    def unlikely(lost):
        rates = np.array([lost + theta, lost, 1 - 2 * lost - theta])
        return -(np.array([b, c, n - b - c]) * np.log(np.maximum(rates, 1e-300))).sum()

    bounds = (max(0, -theta), (1 - theta) / 2)
    lost = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
    z = (b - c - n * theta) / np.sqrt(n * (2 * lost + theta - theta**2))
    assert paired_score_z(b, c, n, theta) == pytest.approx(z, abs=1e-5)


def test_score_interval_holds_what_the_test_does_not_reject():
    for b, c, n in [(0, 0, 50), (5, 0, 5), (0, 4, 5), (7, 3, 40), (30, 12, 164)]:
        value, low, high = paired_score_interval(b, c, n)
        assert -1 <= low <= value <= high <= 1
        assert paired_score_interval(c, b, n) == pytest.approx((-value, -high, -low))
        for end, side in ((low, 1), (high, -1)):
            if abs(end) < 1:
                assert side * paired_score_z(b, c, n, end) == pytest.approx(norm.isf(0.025), abs=1e-6)
    z2 = norm.isf(0.025) ** 2
    assert paired_score_interval(0, 0, 200).high == pytest.approx(z2 / (200 + z2))


@pytest.mark.parametrize(("n", "win", "loss"), [(100, 0.06, 0.04), (164, 0.02, 0.02), (150, 0.10, 0.05)])
def test_score_interval_covers_exactly_counted(n, win, loss):
    covered = 0.0
    for b, c in product(range(int(binom.isf(1e-5, n, win)) + 1), range(int(binom.isf(1e-5, n, loss)) + 1)):
        weight = multinomial.pmf([b, c, n - b - c], n, [win, loss, 1 - win - loss])
        if weight > 1e-6:
            _, low, high = paired_score_interval(b, c, n)
            covered += weight * (low <= win - loss <= high)
    assert 0.94 < covered < 0.96


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wilson_interval(3, 2), DataError),
        (lambda: wilson_interval(-1, 2), DataError),
        (lambda: wilson_interval(0, 0), DataError),
        (lambda: wilson_interval(1, 2, level=95), ConfigError),
        (lambda: wilson_interval_of_scores([]), DataError),
        (lambda: wilson_interval_of_scores([0.2, 1.2]), DataError),
        (lambda: wilson_interval_of_scores([0.2, np.nan]), DataError),
        (lambda: wilson_interval_of_scores([0.2], samples=0), ConfigError),
        (lambda: paired_score_interval(3, 3, 5), DataError),
        (lambda: paired_score_interval(-1, 3, 5), DataError),
        (lambda: paired_score_interval(0, 0, 0), DataError),
    ],
)
def test_bad_input_is_refused(call, error):
    with pytest.raises(error):
        call()
