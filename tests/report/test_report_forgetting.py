"""What was forgotten, on the board: against vanilla, and only where both were measured alike."""

import json

import pytest

from pkt_eval.report.board import leaderboard
from pkt_eval.report.records import read


def test_a_board_compares_it_with_vanilla_in_the_same_dtype_and_on_the_same_text(made, tmp_path):
    def record(name, value, digest="d" * 64, **how):
        path = made(tmp_path / name, [1, 0, 1, 0], **how)
        content = json.loads(path.read_text())
        content["config"]["pkt_generic"] = {"text": "english", "digest": digest, "tokens": 9, "cross_entropy": value}
        path.write_text(json.dumps(content))

    record("vanilla", 2.0)
    record("lora0", 2.1, method="lora", seed=0)
    record("lora1", 2.3, method="lora", seed=1)
    record("other", 2.5, method="pissa", seed=0, digest="e" * 64)
    record("half", 2.5, method="seeking", seed=0, dtype="bfloat16")
    record("teacher", 1.0, method="teacher")
    made(tmp_path / "silent", [1, 0, 1, 0], method="laten", seed=0)
    cells = {row.label: cell for _, row, _, cell in leaderboard(read([tmp_path])[0], tmp_path).cells()}
    assert cells.pop("lora").forgotten == pytest.approx(0.2)
    assert len(cells) == 5 and all(cell.forgotten is None for cell in cells.values())


def test_what_was_not_taught_is_the_mean_over_the_other_benchmarks(made, tmp_path):
    for task, gain in (("pkt_gsm8k_chat", 2), ("pkt_mmlu_chat", -1), ("pkt_mbpp_chat", 0)):
        made(tmp_path / f"v-{task}", [1] * 10 + [0] * 10, task=task)
        scores = [1] * (10 + gain) + [0] * (10 - gain)
        made(tmp_path / f"l-{task}", scores, task=task, method="lora", seed=0, transfer_task="gsm8k")
    (group,) = leaderboard(read([tmp_path])[0], tmp_path).groups
    cells = next(row.cells for row in group.rows if row.label.startswith("lora"))
    assert cells["pkt_gsm8k_chat"].untaught == pytest.approx(-0.025)
    assert cells["pkt_mmlu_chat"].untaught is None
