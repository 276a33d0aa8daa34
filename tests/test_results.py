"""The committed results are what their records and their suite give."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.report.gate import load
from pkt_eval.report.render.blocks import opened

RESULTS = Path(__file__).resolve().parents[1] / "results"
NANO = RESULTS / "nano"
BOARDS = sorted(path.parent for path in RESULTS.glob("*/leaderboard.json"))

#: Answers, out of so many, that another CPU may get otherwise: it rounds otherwise, which moves one or two of 200 in an
#: evaluation, and a few more after a fine-tune, where it moves every weight a little. On one machine none moves.
ITEMS, EVALUATED, TRAINED = 60, 2, 5
BLOCK = re.compile(r'(<script type="text/plain" id="block-[^"]*">)([A-Za-z0-9+/=]+)')
LONG = re.compile(r"\d\.\d{9,}(e-?\d+)?|\d\.\d+e-\d+")


def run(*arguments: object) -> None:
    ran = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.name)
def test_every_file_of_a_leaderboard_is_made_to_the_byte(board, tmp_path):
    """In a folder that lies to its records as the committed one does, so that the links are the same."""
    shutil.copytree(board / "records", tmp_path / "records")
    run("report", tmp_path / "records", "--out", tmp_path)
    made = [path for path in sorted(tmp_path.iterdir()) if path.is_file()]
    assert {path.name for path in made} >= {"index.html"} | {f"leaderboard.{x}" for x in ("csv", "json", "md", "tex")}
    for path in made:
        # Another CPU rounds the last of 12 digits otherwise, and another zlib packs otherwise.
        again, committed = (LONG.sub(_nine_digits, _unpacked(f.read_text("utf-8"))) for f in (path, board / path.name))
        assert again == committed, f"remake it: pkt-eval report {board / 'records'} --out {board}"


def _unpacked(text: str) -> str:
    return BLOCK.sub(lambda found: f"{found[1]}{json.dumps(opened(found[2]))}", text)


def _nine_digits(number: re.Match[str]) -> str:
    return f"{float(number[0]):.9g}"


def test_the_nano_family_answers_as_committed(tmp_path):
    suite = yaml.safe_load((NANO / "suite.yaml").read_text())
    seeking = next(m for m in suite["methods"] if isinstance(m, dict) and m["method"] == "seeking")
    kept = ["vanilla", "teacher", seeking, "unaligned"]
    part = suite | {"methods": kept, "seeds": [0], "benchmarks": ["nano_mbpp"], "limit": ITEMS}
    (tmp_path / "suite.yaml").write_text(json.dumps(part))
    run("run", tmp_path / "suite.yaml")
    cells = sorted(path.parent.relative_to(tmp_path / "suite") for path in tmp_path.glob("suite/**/cell.json"))
    assert len(cells) == 4
    for cell in cells:
        (again,), (committed,) = (load(str(folder / cell))[0] for folder in (tmp_path / "suite", NANO / "records"))
        assert len(again.items) == ITEMS and again.items.keys() < committed.items.keys()
        moved = [document for document, item in again.items.items() if item.score != committed.items[document].score]
        assert len(moved) <= (TRAINED if "seed0" in cell.parts else EVALUATED), cell


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
