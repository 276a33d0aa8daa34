"""A row says the step of its student's transfer, with loss and time left, wherever the work is done."""

import json

from rich.console import Console

from pkt_eval._util.progress import Pace, Progress
from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.show import progress_table

SMALL = {
    "benchmarks": ["nano_gsm8k"],
    "methods": ["lora"],
    "options": {"train_samples": 16, "validation_samples": 4, "max_steps": 4, "train_batch_size": 4, "rank": 2},
    "limit": 8,
    "batch_size": 1,
    "device": "cpu",
}


def test_a_pace_counts_what_was_done_before_as_no_work(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("pkt_eval._util.progress.time.monotonic", lambda: now[0])
    pace = Pace("step", 10)
    assert pace.said(10, 40) == "step 10/40"
    now[0] += 20
    assert pace.said(20, 40, 0.5) == "step 20/40, loss 0.500, 40 s left"
    assert pace.said(40, 40) == "step 40/40" and pace.said(3, None) == "step"


def test_stages_bars_and_losses_are_told(monkeypatch):
    monkeypatch.setattr("pkt_eval._util.progress._EVERY", 0.0)
    said: list[str] = []
    progress = Progress(enabled=False, listener=said.append)
    with progress.stage("finetune"):
        progress.tell("fine-tuning", 1, 9, 2.5)
    with progress.stage("validation"):  # the loss was another stage's
        assert list(progress.bar("ab", "judge")) == ["a", "b"]
    assert said[0] == "finetune" and said[1] == "fine-tuning 1/9, loss 2.500"
    assert said[2:4] == ["validation", "judge 0/2"] and said[4].startswith("judge 1/2")
    assert list(Progress(enabled=False).bar(iter("ab"), "nobody listens")) == ["a", "b"]


def test_a_row_shows_step_loss_and_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("pkt_eval._util.progress._EVERY", 0.0)
    monkeypatch.setattr("pkt_eval.suite.folder._EVERY", 0.0)
    run = Run(Suite(**SMALL), tmp_path)
    (cell,) = run.cells
    steps: list[str] = []
    written: list[str] = []

    def watch(statuses):
        steps.append(statuses[cell.name].step)
        if (tmp_path / "progress.json").exists():
            written.append(json.loads((tmp_path / "progress.json").read_text())[cell.name].get("step", ""))

    run.state.watch(watch)
    assert run.run()[cell.name].state == "done"
    tuning = [step for step in steps if step.startswith("fine-tuning 2/4, loss ")]
    assert tuning and "left" in tuning[-1] and any(step.startswith("block 1/2") for step in steps)
    assert any(step.startswith("fine-tuning 2/4") for step in written), "`pkt-eval status` sees it, too"
    assert steps[-1] == ""

    run.state[cell].state, run.state[cell].step = "transfer", tuning[-1]
    (words,) = progress_table(run.cells, run.state.statuses).columns[2].cells
    assert words == f"transfer: {tuning[-1]}"


def test_names_and_scores_are_whole_on_eighty_columns(tmp_path):
    name = "lora-of-a-long-name(rank=16,learning_rate=1e-4)"
    run = Run(Suite(**SMALL | {"methods": [{"method": "lora", "name": name}]}), tmp_path)
    (cell,) = run.cells
    status = run.state[cell]
    status.state, status.seconds, status.record = "done", 12.0, {"scores": {cell.task: {"acc,none": 0.305}}}
    narrow = Console(width=80)
    with narrow.capture() as shown:
        narrow.print(progress_table(run.cells, run.state.statuses))
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in shown.get()
    assert "".join(line[1:].split("  ")[0].strip() for line in lines[1:]) == cell.learner.name
    assert shown.get().count("30.5") == 1 and cell.task in shown.get()
