"""``accelerate launch`` and torchrun with two processes on a CPU: the scores of one; transfer and results made once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import load_suite

LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29517", "-m"]
OPTIONS = {"train_samples": 16, "epochs": 1, "validation_samples": 4}


@pytest.fixture(autouse=True)
def _lean(lean_lm_eval, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", lean_lm_eval)


def run(command: list, store: Path, **env: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PKT_EVAL_STORE": str(store), **env}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def test_a_suite_has_the_bytes_of_one_process(tmp_path, scores, monkeypatch):
    suite = {
        "benchmarks": ["nano_mmlu", "nano_gsm8k"],
        "methods": ["vanilla", "lora"],
        "options": OPTIONS,
        "limit": 11,  # not even, and in batches of which there is an odd number
        "batch_size": 4,
    }
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(suite))
    arguments = ["pkt_eval", "run", str(path), "--out"]
    shown = run([*LAUNCH, *arguments, str(tmp_path / "two")], tmp_path / "store2").stdout
    assert shown.count("Results and samples") == 1
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "store1"))
    Run(load_suite(path), tmp_path / "one").run()
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two")
    assert one == two and len(one) == 2 * 4
    for journal in (tmp_path / "one").glob("**/journal.jsonl"):
        assert journal.read_bytes() == (tmp_path / "two" / journal.relative_to(tmp_path / "one")).read_bytes()


def test_lm_eval_shares_the_items_among_processes(tmp_path):
    """Other items share a batch then, so that logits may differ in their last bits; what is answered does not."""
    words = {"method": "lora", "transfer_task": "nano_gsm8k", "dtype": "float32", **OPTIONS}
    arguments = ["lm_eval", "--model", "pkt_student", "--model_args", ",".join(f"{k}={v}" for k, v in words.items())]
    arguments += ["--tasks", "nano_mmlu,nano_gsm8k", "--limit", "11", "--batch_size", "4", "--device", "cpu"]
    arguments += ["--apply_chat_template", "--log_samples", "--output_path"]
    store = tmp_path / "store"
    two = run([*TORCHRUN, *arguments, str(tmp_path / "two")], store, ACCELERATE_USE_CPU="true")
    assert two.stderr.count("transferring:") == 1
    assert len(list((store / "students").glob("*/pkt_student.json"))) == 1
    run([sys.executable, "-m", *arguments, str(tmp_path / "one")], store)
    for task in ("nano_mmlu", "nano_gsm8k"):
        one, two = (samples(tmp_path / which, task) for which in ("one", "two"))
        assert list(one) == list(two) == list(range(11))
        for number, sample in one.items():
            other = two[number]
            assert sample["prompt_hash"] == other["prompt_hash"]
            if task == "nano_gsm8k":
                assert [one[0] for one in sample["resps"]] == [one[0] for one in other["resps"]]
                continue
            assert sample["acc"] == other["acc"]
            # lm-eval evens out what the processes are asked with the last question once more, and keeps each answer.
            for ((a, greedy), *_), ((b, same), *_) in zip(sample["resps"], other["resps"], strict=True):
                assert float(a) == pytest.approx(float(b), abs=1e-4) and greedy == same
    assert results(tmp_path / "one") == results(tmp_path / "two")


def samples(folder: Path, task: str) -> dict[int, dict]:
    (path,) = folder.glob(f"**/samples_{task}_*.jsonl")
    return {s["doc_id"]: s for s in sorted(map(json.loads, path.open()), key=lambda s: s["doc_id"])}


def results(folder: Path) -> dict:
    (path,) = folder.glob("**/results_*.json")
    return json.loads(path.read_text())["results"]
