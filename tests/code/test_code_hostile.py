"""Hostile programs: none passes, none reaches out, none lasts, at every level and for every kind of user.

The programs are in ``hostile/``, one property each. Where a probe can show, without a jail and without harm, that it
works, it has to (``test_probe_works_without_a_jail``): so a refusal is the jail's doing, not the probe's.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hostile import damage, exhaustion, fakes, hangs, harness, network, secrets, traps
from hostile.harness import REPOSITORY, Harness, Victim, by_this_user, plant, shared_folder, snapshot
from hostile.program import ADD_TESTS, NEVER, RIGHT, WRONG, Program

from pkt_eval.code import Verdict, judge

jail = harness.jail
_own_store = harness.no_store

Verdicts = dict[str, Verdict]


def by_name(programs: list[Program]):
    """A parameter ``program``; names are unique within a category."""
    assert len({program.name for program in programs}) == len(programs)
    return pytest.mark.parametrize("program", programs, ids=lambda program: program.name)


def assert_in_order(program: Program, verdict: Verdict) -> None:
    """The status is one that the program may have, and what is said of it has a bounded length."""
    if program.statuses:
        assert verdict.status in program.statuses, verdict
    else:
        assert verdict.status not in NEVER, verdict
    assert verdict.passed == (verdict.status == "passed")
    assert len(verdict.message) <= 2000 and len(verdict.output) <= 64 * 1024


def once(function: Callable[[Harness], Iterator]) -> Callable:
    """A module fixture: what the function yields for a jail, computed once for all tests of a category."""

    @pytest.fixture(scope="module", name=function.__name__)
    def fixture(jail):
        with contextmanager(function)(jail) as result:
            yield result

    return fixture


def judge_all(jail: Harness, programs: list[Program], plants: dict | None = None, **limits) -> Verdicts:
    jobs = [program.job(**(plants or {})) for program in programs]
    return dict(zip([program.name for program in programs], jail.judge(jobs, **limits), strict=True))


def neighbours(jail: Harness, jobs: list[tuple[str, str]], *, every: int = 1, **options) -> list[Verdict]:
    """The verdicts of jobs, between ``every`` so many of which a right and a wrong program are judged, rightly."""
    batch, places, checks = [], [], []
    for i, job in enumerate(jobs):
        places.append(len(batch))
        batch.append(job)
        if i % every == every - 1:
            checks.append((len(batch), job[0]))
            batch += [(f"{RIGHT}# {i}", ADD_TESTS), (f"{WRONG}# {i}", ADD_TESTS)]
    verdicts = jail.judge(batch, **options)
    for place, before in checks:
        right, wrong = verdicts[place : place + 2]
        assert right.passed, f"a right program after {before[:200]!r}: {right}"
        assert wrong.status == "failed", f"a wrong program after {before[:200]!r}: {wrong}"
    return [verdicts[place] for place in places]


# --- fake passes


@once
def fake_verdicts(jail):
    programs = fakes.PROGRAMS
    jobs = [program.job() for program in programs]
    verdicts = neighbours(jail, jobs, every=5, cpu_seconds=1, wall_seconds=2)
    yield {program.name: verdict for program, verdict in zip(programs, verdicts, strict=True)}


@by_this_user
@by_name(fakes.PROGRAMS)
def test_fake_does_not_pass(program, fake_verdicts):
    assert_in_order(program, fake_verdicts[program.name])


@by_this_user
def test_right_program_passes_the_tests_of_the_fakes(jail):
    """The fakes fail for what they are: a right program passes each of the tests that they are judged by."""
    tests = sorted({program.tests for program in fakes.PROGRAMS})
    assert len(tests) > 20
    for text, verdict in zip(tests, jail.judge([(RIGHT, text) for text in tests]), strict=True):
        assert verdict.passed, (text, verdict)


def test_forged_replies_arrive(jail):
    """The forgeries of ``fakes.WIRE`` do reach the tests: sent the same way, right values are values like others."""
    (verdict,) = jail.judge([(fakes.WIRE_SOURCE + fakes.HONEST, ADD_TESTS)])
    assert verdict.passed, verdict


# --- hangs


@once
def hang_verdicts(jail):
    start = time.monotonic()
    yield judge_all(jail, hangs.PROGRAMS, workers=6, **hangs.LIMITS), time.monotonic() - start


@by_this_user
@by_name(hangs.PROGRAMS)
def test_hang_is_ended(program, hang_verdicts):
    verdict = hang_verdicts[0][program.name]
    assert_in_order(program, verdict)
    assert verdict.cpu_seconds < 3


@by_this_user
def test_hangs_end_in_bounded_time(hang_verdicts):
    """A second or so each, on a machine that may be several times as slow."""
    verdicts, took = hang_verdicts
    assert took < 90 and all(verdict.wall_seconds < 20 for verdict in verdicts.values())
    assert all(verdicts[program.name].wall_seconds < 5 for program in hangs.IDLE)


# --- exhaustion


@once
def exhaustion_verdicts(jail):
    mark = f"pkt-hostile-{os.urandom(8).hex()}"
    memory = exhaustion.MEMORY_MB
    verdicts = judge_all(jail, exhaustion.PROGRAMS, {"MARK": mark}, cpu_seconds=1, wall_seconds=3, memory_mb=memory)
    growth = jail.growth_mb
    places = {Path(place) for place in (*exhaustion.PLACES, "/tmp", jail.home, Path.home())}
    left = [path for place in places if place.is_dir() for path in place.glob(f"{mark}*")]
    for path in left:
        path.unlink()
    yield verdicts, growth, left


@by_name(exhaustion.PROGRAMS)
def test_exhaustion_is_bounded(program, exhaustion_verdicts):
    assert_in_order(program, exhaustion_verdicts[0][program.name])


def test_exhaustion_leaves_no_file(exhaustion_verdicts):
    assert exhaustion_verdicts[2] == []


def test_exhaustion_does_not_grow_the_harness(exhaustion_verdicts):
    assert exhaustion_verdicts[1] < 150


def test_peak_memory_is_within_the_limit(exhaustion_verdicts):
    for name, verdict in exhaustion_verdicts[0].items():
        assert verdict.peak_memory_mb is None or verdict.peak_memory_mb < 1.2 * exhaustion.MEMORY_MB, name


@once
def flood_verdicts(jail):
    yield judge_all(jail, exhaustion.FLOODS, cpu_seconds=2, wall_seconds=4), jail.growth_mb


@by_this_user
@by_name(exhaustion.FLOODS)
def test_flood_is_ended(program, flood_verdicts):
    assert_in_order(program, flood_verdicts[0][program.name])


@by_this_user
def test_floods_do_not_grow_the_harness(flood_verdicts):
    assert flood_verdicts[1] < 100


def test_system_v_objects_do_not_stay(jail):
    """Neither segments nor queues nor semaphores, from all of this module's programs that try."""
    before = {name: Path(f"/proc/sysvipc/{name}").read_text().count("\n") for name in ("shm", "msg", "sem")}
    programs = [p for p in damage.SYSCALLS if "get" in p.name] + [
        Program(
            "left",
            "import ctypes\nlibc = ctypes.CDLL(None)\n"
            "libc.shmget(0, 4096, 0o1600); libc.msgget(0, 0o1600); libc.semget(0, 1, 0o1600)",
        )
    ]
    judge_all(jail, programs)
    after = {name: Path(f"/proc/sysvipc/{name}").read_text().count("\n") for name in ("shm", "msg", "sem")}
    assert after == before


