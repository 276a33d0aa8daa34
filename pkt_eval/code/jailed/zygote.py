"""The zygote: the jail's first process, which forks a child for every program and watches it to its end.

It is started once, with the modules that programs use most already loaded, so that a program costs a fork and not the
start of an interpreter. It runs no line of a program itself. Orders come over a socket whose number is its argument;
with each comes what the child's descriptors are to be.
"""

import ctypes
import gc
import importlib
import json
import marshal
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import candidate as candidate_module
import inproc
import landlock
import seccomp
import tester as tester_module

# What answers import most: each is then there at no cost.
PRELOADED = (
    *("bisect", "cmath", "collections", "copy", "datetime", "decimal", "enum", "fractions", "functools", "hashlib"),
    *("heapq", "inspect", "io", "itertools", "math", "numbers", "operator", "random", "re", "statistics", "string"),
    *("textwrap", "typing"),
)
OPEN_FILES = 64
MOST_FILES = 4096
"""In the scratch folder: each takes kernel memory that no limit counts."""
OWN_BYTES = 1 << 30
"""A file system no larger than this was made for us."""
TICK_SECONDS = 0.05
GRACE_SECONDS = 0.05
STARVED = 0.1
"""A program that had this share of the wall time as CPU time was computing, on a machine that had other work."""
PATIENCE = 10
"""Such a program gets up to so many times its wall time."""
Order = dict[str, Any]
"""What the harness wants done: ``do``, the role of the child, its limits, its texts."""
LIBC = ctypes.CDLL(None, use_errno=True)
HEADER = struct.Struct("<I")


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    setup = json.loads(_exactly(control, HEADER.unpack(_exactly(control, HEADER.size))[0]))
    _die_with_parent()
    for name in PRELOADED:
        importlib.import_module(name)
    if setup["landlock"] is not None:
        _drop_capabilities()
        landlock.restrict(**setup["landlock"])
    LIBC.prctl(4, ctypes.c_ulong(0), 0, 0, 0)  # PR_SET_DUMPABLE: nobody attaches or reads its memory
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here]
    for name in ("candidate", "tester", "inproc", "moments", "plain", "forms", "seccomp", "landlock"):
        sys.modules.pop(name, None)  # not for a program to import
    if setup["seccomp"]:
        seccomp.install_filter(seccomp.outer(files=setup["landlock"] is None))
        seccomp.inner(0)  # kept for the children
    gc.collect()
    gc.freeze()
    _answer(control, {"ready": os.getpid()})
    while True:
        order, descriptors = _order(control)
        if order is None:
            return
        if order["do"] == "run":  # an order to end a child may come when it has ended already
            _answer(control, _run(control, order, descriptors, setup))


