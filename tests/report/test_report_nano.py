"""A real run: a suite of the nano family, as its command writes it, and the leaderboard of it."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pkt_eval._util.secrets import is_secret
from pkt_eval.cli import app
from pkt_eval.report.board.model import written

ACCOUNTS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")
SECRET = "hf_" + "s3cr3t" * 5

SUITE = """\
benchmarks: [nano_mmlu, nano_humaneval]
methods: [vanilla, teacher]
limit: 6
confirm_run_unsafe_code: true
"""


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a leaderboard, of vanilla and teacher on two nano benchmarks, made by somebody with an account."""
    root = tmp_path_factory.mktemp("nano")
    (root / "suite.yaml").write_text(SUITE)
    report = ["report", str(root / "suite"), "--out", str(root / "board")]
    kept = ["report", str(root / "suite"), "--out", str(root / "kept"), "--keep-records"]
    for command in (["run", str(root / "suite.yaml")], report, kept):
        ran = CliRunner().invoke(app, command, env=dict.fromkeys(ACCOUNTS, SECRET), catch_exceptions=False)
        assert ran.exit_code == 0
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


def test_what_opens_an_account_is_in_no_record(nano):
    """Neither of a suite's cells, results, samples and journal, nor of the records that are kept."""
    files = [path for path in nano.parent.rglob("*") if path.is_file()]
    assert {"cell.json", "leaderboard.json"} <= {path.name for path in files}
    texts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files]
    assert not any(SECRET.encode() in text for text in texts)
    results = [path for path in files if path.name.startswith("results_")]
    assert len(results) == 8 and len([path for path in results if "kept" in path.parts]) == 4
    for path in (*results, *nano.parent.rglob("cell.json")):
        assert [key for key, value in fields(json.loads(path.read_text())) if is_secret(key, value)] == [], path


def fields(content):
    """Every name in a JSON value, with what it holds."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from fields(value)
    elif isinstance(content, list):
        for value in content:
            yield from fields(value)
