"""The writers and the command: the numbers that they show are the leaderboard's, whatever a model is called."""

import csv
import json
import re

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app, main
from pkt_eval.report.board import wording

BUDGET = ("learnt_records", "steps", "seconds", "peak_bytes")
ODD = "/models/=a|b_c & 50% [x](y) <img src=x onerror=alert(1)>\\"


@pytest.fixture
def records(made, tmp_path):
    for method, n, seed in (("vanilla", 20, None), ("lora", 22, 0), ("seeking", 60, 0), ("teacher", 70, None)):
        made(tmp_path / "in" / method, [1] * n + [0] * (100 - n), method=method, seed=seed)
    made(tmp_path / "in" / "odd folder (1)", [1] * 21 + [0] * 79, method=None, pretrained=ODD)
    return tmp_path / "in"


@pytest.fixture
def out(records, tmp_path):
    result = CliRunner().invoke(app, ["report", str(records), "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0
    (tmp_path / "out" / "terminal.txt").write_text(result.output, "utf-8")
    return tmp_path / "out"


def cells(out):
    (group,) = json.loads((out / "leaderboard.json").read_text())["groups"]
    return {row["label"]: row["cells"]["pkt_gsm8k_chat"] for row in group["rows"]}


def test_every_writer_has_the_same_numbers(out):
    (lines,) = [list(csv.DictReader((out / "leaderboard.csv").open(encoding="utf-8")))]
    for (label, cell), line in zip(cells(out).items(), lines, strict=True):
        assert line["label"].lstrip("'") == label
        assert float(line["score"]) == cell["score"]
        assert line["records"] == cell["sources"][0]["results"]
        assert [float(line[name] or 0) for name in BUDGET] == [cell["budget"].get(n, 0) for n in BUDGET]
        if cell["vanilla"]:
            assert float(line["vanilla_p"]) == cell["vanilla"]["p"]
    for name in ("leaderboard.md", "leaderboard.tex", "terminal.txt"):
        text = (out / name).read_text()
        assert "60.0" in text and "+40.0" in text, name


def test_bold_is_what_is_significant_and_nothing_else(out):
    written = cells(out)
    significant = [d for c in written.values() for d in (c["vanilla"], c["lora"]) if d and d["significant"]]
    # Seeking against both, the teacher against vanilla; neither LoRA's two points nor the foreign model's one.
    assert sorted(wording.points(d["value"]) for d in significant) == ["+38.0", "+40.0", "+50.0"]
    bold = re.findall(r"\*\*(.+?)\*\*", (out / "leaderboard.md").read_text())
    # Differences to vanilla are in the overview as well.
    assert sorted(bold) == ["+38.0", "+40.0", "+40.0", "+50.0", "+50.0"]
    assert sorted(re.findall(r"\\mathbf{(.+?)}", (out / "leaderboard.tex").read_text())) == ["+38.0", "+40.0", "+50.0"]


def test_markdown_links_lead_to_the_records(out):
    from urllib.parse import unquote

    links = re.findall(r"\]\(([^)]*results[^)]*)\)", (out / "leaderboard.md").read_text())
    assert len(links) == 5
    assert all((out / unquote(link)).is_file() for link in links)


def test_a_strange_name_breaks_no_table(out):
    text = (out / "leaderboard.md").read_text()
    tables = re.findall(r"^\|.*\n(\|[-:| ]+)\n((?:\| .*\n)+)", text, re.MULTILINE)
    assert len(tables) >= 2 and {rule.count("|") for rule, _ in tables} > {4}
    for rule, rows in tables:
        for line in rows.splitlines():
            assert len(re.findall(r"(?<!\\)\|", line)) == rule.count("|")
            assert not re.search(r"(?<!\\)<", line)
    tex = (out / "leaderboard.tex").read_text()
    row = next(line for line in tex.splitlines() if r"b\_c" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 3 and r"50\%" in row
    # A spreadsheet would take this for a formula.
    assert "\n=" not in (out / "leaderboard.csv").read_text() and ",=" not in (out / "leaderboard.csv").read_text()


def test_the_same_records_give_the_same_bytes(records, out, tmp_path):
    CliRunner().invoke(app, ["report", str(records), "--out", str(tmp_path / "again")], catch_exceptions=False)
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name


def test_no_place_on_disk_is_written(out, tmp_path):
    for path in out.iterdir():
        assert path.name == "terminal.txt" or str(tmp_path) not in path.read_text(), path.name


def test_an_error_is_one_line_with_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pkt-eval", "report", str(tmp_path), "--out", str(tmp_path / "o")])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and str(tmp_path) in line
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("value", "text"), [(0.125, "+12.5"), (-0.01, "−1.0"), (0.0, "0.0"), (-0.0001, "0.0"), (0.0001, "0.0")]
)
def test_points_have_a_sign_unless_they_are_none(value, text):
    assert wording.points(value) == text
