"""An interrupted fine-tune goes on where it was, and ends with the weights of one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from pkt_eval import finetune
from pkt_eval.align import loop
from pkt_eval.recipe import make_recipe, make_student
from pkt_eval.store import Store

# Three steps an epoch, so that the interruption is in the second.
OPTIONS = {
    "method": "seeking",
    "transfer_task": "nano_gsm8k",
    "extract_samples": 2,
    "train_samples": 24,
    "validation_samples": 4,
    "train_batch_size": 8,
    "micro_batch_size": 4,
    "epochs": 3,
    "learning_rate": "1e-3+2e-3",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return make_student(make_recipe(OPTIONS), store=Store(tmp_path_factory.mktemp("undisturbed")))


def training(student):
    return student.provenance["record"]["training"]


@pytest.mark.parametrize("passes", [9, 21])
def test_an_interrupted_fine_tune_goes_on(undisturbed, tmp_path, monkeypatch, passes):
    """In the first training, of nine steps of two passes, or in the second; validation takes one pass each time."""
    monkeypatch.setattr(finetune, "_CHECKPOINT_SECONDS", 0.0)
    loss, done = finetune.supervised_loss, []

    def counted(model, batch):
        done.append(1)
        if len(done) == passes:
            raise KeyboardInterrupt
        return loss(model, batch)

    monkeypatch.setattr(finetune, "supervised_loss", counted)
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        make_student(make_recipe(OPTIONS), store=store)
    assert list((tmp_path / "unfinished").iterdir())

    def again(*_, **__):
        raise AssertionError("the extraction is kept")

    monkeypatch.setattr("pkt_eval.methods.seeking.parameter_sensitivity", again)
    first = len(done)
    student = make_student(make_recipe(OPTIONS), store=store)
    assert student.weights_digest() == undisturbed.weights_digest()
    assert training(student)["tried"] == training(undisturbed)["tried"]
    # Nothing is left, and less was done than all over again: two trainings of 18 passes and 2 validations.
    assert not list((tmp_path / "unfinished").iterdir())
    assert len(done) - first < 40


def test_a_killed_fine_tune_goes_on(undisturbed, tmp_path):
    script = f"""
        from pkt_eval import finetune
        from pkt_eval.recipe import make_recipe, make_student
        finetune._CHECKPOINT_SECONDS = 0.0
        print(make_student(make_recipe({OPTIONS!r})).weights_digest())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PKT_EVAL_STORE": str(tmp_path)}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("unfinished/*/rate-*/checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert list(tmp_path.glob("unfinished/*/rate-*")), "it was killed before it began"
    states = list(tmp_path.glob("unfinished/*/rate-*/checkpoint-*/trainer_state.json"))
    assert not states or json.loads(states[0].read_text())["global_step"] < 9
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.split()[-1] == undisturbed.weights_digest()


def test_an_interrupted_alignment_goes_on_after_its_last_step(tmp_path, monkeypatch):
    """Interrupted in the third of four steps; what was located is remembered, too."""
    options = {
        "method": "laten",
        "transfer_task": "nano_gsm8k",
        "extract_samples": 2,
        "align_samples": 8,
        "validation_samples": 4,
        "steps": 4,
        "samples_per_step": 4,
        "learning_rate": 1e-2,
    }
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "memo"))
    whole = make_student(make_recipe(options), store=Store(tmp_path / "whole"))
    gradients, taken = loop.gradients, []

    def counted(*arguments):
        taken.append(1)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return gradients(*arguments)

    monkeypatch.setattr(loop, "gradients", counted)
    store = Store(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        make_student(make_recipe(options), store=store)
    student = make_student(make_recipe(options), store=store)
    assert len(taken) == 3 + 2, "two steps were kept"
    assert student.weights_digest() == whole.weights_digest()
    assert student.provenance["record"]["alignment"] == whole.provenance["record"]["alignment"]
    assert not list((tmp_path / "broken" / "unfinished").glob("*"))
