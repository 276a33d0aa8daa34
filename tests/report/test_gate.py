"""The gate's decisions: what it promises happens, and what cannot be told is not told."""

from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from pkt_eval.errors import ConfigError
from pkt_eval.report.gate import HOLDS, REFUSED, UNDECIDED, WORSE, Gate, gate, sentence, text
from pkt_eval.report.gate.power import GATE_POWER
from pkt_eval.report.records import Item, Model, Record, ScoredStudent
from pkt_eval.report.stats import non_inferiority, non_inferiority_power

_FILES = count()


def record(
    scores, task: str = "gsm8k", method: str = "vanilla", subject: Callable[[int], str] | None = None, **other
) -> Record:
    """A record in memory: scores of documents 0, 1, …, or document → score."""
    scores = dict(scores if isinstance(scores, dict) else enumerate(scores))
    items = {
        f"d{doc}": Item(float(score), f"p{doc}", f"t{doc}", place, subject(doc) if subject else None, "", "", "")
        for place, (doc, score) in enumerate(scores.items())
    }
    settings = dict(
        results=Path(f"results_{next(_FILES)}.json"), samples=(), task=task, benchmark=task, version="1",
        metric="acc", filter="none",
        score=float(np.mean(list(scores.values()))), count=len(items), others={},
        student=ScoredStudent(method, method, "", Model("small")), fewshot=0, template=None, generation={}, dtype="",
        batch_size="", limit=None, date=0.0,
        items=items,
    )  # fmt: skip
    return Record(**{**settings, **other})


def flipped(won: int, lost: int, n: int) -> tuple[list[int], list[int]]:
    """Scores of a baseline and a candidate."""
    rest = [i % 2 for i in range(n - won - lost)]
    return [0] * won + [1] * lost + rest, [1] * won + [0] * lost + rest


@cache
def outcome(won: int, lost: int, n: int, tolerance: float) -> int:
    baseline, candidate = flipped(won, lost, n)
    return gate([record(baseline)], [record(candidate)], tolerance).exit_code


def rates(rng: np.random.Generator, n: int, loss: float, discordance: float, tolerance: float) -> np.ndarray:
    """How often each exit code comes out, over 1,000 candidates that have lost ``loss``."""
    chances = [(discordance - loss) / 2, (discordance + loss) / 2, 1 - discordance]
    codes = [outcome(int(b), int(c), n, tolerance) for b, c, _ in rng.multinomial(n, chances, size=1000)]
    return np.bincount(codes, minlength=3) / 1000


def test_a_planted_loss_is_caught_and_an_equal_candidate_passes_as_often_as_promised():
    rng, n, discordance = np.random.default_rng(0), 400, 0.04

    def error(p: float) -> float:
        return 3.5 * np.sqrt(p * (1 - p) / 1000)

    # Three points lost where one is tolerated.
    caught = non_inferiority_power(n, discordance, -0.01, difference=0.03)
    shares = rates(rng, n, 0.03, discordance, 0.01)
    assert 0.5 < caught < 0.8 and shares[1] == pytest.approx(caught, abs=error(caught))
    assert shares[0] < 0.01
    # Three points lost where three are tolerated: neither claim is made, but for an error of about alpha each.
    missed = non_inferiority_power(n, discordance, 0.03, difference=-0.03)
    alarm = non_inferiority_power(n, discordance, -0.03, difference=0.03)
    shares = rates(rng, n, 0.03, discordance, 0.03)
    assert shares[:2] == pytest.approx([missed, alarm], abs=error(0.05))
    assert shares[:2].max() <= 0.06 + error(0.05)
    # Nothing lost.
    passed = non_inferiority_power(n, discordance, 0.03)
    shares = rates(rng, n, 0.0, discordance, 0.03)
    assert 0.8 < passed < 0.95 and shares[0] == pytest.approx(passed, abs=error(passed))
    assert shares[1] < 0.001


@pytest.mark.parametrize(("tolerance", "least"), [(0.02, 133), (0.03, 88), (0.05, 52)])
def test_equal_answers_hold_from_the_items_that_the_help_names(tolerance, least):
    right = record([i % 2 for i in range(least)])
    assert gate([right], [right], tolerance).exit_code == 0
    fewer = record([i % 2 for i in range(least - 1)])
    (check,) = gate([fewer], [fewer], tolerance).checks
    assert check.verdict == UNDECIDED and f"about {least} items" in check.reason


def test_a_significant_loss_within_the_tolerance_holds():
    baseline, candidate = flipped(0, 12, 1300)
    outcome = gate([record(baseline)], [record(candidate)], 0.02)
    assert non_inferiority(candidate, baseline, 0.02).p_worse < 0.001 and outcome.verdict == HOLDS


def test_worse_on_any_is_worse_after_correction_and_holding_needs_all():
    def of(*pairs: tuple[int, int]) -> Gate:
        sides = [flipped(b, c, 400) for b, c in pairs]
        return gate(*([record(s[i], f"task{j}") for j, s in enumerate(sides)] for i in (0, 1)), 0.02)

    assert of((0, 0), (1, 1)).verdict == HOLDS
    assert of((0, 0), (0, 60)).verdict == WORSE
    # One test shows it; as one of four it could be chance.
    alone, among = of((2, 18)), of((2, 18), (0, 0), (0, 0), (0, 0))
    assert alone.checks[0].p_worse < 0.05 < among.checks[0].p_worse <= 4 * alone.checks[0].p_worse
    assert alone.exit_code == 1 and among.exit_code == 2
    assert [check.verdict for check in among.checks] == [UNDECIDED, HOLDS, HOLDS, HOLDS]


