"""A run that is killed at whatever moment ends with the scores of one that was left alone."""

import gc
import json
import random
import shutil
import signal
import time
from pathlib import Path

import forked
import pytest
from filelock import FileLock

from pkt_eval.errors import ConfigError
from pkt_eval.model_wrappers.student import PKTStudent
from pkt_eval.report.records import read
from pkt_eval.suite import evaluate as cell_evaluation
from pkt_eval.suite import local
from pkt_eval.suite.engine import engine_of
from pkt_eval.suite.engines import ENGINES, EngineOptions
from pkt_eval.suite.estimate import History, estimate
from pkt_eval.suite.folder import read_progress
from pkt_eval.suite.plan import learners
from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import Suite, load_suite
from pkt_eval.suite.switchable_model import SwitchableModel
from pkt_eval.transfer.transfer import Transfer
from pkt_eval.tune import search

LATEN = {"steps": 2, "samples_per_step": 2, "select_by": "loss", "learning_rate": 1e-2}
SUITE = {
    "benchmarks": ["nano_mmlu", "nano_gsm8k"],
    "methods": ["vanilla", "teacher", "lora", {"method": "laten", "options": LATEN}],
    "options": {"train_samples": 24, "epochs": 2, "validation_samples": 4, "extract_samples": 2, "align_samples": 4}
    | {"train_batch_size": 8, "micro_batch_size": 8},
    "limit": 6,
    "batch_size": 2,
    "device": "cpu",
}
KILLS = 12


@pytest.fixture
def go_here(undisturbed, monkeypatch):
    """Run a suite in this process, with the students that were made undisturbed."""
    monkeypatch.setenv("PKT_EVAL_STORE", str(undisturbed[0] / "store"))
    return lambda out, suite=SUITE: Run(Suite(**suite), out).run()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, processes):
    folder = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    process = processes.Process(target=forked.run_suite, args=(SUITE, folder / "out", folder / "store"))
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
    assert results["n-samples"]["nano_gsm8k"] == {"original": 400, "effective": 6}
    assert set(results) >= {"results", "configs", "versions", "n-shot", "date", "task_hashes", "chat_template"}


def test_each_benchmark_has_its_batch_size(go_here, tmp_path):
    sizes = {"nano_mmlu": "auto", "nano_gsm8k": 1}
    go_here(tmp_path, SUITE | {"methods": ["vanilla"], "options": {}, "batch_size": sizes})
    for task, blocks in (("nano_mmlu", 1), ("nano_gsm8k", 2)):  # of 64 items, of four batches
        folder = tmp_path / "vanilla" / task
        assert (folder / "journal.jsonl").read_text().count("\n") == 1 + blocks  # after a header
        results = json.loads(next(folder.glob("results_*.json")).read_text())
        assert results["config"]["batch_size"] == sizes[task]


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(undisturbed, scores, tmp_path, processes):
    """Twelve kills at random moments of the work, of which some are mid-transfer, some mid-batch, some mid-write.

    In another folder and with another store, and so with other transfers.
    """
    dice, kills = random.Random(0), 0
    reference, seconds = undisturbed
    while True:
        after = dice.uniform(0.02, 0.2) * seconds if kills < KILLS else None
        process = processes.Process(target=forked.run_suite, args=(SUITE, tmp_path / "out", tmp_path / "store", after))
        process.start()
        process.join()
        if process.exitcode == -signal.SIGALRM:
            kills += 1
            continue
        assert process.exitcode == 0
        assert scores(tmp_path / "out") == scores(reference / "out")
        assert not list((tmp_path / "store" / "unfinished").glob("*"))
        if kills >= KILLS:
            break
        # It was quicker than the kills: begin again.
        shutil.rmtree(tmp_path / "out")
        shutil.rmtree(tmp_path / "store")


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


