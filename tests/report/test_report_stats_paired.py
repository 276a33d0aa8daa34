"""McNemar, sign flips and the BCa bootstrap: books, scipy, every resample counted out, and simulation."""

from collections import Counter
from itertools import product
from time import process_time

import numpy as np
import pytest
from scipy.stats import binom, bootstrap, multinomial, norm, permutation_test

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.stats import mcnemar_exact, paired_bootstrap, paired_test
from pkt_eval.report.stats.units import Units


def answers(b: int, c: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Right-or-wrong scores of n items, of which b are right in the first alone and c in the second alone."""
    first, second = np.zeros(n), np.zeros(n)
    first[:b], second[b : b + c] = 1, 1
    return first, second


# McNemar and sign flips


def test_mcnemar_by_hand():
    assert mcnemar_exact(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar_exact(3, 0) == 0.25
    assert mcnemar_exact(0, 0) == mcnemar_exact(4, 4) == 1.0
    assert mcnemar_exact(0, 5, "less") == mcnemar_exact(5, 0, "greater") == 2**-5


def test_mcnemar_is_statsmodels():
    table = pytest.importorskip("statsmodels.stats.contingency_tables")
    for b, c in [(86, 150), (121, 59), (3, 0), (10, 12), (1, 1)]:  # the first: Agresti 2002, table 10.1
        assert mcnemar_exact(b, c) == pytest.approx(table.mcnemar([[5, b], [c, 7]], exact=True).pvalue)


def test_sign_flips_of_right_or_wrong_items_are_mcnemar():
    for b, c in [(0, 0), (3, 0), (2, 7), (20, 9)]:
        first, second = answers(b, c, 40)
        for alternative in ("two-sided", "less", "greater"):
            assert paired_test(first, second, alternative=alternative) == mcnemar_exact(b, c, alternative)
            assert paired_test(0.2 * first, 0.2 * second, alternative=alternative) == mcnemar_exact(b, c, alternative)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("clusters", [None, [0, 0, 1, 2, 2, 2, 3, 4]])
def test_sign_flips_equal_enumeration(alternative, clusters):
    a = np.array([0.2, 1.0, 0.4, 0.8, 0.6, 0.0, 0.9, 0.2])
    b = np.array([0.0, 0.4, 0.6, 0.2, 0.6, 0.4, 0.1, 0.1])
    sums = np.bincount(np.arange(8) if clusters is None else clusters, a - b)
    flipped = [np.dot(signs, sums) for signs in product([-1, 1], repeat=len(sums))]
    extreme = {"two-sided": lambda t: abs(t), "greater": lambda t: t, "less": lambda t: -t}[alternative]
    exact = np.mean([extreme(t) >= extreme(sums.sum()) - 1e-12 for t in flipped])
    assert paired_test(a, b, clusters, alternative) == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 10_000))


def test_sign_flips_are_scipys_permutation_test():
    rng = np.random.default_rng(3)
    a, b = rng.binomial(4, 0.55, size=60) / 4, rng.binomial(4, 0.45, size=60) / 4
    theirs = permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, rng=0
    )
    assert paired_test(a, b) == pytest.approx(theirs.pvalue, abs=4 * np.sqrt(2 * theirs.pvalue / 10_000))


def test_sign_flips_do_not_depend_on_order_or_names():
    rng = np.random.default_rng(4)
    a, b, clusters = rng.integers(5, size=50) / 4, rng.integers(5, size=50) / 4, rng.integers(8, size=50)
    order = rng.permutation(50)
    assert paired_test(a, b, clusters) == paired_test(b, a, clusters)
    assert paired_test(a, b, clusters) == paired_test(a[order], b[order], [f"subject {k}" for k in clusters[order]])
    assert paired_test(a, b, clusters, "less", seed=1) == pytest.approx(
        paired_test(b, a, clusters, "greater"), abs=0.02
    )


def test_sign_flips_keep_their_level_where_subjects_move_together():
    # 40 subjects of 5 to 19 items; a subject as a whole is shifted by ±0.2 or so, and on average by nothing.
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(40), rng.integers(5, 20, size=40))
    false = np.zeros(2)
    for _ in range(800):
        shift = rng.choice([-0.1, 0.1], size=40)[clusters]
        d = (rng.random(len(clusters)) < 0.15 + shift).astype(float) - (rng.random(len(clusters)) < 0.15 - shift)
        zero = np.zeros(len(d))
        false += [paired_test(d, zero, clusters, resamples=500) <= 0.05, paired_test(d, zero) <= 0.05]
    with_clusters, without = false / 800
    assert abs(with_clusters - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 800)
    assert without > 0.1, "the simulated subjects do not matter, so this test says nothing"


def test_drawn_signs_never_promise_more_than_the_draws_can_show():
    a = np.linspace(0.5, 1, 60)
    assert paired_test(a, np.zeros(60), resamples=999) == 1 / 1000


# The bootstrap


def exact_bca(sums: np.ndarray, sizes: np.ndarray, level: float) -> tuple[float, dict[float, float], np.ndarray]:
    """Twin by definition: the mean, the chance of each mean over all n^n resamples, and the two BCa levels."""
    n = len(sums)
    mean = sums.sum() / sizes.sum()
    draws = [list(draw) for draw in product(range(n), repeat=n)]
    chances = Counter(round(sums[draw].sum() / sizes[draw].sum(), 9) for draw in draws)
    chances = {value: count / len(draws) for value, count in sorted(chances.items())}
    below = sum(p * ((value < mean - 1e-8) + 0.5 * (abs(value - mean) <= 1e-8)) for value, p in chances.items())
    left_out = np.array([np.delete(sums, i).sum() / np.delete(sizes, i).sum() for i in range(n)])
    u = left_out.mean() - left_out
    z0, a = norm.ppf(below), (u**3).sum() / (6 * (u**2).sum() ** 1.5)
    z = z0 + norm.ppf([(1 - level) / 2, (1 + level) / 2])
    return mean, chances, norm.cdf(z0 + z / (1 - a * z))


def quantile(chances: dict[float, float], level: float) -> float:
    return next(
        value for value, reached in zip(chances, np.cumsum(list(chances.values())), strict=True) if reached >= level
    )


@pytest.mark.parametrize(
    ("differences", "clusters"),
    [
        ([0.3, -0.1], None),
        ([1.0, 0.0, 0.25], None),
        ([0.9, 0.1, 0.2, -0.35], None),
        ([1, -1, 0, 1], None),
        ([1, 0, 0.5, -1, 0, 0.1, 1, 1], [0, 0, 0, 1, 1, 2, 3, 3]),
    ],
)
def test_bootstrap_equals_enumeration(differences, clusters):
    differences = np.array(differences, dtype=float)
    names = np.arange(len(differences)) if clusters is None else np.array(clusters)
    sums, sizes = np.bincount(names, differences), np.bincount(names)
    mean, chances, levels = exact_bca(sums, sizes, 0.8)

    drawn = Units.of(differences[None], clusters).resampled(np.random.default_rng(0), 100_000)[:, 0].round(9)
    shares = Counter(drawn.tolist())
    assert set(shares) == set(chances)
    for value, chance in chances.items():
        assert shares[value] / 100_000 == pytest.approx(chance, abs=5 * np.sqrt(chance / 100_000))

    estimate = paired_bootstrap(differences, np.zeros(len(differences)), clusters, level=0.8, resamples=100_000)
    assert estimate.value == pytest.approx(mean)
    for end, level in zip(estimate[1:], levels, strict=True):
        assert quantile(chances, level - 0.01) - 1e-8 <= end <= quantile(chances, level + 0.01) + 1e-8


def test_bootstrap_is_scipys():
    rng = np.random.default_rng(6)
    for d in (rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.85, 0.1], size=300), rng.exponential(size=20)):
        theirs = bootstrap((d,), np.mean, method="BCa", n_resamples=50_000, batch=1000, rng=0).confidence_interval
        ours = paired_bootstrap(d, np.zeros(len(d)), resamples=50_000)
        assert ours[1:] == pytest.approx((theirs.low, theirs.high), abs=0.03 * (theirs.high - theirs.low))


def test_bootstrap_of_a_textbook_table():
    # Agresti 2002, Categorical Data Analysis, table 10.1: 1,600 voters, -0.04 with standard error 0.0095.
    assert paired_bootstrap(*answers(86, 150, 1600)) == pytest.approx((-0.04, -0.0587, -0.0213), abs=0.0008)


def test_bootstrap_does_not_depend_on_order_and_scales():
    rng = np.random.default_rng(7)
    a, b, clusters = rng.integers(5, size=60) / 4, rng.integers(5, size=60) / 4, rng.integers(9, size=60)
    order = rng.permutation(60)
    for names, shuffled in ((None, None), (clusters, clusters[order])):
        estimate = paired_bootstrap(a, b, names)
        assert paired_bootstrap(a[order], b[order], shuffled) == estimate
        assert paired_bootstrap(4 * a, 4 * b, names) == pytest.approx([4 * x for x in estimate])
        mirrored = paired_bootstrap(b, a, names)
        width = estimate.high - estimate.low
        assert (-mirrored.value, -mirrored.high, -mirrored.low) == pytest.approx(estimate, abs=0.05 * width)


def test_clusters_of_one_item_are_items_and_doubled_items_are_not_more_items():
    rng = np.random.default_rng(8)
    a, b = rng.integers(2, size=40), rng.integers(2, size=40)
    estimate = paired_bootstrap(a, b)
    assert paired_bootstrap(a, b, np.arange(40)) == estimate
    assert paired_bootstrap(a.repeat(3), b.repeat(3), np.arange(40).repeat(3)) == pytest.approx(estimate)


def test_bootstrap_where_there_is_nothing_to_resample():
    assert paired_bootstrap([1, 0, 1], [1, 0, 1]) == (0, 0, 0)
    assert paired_bootstrap([1, 1, 1], [0, 0, 0]) == (1, 1, 1)
    assert paired_bootstrap([0.3] * 7, [0.1] * 7) == pytest.approx((0.2, 0.2, 0.2))
    assert paired_bootstrap([1], [0]) == (1, -np.inf, np.inf)
    assert paired_bootstrap([1, 0, 1], [0, 0, 0], clusters=["one"] * 3) == pytest.approx((2 / 3, -np.inf, np.inf))
    value, low, high = paired_bootstrap(*answers(1, 0, 100))
    assert (value, low) == (0.01, 0) and 0.02 <= high <= 0.07


@pytest.mark.parametrize(("n", "win", "loss"), [(100, 0.06, 0.04), (150, 0.10, 0.05), (200, 0.04, 0.04)])
def test_bootstrap_covers_exactly_counted(n, win, loss):
    """The interval of every likely outcome, weighted by its chance: no simulation but the resamples themselves."""
    covered = total = 0.0
    for b, c in product(range(int(binom.isf(1e-4, n, win)) + 1), range(int(binom.isf(1e-4, n, loss)) + 1)):
        weight = multinomial.pmf([b, c, n - b - c], n, [win, loss, 1 - win - loss])
        if weight > 1e-5:
            _, low, high = paired_bootstrap(*answers(b, c, n), resamples=2000)
            # The ends lie on multiples of 1/n, as does the truth; they touch it but for rounding.
            covered += weight * (low - 1e-9 <= win - loss <= high + 1e-9)
            total += weight
    assert total > 0.998
    assert 0.935 < covered / total < 0.965


def test_bootstrap_covers_fractional_scores():
    rng = np.random.default_rng(9)
    rates = rng.beta(1, 1.5, size=(500, 150))
    covered = 0
    for a, b in zip(rng.binomial(5, rates) / 5, rng.binomial(5, rates) / 5, strict=True):
        _, low, high = paired_bootstrap(a, b, resamples=1000)
        covered += low <= 0 <= high
    assert abs(covered / 500 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 500)


def test_bootstrap_of_clusters_covers_where_the_one_of_items_does_not():
    rng = np.random.default_rng(10)
    clusters = np.repeat(np.arange(57), rng.integers(10, 35, size=57))
    covered = np.zeros(2)
    for _ in range(400):
        shift = rng.uniform(-0.08, 0.12, size=57)[clusters] / 2  # 0.02 on average
        u = rng.random(len(clusters))
        d = (u < 0.075 + shift).astype(float) - (u > 1 - 0.075 + shift)
        for i, names in enumerate((clusters, None)):
            _, low, high = paired_bootstrap(d, np.zeros(len(d)), names, resamples=1000)
            covered[i] += low <= 0.02 <= high
    whole, single = covered / 400
    assert 0.90 < whole < 0.97  # 57 clusters: a little below 95 %, and 3 standard errors of 400 runs are 0.035
    assert single < whole - 0.02


def test_bootstrap_of_mmlu_takes_moments():
    rng = np.random.default_rng(11)
    a = rng.integers(2, size=14_042)
    b = np.where(rng.random(14_042) < 0.2, 1 - a, a)
    start = process_time()
    paired_bootstrap(a, b)
    paired_bootstrap(a, b, rng.integers(57, size=14_042))
    assert process_time() - start < 2  # 0.04 s measured


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: mcnemar_exact(-1, 2), DataError),
        (lambda: paired_test([1, 0], [1]), DataError),
        (lambda: paired_test([1, 0], [1, np.nan]), DataError),
        (lambda: paired_test([0.5, 0.2], [1, 0], resamples=0), ConfigError),
        (lambda: paired_bootstrap([], []), DataError),
        (lambda: paired_bootstrap([[1, 0]], [[1, 0]]), DataError),
        (lambda: paired_bootstrap([1, 0], [0, 1], clusters=[0]), DataError),
        (lambda: paired_bootstrap([1, 0], [0, 1], level=1), ConfigError),
    ],
)
def test_bad_input_is_refused(call, error):
    with pytest.raises(error):
        call()
