"""``pkt-eval data``: what it writes, what it prints, how it exits."""

import json

import pytest
from typer.testing import CliRunner

from pkt_eval.data.cli import app
from pkt_eval.data.splits import SPLIT_NAMES, Splits, _say_once, build_splits, write_splits

run = CliRunner(env={"COLUMNS": "200"}).invoke


def _record(text):
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "a"}]}


def test_build_writes_what_splits_reads(tmp_path):
    result = run(app, ["build", "nano_gsm8k", "--out", str(tmp_path), "--size", "train=7", "--seed", "3"])
    assert result.exit_code == 0, result.output
    built = build_splits("nano_gsm8k", seed=3, sizes={"train": 7})
    assert build_splits("nano_gsm8k", splits_dir=tmp_path).digest == built.digest
    assert built.digest[:12] in result.output


def test_show_prints_sizes_and_a_record(tmp_path):
    result = run(app, ["show", "nano_mbpp", "--size", "train=5"])
    assert result.exit_code == 0, result.output
    splits = build_splits("nano_mbpp", sizes={"train": 5})
    for name in SPLIT_NAMES:
        assert name in result.output and splits.digests[name][:12] in result.output
    assert splits.train[0]["messages"][0]["content"].splitlines()[-1] in result.output


def test_check_passes_on_clean_splits_and_fails_on_a_test_item(tmp_path):
    from pkt_eval.data.sources import load_rows

    clean = Splits("nano_gsm8k", *[[_record(f"{name} one")] for name in SPLIT_NAMES], "")
    write_splits(clean, tmp_path)
    result = run(app, ["check", "nano_gsm8k", "--splits", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "share no question" in result.output

    item = max(load_rows("nano_gsm8k", "test"), key=lambda row: len(row["question"]))
    (tmp_path / "nano_gsm8k_train_split.jsonl").write_text(json.dumps(_record(item["question"])))
    result = run(app, ["check", "nano_gsm8k", "--splits", str(tmp_path), "--allow", "0"])
    assert result.exit_code == 1 and "nano_gsm8k test items share a 13-gram" in result.output
    result = run(app, ["check", "nano_gsm8k", "--splits", str(tmp_path), "--allow", "200"])
    assert result.exit_code == 0


def test_a_shrunk_split_is_noted(caplog):
    _say_once.cache_clear()
    result = run(app, ["show", "nano_humaneval", "--size", "train=5000"])
    assert result.exit_code == 0 and "they shrink to" in caplog.text


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "gsmk8"],
        ["show", "nano_gsm8k", "--size", "train"],
        ["show", "mbpp", "--splits", "nowhere"],
        ["show", "mbpp", "--data-dir", "nowhere"],
    ],
)
def test_expected_errors_are_one_line(arguments):
    result = run(app, arguments)
    assert result.exit_code == 2
    assert result.output.startswith("pkt-eval data: ") and result.output.count("\n") == 1


@pytest.mark.parametrize("command", ["build", "show", "check"])
def test_help_has_an_example(command):
    assert "pkt-eval data " + command in run(app, [command, "--help"]).output
