"""The committed results are what their records and their suite give."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pkt_eval.cli import app

RESULTS = Path(__file__).resolve().parents[1] / "results"
NANO = RESULTS / "nano"
BOARDS = sorted(path.parent for path in RESULTS.glob("*/leaderboard.json"))

#: Points. Another CPU rounds otherwise: that moves one or two of 200 answers in an evaluation, and a few more after a
#: fine-tune, where it moves every weight a little. On one machine both are the same to the bit.
EVALUATED, TRAINED = 2.0, 6.0
LONG = re.compile(r"\d\.\d{9,}(e-?\d+)?|\d\.\d+e-\d+")


def run(*arguments: object) -> None:
    ran = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.name)
def test_a_leaderboard_is_made_of_its_records(board, tmp_path):
    again = tmp_path / "again"
    run("report", board / "records", "--out", again)

    def content(folder: Path, number=float) -> dict:
        found = json.loads((folder / "leaderboard.json").read_text(), parse_float=number)
        for group in found["groups"]:
            for row in group["rows"]:
                # Links lead from a leaderboard to its records, which lie elsewhere here.
                for source in (source for cell in row["cells"].values() for source in cell["sources"]):
                    source["results"] = source["results"].rpartition("records/")[2]
                    source["samples"] = [name.rpartition("records/")[2] for name in source["samples"]]
        return found

    # Another CPU rounds the last bit of a sum otherwise.
    expected = content(board, lambda digits: pytest.approx(float(digits), rel=1e-9, abs=1e-12))
    assert content(again) == expected, f"remake it: pkt-eval report {board / 'records'} --out {board}"


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.name)
def test_every_file_of_a_leaderboard_is_made_to_the_byte(board, tmp_path):
    """In a folder that lies to its records as the committed one does, so that the links are the same."""
    shutil.copytree(board / "records", tmp_path / "records")
    run("report", tmp_path / "records", "--out", tmp_path)
    made = [path for path in sorted(tmp_path.iterdir()) if path.is_file()]
    assert {path.name for path in made} >= {"index.html"} | {f"leaderboard.{x}" for x in ("csv", "json", "md", "tex")}
    for path in made:
        # Another CPU rounds the last of 12 digits otherwise.
        again, committed = (LONG.sub(_nine_digits, f.read_text("utf-8")) for f in (path, board / path.name))
        assert again == committed, f"remake it: pkt-eval report {board / 'records'} --out {board}"


def _nine_digits(number: re.Match[str]) -> str:
    return f"{float(number[0]):.9g}"


def scores(board: dict) -> dict[tuple[str, str, int | None], float]:
    """(student, benchmark, seed) → score in per cent."""
    return {
        (row["label"], benchmark, source["seed"]): 100 * source["score"]
        for group in board["groups"]
        for row in group["rows"]
        for benchmark, cell in row["cells"].items()
        for source in cell["sources"]
    }


def test_the_nano_family_scores_as_committed(tmp_path):
    committed = scores(json.loads((NANO / "leaderboard.json").read_text()))
    suite = yaml.safe_load((NANO / "suite.yaml").read_text())
    seeking = next(m for m in suite["methods"] if isinstance(m, dict) and m["method"] == "seeking")
    kept = ["vanilla", "teacher", seeking, "unaligned"]
    part = suite | {"methods": kept, "seeds": [0], "benchmarks": ["nano_mbpp"]}
    (tmp_path / "suite.yaml").write_text(json.dumps(part))
    run("run", tmp_path / "suite.yaml")
    run("report", tmp_path / "suite", "--out", tmp_path / "board")
    found = scores(json.loads((tmp_path / "board" / "leaderboard.json").read_text()))
    assert len(found) == 4
    for (label, benchmark, seed), score in found.items():
        tolerance = EVALUATED if seed is None else TRAINED
        assert score == pytest.approx(committed[label, benchmark, seed], abs=tolerance), (label, benchmark)


@pytest.mark.parametrize(
    ("page", "board", "count"), [("docs/leaderboard.md", NANO, 9), ("README.md", RESULTS / "qwen2.5-coder", 11)]
)
def test_a_leaderboard_on_a_page_is_the_committed_one(page, board, count):
    """Its rows may be fewer and say more of a student; their numbers are those of a row of that method."""
    lines = (board / "leaderboard.md").read_text().replace("\\_", "_").splitlines()
    overview = {(name.split()[0], *rest) for name, _, *rest in (cells(line) for line in lines if "|" in line)}
    text = (RESULTS.parent / page).read_text("utf-8")
    (table,) = re.findall(r"^\| student \|(?: [a-z0-9_]+ \|)+\n\|---\|(?:---:\|)+\n((?:\|.*\n)+)", text, re.M)
    rows = [cells(line) for line in table.splitlines()]
    assert len(rows) == count
    for label, *numbers in rows:
        assert (label.replace(",", "").split()[0], *numbers) in overview, label


def cells(line: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in line.strip("|").split("|"))
