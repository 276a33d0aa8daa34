"""Power and detectable differences: closed forms, the figures of the published table, and simulation."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy.stats import norm

from pkt_eval.errors import ConfigError
from pkt_eval.report.stats import (
    mcnemar_exact,
    mcnemar_power,
    minimum_detectable_difference,
    minimum_detectable_difference_unpaired,
)


@pytest.mark.parametrize(
    ("n", "difference", "discordance", "sides"),
    [(164, 0.06, 0.12, 2), (500, -0.03, 0.10, 2), (500, -0.03, 0.10, 1), (50, 0.1, 0.1, 2), (300, 0.0, 0.05, 2)],
)
def test_power_is_what_simulation_finds(n, difference, discordance, sides):
    rng, runs = np.random.default_rng(0), 4000
    rates = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    outcomes, counts = np.unique(rng.multinomial(n, rates, size=runs), axis=0, return_counts=True)
    direction = "two-sided" if sides == 2 else "less"
    shown = sum(k * (mcnemar_exact(b, c, direction) <= 0.05) for (b, c, _), k in zip(outcomes, counts, strict=True))
    power = mcnemar_power(n, difference, discordance, sides=sides)
    assert shown / runs == pytest.approx(power, abs=3.5 * sqrt(max(power * (1 - power), 0.005) / runs))


def test_power_is_symmetric_grows_and_keeps_the_level():
    assert mcnemar_power(200, 0.04, 0.1) == mcnemar_power(200, -0.04, 0.1)
    powers = [mcnemar_power(300, d, 0.12) for d in np.linspace(0, 0.12, 13)]
    assert (np.diff(powers) > 0).all()
    for n in (5, 30, 164, 1319):
        for discordance in (0.0, 0.02, 0.1, 0.5, 1.0):
            assert mcnemar_power(n, 0, discordance) <= 0.05
            assert mcnemar_power(n, 0, discordance, sides=1) <= 0.05


@pytest.mark.parametrize(("n", "discordance"), [(164, 0.1), (500, 0.1), (1319, 0.15), (14_042, 0.2)])
def test_detectable_difference_is_near_the_closed_form_and_above_it(n, discordance):
    za, zb = norm.isf(0.025), norm.isf(0.2)
    a, root = za * sqrt(discordance), sqrt(n)
    closed = (a * root + sqrt((a * root) ** 2 - (n + zb**2) * (a**2 - zb**2 * discordance))) / (n + zb**2)
    assert closed * root == pytest.approx(a + zb * sqrt(discordance - closed**2))  # Connor 1987
    exact = minimum_detectable_difference(n, discordance)
    assert closed < exact < 1.12 * closed
    assert mcnemar_power(n, exact, discordance) == pytest.approx(0.8, abs=1e-3)


def test_detectable_difference_with_hardly_a_discordant_item():
    # Eight of 200 all one way: the difference brings its own discordance.
    assert minimum_detectable_difference(200, 0.0) == pytest.approx(0.0392, abs=2e-4)
    assert minimum_detectable_difference(200, 0.0) <= minimum_detectable_difference(200, 0.05)
    assert minimum_detectable_difference(5, 0.2) == inf  # five items all one way: p = 0.0625


def test_detectable_differences_of_the_published_table():
    """docs/methods.md: "HumanEval needs a difference of about 11 points, MBPP 7, GSM8K 4, MMLU 2"."""
    vanilla = {"humaneval": (164, 0.1405), "mbpp": (500, 0.1780), "gsm8k": (1319, 0.1607), "mmlu": (14_042, 0.4420)}
    points = {name: 100 * minimum_detectable_difference_unpaired(*row) for name, row in vanilla.items()}
    assert {name: round(value) for name, value in points.items()} == {"humaneval": 11, "mbpp": 7, "gsm8k": 4, "mmlu": 2}


def test_z_of_laten_on_gsm8k():
    """docs/methods.md: "LaTen differs from vanilla on GSM8K alone (z = 2.9; the others below 0.4)"."""
    laten = {"gsm8k": (16.07, 20.47, 1319), "mmlu": (44.2, 44.4, 14_042), "humaneval": (14.05, 14.63, 164)}
    laten["mbpp"] = (17.8, 18.2, 500)
    z = {}
    for name, (before, after, n) in laten.items():
        p = (before + after) / 200
        z[name] = (after - before) / 100 / sqrt(2 * p * (1 - p) / n)
    assert z.pop("gsm8k") == pytest.approx(2.9, abs=0.05)
    assert max(z.values()) < 0.4


def test_unpaired_detectable_difference_by_simulation():
    n, base = 1319, 0.1607
    rng, runs = np.random.default_rng(1), 20_000
    difference = minimum_detectable_difference_unpaired(n, base)
    x, y = rng.binomial(n, base, size=runs) / n, rng.binomial(n, base + difference, size=runs) / n
    p = (x + y) / 2
    shown = np.mean(np.abs(y - x) / np.sqrt(2 * p * (1 - p) / n) >= norm.isf(0.025))
    assert shown == pytest.approx(0.8, abs=0.06)  # to first order: the variance at the better rate is larger


def test_pairing_shows_smaller_differences():
    # Two students that agree on 90 % of the items, at a base rate of 0.3.
    assert minimum_detectable_difference(500, 0.1) < 0.6 * minimum_detectable_difference_unpaired(500, 0.3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mcnemar_power(0, 0, 0.1),
        lambda: mcnemar_power(10, 0.2, 0.1),
        lambda: mcnemar_power(10, 0.1, 1.1),
        lambda: mcnemar_power(10, 0.1, 0.2, alpha=0),
        lambda: minimum_detectable_difference(10, -0.1),
        lambda: minimum_detectable_difference(10, 0.1, power=1),
        lambda: minimum_detectable_difference_unpaired(10, 1.2),
        lambda: minimum_detectable_difference_unpaired(0, 0.2),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ConfigError):
        call()
