"""The gate's test: its level, its power, both as ``non_inferiority_power`` and ``mcnemar_power`` promise."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import multinomial

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.stats import (
    NonInferiority,
    holm,
    inferiority,
    mcnemar_exact,
    mcnemar_power,
    non_inferiority,
    non_inferiority_power,
)


@cache
def gate(won: int, lost: int, n: int, margin: float) -> NonInferiority:
    candidate, baseline = np.zeros(n), np.zeros(n)
    candidate[:won], baseline[won : won + lost] = 1, 1
    return non_inferiority(candidate, baseline, margin)


def runs(rng: np.random.Generator, n: int, difference: float, discordance: float, times: int) -> list[NonInferiority]:
    rates = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    return [gate(int(b), int(c), n, 0.03) for b, c, _ in rng.multinomial(n, rates, size=times)]


def test_two_equal_runs_hold_from_the_items_that_the_margin_needs():
    same = np.random.default_rng(0).integers(2, size=88)
    assert non_inferiority(same, same, 0.03).p <= 0.05
    assert non_inferiority(same[1:], same[1:], 0.03).p > 0.05
    assert non_inferiority(same, same, 0.03).p_worse == 1
    # The same rule by the t-test, but for its quantile; clusters of one item are items.
    fractions = np.random.default_rng(0).random(95)
    assert non_inferiority(fractions, fractions, 0.03, clusters=np.arange(95)).p <= 0.05
    assert non_inferiority(fractions[:85], fractions[:85], 0.03, clusters=np.arange(85)).p > 0.05
    assert non_inferiority(fractions[:85], fractions[:85] + 0.01, 0.03).p > 0.05


def test_low_is_above_the_margin_exactly_where_p_is_below_alpha():
    rng = np.random.default_rng(1)
    for _ in range(60):
        n = int(rng.integers(20, 400))
        right = [rng.random(n) < 0.5, rng.random(n) < 0.5]
        fractional = [rng.integers(5, size=n) / 4, rng.integers(5, size=n) / 4]
        margin = float(rng.uniform(0.02, 0.3))
        for scores, clusters in ((right, None), (fractional, None), (right, rng.integers(8, size=n))):
            result = non_inferiority(*scores, margin, clusters=clusters)
            assert (result.p < 0.05) == (result.low > -margin)
            assert result.low <= result.difference
            at_low = non_inferiority(*scores, -result.low, clusters=clusters) if result.low < 0 else None
            assert at_low is None or at_low.p == pytest.approx(0.05, abs=1e-6)


def test_a_wider_margin_is_easier_and_order_does_not_matter():
    rng = np.random.default_rng(2)
    a, b = rng.integers(5, size=90) / 4, rng.integers(5, size=90) / 4
    for scores in ((a, b), (a > 0.6, b > 0.6), (a, a), (np.ones(90), np.zeros(90)), (np.zeros(90), np.full(90, 0.2))):
        p = [non_inferiority(*scores, margin).p for margin in np.linspace(0.005, 0.99, 40)]
        assert (np.diff(p) <= 1e-12).all()
        order = rng.permutation(90)
        shuffled = non_inferiority(*(np.asarray(x)[order] for x in scores), 0.1)
        assert shuffled == pytest.approx(non_inferiority(*scores, 0.1))


def test_everything_won_and_everything_lost():
    ones, zeros = np.ones(30), np.zeros(30)
    assert non_inferiority(ones, zeros, 0.03).low > 0.8
    lost = non_inferiority(zeros, ones, 0.03)
    assert lost.low == -1 and lost.p > 0.99 and lost.p_worse == 2.0**-30
    assert non_inferiority(ones, zeros, 0.03, clusters=zeros)[1:3] == (-1, 1)


@pytest.mark.parametrize("discordance", [0.03, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("n", [164, 200, 500, 1319])
def test_a_loss_of_the_margin_is_missed_at_most_at_the_level(n, discordance):
    # The score test is approximate: its exact level is counted out, and is highest, 5.9 %, at n = 200 and ψ = 0.03.
    assert non_inferiority_power(n, discordance, 0.03, difference=-0.03) < 0.06


def test_power_equals_enumeration():
    n, discordance, margin, difference = 60, 0.2, 0.15, -0.02
    rates = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    exact = sum(
        multinomial.pmf([b, c, n - b - c], n, rates) for b in range(n + 1) for c in range(n + 1 - b)
        if gate(b, c, n, margin).p <= 0.05
    )  # fmt: skip
    assert non_inferiority_power(n, discordance, margin, difference) == pytest.approx(exact, abs=1e-6)


def test_gate_catches_a_planted_loss_and_passes_an_equal_candidate_as_promised():
    rng, times, n, discordance = np.random.default_rng(3), 3000, 500, 0.08
    error = 3.5 * np.sqrt(0.25 / times)

    loss = runs(rng, n, -0.03, discordance, times)
    assert np.mean([r.p > 0.05 for r in loss]) > 0.95 - error / 2
    promised = mcnemar_power(n, -0.03, discordance, sides=1)
    assert promised > 0.7
    assert np.mean([r.p_worse <= 0.05 for r in loss]) == pytest.approx(promised, abs=error)

    equal = runs(rng, n, 0.0, discordance, times)
    promised = non_inferiority_power(n, discordance, 0.03)
    assert promised > 0.7
    assert np.mean([r.p <= 0.05 for r in equal]) == pytest.approx(promised, abs=error)


def test_false_alarms_over_four_benchmarks():
    rng, times = np.random.default_rng(4), 2000
    worse = np.array([[r.p_worse for r in runs(rng, n, 0.0, 0.1, times)] for n in (164, 200, 500, 1319)]).T
    assert np.mean([(holm(row) <= 0.05).any() for row in worse]) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / times)


def test_level_and_power_of_fractional_and_clustered_scores(monkeypatch):
    # The other p-value, by sign flips, is not looked at, and would be nine tenths of the work.
    monkeypatch.setattr(inferiority, "paired_test", lambda *args, **how: 1.0)
    rng, times, n = np.random.default_rng(5), 300, 300
    clusters = np.repeat(np.arange(60), 5)
    passed = np.zeros((2, 2))
    for _ in range(times):
        rates = rng.uniform(0.2, 0.8, size=n)
        baseline = rng.binomial(5, rates) / 5
        subject = rng.choice([-0.05, 0.05], size=60)[clusters]
        for i, loss in enumerate((0.08, 0.0)):
            candidate = rng.binomial(5, rates - loss) / 5
            moved = rng.binomial(1, rates - loss + subject)
            passed[i] += [
                non_inferiority(candidate, baseline, 0.08).p <= 0.05,
                non_inferiority(moved, rng.binomial(1, rates), 0.08, clusters=clusters).p <= 0.05,
            ]
    missed, held = passed / times
    assert (missed < 0.05 + 3 * np.sqrt(0.05 * 0.95 / times)).all()
    assert held[0] > 0.95 and held[1] > 0.4


def test_p_worse_is_one_sided_mcnemar():
    assert gate(2, 9, 100, 0.03).p_worse == mcnemar_exact(2, 9, "less")


def test_a_loss_beyond_the_margin_is_the_same_test_turned_round():
    rng = np.random.default_rng(6)
    for _ in range(30):
        n, margin = int(rng.integers(20, 300)), float(rng.uniform(0.01, 0.2))
        candidate, baseline = rng.integers(2, size=(2, n))
        # For right-or-wrong items the two answers exclude each other exactly.
        beyond = non_inferiority(baseline, candidate, -margin)
        assert beyond.p == pytest.approx(1 - non_inferiority(candidate, baseline, margin).p, abs=1e-12)
        assert (beyond.p < 0.05) == (beyond.low > margin)
    # Fractions that all agree on a loss are no proof of it before there are enough of them.
    scores = rng.random(60) * 0.5 + 0.2
    assert non_inferiority(scores[:10], scores[:10] - 0.06, -0.02).p > 0.05
    assert non_inferiority(scores, np.zeros(60), -0.02).p < 1e-3


def test_power_to_show_a_loss_beyond_the_margin_is_what_happens():
    rng, n, discordance, times = np.random.default_rng(7), 500, 0.1, 3000
    drawn = rng.multinomial(n, [0.02, 0.08, 0.9], size=times)  # a true loss of 0.06
    shown = np.mean([1 - gate(int(b), int(c), n, 0.03).p <= 0.05 for b, c, _ in drawn])
    promised = non_inferiority_power(n, discordance, -0.03, difference=0.06)
    assert 0.5 < promised < 0.9 and shown == pytest.approx(promised, abs=3.5 * np.sqrt(0.25 / times))
    assert non_inferiority_power(n, discordance, -0.03, difference=0.03) < 0.06


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: non_inferiority([1, 0], [1, 0], 0.0), ConfigError),
        (lambda: non_inferiority([1, 0], [1, 0], 3), ConfigError),
        (lambda: non_inferiority([1, 0], [1, 0], 0.1, alpha=0.5), ConfigError),
        (lambda: non_inferiority([1, 0], [1], 0.1), DataError),
        (lambda: non_inferiority_power(100, 0.1, 0.03, difference=0.2), ConfigError),
        (lambda: non_inferiority_power(100, 0.1, 0), ConfigError),
    ],
)
def test_bad_input_is_refused(call, error):
    with pytest.raises(error):
        call()