def _order(control: socket.socket) -> tuple[Order | None, list[int]]:
    """The next order and its descriptors; None where the harness is gone."""
    header, descriptors, _, _ = socket.recv_fds(control, HEADER.size, 4)
    if not header:
        return None, []
    header += _exactly(control, HEADER.size - len(header))
    return marshal.loads(_exactly(control, HEADER.unpack(header)[0])), list(descriptors)


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = control.recv(size - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data


def _answer(control: socket.socket, answer: dict[str, object]) -> None:
    data = json.dumps(answer).encode()
    control.sendall(HEADER.pack(len(data)) + data)


def _run(control: socket.socket, order: Order, descriptors: list[int], setup: dict[str, Any]) -> dict[str, object]:
    start = time.monotonic()
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        _child(control, order, descriptors, setup, say)
    os.close(say)
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        trouble = b""
        while chunk := os.read(ready, 4096):  # to the end: the child closes it when it is behind its limits
            trouble += chunk
        cut = _watch(control, pid, order, start, setup["scratch"])
    finally:
        os.close(ready)
        _kill(pid)
        _, status, usage = os.wait4(pid, 0)
        if setup["alone"]:  # nothing else may live here
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
    return {
        "trouble": None if trouble == b"+" else (trouble[1:].decode("utf-8", "replace") or "its limits were not set"),
        "cut": cut,
        "exit": os.waitstatus_to_exitcode(status),
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - start,
        "peak_mb": usage.ru_maxrss / 1024,
        "dirty": bool(setup["scratch"]) and _dirty(setup["scratch"]),
    }


def _watch(control: socket.socket, pid: int, order: Order, start: float, scratch: str | None) -> str | None:
    """Why the child was ended, or None where it ended of itself."""
    clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    handle = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.register(control, select.POLLIN)
    try:
        while True:
            events = dict(poller.poll(TICK_SECONDS * 1000))
            if handle in events:
                return None
            if control.fileno() in events:
                _order(control)  # the only order that comes now is to end it; an end of file ends us, too
                # One that is ending of itself is to be seen to, with what ended it.
                ending = select.poll()
                ending.register(handle, select.POLLIN)
                return None if ending.poll(GRACE_SECONDS * 1000) else "asked"
            if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None:
                return "stopped"
            if scratch and _files(scratch) > MOST_FILES:
                return "files"
            wall = time.monotonic() - start
            if wall > order["wall_seconds"]:
                try:
                    computing = time.clock_gettime(clock) / wall > STARVED
                except OSError:
                    computing = False
                if not computing or wall > PATIENCE * order["wall_seconds"]:
                    return "timeout"
    finally:
        os.close(handle)


def _kill(pid: int) -> None:
    """The child and, where it could make any, its children."""
    kills: tuple[Callable[[int, int], None], ...] = (os.kill, os.killpg)
    for kill in kills:
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def _files(scratch: str) -> int:
    """Files in the file system of the scratch folder, where that is its own."""
    system = os.statvfs(scratch)
    return system.f_files - system.f_ffree if system.f_blocks * system.f_frsize <= OWN_BYTES else 0


def _dirty(scratch: str) -> bool:
    """Whether anything was left behind, or cannot be looked at: the harness then starts another jail."""
    try:
        os.chdir(scratch)
        return bool(os.listdir("."))
    except OSError:
        return True


def _die_with_parent() -> None:
    LIBC.prctl(1, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG


def _drop_capabilities() -> None:
    """Root without capabilities is an owner of files like others; what may fail here is refused by the filter, too."""
    for capability in range(64):
        LIBC.prctl(24, ctypes.c_ulong(capability), 0, 0, 0)  # PR_CAPBSET_DROP
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    LIBC.capset(header, none)


def _child(control: socket.socket, order: Order, descriptors: list[int], setup: dict[str, Any], say: int) -> None:
    """Put on the limits and do the work; never returns."""
    write, leave, close = os.write, os._exit, os.close
    try:
        try:
            _die_with_parent()
            os.close(control.detach())
            os.setsid()
            channels = _descriptors(order, descriptors, say)
            say = channels.pop("say")
            _limits(order)
            if setup["scratch"]:
                os.chdir(setup["scratch"])
            if setup["seccomp"]:
                seccomp.install_filter(seccomp.inner(os.getpid()))
        except BaseException as error:
            write(say, b"-" + f"{type(error).__name__}: {error}".encode())
            leave(0)
        write(say, b"+")
        close(say)
        _WORK[order["role"]](order, **channels)
    except BaseException:
        pass
    finally:
        leave(0)


def _descriptors(order: Order, given: list[int], say: int) -> dict[str, int]:
    """0 null, 1 and 2 the output, 3 the channel or report, 4 the pipe to the zygote, and no other."""
    null = os.open(os.devnull, os.O_RDWR)
    if order["role"] == "tester":
        channel, report = given
        wanted = [null, null, null, channel, say, report]
    else:
        output, channel = given
        wanted = [null, output, output, channel, say]
    # By way of high numbers, lest one be overwritten before it is copied.
    high = [os.dup2(fd, 200 + i, inheritable=False) for i, fd in enumerate(wanted)]
    for i, fd in enumerate(high):
        os.dup2(fd, i, inheritable=False)
    os.closerange(len(wanted), 1024)
    given_as = {"say": 4, "channel": 3}
    return given_as | ({"report": 5} if order["role"] == "tester" else {})


def _limits(order: Order) -> None:
    """Soft and hard alike, so that the program cannot raise them again.

    CPU time has a second between the two: SIGXCPU tells why it ended, SIGKILL takes one that caught that.
    """
    cpu = order["cpu_seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for kind, value in (
        (resource.RLIMIT_AS, order["memory_bytes"]),
        (resource.RLIMIT_FSIZE, order["file_bytes"]),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _candidate(order: Order, channel: int) -> None:
    candidate_module.serve(socket.socket(fileno=channel), order["candidate"], order["names"])


def _tester(order: Order, channel: int, report: int) -> None:
    end = socket.socket(fileno=channel)
    status, message = tester_module.run_tests(end, order["context"], order["tests"], order["names"])
    os.write(report, json.dumps([status, message[: candidate_module.MESSAGE_CHARACTERS]]).encode())


def _inproc(order: Order, channel: int) -> None:
    inproc.run_inproc(channel, order["token"], order["candidate"], order["context"], order["tests"])


_WORK: dict[str, Callable[..., None]] = {"candidate": _candidate, "tester": _tester, "inproc": _inproc}

if __name__ == "__main__":
    main()
