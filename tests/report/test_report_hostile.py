"""Names, labels and paths are somebody's: no writer, terminal or spreadsheet takes them for more than text."""

import csv
import errno
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app

NAMES = {
    "formula": "=HYPERLINK(1)",
    "plus": "+1",
    "minus": "-1",
    "at": "@SUM(1)",
    "tab": "\t=1",
    "escape": "x\x1b[31mred\x1b]8;;http://a\x07",
    "markup": "[/b][red]x[old]",
    "html": "<img src=x onerror=alert(1)> &lt;b&gt;",
    "pipe": "a|b`c`",
    "surrogate": "half \ud800 pair",
    "control": "nul\x00 c1\x9b31m turned\u202e",
    "lines": "a\nb\r\n# c",
    "return": "a\r=1",
    "wide": "＝1",
    "space": " =1",
    "marks": "a\u200fb\u061cc\u2028d",
}
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200f\u2028\u202e\ud800-\udfff]")


def hostile(made, folder, name):
    """A record of a student of whom everything that can be is called ``name``."""
    results = made(folder, [1, 0, 1, 0], method="lora", seed=0)
    content = json.loads(results.read_text())
    content["config"]["pkt"] |= {
        key: name for key in ("method", "paradigm", "title", "reference", "student", "teacher")
    }
    content["config"]["pkt"]["config"] = {"option": name}
    results.write_text(json.dumps(content))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_hostile_name_is_text_everywhere(made, tmp_path, name):
    hostile(made, tmp_path / "in", name)
    ran = CliRunner().invoke(app, ["report", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.exception
    assert not COMMANDS.search(ran.output.replace("\n", ""))
    texts = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir()}
    for file, data in texts.items():
        assert not COMMANDS.search(data), file
    # JSON says what it was.
    (group,) = json.loads(texts["leaderboard.json"])["groups"]
    assert group["rows"][0]["method"] == name
    with (tmp_path / "out" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        (line,) = csv.DictReader(file)
    assert not [value for value in line.values() if value.strip().startswith(tuple("=+-@＝"))]
    for line in texts["leaderboard.md"].splitlines():
        if line.startswith("| ") and "---" not in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 13), line
        assert not re.search(r"(?<!\\)[<&]", line) and not line.startswith("# c")
    assert "<img" not in texts["index.html"]
    if name == NAMES["markup"]:
        assert name in ran.output and name in texts["index.html"]


def test_a_console_that_knows_no_greek_changes_no_exit_code(made, tmp_path):
    for method in ("vanilla", "lora"):
        made(tmp_path / method, [1] * 200, method=method, seed=0 if method == "lora" else None)
    runner = CliRunner(charset="cp1252")
    ran = runner.invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0 and "? vanilla" in ran.output, ran.exception
    sides = ["--baseline", str(tmp_path / "vanilla"), "--candidate", str(tmp_path / "lora")]
    ran = runner.invoke(app, ["gate", *sides])
    assert ran.exit_code == 0 and "gate holds" in ran.output, ran.exception


def test_a_gate_shows_a_path_and_a_name_as_they_are(made, tmp_path):
    for side in ("a", "b"):
        hostile(made, tmp_path / side, NAMES["markup"])
    ran = CliRunner().invoke(app, ["gate", "--baseline", str(tmp_path / "a"), "--candidate", str(tmp_path / "b")])
    assert ran.exit_code == 2 and NAMES["markup"] in ran.output


def test_a_folder_with_markup_in_its_name(made, tmp_path):
    made(tmp_path / "in", [1, 0])
    ran = CliRunner().invoke(app, ["report", str(tmp_path / "in"), "--out", str(tmp_path / "[old] [b]")])
    assert ran.exit_code == 0 and "[old] [b]/: index.html" in ran.output


def test_a_full_disk_leaves_the_earlier_report(made, tmp_path, monkeypatch):
    made(tmp_path / "in", [1, 0])
    arguments = ["report", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    made(tmp_path / "in", [1, 1], method="lora", seed=0, date=2.0)
    whole = Path.write_bytes

    def full(path, data):
        if "leaderboard.tex" in path.name:
            whole(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    ran = CliRunner().invoke(app, arguments)
    said = str(ran.exception)
    assert ran.exit_code == 1 and "the disk is full" in said and str(tmp_path / "out") in said
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