def test_what_the_like_has_taken_is_the_estimate(undisturbed, tmp_path, monkeypatch):
    suite = Suite(**{**SUITE, "seeds": [0, 1], "limit": 12})
    planned = Run(suite, tmp_path / "out")
    students = [student for student in learners(planned.cells) if student.benchmark]
    said = estimate(planned.cells, students, planned.identities)
    assert said.startswith("Work: unknown for 8 transfers and 12 cells, the like of which was never done here. ")

    monkeypatch.setenv("PKT_EVAL_STORE", str(undisturbed[0] / "store"))
    said = estimate(planned.cells, students, planned.identities)
    assert "min of transfers and" in said and "unknown" not in said
    cell = next(cell for cell in planned.cells if cell.name == "teacher/nano_mmlu")
    took = json.loads((undisturbed[0] / "out" / cell.name / "cell.json").read_text())["seconds"]
    history = History()
    assert history.evaluation(cell.task, cell.learner.base, "cpu", 12) == pytest.approx(2 * took)
    assert history.evaluation(cell.task, cell.learner.base, "cpu", None) == pytest.approx(took / 6 * 400)
    # A seed makes no difference; another budget does.
    like, other = (students[0].recipe.model_copy(update=update) for update in ({"seed": 5}, {"train_samples": 40}))
    assert history.transfer(Transfer(like)) == history.transfer(Transfer(students[0].recipe))
    assert history.transfer(Transfer(like)) and history.transfer(Transfer(other)) is None


def test_baselines_come_first_and_each_student_as_soon_as_it_is_made(tmp_path, monkeypatch):
    """And while a transfer runs no base is in memory; one that is needed is loaded once for all that is there."""
    events: list[str] = []
    make, loads = local.make_once, SwitchableModel.load

    def transfers(transfer, *args):
        assert not any(isinstance(model, PKTStudent) for model in gc.get_objects())
        events.append(f"make {transfer.recipe.method}")
        return make(transfer, *args)

    def load(self, arguments):
        events.append("load " + ("teacher" if "teacher" in arguments["pretrained"] else "student"))
        loads(self, arguments)

    def show(statuses):
        for name, status in statuses.items():
            if status.state == "done" and f"done {name}" not in events:
                events.append(f"done {name}")

    monkeypatch.setattr(local, "make_once", transfers)
    monkeypatch.setattr(SwitchableModel, "load", load)
    suite = Suite(**{**SUITE, "benchmarks": ["nano_gsm8k"], "options": {**SUITE["options"], "max_steps": 1}})
    Run(suite, tmp_path / "first", show).run()
    assert events == [
        "load student",
        "done vanilla/nano_gsm8k",
        "load teacher",
        "done teacher/nano_gsm8k",
        "make lora",
        "load student",
        "done lora/nano_gsm8k/seed0/nano_gsm8k",
        "make laten",
        "load student",
        "done laten/nano_gsm8k/seed0/nano_gsm8k",
    ]
    events.clear()
    Run(suite, tmp_path / "students stored", show).run()
    assert [event for event in events if not event.startswith("done")] == ["load student", "load teacher"]


def test_an_engine_is_a_class_and_a_row(tmp_path, monkeypatch):
    """What another one needs: this class, and its row; its options and its device come with it."""

    class Options(EngineOptions):
        rooms: int = 1

        def device(self, asked):
            return "cpu"

    class Elsewhere(local.Local):
        def run(self, left):
            assert self.suite.engine_options.rooms == 2
            super().run(left)

    Elsewhere.Options = Options
    monkeypatch.setattr(local, "Elsewhere", Elsewhere, raising=False)
    monkeypatch.setitem(ENGINES, "elsewhere", "pkt_eval.suite.local:Elsewhere")
    path, content = tmp_path / "suite.yaml", {**SUITE, "methods": ["vanilla"], "options": {}, "engine": "elsewhere"}
    del content["device"]
    path.write_text(json.dumps({**content, "elsewhere": {"room": 2}}))
    with pytest.raises(ConfigError, match=r"elsewhere\.room is no key; did you mean 'rooms'"):
        load_suite(path)
    path.write_text(json.dumps({**content, "elsewhere": {"rooms": 2}}))
    run = Run(load_suite(path), tmp_path / "out")
    assert run.identities.device == "cpu" and engine_of(run.suite) is Elsewhere
    assert {status.state for status in run.run().values()} == {"done"}
    assert json.loads((tmp_path / "out" / "suite.json").read_text())["elsewhere"] == {"rooms": 2}
    assert read_progress(tmp_path / "out")[1].keys() == run.state.statuses.keys()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "[" * 100_000, '{"files": 3}', "{}", '{"files": {}}', "\0", '{"scores": {"a": 3}}', "null"],
)
def test_a_malformed_record_is_a_cell_to_redo(undisturbed, tmp_path, go_here, caplog, content):
    out, suite = tmp_path / "out", {**SUITE, "methods": ["vanilla"], "options": {}}
    shutil.copytree(undisturbed[0] / "out" / "vanilla", out / "vanilla")
    record = out / "vanilla" / "nano_mmlu" / "cell.json"
    before = json.loads(record.read_text())
    record.write_text(content)
    states = {name: status.state for name, status in go_here(out, suite).items()}
    assert states == {"vanilla/nano_mmlu": "done", "vanilla/nano_gsm8k": "kept"}
    assert json.loads(record.read_text())["scores"] == before["scores"]
    assert "the cell is done again" in caplog.text
    # The files of the damaged record are out of a report's way, and nothing is lost.
    records, notes = read([out])
    assert {each.task for each in records} == {"nano_mmlu", "nano_gsm8k"} and not notes
    assert all((record.parent / f"{name}.replaced").exists() for name in before["files"])


