"""The ray engine: what it finds is what the local one finds, whichever worker is lost and however it is interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pkt_eval.errors import ConfigError, PrerequisiteError
from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import Suite

SUITE = {
    "benchmarks": ["nano_mmlu"],
    "methods": ["vanilla", "lora"],
    "options": {"train_samples": 16, "epochs": 1, "validation_samples": 4},
    "limit": 150,
    "batch_size": 1,  # many batches, to be in the midst of
}
LIMIT = 600
"""Seconds: what others do on this machine makes no test fail."""


@pytest.fixture(scope="module", autouse=True)
def _ray():
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'pkt-eval[ray]'")


@pytest.fixture
def process(tmp_path, request):
    """Starts ``pkt-eval run`` with the ray engine."""
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "engine": "ray"}))

    def start():
        log = (tmp_path / "log").open("a")
        started = subprocess.Popen(
            [sys.executable, "-m", "pkt_eval", "run", str(path)], stdout=log, stderr=log, start_new_session=True
        )
        request.addfinalizer(started.kill)
        return started

    return start


def workers(of: int) -> list:
    """Processes of Ray that do a task, below a process."""
    import psutil

    at_work = []
    for process in psutil.Process(of).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if "_work" in "".join(process.cmdline()[:1]):
                at_work.append(process)
    return at_work


def lose_a_worker(process: subprocess.Popen) -> None:
    """Kill one that is at work; between two tasks there is none."""
    import psutil

    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        for lost in workers(process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                lost.kill()
                return
    pytest.fail(f"no worker was seen at work; exit code {process.poll()}")


def mid_cell(out: Path, process: subprocess.Popen, since: int = 0) -> dict[Path, bytes]:
    """Wait until a cell that is not finished has more than ``since`` answers; returns the journals."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        journals = {path: path.read_bytes() for path in out.glob("**/journal.jsonl")}
        if any(text.count(b"\n") > since + 1 and not (p.parent / "cell.json").exists() for p, text in journals.items()):
            return journals
        time.sleep(0.02)
    pytest.fail(f"no cell was begun; exit code {process.poll()}")


def test_an_interrupted_run_and_a_lost_worker_end_with_the_bytes_of_the_local_engine(
    tmp_path, process, scores, monkeypatch
):
    import psutil

    out = tmp_path / "suite"
    first = process()
    begun = mid_cell(out, first)
    below = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGINT)
    assert first.wait(LIMIT) == 130
    _, alive = psutil.wait_procs(below, timeout=LIMIT)
    assert not alive, "Ctrl-C leaves nothing at work"

    second = process()
    most = max(text.count(b"\n") for text in begun.values())
    for path, text in mid_cell(out, second, since=most).items():
        assert text.startswith(begun.get(path, b"")), "it goes on"
        begun[path] = text
    lose_a_worker(second)
    assert second.wait(LIMIT) == 0, (tmp_path / "log").read_text()
    assert all(path.read_bytes().startswith(text) for path, text in begun.items()), "what was answered stays answered"

    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "another"))
    Run(Suite(**SUITE, device="cpu"), tmp_path / "local").run()
    assert scores(out) == scores(tmp_path / "local") and len(scores(out)) == 4


def test_what_cannot_be_had_is_said_before_anything_runs(tmp_path, monkeypatch):
    suite = {**SUITE, "engine": "ray", "methods": ["vanilla"], "options": {}}
    with pytest.raises(ConfigError, match=r"no machine has the 100000 CPUs .* Ask for less in ray.num_cpus"):
        Run(Suite(**suite, ray={"num_cpus": 100_000}), tmp_path / "cpus").run()
    with pytest.raises(ConfigError, match=r"ray.address: cannot use the cluster 127.0.0.1:1"):
        Run(Suite(**suite, ray={"address": "127.0.0.1:1"}), tmp_path / "address").run()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'pkt-eval\[ray\]'"):
        Run(Suite(**suite), tmp_path / "none").run()
