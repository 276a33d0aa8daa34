"""Adding to a report: a column or a statistic is one row, a format one function, and everything has it."""

import csv
import json

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.report.board import Column, Measure, Table, columns, leaderboard
from pkt_eval.report.records import read
from pkt_eval.report.render import registry


@pytest.fixture
def records(made, tmp_path):
    for method, n, seed in (("vanilla", 20, None), ("lora", 30, 0), ("teacher", 70, None)):
        made(tmp_path / "in" / method, [1] * n + [0] * (100 - n), method=method, seed=seed)
    return tmp_path / "in"


def report(records, out):
    result = CliRunner().invoke(app, ["report", str(records), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_statistic_and_its_column_are_one_row(records, tmp_path, monkeypatch):
    """Of every writer nothing else is touched."""

    def won(sides):
        return float((sides.mean() > sides.mean("vanilla")).sum())

    row = Column(
        id="net_won",
        head="won |by| it",
        write=lambda cell: "" if cell.statistics["net_won"] is None else f"W{cell.statistics['net_won']:.0f}",
        sort=lambda cell: cell.statistics["net_won"],
        tables=Table.DETAILS | Table.TERMINAL | Table.PAPER | Table.PAGE,
        measure=Measure(won, against=("vanilla",)),
        help="W: a made-up statistic.",
    )
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, row))
    output = report(records, tmp_path / "out")
    board = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    cells = {r["label"]: r["cells"]["pkt_gsm8k_chat"] for r in board["groups"][0]["rows"]}
    assert {label: cell["net_won"] for label, cell in cells.items()} == {"vanilla": None, "lora": 10, "teacher": 50}
    lines = {line["label"]: line for line in csv.DictReader((tmp_path / "out" / "leaderboard.csv").open())}
    assert [lines[name]["net_won"] for name in ("vanilla", "lora", "teacher")] == ["", "10.0", "50.0"]
    markdown = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "W10" in markdown and r"won \|by\| it" in markdown and "W: a made-up statistic." in markdown
    assert "W50" in output and "W: a made-up statistic." in output
    assert r"& W10 \\" in (tmp_path / "out" / "leaderboard.tex").read_text()
    page = (tmp_path / "out" / "index.html").read_text()
    assert '<option value="net_won">won |by| it</option>' in page and 'data-net_won="10.0"' in page
    assert '["W10","","",""]' in page and '{"id":"net_won","head":"won |by| it"}' in page


def test_a_share_of_the_lead_is_blank_where_the_lead_is_not_sure(made, tmp_path, monkeypatch):
    for method, n in (("vanilla", 50), ("seeking", 52), ("teacher", 53)):
        made(tmp_path / method, [1] * n + [0] * (100 - n), method=method, seed=0 if method == "seeking" else None)
    for needs_lead, expected in ((True, None), (False, 1.0)):
        measure = Measure(lambda sides: 1.0, against=("teacher",), needs_lead=needs_lead)
        row = Column(id="one", head="one", write=lambda cell: "", measure=measure)
        with monkeypatch.context() as patch:
            patch.setattr(columns, "COLUMNS", (*columns.COLUMNS, row))
            board = leaderboard(read([tmp_path])[0], tmp_path)
        cells = {row.label: cell for _, row, _, cell in board.cells()}
        assert cells["seeking"].statistics["one"] == expected
        assert cells["teacher"].statistics["one"] is None  # against itself


def test_a_format_is_one_function(records, tmp_path, monkeypatch):
    registry.formats()
    monkeypatch.setattr(registry, "_FORMATS", dict(registry._FORMATS))

    @registry.output("leaderboard.txt", "plain text")
    def plain(content):
        return f"{len(content.board.groups)} pair"

    output = report(records, tmp_path / "out")
    assert (tmp_path / "out" / "leaderboard.txt").read_text() == "1 pair"
    assert output.rstrip().endswith("leaderboard.tex, leaderboard.json, leaderboard.txt")
    assert '<a href="leaderboard.txt">plain text</a>' in (tmp_path / "out" / "index.html").read_text()


def test_ids_are_unique_and_what_is_shown_after_another_column_is(records):
    ids = [column.id for column in columns.COLUMNS]
    assert len(ids) == len(set(ids))
    details = [column.id for column in columns.columns(Table.DETAILS, leaderboard(read([records])[0], records))]
    assert details.index("seeds") == details.index("gap") + 1