def test_only_files_of_the_cell_are_deleted(undisturbed, tmp_path, go_here):
    out, suite = tmp_path / "out", {**SUITE, "methods": ["vanilla"], "options": {}}
    shutil.copytree(undisturbed[0] / "out" / "vanilla", out / "vanilla")
    cell, theirs = out / "vanilla" / "nano_mmlu", tmp_path / "theirs.json"
    for path in (theirs, cell / "results_of_mine.json", cell / "samples_of_mine.jsonl"):
        path.write_text("mine")
    old = [path for path in cell.glob("results_*.json") if path.read_text() != "mine"]
    record = json.loads((cell / "cell.json").read_text())
    states = go_here(out, {**suite, "limit": 3})  # an earlier evaluation goes
    assert states["vanilla/nano_mmlu"].state == "done" and not any(path.exists() for path in old)
    # A record that names files elsewhere is none.
    (cell / "cell.json").write_text(json.dumps({**record, "files": {"../../../theirs.json": "0", **record["files"]}}))
    assert go_here(out, suite)["vanilla/nano_mmlu"].state == "done"
    aside = [cell / "results_of_mine.json.replaced", cell / "samples_of_mine.jsonl.replaced"]
    assert [path.read_text() for path in (theirs, *aside)] == ["mine", "mine", "mine"]
    read([out])


def test_a_run_that_ends_while_files_are_moved_leaves_none_behind(undisturbed, tmp_path, go_here, scores, monkeypatch):
    """Whichever move is the last one, the next run has each file once."""
    out, suite = tmp_path / "out", {**SUITE, "benchmarks": ["nano_mmlu"], "methods": ["vanilla"], "options": {}}
    move = Path.replace
    for last in range(3):  # the record, results and samples
        left = [last]

        def some(path, target, left=left):
            if Path(target).parent == out / "vanilla" / "nano_mmlu":
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
            return move(path, target)

        shutil.rmtree(out, ignore_errors=True)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", some)
            with pytest.raises(KeyboardInterrupt):
                go_here(out, suite)
        assert go_here(out, suite)["vanilla/nano_mmlu"].state == "done"
        assert len(list(out.glob("**/results_*.json"))) == 1 and len(list(out.glob("**/samples_*.jsonl"))) == 1
    assert scores(out) == {k: v for k, v in scores(undisturbed[0] / "out").items() if k.startswith("vanilla/nano_mmlu")}


def test_one_failing_cell_leaves_the_others_be(tmp_path, monkeypatch, go_here):
    evaluate = cell_evaluation.evaluate_cell

    def fails(lm, task, folder, *args, **how):
        if folder.name == "nano_mmlu" and "teacher" in str(folder):
            raise OSError(28, "No space left on device")
        return evaluate(lm, task, folder, *args, **how)

    monkeypatch.setattr(cell_evaluation, "evaluate_cell", fails)
    monkeypatch.setattr(search, "validation_loss", lambda *_: float("nan"))
    methods = ["vanilla", "teacher", {"method": "lora", "options": {"learning_rate": 1e-3}, "name": "diverges"}]
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
