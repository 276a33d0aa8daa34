"""``--dry-run --measure``: what a suite will take before anything of it was done, with nothing left but the times."""

import json

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.suite import measure
from pkt_eval.suite.estimate import History, remember
from pkt_eval.suite.identity import Identities
from pkt_eval.suite.measure import _KnownError, _Watched
from pkt_eval.suite.plan import cells
from pkt_eval.suite.schema import Suite

NANO = {
    "benchmarks": ["nano_gsm8k", "nano_mbpp"],
    "methods": ["vanilla", "lora"],
    "options": {"train_samples": 24, "validation_samples": 4, "train_batch_size": 4},
    "limit": 100,
    "device": "cpu",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()

    def do(suite: dict, *more: str) -> tuple[int, str]:
        (tmp_path / "suite.yaml").write_text(json.dumps(suite))
        words = ["run", str(tmp_path / "suite.yaml"), "--out", str(tmp_path / "out"), "--dry-run", *more]
        ended = CliRunner().invoke(app, words, catch_exceptions=False)
        assert not any((tmp_path / "temporary").glob("pkt_*")) and not (tmp_path / "out").exists()
        return ended.exit_code, ended.stdout

    return do


def test_a_first_estimate(run, tmp_path):
    code, said = run(NANO)
    assert code == 0 and "unknown for 2 transfers and 4 cells" in said and "--dry-run --measure" in said
    code, said = run(NANO, "--measure")
    assert code == 0 and "measured: nano_gsm8k of student: 16 items in " in said
    assert "not measured: nano_mbpp of student: it runs code" in said and "confirm_run_unsafe_code" in said
    assert "measured: lora/nano_gsm8k/seed0: fine-tuning 2/30, the last step in " in said
    assert "4 of them by a measured part" in said
    assert "unknown for 2 cells" in said and "--measure does" not in said  # it was done
    assert not (tmp_path / "store" / "students").exists()
    code, said = run(NANO, "--measure")  # what is known is not measured again
    assert "unknown for 2 cells" in said and "measured: lora" not in said and "of student: 16" not in said


def test_what_was_done_outweighs_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path))
    base = cells(Suite(**NANO))[0].learner.base
    counts = {"nano_gsm8k": {"original": 400, "effective": 10}}
    remember("nano_gsm8k", base, "cpu", counts, 30.0, "part")
    assert History().evaluation("nano_gsm8k", base, "cpu", 100) == pytest.approx(300)
    remember("nano_gsm8k", base, "cpu", counts, 10.0)
    history = History()
    assert history.evaluation("nano_gsm8k", base, "cpu", 100) == pytest.approx(100) and history.parts == 0


def test_it_asks_of_one_process(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = CliRunner().invoke(app, ["run", "none.yaml", "--measure"])
    assert "--measure says something to --dry-run alone" in str(ended.exception)
    with pytest.raises(Exception, match="--measure works in this process alone"):
        run(NANO, "--measure")


def test_ctrl_c_leaves_what_was_measured(run, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "_measure_transfers", interrupted)
    monkeypatch.setattr(measure, "_ITEMS", 1)  # as of a group of many tasks: the one that warms is the one that counts
    code, said = run({**NANO, "benchmarks": ["nano_gsm8k"]}, "--measure")
    assert code == 130 and "what was measured is remembered" in said
    assert len((tmp_path / "store" / "times.jsonl").read_text().splitlines()) == 1


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(measure.time, "monotonic", lambda: self.now)


def follow(watched: _Watched, clock: Clock, what: str, of: int, seconds: float) -> None:
    for done in range(of + 1):
        watched.tell(what, done, of)
        clock.now += seconds


@pytest.mark.parametrize("trainings, expected", [(1, 5 + 100 * 2), (3, 5 + 3 * 100 * 2), (9, 5 + 9 * 100 * 2)])
def test_the_pace_of_a_training_is_that_of_all_of_it(monkeypatch, trainings, expected):
    clock = Clock(monkeypatch)
    watched = _Watched(trainings)
    follow(watched, clock, "extract", 4, 1.0)  # and what is before it is done
    with pytest.raises(_KnownError) as known:
        follow(watched, clock, "fine-tuning", 100, 2.0)
    assert known.value.seconds == pytest.approx(expected) and not watched.ahead and clock.now == 5 + 2 * 2


def test_a_long_stage_before_it_is_not_waited_for(monkeypatch):
    clock = Clock(monkeypatch)
    watched = _Watched(1)
    with pytest.raises(_KnownError) as known:
        follow(watched, clock, "answers of the teacher", 1000, 3.0)
    assert watched.ahead and known.value.seconds == pytest.approx(3000) and clock.now == 3


def test_a_short_transfer_is_done_whole(monkeypatch):
    follow(_Watched(1), Clock(monkeypatch), "fine-tuning", 1, 2.0)


def test_each_rate_is_a_training():
    from pkt_eval.suite.measure import _trainings

    for rate, count in ((None, 1), ("1e-4", 1), ("1e-4+3e-4", 2), ("auto", 9)):
        options = NANO["options"] | ({"learning_rate": rate} if rate else {})
        suite = Suite(**{**NANO, "methods": ["lora"], "options": options})
        learner = cells(suite)[0].learner
        assert _trainings(Identities(suite).transfer(learner)) == count
