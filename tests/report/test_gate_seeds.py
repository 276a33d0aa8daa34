"""The gate over several seeds: paired as on the leaderboard, and no surer than seeds and items together allow."""

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.errors import ConfigError
from pkt_eval.report.gate import HOLDS, UNDECIDED, WORSE, load
from pkt_eval.report.gate import gate as check
from pkt_eval.report.stats import crossed_difference, non_inferiority, non_inferiority_of_seeds

RIGHT = [i % 2 for i in range(400)]


def gate(*words: object, **runner: object):
    return CliRunner().invoke(app, ["gate", *map(str, words)], **runner)


@pytest.fixture
def suite(made, tmp_path):
    """Vanilla; LoRA, equal to it but for a few items a seed; ``bad``, which has lost a tenth with every seed."""
    made(tmp_path / "vanilla", RIGHT)
    for seed in range(3):
        few = [1 - score if i % 97 == seed else score for i, score in enumerate(RIGHT)]
        made(tmp_path / f"lora{seed}", few, method="lora", seed=seed)
        made(tmp_path / f"pissa{seed}", few, method="pissa", seed=seed)
        bad = [0 if i % 5 == seed else score for i, score in enumerate(RIGHT)]
        made(tmp_path / f"bad{seed}", bad, method="seeking", seed=seed)
    return tmp_path


def test_one_seed_a_side_is_the_test_of_one_seed():
    rng = np.random.default_rng(0)
    a, b = rng.integers(2, size=(2, 1, 200)).astype(float)
    assert non_inferiority_of_seeds(a, b, 0.03, True) == non_inferiority(a[0], b[0], 0.03)


def test_the_claim_needs_items_and_seeds_and_bound_and_p_value_agree():
    rng = np.random.default_rng(1)
    for same in (True, False):
        a, b = (rng.random((2, 3, 150)) < 0.5).astype(float)
        for margin in (0.02, 0.1, 0.3, -0.05):
            found = non_inferiority_of_seeds(a, b, margin, same)
            assert found.p >= non_inferiority(a.mean(axis=0), b.mean(axis=0), margin).p
            assert (found.low > -margin) == (found.p < 0.05)
            assert found.difference == pytest.approx(float(crossed_difference(a, b, same).value))


def test_students_that_lose_the_margin_by_seeds_hold_no_more_often_than_alpha():
    """The seeds differ by 3 points: over these very three a margin is often excluded, over others it is not."""
    rng, rounds, margin = np.random.default_rng(2), 300, 0.05
    held, held_by_items = 0, 0
    for _ in range(rounds):
        level = rng.random(300) < 0.6  # what an item is like, to baseline and candidate alike
        base = level[None].astype(float)
        losses = rng.normal(margin, 0.03, size=3)[:, None] / 0.6
        candidate = np.where(level & (rng.random((3, 300)) < losses), 0.0, base)
        held += non_inferiority_of_seeds(candidate, base, margin, False).p <= 0.05
        held_by_items += non_inferiority(candidate.mean(axis=0), base[0], margin).p <= 0.05
    assert held / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5 < held_by_items / rounds