@pytest.fixture(scope="module")
def no_fork(jail):
    """Bombs are thrown only where one fork was seen to be refused."""
    source = "import os\ndef f():\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    return pid > 0"
    (verdict,) = jail.judge([(source, "assert f()")])
    if verdict.status in NEVER:
        pytest.fail(f"a fork was not refused, so bombs are not tried: {verdict}")


@by_name(exhaustion.BOMBS)
def test_bomb_makes_no_process(program, jail, no_fork):
    (verdict,) = jail.judge([program.job()], wall_seconds=4)
    assert_in_order(program, verdict)
    children = [line for line in processes() if line[1] == jail.pid]
    assert len(children) < 60


def processes() -> list[tuple[int, int]]:
    """Number and parent of each process of the machine that has not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found.append((int(path.parent.name), int(parent)))
        except (OSError, ValueError):
            continue
    return found


# --- secrets


@contextmanager
def planted_secrets(jail: Harness) -> Iterator[dict]:
    """What the programs look for, and the names that they are told."""
    with ExitStack() as stack:
        folder = stack.enter_context(shared_folder())
        victim = stack.enter_context(Victim(jail))
        old = dict(os.environ)
        os.environ["PKT_HOSTILE_SECRET"] = jail.secret
        stack.callback(lambda: (os.environ.clear(), os.environ.update(old)))
        files = [folder / "secret", folder / "secret.moved", jail.home / f".pkt-hostile-{os.getpid()}"]
        places = [folder, jail.home, Path("/dev/shm"), Path("/var/tmp")]
        files += [place / f"{jail.secret}" for place in places if place.is_dir()]
        for path in files:
            path.write_text(f"{jail.secret} = 1\n[{jail.secret}]\n")
            path.chmod(0o644)
            os.chown(path, jail.uid, jail.gid)
            stack.callback(path.unlink, missing_ok=True)
        yield {
            "SECRET_FILE": str(files[0]),
            "HOME_FILE": str(files[2]),
            "VICTIM": victim.pid,
            "PLACES": [str(place) for place in places],
        }


def secret_tests(secret: str) -> str:
    """Pass if the secret was found; they do not contain it themselves."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return f"import hashlib\nassert any(hashlib.sha256(f.encode()).hexdigest() == {digest!r} for f in look())\n"


