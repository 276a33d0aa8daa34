"""``--log``: a tracker gets every curve and cell of each student, nothing secret, and fails no run."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pkt_eval._util.logs import TRACKERS, harmless_config, open_log
from pkt_eval._util.progress import Progress
from pkt_eval.cli import app
from pkt_eval.errors import PrerequisiteError

SUITE = """
benchmarks: [nano_gsm8k]
methods: [vanilla, {method: lora, name: mine, learning_rate: [1e-4, 2.5e-3]}]
options: {train_samples: 8, validation_samples: 4, max_steps: 2, train_batch_size: 4, rank: 2}
limit: 4
batch_size: 4
device: cpu
"""


class FakeTracker(SimpleNamespace):
    """What both trackers' modules are called by, as far as ``logs`` does."""

    def __init__(self, name):
        # transformers looks for it, too, by its spec.
        super().__init__(runs={}, logged_in=True, broken=False, name=name, __spec__=ModuleSpec(name, None))

    def login(self, prompt):
        return self.logged_in

    def Settings(self, **settings):
        return settings

    def init(self, name, config, **how):
        if self.broken:
            raise OSError("no connection\nat all")
        print("a banner")
        run = SimpleNamespace(rows=[], config=config, how=how, finished=0, axes={})
        run.log = lambda values, step=None: run.rows.append((step, values))
        run.define_metric = lambda name, **how: run.axes.update({name: how})

        def finish():
            run.finished += 1

        run.finish = finish
        self.runs[name] = run
        return run


@pytest.fixture(params=TRACKERS)
def tracker(request, monkeypatch):
    """A module of the tracker's name, and the name."""
    module = FakeTracker(request.param)
    monkeypatch.setitem(sys.modules, request.param, module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return module


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "rates.yaml"
    path.write_text(SUITE)
    return path


def run(suite, *options):
    return CliRunner().invoke(app, ["run", str(suite), *options], catch_exceptions=False)


def curves(tracked):
    """Curve → its numbers by name, each as (step, value)."""
    found = {}
    for step, values in tracked.rows:
        values = dict(values)
        own = next((values.pop(key) for key in list(values) if key.endswith("/step")), step)
        for key, value in values.items():
            curve, _, name = key.rpartition("/")
            found.setdefault(curve, {}).setdefault(name, []).append((own, value))
    return found


def test_every_student_is_a_run_with_its_curves_and_cells(tracker, suite):
    ended = run(suite, "--log", tracker.name)
    assert ended.exit_code == 0 and "banner" not in ended.output, ended.output
    assert set(tracker.runs) == {"vanilla", "mine/nano_gsm8k/seed0"}
    assert [each.finished for each in tracker.runs.values()] == [1, 1]
    assert all(each.how["group"] == "rates" and each.how["project"] == "pkt-eval" for each in tracker.runs.values())
    assert set(curves(tracker.runs["vanilla"])) == {"nano_gsm8k"}
    mine = tracker.runs["mine/nano_gsm8k/seed0"]
    other = "finetune-0.0025" if tracker.name == "trackio" else "finetune-0_0025"
    assert set(curves(mine)) == {"finetune-0.0001".replace(".", other[10]), other, "nano_gsm8k"}
    of_rate = curves(mine)[other]
    assert [step for step, _ in of_rate["loss"]] == [1, 2] == [step for step, _ in of_rate["learning_rate"]]
    assert [step for step, _ in of_rate["validation_loss"]] == [0, 2]
    assert set(curves(mine)["nano_gsm8k"]) == {"score", "seconds"}
    assert mine.config["method"] == "lora" and mine.config["options"]["rank"] == 2
    if tracker.name == "wandb":
        assert mine.axes[f"{other}/*"] == {"step_metric": f"{other}/step"}
    # What was kept from an earlier run has its cells there, too.
    tracker.runs.clear()
    assert run(suite, "--log", tracker.name).exit_code == 0
    assert set(curves(tracker.runs["mine/nano_gsm8k/seed0"])) == {"nano_gsm8k"}
    # And nothing without being asked.
    tracker.runs.clear()
    assert run(suite).exit_code == 0 and not tracker.runs


def test_a_tracker_that_fails_is_told_of_once_and_fails_no_run(tracker, suite, caplog):
    tracker.broken = True
    assert run(suite, "--log", tracker.name, "--only", "vanilla").exit_code == 0
    assert [r.getMessage() for r in caplog.records if "tracker" in r.getMessage()] == [
        "the tracker does not take all: OSError: no connection at all"
    ]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_missing_is_one_line_before_the_work(name, suite, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PrerequisiteError, match=rf"^--log {name} needs {name}: pip install 'pkt-eval\[{name}\]'$"):
        run(suite, "--log", name)
    assert not suite.with_suffix("").exists()


def test_a_tracker_that_is_not_whole_says_what_it_lacks(monkeypatch, tmp_path):
    (tmp_path / "trackio.py").write_text("import something_of_its_own")
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PrerequisiteError, match="needs trackio, which lacks something_of_its_own: pip install"):
        open_log("trackio", None, {})


def test_wandb_needs_an_account_unless_it_is_offline(monkeypatch):
    module = FakeTracker("wandb")
    module.logged_in = False
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(PrerequisiteError, match="WANDB_MODE=offline"):
        open_log("wandb", None, {})
    monkeypatch.setenv("WANDB_MODE", "offline")
    open_log("wandb", None, {}).cell("s", "t", {"score": 0.5})
    (sent,) = module.runs.values()
    assert sent.how["settings"]["console"] == "off" and sent.how["settings"]["x_disable_meta"]


def test_a_transfer_has_its_curve(tracker, tmp_path):
    words = ["method=lora", "transfer_task=nano_gsm8k", "train_samples=8", "validation_samples=4", "max_steps=2"]
    made = CliRunner().invoke(
        app, ["transfer", *words, "rank=3", "--out", str(tmp_path / "s"), "--log", tracker.name], catch_exceptions=False
    )
    assert made.exit_code == 0
    (sent,) = tracker.runs.values()
    assert [step for step, _ in curves(sent)["finetune"]["loss"]] == [1, 2] and sent.finished == 1


def test_neither_secrets_nor_places_are_sent(tmp_path):
    secret = "hf_" + "x" * 34
    (tmp_path / "model").mkdir()
    config = {
        "token": secret,
        "pretrained": str(tmp_path / "model"),
        "teacher": "Qwen/Qwen2.5-0.5B",
        "options": {"api_key": "abc", "header": f"Bearer {secret}", "data": ["~/somebody/rows"]},
    }
    sent = harmless_config(config)
    assert secret not in repr(sent) and "abc" not in repr(sent) and "somebody" not in repr(sent)
    assert sent["pretrained"] == "model" and sent["teacher"] == "Qwen/Qwen2.5-0.5B"
    assert str(Path.home()) not in repr(sent) and str(tmp_path) not in repr(sent)


def test_what_is_no_number_is_no_measurement():
    told = []
    progress = Progress(enabled=False, measured=lambda *each: told.append(each))
    with progress.stage("finetune", "finetune-1"):
        with progress.stage("validation"):
            progress.measure(1, validation_loss=2.0)
        progress.measure(2, loss=float("nan"), validation_loss=None)
        progress.measure(3, loss=float("inf"), learning_rate=0.5)
    assert told == [("validation", 1, {"validation_loss": 2.0}), ("finetune-1", 3, {"learning_rate": 0.5})]
