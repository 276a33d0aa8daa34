"""Verdicts: the end of the tests is the only pass, limits end what exceeds them, nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pkt_eval.code import Limits, Verdict, judge, judge_many, pass_at_k
from pkt_eval.code.process import remove_tree, run_process
from pkt_eval.errors import ConfigError, PrerequisiteError

ADD = "def add(a, b):\n    return a + b\n"
ADD_TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\n"
SHORT = Limits(cpu_seconds=1, wall_seconds=30)


def test_right_program_passes():
    verdict = judge(ADD, ADD_TESTS)
    assert verdict.passed and verdict.status == "passed" and verdict.message == "" and verdict.output == ""
    assert 0 < verdict.cpu_seconds < 5 and verdict.wall_seconds > 0
    assert 3 < verdict.peak_memory_mb < 200  # of the child: not of this process, whose size Linux would hand on


def test_wrong_program_fails_with_the_assertion():
    verdict = judge(ADD.replace("+", "-"), ADD_TESTS)
    assert not verdict.passed and verdict.status == "failed"
    assert verdict.message == "AssertionError: assert add(1, 2) == 3"


@pytest.mark.parametrize(
    ("candidate", "tests", "message"),
    [
        ("def add(a, b) return a", ADD_TESTS, "SyntaxError"),
        ("", ADD_TESTS, "NameError: name 'add' is not defined"),
        ("1 / 0", ADD_TESTS, "ZeroDivisionError: division by zero"),
        ("assert False, 'mine'", ADD_TESTS, "AssertionError: mine"),
        ("def add(a, b):\n    return add(a, b)", ADD_TESTS, "RecursionError"),
        (ADD, "assert add(", "SyntaxError"),
        ("(" * 5000, ADD_TESTS, "SyntaxError"),
        ("x = '\0'", ADD_TESTS, "null bytes"),
        ("x = '\udc80'", ADD_TESTS + "1 / 0", ""),
        ("input()", ADD_TESTS, "EOFError"),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E", ADD_TESTS, "E: <its message"),
    ],
)
def test_exceptions_are_errors(candidate, tests, message):
    verdict = judge(candidate, tests)
    assert not verdict.passed and verdict.status == "error" and message in verdict.message


@pytest.mark.parametrize(
    "candidate",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "exit()",
        "def add(a, b):\n    raise SystemExit(0)",
        "def add(a, b):\n    import os\n    os._exit(0)",
        "class Sly:\n    def __eq__(self, other):\n        raise SystemExit(0)\ndef add(a, b):\n    return Sly()",
        "raise KeyboardInterrupt",
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
        "import atexit, os\natexit.register(os._exit, 0)",
        "print('passed'); print('started passed - ')",
        # The report's descriptor is open to it, but not the token.
        "import os\nfor fd in range(3, 20):\n    try:\n        os.write(fd, b'\\n0 passed 1.0 \\n')\n"
        "    except OSError: pass",
        "import os\nfor fd in range(3, 20):\n    try:\n        os.write(fd, b'x' * 60000)\n    except OSError: pass",
        "import os\nos.closerange(0, 100)",
        "import os\nos.fork()",
        "import sys\ndel sys.modules['candidate']\nsys.stdout = None",
        "import os\nos._exit = os.write = os.getpid = print",
        "print(open(0).read())",
    ],
)
def test_nothing_but_the_end_of_the_tests_is_a_pass(candidate):
    """Each of these either ends early or leaves ``add`` undefined."""
    verdict = judge(candidate, ADD_TESTS)
    assert not verdict.passed and verdict.status in ("error", "killed")


def test_exit_in_the_tests_is_not_a_pass():
    for tests in ("import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit"):
        assert judge(ADD, tests).status == "error"


def test_endless_loop_is_a_timeout_in_cpu_time():
    verdict = judge("while True:\n    pass", "", limits=SHORT)
    assert verdict.status == "timeout" and "CPU" in verdict.message and verdict.cpu_seconds < 2


def test_cpu_limit_cannot_be_caught_or_raised():
    program = (
        "import resource, signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "try:\n    resource.setrlimit(resource.RLIMIT_CPU, (100, 100))\nexcept Exception: pass\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass\n"
    )
    verdict = judge(program, "", limits=SHORT)
    assert verdict.status == "timeout" and verdict.cpu_seconds < 3


def test_sleeper_is_a_timeout_on_the_clock():
    start = time.monotonic()
    verdict = judge("import time\ntime.sleep(1000)", "", limits=Limits(wall_seconds=0.5))
    assert verdict.status == "timeout" and "clock" in verdict.message and verdict.cpu_seconds < 1
    assert time.monotonic() - start < 5


def test_closed_pipes_do_not_hide_a_sleeper():
    program = "import os, time\nos.closerange(0, 100)\ntime.sleep(1000)"
    assert judge(program, "", limits=Limits(wall_seconds=0.5)).status == "timeout"


@pytest.mark.parametrize(
    "program",
    [
        "x = 'x' * (4 << 30)",
        "x = []\nwhile True:\n    x.append(bytearray(50 << 20))",
        "x = [0]\nwhile True:\n    x += x",
    ],
)
def test_memory_bomb_is_out_of_memory(program):
    verdict = judge(program, "", limits=Limits(memory_mb=128))
    assert verdict.status == "memory" and "MemoryError" in verdict.message


def test_two_hundred_megabytes_are_allowed():
    verdict = judge("x = b'x' * (200 << 20)", "assert len(x)")
    assert verdict.passed and verdict.peak_memory_mb > 200


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_flood_is_ended(stream):
    verdict = judge(f"import sys\nwhile True:\n    print('x' * 10000, file=sys.{stream})", "")
    assert verdict.status == "output" and verdict.output == ("x" * 10000 + "\n") * 6 + "x" * 5530


def test_output_over_the_limit_is_never_a_pass():
    assert judge("print('x' * 99)", "", limits=Limits(output_bytes=100)).passed
    assert judge("print('x' * 100)", "", limits=Limits(output_bytes=100)).status == "output"


def test_output_is_kept():
    verdict = judge("import sys\nprint('é')\nprint('two', file=sys.stderr)", "")
    assert verdict.passed and sorted(verdict.output.split()) == ["two", "é"]


def test_large_file_is_refused():
    verdict = judge("open('big', 'wb').write(bytes(3 << 20))", "", limits=Limits(file_mb=1))
    assert verdict.status == "error" and "too large" in verdict.message


def test_crash_is_killed():
    verdict = judge("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "")
    assert verdict.status == "killed" and "SIGSEGV" in verdict.message


def test_child_that_holds_the_pipes_neither_hangs_nor_lives_on():
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)"
    )
    start = time.monotonic()
    verdict = judge(program, "")
    assert verdict.passed and time.monotonic() - start < 10
    assert is_gone(int(verdict.output))


def test_threads_and_temporary_files_work_and_nothing_is_left():
    program = (
        "import os, tempfile, threading, time\n"
        "threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start()\n"  # not waited for
        "open('here', 'w').write('x'); tempfile.mkstemp(); tempfile.mkdtemp()\n"
        "print(os.getcwd())"
    )
    verdict = judge(program, "")
    assert verdict.passed
    folder = verdict.output.strip()
    assert folder != os.getcwd() and not os.path.exists(folder)


def test_scratch_folder_goes_whatever_is_in_it(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    program = (
        "import os\nprint(os.getcwd())\n"
        f"os.symlink({str(outside)!r}, 'link')\n"
        "os.mkdir('shut'); open('shut/f', 'w').close(); os.chmod('shut', 0)\n"
        "for _ in range(1200):\n    os.mkdir('d'); os.chdir('d')\n"
        "os.chmod('.', 0)"
    )
    verdict = judge(program, "")
    assert verdict.passed, verdict
    assert not os.path.exists(verdict.output.strip()) and (outside / "kept").exists()
    remove_tree(verdict.output.strip())  # gone already: no error


def test_environment_is_not_the_users(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    verdict = judge("import os, sys\nprint(sorted(os.environ), sys.path, sys.argv)", "")
    assert verdict.passed and "HF_TOKEN" not in verdict.output and "nowhere" not in verdict.output
    assert "pkt_eval/code" not in verdict.output  # our own folder is not on its path


def test_order_of_sets_is_the_same_every_time():
    program = "print(list({str(i) for i in range(50)}))"
    assert judge(program, "").output == judge(program, "").output


def test_module_is_no_script_but_has_a_home():
    program = (
        "from __future__ import annotations\nimport pickle\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\n"
        'if __name__ == "__main__":\n    raise SystemExit\n'
    )
    assert judge(program, "assert pickle.loads(pickle.dumps(P(1))) == P(1)").passed


def test_limits_that_cannot_be_set_are_infrastructure():
    """The program is not blamed, and does not run."""
    verdict = judge("print('ran')", "", limits=Limits(memory_mb=1 << 50))
    assert not verdict.passed and verdict.status == "infrastructure" and verdict.output == ""
    assert "limits cannot be set" in verdict.message


def test_interpreter_that_does_not_start_is_infrastructure(monkeypatch):
    for command in (["/nonexistent"], [sys.executable, "-c", "print('no'); raise SystemExit(3)"]):
        monkeypatch.setattr("pkt_eval.code.verdict.COMMAND", command)
        assert judge(ADD, ADD_TESTS).status == "infrastructure"


def test_infrastructure_is_tried_twice(monkeypatch):
    runs = []

    def fail_once(*arguments, **options):
        runs.append(1)
        if len(runs) == 1:
            raise OSError("no more processes")
        return run_process(*arguments, **options)

    monkeypatch.setattr("pkt_eval.code.verdict.run_process", fail_once)
    assert judge(ADD, ADD_TESTS).passed and len(runs) == 2


def test_platform_without_limits_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    for ask in (lambda: judge(ADD, ADD_TESTS), lambda: judge_many([(ADD, ADD_TESTS)])):
        with pytest.raises(PrerequisiteError, match="resource limits"):
            ask()


def test_no_descriptor_is_left_open():
    judge(ADD, ADD_TESTS)
    before = len(os.listdir("/proc/self/fd"))
    for limits in (Limits(), Limits(wall_seconds=0.001), Limits(output_bytes=1)):
        judge("print(12345)", "", limits=limits)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_keep_their_order_and_count(capsys):
    jobs = [(f"x = {i}", f"assert x % 3 == {i % 2}") for i in range(12)]
    verdicts = judge_many(jobs, workers=3, progress=True)
    assert [v.passed for v in verdicts] == [i % 3 == i % 2 for i in range(12)]
    assert "12/12" in capsys.readouterr().err
    assert judge_many([]) == []
    assert pass_at_k(12, sum(v.passed for v in verdicts), 1) == pytest.approx(1 / 3)


def test_interrupt_leaves_no_process():
    with tempfile.TemporaryDirectory() as folder:
        note = f"import os, time\nopen({folder!r} + f'/{{os.getpid()}}', 'w').close()\ntime.sleep(600)"
        script = f"from pkt_eval.code import judge_many\njudge_many([({note!r}, '')] * 6, workers=2)"
        harness = subprocess.Popen(
            [sys.executable, "-c", script], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 30
        while len(os.listdir(folder)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        harness.send_signal(signal.SIGINT)
        _, error = harness.communicate(timeout=30)
        pids = [int(name) for name in os.listdir(folder)]
    assert "KeyboardInterrupt" in error and harness.returncode != 0
    assert len(pids) == 2 and all(is_gone(pid) for pid in pids)


def test_verdict_is_json():
    verdict = judge(ADD, ADD_TESTS)
    assert Verdict(**json.loads(json.dumps(verdict.to_dict()))) == verdict


@pytest.mark.parametrize("options", [{"cpu_seconds": 0}, {"memory_mb": -1}, {"output_bytes": 1.5}, {"wall_seconds": 0}])
def test_bad_limits_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Limits(**options)


def test_wall_limit_follows_the_cpu_limit():
    assert Limits().wall_seconds == 35 and Limits(cpu_seconds=1).wall_seconds == 8


def test_bad_number_of_workers_is_named():
    with pytest.raises(ConfigError, match="worker"):
        judge_many([(ADD, ADD_TESTS)], workers=0)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a moment is left to whoever reaps it."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
