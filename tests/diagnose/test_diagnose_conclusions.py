"""What a report says in words follows from its numbers, by the rules that it states."""

import copy
import json
from pathlib import Path

import pytest

from pkt_eval.diagnose import conclusions as rules
from pkt_eval.diagnose.conclusions import conclusions
from pkt_eval.diagnose.reading import reading
from pkt_eval.diagnose.report import report_markdown

COMMITTED = Path(__file__).resolve().parents[2] / "results" / "qwen2.5-coder" / "diagnosis"


@pytest.fixture
def numbers() -> dict:
    return copy.deepcopy(json.loads((COMMITTED / "summary.json").read_text("utf-8")))


def sentence(numbers: dict, beginning: str) -> str:
    (found,) = [said for said in conclusions(numbers) if said.startswith(f"**{beginning}")]
    return found


def test_the_committed_report_is_that_of_its_summary(numbers):
    assert (COMMITTED / "report.md").read_text("utf-8") == report_markdown(numbers, numbers["figures"])


def test_layers_are_compared_with_those_of_one_model(numbers):
    across, within = numbers["cka"]["teacher × student"]["up"], numbers["cka"]["teacher × teacher"]["up"]
    for best, how in ((0.9 - rules.SAME + 1e-6, "as alike in up"), (0.9 - rules.SAME - 1e-6, "less alike in up")):
        across["best"], within["best"] = best, 0.9
        for kind in ("down", "v", "o", "residual"):
            numbers["cka"]["teacher × student"][kind]["best"] = float(how.startswith("less"))
            numbers["cka"]["teacher × teacher"][kind]["best"] = 0.5
        said = sentence(numbers, "Layers, best")
        assert f"{how} (0.85 against 0.90)" in said


def test_equal_depth_is_compared_with_shuffled_pairs(numbers):
    assert not [said for said in conclusions(numbers) if said.startswith("**Layers, by depth")]  # an older summary
    for values in numbers["cka"]["teacher × student"].values():
        values |= {"mean": 0.41, "depth": 0.41}
    assert "adds nothing" in sentence(numbers, "Layers, by depth")
    numbers["cka"]["teacher × student"]["v"]["depth"] = 0.83
    said = sentence(numbers, "Layers, by depth")
    assert "v 0.83 against 0.41" in said and said.endswith("Depth adds to it in v.")


@pytest.mark.parametrize(("best", "how"), [(0.76, " mostly:"), (0.5, " in part:"), (0.1, " hardly:"), (-3, " hardly:")])
def test_stitching(numbers, best, how):
    numbers["stitching"]["best"] = best
    assert how in sentence(numbers, "Stitching") and f"{best:.2f}" in sentence(numbers, "Stitching")


@pytest.mark.parametrize(("by", "how"), [(0.009, "hardly moved"), (0.02, "is closer"), (-0.02, "is further away")])
def test_a_transfer_moves_or_does_not(numbers, by, how):
    before, after = numbers["cka"]["teacher × student"], numbers["cka"]["teacher × lora-gsm8k"]
    for kind in after:
        after[kind] = dict(before[kind])
    after["v"]["mean"] += by
    said = sentence(numbers, "After lora-gsm8k")
    assert how in said and f"from {before['v']['mean']:.3f} to {after['v']['mean']:.3f}" in said


def test_tasks_are_told_from_seeds_where_there_are_two(numbers):
    for means in numbers["overlap"]["teacher"].values():
        means |= {"two seeds": 0.5, "two tasks": 0.39}
    assert "Another task" not in sentence(numbers, "Located in the teacher")
    numbers["overlap"]["teacher"]["ffn"]["two tasks"] = 0.41
    assert "nearly what another seed does in ffn." in sentence(numbers, "Located in the teacher")
    for means in numbers["overlap"]["teacher"].values():
        means["two tasks"] = None
    assert "two tasks" not in sentence(numbers, "Located in the teacher")


def test_weights_are_said_to_be_what_their_cosines_are(numbers):
    assert "unrelated to" in sentence(numbers, "Weights of seeking-gsm8k")
    assert "opposed to it (cosine −0.42 to −0.23)" in sentence(numbers, "Weights of seeking-gsm8k")
    assert "is a part of" in sentence(numbers, "Weights of pissa-gsm8k")
    assert "The product" not in sentence(numbers, "Weights of lora-gsm8k")  # its start is zero
    numbers["parametric"]["pissa-gsm8k"]["up"]["cos_start_original"] = 0.05
    assert "partly lies in" in sentence(numbers, "Weights of pissa-gsm8k")


def test_each_figure_is_read_in_its_own_way(numbers):
    said = {name: reading(name) for name in numbers["figures"]}
    assert said["cka_within_teacher"] == said["cka_within_student"] != said["cka_teacher_student"]
    assert len({*said.values()}) == 9
