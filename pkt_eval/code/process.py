"""One child process from start to end: pipes drained up to a cap, time bounded, group killed, folder removed.

It knows nothing of verdicts: ``verdict.py`` reads them off what is returned here.
"""

import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

REPORT_BYTES = 64 * 1024
CHUNK = 64 * 1024
LONGEST_TICK = 0.02
MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Ended:
    """What is known of a process that has ended."""

    cut: Literal["timeout", "output", "killed"] | None
    """Why we ended it: its time on the clock, its output, an interrupt; None if it ended of itself."""
    exit_code: int
    """As in subprocess: the negative number of the signal that ended it, if one did."""
    cpu_seconds: float
    wall_seconds: float
    output: bytes
    report: bytes


class Pipe:
    """A pipe that the child writes to and of which we keep the first ``capacity`` bytes."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.data = bytearray()
        self.overflowed = False
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def read(self) -> bool:
        """Takes one chunk; False where there is none now, or none ever again."""
        try:
            chunk = os.read(self.reader, CHUNK)
        except BlockingIOError:
            return False
        space = self.capacity - len(self.data)
        self.data += chunk[:space]
        self.overflowed |= len(chunk) > space
        return bool(chunk)

    def drain(self) -> None:
        """Takes what is left, without waiting for whoever may still hold the other end."""
        while not self.overflowed and self.read():
            pass

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close_writer()
        os.close(self.reader)


def run_process(
    command: Sequence[str], job: bytes, *, wall_seconds: float, output_bytes: int, stop: threading.Event
) -> Ended:
    """Runs a command in a scratch folder of its own and leaves nothing of it behind.

    Args:
        command: The command; the number of the descriptor for its report is appended.
        job: Its standard input.
        wall_seconds: Time on the clock after which it is ended.
        output_bytes: Standard output and error together, after which it is ended.
        stop: Ends it when set.

    Returns:
        How it ended. Descendants that stayed in its process group are dead by then.
    """
    folder = scratch_folder()
    try:
        # The job is a file without a name: unlike a pipe it never blocks, whatever its size.
        with tempfile.TemporaryFile() as stdin, Pipe(output_bytes) as output, Pipe(REPORT_BYTES) as report:
            stdin.write(job)
            stdin.seek(0)
            start = time.monotonic()
            # No preexec_fn, which may deadlock with threads: the child sets its limits itself.
            process = subprocess.Popen(
                [*command, str(report.writer)],
                stdin=stdin,
                stdout=output.writer,
                stderr=output.writer,
                cwd=folder,
                env=environment(folder),
                pass_fds=(report.writer,),
                start_new_session=True,
            )
            cut = None
            try:
                output.close_writer()
                report.close_writer()
                cut = _watch(process.pid, output, report, start + wall_seconds, stop)
            finally:
                usage = _end(process)
            output.drain()
            report.drain()
            return Ended(
                cut="output" if output.overflowed else cut,
                exit_code=process.returncode,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                wall_seconds=time.monotonic() - start,
                output=bytes(output.data),
                report=bytes(report.data),
            )
    finally:
        remove_tree(folder)


def scratch_folder() -> str:
    """A new folder, in memory if possible: on some disks its removal takes as long as the program."""
    return tempfile.mkdtemp(prefix="pkt-judge-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)


def environment(folder: str) -> dict[str, str]:
    """All that the program sees of an environment: nothing of the user's."""
    return {
        "HOME": folder,
        "TMPDIR": folder,
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",  # the order of a set, and a verdict that hangs on it, is the same every time
        "PYTHONSAFEPATH": "1",
        "PKT_EVAL_AUTOLOAD": "0",  # our own start-up hook has nothing to do there
        # A thread reserves address space, which is limited; numpy would start one a core.
        "MALLOC_ARENA_MAX": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _watch(
    pid: int, output: Pipe, report: Pipe, deadline: float, stop: threading.Event
) -> Literal["timeout", "output", "killed"] | None:
    """Drains both pipes until the process ends (None) or has to be ended (why)."""
    tick = 0.0002
    with selectors.DefaultSelector() as selector:
        for pipe in (output, report):
            selector.register(pipe.reader, selectors.EVENT_READ, pipe)
        while not _has_ended(pid):
            if output.overflowed:
                return "output"
            if time.monotonic() > deadline:
                return "timeout"
            if stop.is_set():
                return "killed"
            # The end of the program closes both pipes and so wakes us. But a child of it may hold them open,
            # and it may close them and live on: hence the ticks.
            if selector.get_map():
                for key, _ in selector.select(LONGEST_TICK):
                    if not key.data.read():
                        selector.unregister(key.fileobj)
            else:
                time.sleep(tick)
                tick = min(2 * tick, LONGEST_TICK)
    return None


def _has_ended(pid: int) -> bool:
    """Whether the process has ended; it stays a zombie, so that its number cannot become another's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen):
    """Kills the whole group, then collects the leader and returns its resource usage."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # Popen is not to wait for it again
    return usage


def remove_tree(folder: str) -> None:
    """Removes a folder that a program may have filled with unreadable folders, links and very deep trees."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        # These two neither recurse nor follow links.
        for tool in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            with suppress(OSError):
                subprocess.run([*tool, "--", folder], stdin=subprocess.DEVNULL, capture_output=True, check=False)
