"""Where an error leaves the commands: how many lines, which exit code, and when a traceback."""

import errno
import logging
import os
import subprocess
import sys

import pytest

from pkt_eval import cli
from pkt_eval._util import boundary
from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.lm.excepthook import OneLine


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch):
    monkeypatch.setenv(boundary.DEBUG_ENV, "0")
    monkeypatch.setattr(sys, "argv", ["pkt-eval"])


def failing(error: BaseException):
    def work() -> None:
        raise error

    return work


def from_full_disk() -> StoreError:
    error = StoreError("cannot write student: the disk is full: make room there")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


def from_full_store() -> StoreError:
    """As the store says it of what safetensors says."""
    inner, outer = StoreError("cannot write the folder x: the disk is full"), StoreError("cannot keep the student")
    inner.__cause__ = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    outer.__cause__ = inner
    return outer


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("rank=0: too small"), 2, "pkt-eval: rank=0: too small"),
        (from_full_disk(), 1, "the disk is full"),
        (from_full_store(), 1, "cannot keep the student"),
        (KeyError("x"), 1, "KeyError: 'x'. This is no message of ours"),
        (OSError(errno.EACCES, "Permission denied", "a/b"), 1, "Permission denied: 'a/b'"),
        (MemoryError(), 1, "out of memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 1, "smaller batches"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_is_one_line_and_a_code(error, code, says, capsys):
    with pytest.raises(SystemExit) as ended:
        boundary.within("pkt-eval", failing(error))
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and "Traceback" not in said


def test_a_line_stays_a_line_whatever_a_file_puts_into_it():
    said = boundary.one_line(ConfigError("a\nb\t\x1b[2J\u202ec\ud800" + "d" * 5000))
    assert said.startswith("a b \\x1b[2J\\u202ec\\ud800ddd") and len(said) < 2100 and said.isprintable()


@pytest.mark.parametrize("how", ["--debug", "PKT_EVAL_DEBUG"])
def test_the_traceback_is_for_who_asks(how, monkeypatch, capsys):
    if how == "--debug":
        monkeypatch.setattr(sys, "argv", ["pkt-eval", "methods", "--debug", "lorra"])
    else:
        monkeypatch.setenv(how, "1")
    with pytest.raises(SystemExit):
        boundary.within("pkt-eval", failing(ConfigError("no")))
    said = capsys.readouterr().err
    assert "Traceback" in said and said.endswith("pkt-eval: no\n")
    assert "--debug" not in sys.argv  # no command has to know it


def test_what_succeeds_ends_nowhere():
    boundary.within("pkt-eval", lambda: None)


def test_lm_eval_ends_the_same_way(monkeypatch, capsys):
    seen = []
    hook = OneLine(lambda *error: seen.append(error))
    monkeypatch.setattr("pkt_eval.lm.excepthook._is_lm_eval", lambda: True)
    with pytest.raises(SystemExit) as ended:
        hook(StoreError, from_full_disk(), None)
    assert ended.value.code == 1 and capsys.readouterr().err.startswith("lm_eval: cannot write student")
    error = KeyError("theirs")
    hook(KeyError, error, None)
    assert seen == [(KeyError, error, None)], "what is not ours keeps its traceback"


def test_simple_evaluate_names_no_device_and_needs_none(caplog):
    """It hands ``device=None`` on, with which ``hf`` cannot be made: seen only after the whole transfer."""
    from pkt_eval.model_wrappers.student import PKTStudent

    caplog.set_level(logging.ERROR)
    assert PKTStudent(method="vanilla", device=None).device.type in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["transfer", "method=lora", "--out", "out"], "pkt-eval transfer: interrupted; the same command goes on"),
        (["report", "run", "--out", "out"], "pkt-eval report: interrupted; nothing half-written is left"),
        (["data", "check", "nano_gsm8k"], "pkt-eval data: interrupted; nothing half-written is left"),
        (["diagnose", "--data", "nano_gsm8k", "--out", "out"], "pkt-eval diagnose: interrupted; nothing of it is kept"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_ctrl_c_ends_a_command_with_a_word_on_how_to_go_on(words, says, monkeypatch, capsys):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("transfer_cli", "report.cli", "diagnose.command"):
        monkeypatch.setattr(f"pkt_eval.{place}.check_out", interrupt)
    monkeypatch.setattr("pkt_eval.data.cli.build_splits", interrupt)
    monkeypatch.setattr(sys, "argv", ["pkt-eval", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 130 and said.startswith(says) and said.count("\n") == 1


def test_ctrl_c_of_lm_eval_is_a_line_where_a_model_of_ours_is_evaluated(monkeypatch, capsys):
    seen = []
    hook = OneLine(lambda *error: seen.append(error))
    monkeypatch.setattr("pkt_eval.lm.excepthook._is_lm_eval", lambda: True)
    for ours in (False, True):
        monkeypatch.setattr("pkt_eval.lm.excepthook._ours", lambda ours=ours: ours)
        if ours:
            with pytest.raises(SystemExit) as ended:
                hook(KeyboardInterrupt, KeyboardInterrupt(), None)
            assert ended.value.code == 130
        else:
            hook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(seen) == 1 and capsys.readouterr().err.startswith("lm_eval: interrupted; the same command goes on")


def test_a_broken_pipe_is_silent():
    """``pkt-eval … | head``: the reader has gone before we write."""
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "pkt_eval", "run", "--example"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.stderr == b"" and done.returncode in (0, 1)


def test_a_consent_that_lm_eval_lacks_is_asked_for_in_a_line(monkeypatch, capsys):
    hook = OneLine(lambda *_: pytest.fail("a traceback"))
    monkeypatch.setattr("pkt_eval.lm.excepthook._is_lm_eval", lambda: True)
    monkeypatch.setattr("pkt_eval.lm.excepthook._ours", lambda: True)
    error = ValueError(
        "Attempted to run task: pkt_humaneval_chat which is marked as unsafe. Set confirm_run_unsafe_code=True"
    )
    with pytest.raises(SystemExit) as ended:
        hook(ValueError, error, None)
    assert ended.value.code == 2 and "--confirm_run_unsafe_code" in capsys.readouterr().err
