"""Rows come from the named folder, the environment's or the hub, in this order; errors say what to do."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pkt_eval._util import hub
from pkt_eval.data.sources import has_split, load_dataset, load_rows
from pkt_eval.errors import DataError, MissingDataError

ROWS = [
    {"question": "q0", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 0},
    {"question": "q1 \u2028 ☃", "subject": "virology", "choices": ["a", "b", "c", "d"], "answer": 3},
    {"question": "q2", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 1},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mmlu").mkdir()
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    (tmp_path / "mmlu" / "test.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("name", "items"), [("mmlu", 14_042), ("gsm8k", 1_319), ("humaneval", 164), ("mbpp", 500)])
def test_all_test_items_load(benchmarks_dir, name, items):
    assert len(load_rows(name, "test", data_dir=benchmarks_dir)) == items
    assert len(load_dataset(name, data_dir=benchmarks_dir)["test"]) == items


def test_subjects_divide_mmlu(benchmarks_dir):
    rows = load_rows("mmlu", "test", data_dir=benchmarks_dir)
    subjects = sorted({row["subject"] for row in rows})
    datasets = [load_dataset("mmlu", data_dir=benchmarks_dir, subject=subject) for subject in subjects]
    assert len(subjects) == 57
    assert sum(len(dataset["test"]) for dataset in datasets) == len(rows)
    assert all(len(dataset["dev"]) == 5 for dataset in datasets)


def test_argument_before_environment(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_EVAL_DATA", str(folder))
    assert load_rows("mmlu", "test") == ROWS
    other = tmp_path / "other"
    (other / "mmlu").mkdir(parents=True)
    (other / "mmlu" / "test.jsonl").write_text(json.dumps(ROWS[0]) + "\n\n")
    assert load_rows("mmlu", "test", data_dir=other) == ROWS[:1]


def test_parquet_equals_jsonl(folder, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    other = tmp_path / "parquet"
    (other / "mmlu").mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), other / "mmlu" / "test.parquet")
    assert load_rows("mmlu", "test", data_dir=other) == load_rows("mmlu", "test", data_dir=folder)


def test_a_changed_file_is_read_again(folder):
    assert len(load_rows("mmlu", "test", data_dir=folder)) == 3
    path = folder / "mmlu" / "test.jsonl"
    path.write_text(json.dumps(ROWS[0]))
    os.utime(path, ns=(1, 1))
    assert len(load_rows("mmlu", "test", data_dir=folder)) == 1


def test_a_caller_cannot_spoil_the_cache(folder):
    load_rows("mmlu", "test", data_dir=folder).clear()
    assert len(load_rows("mmlu", "test", data_dir=folder)) == 3


def test_missing_splits_and_folders_are_named(folder):
    assert not has_split("mmlu", "validation", data_dir=folder)
    with pytest.raises(MissingDataError, match=r"mmlu/validation\.jsonl.*there: test"):
        load_rows("mmlu", "validation", data_dir=folder)
    with pytest.raises(MissingDataError, match="data_dir names a folder that does not exist"):
        load_rows("mmlu", "test", data_dir=folder / "nowhere")


def test_malformed_files_are_named(folder):
    path = folder / "mmlu" / "test.jsonl"
    for text in ('{"question": ', "[1, 2]"):
        path.write_text(text)
        os.utime(path, ns=(len(text), len(text)))
        with pytest.raises(DataError, match=r"mmlu.test\.jsonl"):
            load_rows("mmlu", "test", data_dir=folder)


def test_unknown_subject_names_the_nearest(folder):
    with pytest.raises(DataError, match="anatomy"):
        load_dataset("mmlu", data_dir=folder, subject="anatmy")


def test_an_absent_hub_is_one_line_and_leaves_the_settings_alone(monkeypatch):
    import datasets

    seen = []

    def offline(*args, **kwargs):
        seen.append(datasets.config.HF_HUB_OFFLINE)
        raise ConnectionError("Couldn't reach it")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    with pytest.raises(MissingDataError) as raised:
        load_rows("humaneval", "test")
    message = str(raised.value)
    assert "PKT_EVAL_DATA" in message and "humaneval/test.jsonl" in message and "\n" not in message
    assert raised.value.__suppress_context__
    assert seen == [True] and datasets.config.HF_HUB_OFFLINE is False


def test_an_unreachable_hub_takes_seconds(tmp_path):
    """In its own process: the real ``datasets``, an empty cache and an endpoint where nothing listens."""
    program = "from pkt_eval.data.sources import load_rows; load_rows('gsm8k', 'test')"
    root = str(Path(__file__).resolve().parents[2])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PKT_"))}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    started = time.monotonic()
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert time.monotonic() - started < 20  # the library's own retries alone take 23 s
    assert run.returncode == 1 and "set PKT_EVAL_DATA" in run.stderr.splitlines()[-1]
    assert "direct cause" not in run.stderr and "another exception" not in run.stderr
