"""A real run: a suite of the nano family, as its command writes it, and the leaderboard of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.report.board.model import written

SUITE = """\
benchmarks: [nano_mmlu, nano_humaneval]
methods: [vanilla, teacher]
limit: 6
confirm_run_unsafe_code: true
"""


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a leaderboard, of vanilla and teacher on two nano benchmarks."""
    root = tmp_path_factory.mktemp("nano")
    (root / "suite.yaml").write_text(SUITE)
    for command in (["run", str(root / "suite.yaml")], ["report", str(root / "suite"), "--out", str(root / "board")]):
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    return root / "board"


def test_a_suite_becomes_a_leaderboard(nano):
    (group,) = json.loads((nano / "leaderboard.json").read_text())["groups"]
    assert (group["title"], group["benchmarks"]) == ("nano-teacher → nano-student", ["nano_mmlu", "nano_humaneval"])
    vanilla, teacher = group["rows"]
    for benchmark in group["benchmarks"]:
        cell = teacher["cells"][benchmark]
        assert cell["count"] == cell["vanilla"]["count"] == 6
        assert cell["vanilla"]["value"] == pytest.approx(cell["score"] - vanilla["cells"][benchmark]["score"])
        (source,) = cell["sources"]
        record = json.loads((nano / source["results"]).parent.joinpath("cell.json").read_text())
        assert next(iter(record["scores"][benchmark].values())) is not None
        assert cell["score"] in written(list(record["scores"][benchmark].values()))
    assert sum(subject["count"] for subject in teacher["cells"]["nano_mmlu"]["subjects"].values()) == 6
