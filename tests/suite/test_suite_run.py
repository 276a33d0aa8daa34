"""A run that is killed at whatever moment ends with the scores of one that was left alone."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock

from pkt_eval.errors import ConfigError
from pkt_eval.suite.estimate import estimate, evaluation, transfer
from pkt_eval.suite.plan import learners
from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import Suite
from pkt_eval.tune import training

SUITE = {
    "benchmarks": ["nano_mmlu", "nano_gsm8k"],
    "methods": ["vanilla", "teacher", "lora", {"method": "laten", "options": {"steps": 2, "samples_per_step": 2}}],
    "options": {"train_samples": 48, "epochs": 2, "validation_samples": 4, "extract_samples": 2, "align_samples": 4}
    | {"train_batch_size": 8, "micro_batch_size": 8},
    "limit": 6,
    "batch_size": 2,
    "device": "cpu",
}
KILLS = 20


def go(out: Path, store: Path) -> None:
    """Run the suite; in a process of its own, whose environment and modules may be changed."""
    os.environ["PKT_EVAL_STORE"] = str(store)
    training._CHECKPOINT_SECONDS = 0.0
    Run(Suite(**SUITE), out).run()


@pytest.fixture
def go_here(undisturbed, monkeypatch):
    """Run a suite in this process, with the students that were made undisturbed."""
    monkeypatch.setenv("PKT_EVAL_STORE", str(undisturbed[0] / "store"))
    return lambda out, suite=SUITE: Run(Suite(**suite), out).run()


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported, in which a run takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pkt_eval.suite.run", "lm_eval.evaluator", "lm_eval.models.huggingface", "peft"])
    # The first process waits for the imports, which are no part of what a run takes.
    first = context.Process(target=time.sleep, args=(0,))
    first.start()
    first.join()
    return context


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, processes):
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    process = processes.Process(target=go, args=(folder / "out", folder / "store"))
    process.start()
    process.join()
    assert process.exitcode == 0
    return folder, time.monotonic() - start


def test_every_cell_has_what_lm_eval_writes(undisturbed, scores):
    out = undisturbed[0] / "out"
    assert len(scores(out)) == 2 * (2 * 2 + 2 * 2)
    results = json.loads(
        next((out / "lora" / "nano_gsm8k" / "seed0" / "nano_gsm8k").glob("results_*.json")).read_text()
    )
    assert results["config"]["pkt"]["method"] == "lora" and results["config"]["batch_size"] == 2
    assert results["n-samples"]["nano_gsm8k"] == {"original": 200, "effective": 6}
    assert set(results) >= {"results", "configs", "versions", "n-shot", "date", "task_hashes", "chat_template"}


def test_each_benchmark_has_its_batch_size(go_here, tmp_path):
    sizes = {"nano_mmlu": 4, "nano_gsm8k": 1}
    go_here(tmp_path, SUITE | {"methods": ["vanilla"], "options": {}, "batch_size": sizes})
    for task, batches in (("nano_mmlu", 2), ("nano_gsm8k", 6)):
        folder = tmp_path / "vanilla" / task
        assert (folder / "journal.jsonl").read_text().count("\n") == 1 + batches  # after a header
        results = json.loads(next(folder.glob("results_*.json")).read_text())
        assert results["config"]["batch_size"] == sizes[task]


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(undisturbed, scores, tmp_path, processes):
    """Twenty kills at random moments of the run, of which some are mid-transfer, some mid-batch, some mid-write."""
    dice, kills = random.Random(0), 0
    reference, seconds = undisturbed
    while True:
        process = processes.Process(target=go, args=(tmp_path / "out", tmp_path / "store"))
        process.start()
        process.join(dice.uniform(0.1, 0.35) * seconds if kills < KILLS else 300)
        if process.exitcode is not None:
            assert process.exitcode == 0
            if kills >= KILLS:
                break
            # It was quicker than the kills: begin again.
            assert scores(tmp_path / "out") == scores(reference / "out")
            shutil.rmtree(tmp_path / "out")
            shutil.rmtree(tmp_path / "store")
            continue
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    assert scores(tmp_path / "out") == scores(reference / "out")
    assert not list((tmp_path / "store" / "unfinished").glob("*"))


def test_what_is_finished_is_kept_and_what_has_changed_is_not(undisturbed, scores, tmp_path, go_here):
    out = tmp_path / "out"
    shutil.copytree(undisturbed[0] / "out", out)
    states = {name: status.state for name, status in go_here(out).items()}
    assert set(states.values()) == {"kept"}
    # A sample that was altered, and another limit.
    altered = next((out / "vanilla" / "nano_mmlu").glob("samples_*.jsonl"))
    altered.write_text(altered.read_text()[:-10])
    states = {name: status.state for name, status in go_here(out).items()}
    assert states.pop("vanilla/nano_mmlu") == "done" and set(states.values()) == {"kept"}
    assert scores(out) == scores(undisturbed[0] / "out")
    states = go_here(out, {**SUITE, "limit": 5, "methods": ["vanilla"], "options": {}})
    assert {status.state for status in states.values()} == {"done"}


def test_a_run_anew_finds_the_same(undisturbed, tmp_path, processes, scores):
    """Another folder and another store, and so other transfers: the same samples to the byte."""
    process = processes.Process(target=go, args=(tmp_path / "out", tmp_path / "store"))
    process.start()
    process.join()
    assert scores(tmp_path / "out") == scores(undisturbed[0] / "out")


def test_what_the_like_has_taken_is_the_estimate(undisturbed, tmp_path, monkeypatch):
    suite = Suite(**{**SUITE, "seeds": [0, 1], "limit": 12})
    planned = Run(suite, tmp_path / "out")
    students = [student for student in learners(planned.cells) if student.benchmark]
    said = estimate(suite, planned.cells, students, "cpu")
    assert said == "Work: unknown for 8 transfers and 12 cells, the like of which was never done here"

    monkeypatch.setenv("PKT_EVAL_STORE", str(undisturbed[0] / "store"))
    said = estimate(suite, planned.cells, students, "cpu")
    assert "min of transfers and" in said and "unknown" not in said
    cell = next(cell for cell in planned.cells if cell.name == "teacher/nano_mmlu")
    took = json.loads((undisturbed[0] / "out" / cell.name / "cell.json").read_text())["seconds"]
    assert evaluation(cell, "cpu", 12) == pytest.approx(2 * took)
    assert evaluation(cell, "cpu", None) == pytest.approx(took / 6 * 200)
    # A seed makes no difference; another budget does.
    assert transfer(students[0].recipe, "cpu") == transfer(students[0].recipe.model_copy(update={"seed": 5}), "cpu")
    assert transfer(students[0].recipe.model_copy(update={"train_samples": 40}), "cpu") is None


def test_one_failing_cell_leaves_the_others_be(tmp_path, monkeypatch, go_here):
    from pkt_eval.suite import local

    evaluate = local.evaluate_cell

    def fails(lm, task, folder, *args, **how):
        if folder.name == "nano_mmlu" and "teacher" in str(folder):
            raise OSError(28, "No space left on device")
        return evaluate(lm, task, folder, *args, **how)

    monkeypatch.setattr(local, "evaluate_cell", fails)
    methods = ["vanilla", "teacher", {"method": "lora", "options": {"learning_rate": 1e30}, "name": "diverges"}]
    statuses = go_here(
        tmp_path, {**SUITE, "methods": methods, "benchmarks": ["nano_mmlu"], "options": {"max_steps": 2}}
    )
    assert statuses["vanilla/nano_mmlu"].state == "done"
    assert statuses["teacher/nano_mmlu"].state == "failed"
    assert "No space left" in statuses["teacher/nano_mmlu"].reason
    diverges = statuses["diverges/nano_mmlu/seed0/nano_mmlu"]
    assert diverges.state == "failed" and "diverged" in diverges.reason


def test_a_model_that_cannot_be_read_fails_its_cells_alone(tmp_path, go_here):
    suite = {**SUITE, "student": str(tmp_path / "none"), "benchmarks": ["nano_mmlu"], "methods": ["vanilla"]}
    statuses = go_here(tmp_path / "out", {**suite, "options": {}})
    (status,) = statuses.values()
    assert status.state == "failed" and "cannot find the model" in status.reason


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(ConfigError, match="another run works"):
        Run(Suite(**SUITE), tmp_path).run()
