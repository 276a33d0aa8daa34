"""A diagnosis among the folders of a report is shown on its page; it is no record."""

import base64
import json

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.errors import DataError
from pkt_eval.report.board.diagnoses import find


@pytest.fixture
def diagnosis(tmp_path):
    folder = tmp_path / "why"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "stitching.png").write_bytes(b"a picture")
    said = {"teacher": "<T>", "student": "S", "transferred": {"lora": "abc"}, "tasks": ["gsm8k"], "tokens": 4096}
    said |= {"cka": {}, "stitching": {}, "figures": {"stitching": "What <fits>."}}
    (folder / "summary.json").write_text(json.dumps(said))
    return folder


def test_it_is_on_the_page_and_not_among_the_records(diagnosis, made, tmp_path):
    made(tmp_path / "records" / "vanilla", [0, 1])
    out = tmp_path / "board"
    ran = CliRunner().invoke(app, ["report", str(tmp_path / "records"), str(diagnosis), "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    text = (out / "index.html").read_text()
    assert f"data:image/png;base64,{base64.b64encode(b'a picture').decode()}" in text
    assert "What &lt;fits&gt;." in text and "&lt;T&gt;" in text and "<T>" not in text and "4,096 tokens" in text


def test_it_is_found_beside_records_and_other_summaries_are_not_it(diagnosis, tmp_path):
    (tmp_path / "summary.json").write_text('{"cka": 1}')
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "summary.json").write_text("[")
    diagnoses, others = find([tmp_path, diagnosis])
    assert [d.transferred for d in diagnoses] == [["lora"]] and others == [tmp_path]


def test_a_missing_figure_is_named(diagnosis):
    (diagnosis / "figures" / "stitching.png").unlink()
    with pytest.raises(DataError, match=r"stitching\.png"):
        find([diagnosis])