def test_the_order_of_items_and_benchmarks_does_not_matter():
    rng = np.random.default_rng(1)
    a = {t: rng.integers(2, size=200) for t in ("x", "y")}
    b = {t: np.where(rng.random(200) < 0.1, 1 - s, s) for t, s in a.items()}
    order = rng.permutation(200)
    first = gate([record(a["x"], "x"), record(a["y"], "y")], [record(b["x"], "x"), record(b["y"], "y")])
    mixed = [record({int(i): b[t][i] for i in order}, t) for t in ("y", "x")]
    again = gate([record(a["x"], "x"), record(a["y"], "y")], mixed)
    assert first == again


def test_how_many_items_are_needed_is_what_the_power_says():
    baseline, candidate = flipped(8, 8, 150)
    (check,) = gate([record(baseline)], [record(candidate)], 0.02).checks
    needed = int(check.reason.partition("about ")[2].partition(" items")[0].replace(",", ""))
    seen = 16 / 150
    assert (
        non_inferiority_power(needed, seen, 0.02) >= GATE_POWER > non_inferiority_power(int(0.94 * needed), seen, 0.02)
    )
    # A loss so large is called worse that often.
    loss = check.promise.detectable
    assert non_inferiority_power(150, max(seen, loss), -0.02, loss) == pytest.approx(GATE_POWER, abs=0.01)


def test_enough_items_but_a_loss_near_the_tolerance_is_undecided_and_says_so():
    baseline, candidate = flipped(4, 27, 1300)
    (check,) = gate([record(baseline)], [record(candidate)], 0.02).checks
    assert check.verdict == UNDECIDED and check.promise.power > GATE_POWER
    assert "−1.8 points, is too near" in check.reason and "more items than any" in check.reason


def test_fractions_and_subjects_are_tested_as_such():
    rng = np.random.default_rng(2)
    fractions = rng.integers(6, size=300) / 5
    assert gate([record(fractions)], [record(fractions)]).exit_code == 0
    assert gate([record(fractions)], [record(np.maximum(fractions - 0.2, 0))]).exit_code == 1
    # Whole subjects are lost: 25 subjects tell less than 500 items do, and power and interval know it.
    right, lost = np.ones(500), np.ones(500)
    lost[:40] = 0
    whole, alone = (
        gate([record(right, subject=subject)], [record(lost, subject=subject)]).checks[0]
        for subject in (lambda doc: str(doc // 20), None)
    )
    assert whole.high - whole.low > 1.5 * (alone.high - alone.low)
    assert whole.promise.detectable > alone.promise.detectable
    assert (whole.verdict, alone.verdict) == (UNDECIDED, WORSE)


def test_dropped_items_are_said_and_what_is_common_is_compared():
    baseline, candidate = record([1, 0] * 200), record({i: 1 - i % 2 for i in range(150)})
    outcome = gate([baseline], [candidate])
    assert outcome.exit_code == 0 and outcome.checks[0].items == 150
    assert "compared on the 150 documents in common (of 150 and 400)" in text(outcome)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (dict(version="2"), "versions"),
        (dict(template="x"), "templates"),
        (dict(fewshot=5), "examples"),
        (dict(items={}, reason="no samples"), "no samples"),
        (dict(items=record({i: 1 for i in range(900, 990)}).items), "in common"),
        (dict(benchmark="mbpp", task="mbpp"), "no record"),
    ],
)
def test_what_is_not_comparable_is_refused_with_the_reason(other, reason):
    right = record([i % 2 for i in range(300)])
    outcome = gate([right], [record([i % 2 for i in range(300)], **other)])
    assert outcome.exit_code == 2 and outcome.checks[0].verdict == REFUSED
    assert reason in sentence(outcome) and "\n" not in sentence(outcome)


def test_another_prompt_for_one_document_is_refused():
    right = record([i % 2 for i in range(300)])
    item = right.items["d7"]
    other = {**right.items, "d7": Item(item.score, "another", item.target_hash, 7, None, "", "", "")}
    assert "prompts of document 7" in sentence(gate([right], [record([1], items=other)]))


def test_worse_counts_more_than_what_cannot_be_compared_and_extra_benchmarks_are_said():
    baseline, candidate = flipped(0, 60, 400)
    outcome = gate([record(baseline, "x"), record(baseline, "y")], [record(candidate, "x"), record(candidate, "z")])
    assert outcome.exit_code == 1 and outcome.not_asked == ("z",)
    assert [check.verdict for check in outcome.checks] == [WORSE, REFUSED]


def test_tolerances_by_benchmark():
    sides = [[record(s, t) for t in ("pkt_gsm8k_chat", "pkt_mmlu")] for s in flipped(0, 8, 400)]
    assert {check.verdict for check in gate(*sides, 0.02).checks} == {UNDECIDED}
    found = gate(*sides, 0.02, {"gsm8k": 0.05, "pkt_gsm8k_chat": 0.06, "mmlu": 0.07})
    assert [check.tolerance for check in found.checks] == [0.06, 0.07] and found.exit_code == 0
    for bad in ({"gsm": 0.1}, {"mmlu": 2}, {"mmlu": 0}):
        with pytest.raises(ConfigError, match="gsm8k_chat, pkt_mmlu" if "gsm" in bad else "two points are 0.02"):
            gate(*sides, 0.02, bad)


def test_shots_are_benchmarks_of_their_own_where_there_are_several():
    right = [i % 2 for i in range(300)]
    both = [record(right), record(right, fewshot=5)]
    assert [check.benchmark for check in gate(both, both).checks] == ["gsm8k (0-shot)", "gsm8k (5-shot)"]
    assert gate(both, both[:1]).exit_code == 2


def test_several_students_on_a_side_are_listed():
    two = [record([1, 0]), record([1, 0], method="lora")]
    with pytest.raises(ConfigError, match="the baseline holds several students: lora, vanilla"):
        gate(two, two)
