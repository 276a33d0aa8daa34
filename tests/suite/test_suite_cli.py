"""``pkt-eval run`` and ``pkt-eval status`` as they are typed."""

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.errors import ConfigError
from pkt_eval.suite.folder import alone

SUITE = {
    "benchmarks": ["nano_mmlu", "nano_gsm8k"],  # the quick one first
    "methods": ["vanilla", "teacher"],
    "batch_size": 1,
    "limit": 25,
    "device": "cpu",
}
LIMIT = 600
"""Seconds: what others do on this machine makes no test fail."""


def shown(*words: object) -> str:
    """What a command prints, in this process: to import everything anew takes seconds."""
    ended = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_an_interrupted_run_says_what_is_done_and_status_says_it_at_any_time(tmp_path):
    path, out = tmp_path / "suite.yaml", tmp_path / "suite"
    path.write_text(json.dumps(SUITE))
    process = subprocess.Popen(
        [sys.executable, "-m", "pkt_eval", "run", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # else, under a shell's &, it is ignored
    )
    first = out / "vanilla" / "nano_mmlu"
    wait(process, lambda: (first / "cell.json").exists())
    during = shown("status", out)
    assert process.poll() is None, "the limit is too small to look while it runs"
    assert "of 4 cells done; a run is at work" in during and "vanilla" in during
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 130 and "Traceback" not in errors
    (line,) = [line for line in said.splitlines() if line.startswith("interrupted")]
    done = len(list(out.glob("**/cell.json")))
    assert 1 <= done < 4 and line == f"interrupted: {done} of 4 cells done; the same command goes on"
    assert f"{done} of 4 cells done; no run is at work: the same `pkt-eval run` goes on" in shown("status", out)

    # Of the rest, one cell alone; then a status without what the run wrote of itself.
    shown("run", path, "--only", "teacher", "--only", "nano_mmlu")
    assert {p.parent.relative_to(out).as_posix() for p in out.glob("teacher/**/cell.json")} == {"teacher/nano_mmlu"}
    (out / "progress.json").unlink()
    assert "of 4 cells done; no run is at work" in shown("status", out)
    shown("run", path)
    assert shown("status", out).rstrip().endswith("4 of 4 cells done")


def wait(process: subprocess.Popen, until) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        if until():
            return
        time.sleep(0.02)
    pytest.fail(f"it has not come to that; exit code {process.poll()}: {process.communicate()}")


@pytest.mark.parametrize("content", ['{"a":', "[1, 2]", "{}", "\x00"])
def test_status_of_a_suite_that_cannot_be_read_is_a_line_of_ours(tmp_path, content):
    (tmp_path / "suite.json").write_text(content)
    with pytest.raises(ConfigError, match="is no suite of this version") as refused:
        shown("status", tmp_path)
    assert "pydantic" not in str(refused.value) and "validation error" not in str(refused.value)


def test_status_of_no_suite_and_an_unknown_choice_say_what_to_do(tmp_path):
    (tmp_path / "suite.yaml").write_text(json.dumps(SUITE))
    for words, message in (
        (["status", tmp_path], "no suite has been run there"),
        (["run", tmp_path / "suite.yaml", "--only", "vanila"], "did you mean 'vanilla'"),
    ):
        with pytest.raises(ConfigError, match=message):
            shown(*words)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"vanilla/nano_gsm8k": 3}', '{"vanilla/nano_gsm8k": {"a": 1}}'])
def test_a_damaged_progress_file_is_no_obstacle(tmp_path, caplog, content):
    from pkt_eval.suite.folder import read_progress
    from pkt_eval.suite.schema import Suite

    with alone(tmp_path):
        (tmp_path / "suite.json").write_text(Suite(**SUITE).model_dump_json())
    (tmp_path / "progress.json").write_text(content)
    cells, statuses = read_progress(tmp_path)
    assert len(cells) == 4 and {status.state for status in statuses.values()} == {"waiting"}
    assert "is damaged" in caplog.text


def test_what_is_hidden_is_shown_again(capsys):
    """``quiet`` undoes what it does, whatever happens in it."""
    import logging

    from tqdm.auto import tqdm
    from transformers.utils import logging as transformers_logging

    from pkt_eval._util.quiet import quiet

    def now():
        names = ("lm_eval", "pkt_eval")
        return (
            tqdm.__init__,
            transformers_logging.get_verbosity(),
            transformers_logging.is_progress_bar_enabled(),
            [logging.getLogger(name).level for name in names],
        )

    logging.getLogger("lm_eval").setLevel(logging.INFO)
    before = now()
    with pytest.raises(OSError), quiet(logging.ERROR):
        list(tqdm([1], desc="a hidden bar", disable=False))
        assert not logging.getLogger("pkt_eval").isEnabledFor(logging.WARNING)
        assert not transformers_logging.is_progress_bar_enabled()
        with quiet():
            pass
        list(tqdm([1], desc="a hidden bar", disable=False))
        raise OSError
    assert now() == before
    list(tqdm([1], desc="a shown bar", disable=False))
    err = capsys.readouterr().err
    assert "a shown bar" in err and "a hidden bar" not in err


def test_what_a_row_that_was_taken_out_has_left_is_said(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps({**SUITE, "methods": ["vanilla"], "benchmarks": ["nano_mmlu"], "limit": 2}))
    (tmp_path / "suite" / "lora" / "nano_mmlu").mkdir(parents=True)
    (tmp_path / "suite" / "lora" / "nano_mmlu" / "cell.json").write_text("{}")
    said = shown("run", path)
    assert "1 cells there are of no row of" in said and "a report has them too: lora/nano_mmlu." in said
