"""pass@k against the definition: every draw of k from n samples, counted."""

from itertools import combinations

import pytest

from pkt_eval.code import pass_at_k
from pkt_eval.errors import ConfigError


@pytest.mark.parametrize("n", range(1, 9))
def test_equals_enumeration(n):
    for c in range(n + 1):
        samples = [True] * c + [False] * (n - c)
        for k in range(1, n + 1):
            draws = list(combinations(samples, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_1_is_the_share_of_passes():
    assert pass_at_k(200, 50, 1) == pytest.approx(0.25)


def test_extremes_are_exact():
    assert pass_at_k(10, 0, 5) == 0.0
    assert pass_at_k(10, 6, 5) == 1.0
    assert pass_at_k(5, 5, 5) == 1.0


def test_large_numbers_stay_in_range():
    assert 0.0 < pass_at_k(1_000_000, 1, 1) < 2e-6
    assert 0.99 < pass_at_k(100_000, 50_000, 100) <= 1.0


@pytest.mark.parametrize(
    "arguments",
    [(0, 0, 1), (5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6), (5, 2, 1.5), ("5", 2, 1), (5, None, 1)],
)
def test_bad_input_is_named(arguments):
    with pytest.raises(ConfigError, match="pass@k"):
        pass_at_k(*arguments)