@pytest.mark.parametrize(
    ("record", "budget"),
    [
        ({"steps": 12}, (40, 12)),
        ({"steps": [{"loss": 2.0}, {"loss": 1.0}]}, (40, 2)),
        ({"steps": 3, "records": 17}, (17, 3)),
        ({"records": 17}, (17, None)),
        ({"training": {"steps": 5}}, (40, 5)),
        ({"steps": "many", "training": 7, "loss": [1.0]}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_budget_of_a_method_from_another_package_is_on_the_board(made, tmp_path, record, budget):
    results = made(tmp_path, [1, 0], method="lora", seed=0, train=40)
    content = json.loads(results.read_text())
    content["config"]["pkt"] |= {"method": "somebodys", "paradigm": "PostPKT", "record": record}
    results.write_text(json.dumps(content))
    board = leaderboard(read([tmp_path])[0], tmp_path)
    ((_, row, _, cell),) = board.cells()
    assert row.method == "somebodys"
    assert (cell.budget.get("learnt_records"), cell.budget.get("steps")) == budget
    assert (cell.budget["seconds"], cell.budget["peak_bytes"]) == (12.5, 10**9)


def test_what_passed_through_the_models_has_columns_where_it_was_counted(made, tmp_path):
    results = made(tmp_path, [1, 0], method="lora", seed=0)
    heads = ("tokens", "T tokens", "FLOPs", "T FLOPs")
    before = leaderboard(read([tmp_path])[0], tmp_path)
    assert not {*heads} & {column.head for column in columns.columns(Table.DETAILS, before)}
    content = json.loads(results.read_text())
    student, teacher = {"tokens": 900, "trained_tokens": 500, "flops": 2.5e15}, {"tokens": 7_000, "flops": 3e12}
    content["config"]["pkt"]["passes"] = {"student": student, "teacher": teacher}
    results.write_text(json.dumps(content))
    board = leaderboard(read([tmp_path])[0], tmp_path)
    ((*_, cell),) = board.cells()
    shown = {column.head: column.shown(cell).text for column in columns.columns(Table.DETAILS, board)}
    assert [shown[head] for head in heads] == ["500", "7 k", "2.5 P", "3 T"]


@pytest.mark.parametrize(("field", "value"), [("method", None), ("split_sizes", 3), ("record", "all"), ("seed", "0")])
def test_a_provenance_of_another_shape_is_named(made, tmp_path, field, value):
    results = made(tmp_path, [1, 0], method="lora", seed=0)
    content = json.loads(results.read_text())
    content["config"]["pkt"][field] = value
    results.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"{results.name}.*{field}"):
        read([tmp_path])


def test_how_answers_ended_is_shown_and_where_a_record_does_not_say_it_is_a_dash(made, tmp_path):
    for method, seed in (("vanilla", None), ("lora", 0), ("lora", 1)):
        path = made(tmp_path / "in" / f"{method}-{seed}", [1, 0, 1, 0], method=method, seed=seed)
        if method == "lora":
            content = json.loads(path.read_text())
            share = 0.75 if seed else 1.0
            content["results"]["pkt_gsm8k_chat"] |= {
                "ended,strict-match": share,
                "looped,strict-match": 1 - share,
                "answer_tokens,strict-match": 40,
                "ended,flexible-extract": 0.0,  # of another filter than the score's
            }
            path.write_text(json.dumps(content))
    output = report(tmp_path / "in", tmp_path / "out")
    board = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    cells = {row["label"]: row["cells"]["pkt_gsm8k_chat"] for row in board["groups"][0]["rows"]}
    assert cells["lora"]["endings"] == {"ended": 0.875, "looped": 0.125, "answer_tokens": 40}
    assert cells["vanilla"]["endings"] == {}
    lines = (tmp_path / "out" / "leaderboard.md").read_text().splitlines()
    (vanilla,) = [line for line in lines if line.startswith("| vanilla |") and "[run]" in line]
    (lora,) = [line for line in lines if line.startswith("| lora |") and "[seed 0]" in line]
    assert "| 87.5 % | 12.5 % | 40 |" in lora and "| – | – | – |" in vanilla
    assert "87.5 %" in output and "87.5 %" in (tmp_path / "out" / "index.html").read_text()