def test_all_seeds_of_a_student_are_meant_where_none_is_named(suite, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    done = gate("--baseline", f"{suite}::vanilla", "--candidate", f"{suite}::lora")
    assert done.exit_code == 0, done.output
    assert "lora, seeds 0, 1 and 2 against vanilla" in done.output and "1 / 3" in done.output
    alone = gate("--baseline", f"{suite}::vanilla", "--candidate", f"{suite}::lora/seed1")
    assert "lora, seed 1 against vanilla" in alone.output and "seeds" not in alone.output.splitlines()[1]
    worse = gate("--baseline", f"{suite}::lora", "--candidate", f"{suite}::seeking")
    assert worse.exit_code == 1 and "−10.1 points [" in worse.output.splitlines()[-1]


def test_the_same_seeds_meet_each_other(suite):
    """LoRA and PiSSA flip the same items with the same seed: paired, nothing differs."""
    lora, pissa = load(f"{suite}::lora")[0], load(f"{suite}::pissa")[0]
    (paired,) = check(lora, pissa).checks
    assert (paired.verdict, paired.seeds, paired.by_seeds) == (HOLDS, (3, 3), 0.0)
    (apart,) = check(lora, pissa[:2]).checks
    assert apart.seeds == (3, 2) and apart.high - apart.low > paired.high - paired.low


def test_the_order_of_records_does_not_matter(suite):
    sides = [load(f"{suite}::{name}")[0] for name in ("lora", "seeking")]
    assert check(*sides) == check(*(side[::-1] for side in sides))


def test_seeds_that_differ_too_much_are_undecided_and_more_items_are_not_asked_for(made, tmp_path):
    made(tmp_path / "vanilla", RIGHT)
    for seed, lost in enumerate((0, 10, 60)):
        made(tmp_path / f"lora{seed}", [0] * lost + RIGHT[lost:], method="lora", seed=seed)
    (found,) = check(*(load(f"{tmp_path}::{name}")[0] for name in ("vanilla", "lora"))).checks
    assert (
        found.verdict == UNDECIDED and "the seeds differ too much" in found.reason and "more seeds do" in found.reason
    )


def test_a_student_that_is_not_there_is_answered_with_students(suite):
    there = "did you mean 'lora'? it holds lora, pissa, seeking, vanilla"
    for name, says in (("lroa", there), ("lora/seed7", "not its seed 7; it has 0, 1, 2")):
        done = gate("--baseline", f"{suite}::vanilla", "--candidate", f"{suite}::{name}")
        assert done.exit_code == 2 and says in done.output and "/seed0" not in done.output


@pytest.mark.parametrize(
    ("tolerance", "says"),
    [
        ("2", "2 points are 0.02"),
        ("0.5%", "two points, or 2 % of the items, are 0.02"),
        ("-0.02", "got -0.02"),
        ("nan", "got nan"),
        ("inf", "got inf"),
        ("100", "got 100"),
        ("0", "got 0"),
        ("0.0001", "0.01 points"),
        ("1e-300", "more than any benchmark has"),
        ("gsm8k=3", "3 points are 0.03"),
    ],
)
def test_a_tolerance_that_cannot_be_served_says_what_its_unit_is(suite, tolerance, says):
    junit, found = suite / "gate.xml", suite / "gate.json"
    words = ["--baseline", f"{suite}::vanilla", "--candidate", f"{suite}::lora", "--junit", junit, "--json", found]
    done = gate(*words, f"--tolerance={tolerance}")
    assert done.exit_code == 2 and done.output.count("\n") == 1 and says in done.output
    error = ET.parse(junit).getroot().find(".//error")
    assert error.get("type") == "not compared" and says in error.get("message")
    content = json.loads(found.read_text())
    assert (content["verdict"], content["exit_code"]) == ("not compared", 2) and says in content["reason"]


@pytest.mark.parametrize("tolerance", ["0.0002", "0.001", "0.3", "0.7", "0.999"])
def test_any_tolerance_between_is_served(suite, tolerance):
    done = gate("--baseline", f"{suite}::vanilla", "--candidate", f"{suite}::seeking", "--tolerance", tolerance)
    assert done.exit_code in (0, 1, 2) and "gate " in done.output.splitlines()[-1]


def test_a_refusal_is_in_junit_and_json(suite):
    junit = suite / "new" / "gate.xml"
    done = gate("--baseline", suite / "nowhere", "--candidate", suite, "--junit", junit, "--json", suite / "g.json")
    assert done.exit_code == 2 and "nowhere is not there" in ET.parse(junit).getroot().find(".//error").get("message")
    assert "nowhere is not there" in json.loads((suite / "g.json").read_text())["reason"]
    same = gate("--baseline", suite, "--candidate", suite, "--junit", junit, "--json", junit)
    assert isinstance(same.exception, ConfigError) and "name two files" in str(same.exception)


def test_the_numbers_of_seeds_are_in_the_json(suite):
    found = suite / "gate.json"
    assert gate("--baseline", f"{suite}::lora", "--candidate", f"{suite}::seeking", "--json", found).exit_code == 1
    (one,) = json.loads(found.read_text())["checks"]
    assert one["verdict"] == WORSE and one["seeds"] == [3, 3] and 0 <= one["by_seeds"] <= 1


def test_the_table_fits_a_terminal(suite):
    done = gate("--baseline", f"{suite}::vanilla", "--candidate", f"{suite}::lora", env={"COLUMNS": "80"})
    assert max(map(len, done.output.splitlines()[:-1])) <= 80  # the last is one line, whatever it says
    assert "pkt_gsm8k_chat" in done.output and "difference, 90 %" in done.output and "…" not in done.output