@once
def secret_verdicts(jail):
    with planted_secrets(jail) as plants:
        jobs = [(program.job(**plants)[0], secret_tests(jail.secret)) for program in secrets.PROGRAMS]
        verdicts = jail.judge(jobs)
        assert Path(plants["SECRET_FILE"] + ".moved").exists()
    yield {program.name: verdict for program, verdict in zip(secrets.PROGRAMS, verdicts, strict=True)}


@by_name(secrets.PROGRAMS)
def test_secret_is_not_found(program, secret_verdicts, jail):
    verdict = secret_verdicts[program.name]
    assert_in_order(program, verdict)
    assert jail.secret not in verdict.output + verdict.message


@once
def system_verdicts(jail):
    with Victim(jail) as process:
        plants = {"HARNESS": jail.pid, "VICTIM": process.pid, "REPOSITORY": str(REPOSITORY)}
        yield judge_all(jail, secrets.SYSTEM, plants)


@by_name(secrets.SYSTEM)
def test_system_is_not_readable(program, system_verdicts):
    assert_in_order(program, system_verdicts[program.name])


# --- network


@contextmanager
def listeners() -> Iterator[tuple[dict, Callable[[], list[str]]]]:
    """The names that programs are told, and a function that says where anything has come in."""
    with ExitStack() as stack:
        folder = stack.enter_context(shared_folder())
        abstract = f"\0pkt-hostile-{os.urandom(8).hex()}"
        addresses = {
            "TCP": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "TCP6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            "UDP": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "STREAM": (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "stream")),
            "DATAGRAM": (socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagram")),
            "ABSTRACT": (socket.AF_UNIX, socket.SOCK_STREAM, abstract),
            "ABSTRACT_DATAGRAM": (socket.AF_UNIX, socket.SOCK_DGRAM, f"{abstract}-datagram"),
        }
        names, sockets = {}, {}
        for name, (family, kind, address) in addresses.items():
            listener = stack.enter_context(socket.socket(family, kind))
            try:
                listener.bind(address)
            except OSError:  # a machine without IPv6
                names[name] = 9
                continue
            listener.setblocking(False)
            if kind == socket.SOCK_STREAM:
                listener.listen(64)
            if family == socket.AF_UNIX and not address.startswith("\0"):
                os.chmod(address, 0o777)
            names[name] = address if family == socket.AF_UNIX else listener.getsockname()[1]
            sockets[name] = listener

        def came() -> list[str]:
            found = []
            for name, listener in sockets.items():
                try:
                    if listener.type == socket.SOCK_STREAM:
                        listener.accept()[0].close()
                    else:
                        listener.recv(100)
                    found.append(name)
                except BlockingIOError:
                    pass
            return found

        yield names, came


@once
def network_verdicts(jail):
    with listeners() as (names, came):
        verdicts = judge_all(jail, network.PROGRAMS, names)
        time.sleep(0.1)
        yield verdicts, came()


@by_name(network.PROGRAMS)
def test_network_is_not_reached(program, network_verdicts):
    assert_in_order(program, network_verdicts[0][program.name])


def test_nothing_arrives(network_verdicts):
    assert network_verdicts[1] == []


# --- damage


HARM = damage.FILES + damage.DAEMONS


@contextmanager
def harmed(
    jail: Harness, programs: list[Program], *, patience: float = 0
) -> Iterator[tuple[Verdicts, dict[str, bool]]]:
    """Verdicts, and whether anything has changed in the folder that a program was shown, some time later.

    That is a second, and then as long as something may still have to change (``patience``).
    """
    with shared_folder() as base, Victim(jail) as victim:
        folders = {program.name: plant(base / str(i) / "outside", jail) for i, program in enumerate(programs)}
        before = {name: snapshot(folder) for name, folder in folders.items()}
        plants = {"VICTIM": victim.pid, "HARNESS": jail.pid}
        jobs = [program.job(OUTSIDE=folders[program.name], **plants) for program in programs]
        verdicts = dict(zip(folders, jail.judge(jobs), strict=True))
        deadline = time.monotonic() + 1 + patience
        time.sleep(1)
        while True:
            changed = {name: snapshot(folder) != before[name] for name, folder in folders.items()}
            if all(changed.values()) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        yield verdicts, changed


@once
def damage_verdicts(jail):
    with harmed(jail, HARM) as result:
        yield result


@by_name(HARM)
def test_nothing_outside_is_changed(program, damage_verdicts):
    verdicts, changed = damage_verdicts
    assert_in_order(program, verdicts[program.name])
    assert not changed[program.name], verdicts[program.name]


def interfered(jail: Harness, program: Program, victim: Victim) -> tuple[Verdict, bool]:
    """The verdict, and whether the victim is another than before."""
    before = victim.state()
    plants = {"VICTIM": victim.pid, "HARNESS": jail.pid, "GROUP": os.getpgid(victim.pid)}
    (verdict,) = jail.judge([program.job(**plants)], workers=1)
    return verdict, victim.state() != before


@once
def victim(jail):
    with Victim(jail) as process:
        yield process


@by_name(damage.VICTIMS)
def test_other_process_is_left_alone(program, jail, victim):
    verdict, changed = interfered(jail, program, victim)
    assert_in_order(program, verdict)
    assert not changed, verdict


@by_name(damage.ALL_GENTLE)
def test_gentle_signal_reaches_nobody(program, jail, victim):
    """SIGWINCH, which is ignored by whoever does not wait for it: a jail that lets it out harms nobody here."""
    verdict, changed = interfered(jail, program, victim)
    assert not changed, verdict
    assert verdict.status != "passed"


@pytest.fixture(scope="module")
def confined(jail):
    """Deadly signals are sent only where gentle ones, by the same calls, reached nobody."""
    received = []
    old = signal.signal(signal.SIGWINCH, lambda *_: received.append(1))
    try:
        with Victim(jail) as process:
            reached = [p.name for p in damage.ALL_GENTLE if interfered(jail, p, process)[1]]
    finally:
        signal.signal(signal.SIGWINCH, old)
    if reached or received:
        pytest.fail(f"deadly signals are not tried, since gentle ones got out: {reached or 'to the harness'}")


@by_name(damage.ALL_DEADLY)
def test_deadly_signal_reaches_nobody(program, jail, victim, confined):
    verdict, changed = interfered(jail, program, victim)
    assert not changed
    assert_in_order(program, verdict)
    right, wrong = jail.judge([(RIGHT, ADD_TESTS), (WRONG, ADD_TESTS)])
    assert right.passed and wrong.status == "failed"


@once
def syscall_verdicts(jail):
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    yield judge_all(jail, damage.SYSCALLS)


@by_name(damage.SYSCALLS)
def test_system_call_is_refused(program, syscall_verdicts):
    assert_in_order(program, syscall_verdicts[program.name])


@once
def setting_verdicts(jail):
    yield judge_all(jail, damage.SETTINGS)


@by_name(damage.SETTINGS)
def test_right_is_not_held(program, setting_verdicts):
    assert_in_order(program, setting_verdicts[program.name])


@pytest.fixture(scope="module")
def interpreter_files(jail) -> list[str]:
    """Two of the interpreter's own files, which it has to show."""
    command = [jail.python, "-c", "import json, os; print(os.__file__, json.decoder.__file__, sep='\\n')"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return names[:2]


@by_name(damage.INTERPRETER)
def test_interpreter_is_not_changed(program, jail, interpreter_files):
    def looks() -> list:
        return [
            (s.st_mode, s.st_uid, s.st_mtime_ns, s.st_ctime_ns, s.st_nlink) for s in map(os.stat, interpreter_files)
        ]

    before = looks()
    (verdict,) = jail.judge([program.job(FILES=interpreter_files)])
    beside = Path(interpreter_files[0]).with_name("pkt_hostile.py")
    there = beside.exists()
    beside.unlink(missing_ok=True)
    assert not there and looks() == before and "opened" not in verdict.output
    assert_in_order(program, verdict)


# --- persistence


PROBE = (traps.PROBE, "assert probe()")


@once
def leftover_verdicts(jail):
    """Each program, then a right one, a wrong one and the probe, all by one worker."""
    mark = os.urandom(8).hex()
    names = {"MARK": mark, "UNSTABLE": []}
    probe = Program("probe", *PROBE)
    jobs = [(probe.job(**names)[0] + f"# {i}", probe.tests) for i in range(2)]
    for i, program in enumerate(traps.LEFTOVERS):
        jobs += [program.job(**names), (f"{RIGHT}# {i}", ADD_TESTS), (f"{WRONG}# {i}", ADD_TESTS)]
        jobs.append((f"{probe.job(**names)[0]}# after {i}", probe.tests))
    verdicts = jail.judge(jobs, workers=1, cpu_seconds=1, wall_seconds=1.5, memory_mb=192)
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run"):
        for path in Path(folder).glob(f"evil-{mark}"):
            path.unlink()
    fresh, groups = verdicts[:2], [verdicts[i : i + 4] for i in range(2, len(verdicts), 4)]
    assert fresh[0].passed and json.loads(fresh[0].output) == json.loads(fresh[1].output)
    yield fresh[0], dict(zip([program.name for program in traps.LEFTOVERS], groups, strict=True))


@by_this_user
@by_name(traps.LEFTOVERS)
def test_program_leaves_nothing_to_the_next(program, leftover_verdicts):
    fresh, groups = leftover_verdicts
    mine, right, wrong, probe = groups[program.name]
    assert mine.status not in NEVER, mine
    assert right.passed, right
    assert wrong.status == "failed", wrong
    assert probe.passed, probe
    found, expected = json.loads(probe.output), json.loads(fresh.output)
    assert {k: (found[k], expected[k]) for k in expected if found[k] != expected[k]} == {}


def test_jail_outlives_the_thread_that_started_it(jail):
    """The kernel ends a jail with its thread, which is why the harness has to keep that."""
    found = []
    for i in range(3):
        job = [(f"{RIGHT}# thread {i}", ADD_TESTS)]
        thread = threading.Thread(target=lambda job=job: found.append(judge(*job[0], level=jail.level)))
        thread.start()
        thread.join(60)
    found.append(judge(f"{RIGHT}# main", ADD_TESTS, level=jail.level))
    assert [verdict.status for verdict in found] == ["passed"] * 4


@pytest.mark.parametrize("level", (*harness.JAILS, "none"))
def test_killed_harness_leaves_no_process(level, tmp_path):
    """Not even one that ignores signals and is in a session of its own."""
    source = "import os, signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n"
    source += "try: os.setsid()\nexcept OSError: pass\nwhile True: time.sleep(600)"
    command, options = ours(tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            for jobs in ([[RIGHT, ADD_TESTS]], [[f"{source}# {i}", ADD_TESTS] for i in range(3)]):
                process.stdin.write(json.dumps({"jobs": jobs, "level": level, "workers": 2, "limits": {}}) + "\n")
                process.stdin.flush()
                if len(jobs) == 1 and "missing" in (answer := json.loads(process.stdout.readline())):
                    pytest.skip(answer["missing"])
            time.sleep(1.5)
            below = descendants(process.pid)
        finally:
            process.kill()
    assert len(below) >= 4
    deadline = time.monotonic() + 10
    while (left := below & {pid for pid, _ in processes()}) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == set()


def descendants(pid: int) -> set[int]:
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in processes() if parent in new} - found
        found |= new
    return found


def ours(scratch: Path) -> tuple[list[str], dict]:
    """A process of this user's that judges, as a command and options of subprocess, and its temporary folder."""
    path = f"{REPOSITORY}:{Path(__file__).parent}"
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(scratch)}
    return [sys.executable, "-m", "hostile.as_user"], {"env": environment}


# --- clean-up


@once
def trap_verdicts(jail):
    with shared_folder() as base:
        outside = plant(base / "outside", jail)
        before = snapshot(outside)
        verdicts = neighbours(jail, [p.job(OUTSIDE=outside) for p in traps.TRAPS], workers=1)
        names = [program.name for program in traps.TRAPS]
        yield dict(zip(names, verdicts, strict=True)), before == snapshot(outside)


@by_name(traps.TRAPS)
def test_trap_does_not_stop_the_next_program(program, trap_verdicts):
    assert_in_order(program, trap_verdicts[0][program.name])


def test_cleaning_touches_nothing_outside(trap_verdicts):
    assert trap_verdicts[1]


@pytest.mark.parametrize("level", (*harness.JAILS, "none"))
def test_cleaning_leaves_no_folder(level, tmp_path):
    """A process that judges the traps, with a folder for temporary files of its own, leaves that empty."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    outside = plant(tmp_path / "outside", Harness(level))
    before = snapshot(outside)
    # Without a jail, root could really make it immutable.
    traps_here = [p for p in traps.TRAPS if level != "none" or p.name != "immutable"]
    batch = {"jobs": [p.job(OUTSIDE=outside) for p in traps_here], "level": level, "workers": 1, "limits": {}}
    command, options = ours(scratch)
    ended = subprocess.run(command, input=json.dumps(batch), capture_output=True, text=True, timeout=120, **options)
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    if "missing" in answer:
        pytest.skip(answer["missing"])
    if level != "landlock+seccomp":  # where nothing can be written
        passed = sum(verdict["passed"] for verdict in answer["verdicts"])
        assert passed > len(traps_here) / 2
    # One trap renames its scratch folder, which without a jail it can.
    assert [path for path in scratch.iterdir() if level != "none" or path.suffix != ".old"] == []
    assert snapshot(outside) == before


@once
def refused_verdicts(jail):
    yield judge_all(jail, traps.REFUSED + traps.NOT_REFUSED)


@by_name(traps.REFUSED + traps.NOT_REFUSED)
def test_refusal_is_said(program, refused_verdicts):
    assert_in_order(program, refused_verdicts[program.name])


# --- the probes themselves, at level "none": only what harms nothing but what was planted


@pytest.fixture(scope="module")
def open_air() -> Harness:
    return Harness("none")


def provable(programs: list[Program]) -> list[Program]:
    return [program for program in programs if program.provable]


def assert_provable(programs: list[Program], proven: Callable[[str], bool], verdicts: Verdicts) -> None:
    """Each program got through, but for those that use what the kernel may have been built or set up without."""
    optional = ("io_uring", "32-bit")
    failed = [p.name for p in programs if not proven(p.name) and not any(word in p.name for word in optional)]
    assert failed == [], {name: (verdicts[name].message, verdicts[name].output) for name in failed}


def test_no_deadly_program_runs_without_a_jail():
    assert provable(damage.ALL_DEADLY + damage.ALL_GENTLE + damage.INTERPRETER) == []


def test_probe_works_without_a_jail_secrets(open_air):
    programs = provable(secrets.PROGRAMS)
    with planted_secrets(open_air) as plants:
        jobs = [(program.job(**plants)[0], secret_tests(open_air.secret)) for program in programs]
        verdicts = dict(zip([p.name for p in programs], open_air.judge(jobs, memory_mb=512), strict=True))
    assert_provable(programs, lambda name: verdicts[name].passed, verdicts)
    assert sum(open_air.secret in verdict.output for verdict in verdicts.values()) > 15


def test_probe_works_without_a_jail_network(open_air):
    programs = provable(network.PROGRAMS)
    with listeners() as (names, came):
        if names["TCP6"] == 9:
            programs = [program for program in programs if "IPv6" not in program.name]
        verdicts = judge_all(open_air, programs, names)
        assert_provable(programs, lambda name: verdicts[name].passed, verdicts)
        assert len(came()) == 7 - (names["TCP6"] == 9)
    assert len(programs) > 25


def test_probe_works_without_a_jail_damage(open_air):
    programs = provable(HARM)
    with harmed(open_air, programs, patience=10) as (verdicts, changed):
        assert_provable(programs, changed.__getitem__, verdicts)
    assert len(programs) > 50


@by_name(provable(damage.VICTIMS))
def test_probe_works_without_a_jail_victim(program, open_air):
    with Victim(open_air) as process:
        verdict, changed = interfered(open_air, program, process)
        assert changed, verdict


def test_probe_works_without_a_jail_exhaustion(open_air):
    programs = provable(exhaustion.PROGRAMS + exhaustion.BOMBS)
    verdicts = judge_all(open_air, programs, workers=1, wall_seconds=30)
    assert_provable(programs, lambda name: verdicts[name].passed, verdicts)
    assert len(programs) >= 4


def test_probe_works_without_a_jail_system_calls(open_air):
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    programs = provable(damage.SYSCALLS + damage.SETTINGS)
    verdicts = judge_all(open_air, programs)
    assert_provable(programs, lambda name: verdicts[name].passed, verdicts)


def test_probe_sees_what_a_program_of_the_same_process_left(open_air):
    unstable = {"UNSTABLE": ["/", "/tmp", "/dev/shm", "/var/tmp", "/run"], "MARK": "mark"}
    programs = provable(traps.LEFTOVERS)
    probe = Program("probe", *PROBE)
    alone, *both = open_air.judge(
        [
            probe.job(**unstable),
            *((program.job(**unstable)[0] + probe.candidate, probe.tests) for program in programs),
        ],
        wall_seconds=3,
    )
    blind = []
    for program, verdict in zip(programs, both, strict=True):
        key = program.limits["key"]
        try:
            if json.loads(verdict.output.splitlines()[-1])[key] == json.loads(alone.output)[key]:
                blind.append(program.name)
        except (ValueError, IndexError):
            pass  # it upset the probe itself
    assert blind == [] and len(programs) > 20


def test_folder_for_plants_goes():
    with shared_folder() as folder:
        (folder / "shut").mkdir(mode=0)
    assert not folder.exists()
