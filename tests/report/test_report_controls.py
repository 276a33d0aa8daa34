"""A method against the best of its controls, and every row against one that the reader names."""

import csv
import json

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.models.provenance import PROVENANCE_VERSION, Provenance
from pkt_eval.report.board import Table, columns, leaderboard
from pkt_eval.report.records import read

N = 100


@pytest.fixture
def student(made, tmp_path):
    """Write a record of so many right answers; ``pkt`` is said besides in its provenance."""

    def write(method: str, right: int, seed: int | None = 0, pkt: dict | None = None, **more) -> None:
        scores = [int(i < right) for i in range(N)]
        folder = tmp_path / f"{method}-{len(list(tmp_path.iterdir()))}"
        path = made(folder, scores, method=method, seed=seed, answer=f"{method} {more}", **more)
        content = json.loads(path.read_text())
        learnt = {} if method == "vanilla" else {"transfer_task": "gsm8k", "seed": seed}
        content["config"]["pkt"] = {**learnt, **content["config"]["pkt"], **(pkt or {})}
        path.write_text(json.dumps(content))

    return write


def cells(folder, chosen=None):
    board = leaderboard(read([folder])[0], folder, chosen=chosen)
    return board, {row.label: cell for _, row, _, cell in board.cells()}


def test_a_method_meets_the_best_of_its_controls(student, tmp_path):
    for method, right in (("vanilla", 40), ("lora", 50), ("laten", 60), ("laten_random", 45), ("laten_shuffled", 55)):
        student(method, right, seed=None if method == "vanilla" else 0)
    board, found = cells(tmp_path)
    best = found["laten"].control
    assert best.against == "laten_shuffled"
    assert best.value == pytest.approx(0.05) and (best.won, best.lost) == (5, 0)
    assert 0 < best.p <= best.adjusted <= 1
    assert [found[name].control for name in ("vanilla", "lora", "laten_random", "laten_shuffled")] == [None] * 4
    # Four with vanilla, three with LoRA, and this one.
    assert board.comparisons == 4 + 3 + 1


def test_a_control_of_another_task_is_none(student, tmp_path):
    student("vanilla", 40, seed=None)
    student("laten", 60)
    student("laten_random", 70, pkt={"transfer_task": "mbpp"})
    student("laten_shuffled", 30)
    _, found = cells(tmp_path)
    assert found["laten"].control.against == "laten_shuffled"


def test_of_one_control_s_students_that_with_the_same_options_counts(student, tmp_path):
    student("vanilla", 40, seed=None)
    student("laten", 60, options={"rate": 0.1})
    student("laten_random", 50, pkt={"config": {"rank": 16, "rate": 0.1}})
    student("laten_random", 70, pkt={"config": {"rank": 16, "rate": 0.5}})
    _, found = cells(tmp_path)
    assert found["laten"].control.against == "laten_random (rate=0.1)"


@pytest.mark.parametrize(
    ("method", "said", "expected"),
    [
        ("laten_random", {}, "laten_random"),  # older than version 3: known by its name
        ("laten_random", {"control_of": [], "version": 3}, None),
        ("somebodys", {"control_of": ["laten", "other"], "version": 3}, "somebodys"),
        ("somebodys", {}, None),
    ],
)
def test_a_record_says_of_what_it_is_a_control(student, tmp_path, method, said, expected):
    student("vanilla", 40, seed=None)
    student("laten", 60)
    student(method, 50, pkt=said)
    control = cells(tmp_path)[1]["laten"].control
    assert (control.against if control else None) == expected


def test_a_provenance_keeps_it_and_refuses_nonsense():
    made = Provenance("mine", control_of=("laten", "seeking"))
    content = json.loads(json.dumps(made.to_json()))
    assert content["version"] == PROVENANCE_VERSION == 3 and content["control_of"] == ["laten", "seeking"]
    assert Provenance.from_json(content) == made
    assert Provenance.from_json({"method": "mine"}).control_of is None
    for wrong in ("laten", [1], {"laten": 1}):
        with pytest.raises(StoreError, match="control_of"):
            Provenance.from_json({"method": "mine", "control_of": wrong})


def test_every_row_against_one_that_is_named(student, tmp_path):
    for method, right in (("vanilla", 40), ("lora", 50), ("laten", 60), ("teacher", 90)):
        student(method, right, seed=0 if method in ("lora", "laten") else None)
    before, _ = cells(tmp_path)
    board, found = cells(tmp_path, "laten")
    assert {name: cell.chosen and round(cell.chosen.value, 9) for name, cell in found.items()} == {
        "vanilla": None,  # that comparison is laten's own
        "lora": -0.1,
        "laten": None,
        "teacher": 0.3,
    }
    # The teacher's lead is no hypothesis about a transfer.
    assert board.comparisons == before.comparisons + 1
    with pytest.raises(ConfigError, match="no row is called 'latn': did you mean 'laten'"):
        cells(tmp_path, "latn")


def test_all_writers_have_both_columns_where_there_is_something_in_them(student, tmp_path):
    for method, right in (("vanilla", 40), ("lora", 50), ("laten", 60)):
        student(method, right, seed=None if method == "vanilla" else 0)

    def written(*more: str) -> dict[str, str]:
        out = tmp_path / "out"
        ran = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(out), *more], catch_exceptions=False)
        assert ran.exit_code == 0
        return {path.name: path.read_text() for path in out.iterdir()} | {"terminal": ran.output}

    heads = ("Δ best control", "Δ chosen row")
    without = written()
    for name in ("leaderboard.md", "index.html", "terminal"):
        assert not any(head in without[name] for head in heads), name
    assert r"\Delta_C" not in without["leaderboard.tex"]
    line = next(csv.DictReader(without["leaderboard.csv"].splitlines()))
    assert line["control_value"] == line["chosen_value"] == ""  # its columns are always the same

    student("laten_random", 55)
    both = written("--against", "lora")
    for name in ("leaderboard.md", "index.html", "terminal"):
        assert all(head in both[name] for head in heads), name
        assert "has shown no knowledge of the teacher" in both[name]
        assert "with vanilla, with LoRA, with its best control and with lora" in both[name]
        assert r"to laten\_random" in both[name] or "to laten_random" in both[name]
    assert r"\Delta_C" in both["leaderboard.tex"] and r"\Delta_R" in both["leaderboard.tex"]
    assert {"control", "chosen"} <= {c.id for c in columns.columns(Table.PAGE, cells(tmp_path, "lora")[0])}
