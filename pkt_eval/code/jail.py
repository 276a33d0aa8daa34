"""One jail from the harness's side: start its zygote at a level of isolation, give it orders, end it."""

import json
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from pkt_eval.code.isolation import JAILED, Level

START_SECONDS = 60.0
_HEADER = struct.Struct("<I")


class End(TypedDict):
    """How a program's process ended, as the zygote saw it.

    Attributes:
        trouble: Why its limits could not be set; None where they were.
        cut: Why it was ended; None where it ended of itself.
        exit: Exit code, or the number of the signal that ended it, negative.
        cpu: CPU seconds.
        wall: Seconds on the clock.
        peak_mb: Most resident memory, in MB, the interpreter's included.
        dirty: Whether anything was left behind.
    """

    trouble: str | None
    cut: str | None
    exit: int
    cpu: float
    wall: float
    peak_mb: float
    dirty: bool


class JailError(Exception):
    """The jail did not start or has broken down: a failure of ours, which says nothing about a program."""


class Jail:
    """A zygote and the walls around it.

    Starting one takes as long as ten programs, so it serves many; after one that left anything behind, or had to be
    ended, another is started. A jail belongs to the thread that starts it: the kernel ends it with that thread.

    Args:
        level: How it is isolated.
    """

    def __init__(self, level: Level) -> None:
        self.level = level
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self._scratch: str | None = None

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            JailError: With what it said.
        """
        if self.process is not None:
            return
        ours, theirs = socket.socketpair()
        scratch = self._scratch = self.level.make_scratch()
        with theirs, tempfile.TemporaryFile() as said:
            interpreter = [sys.executable, "-s", "-B", "-X", "utf8", str(JAILED / "zygote.py"), str(theirs.fileno())]
            environment = _environment(scratch or "/")
            try:
                self.process = subprocess.Popen(
                    self.level.command(interpreter, environment),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    cwd=self.level.home(scratch),
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
                theirs.close()
                self.control = ours
                ours.settimeout(START_SECONDS)
                data = json.dumps(self.level.setup(scratch)).encode()
                ours.sendall(_HEADER.pack(len(data)) + data)
                self._message()
                ours.settimeout(None)
            except (OSError, JailError) as error:
                said.seek(0)
                lines = said.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
                self.close()
                raise JailError(f"the jail did not start: {lines[-1] if lines else error}") from error

    @property
    def socket(self) -> socket.socket:
        """Over which orders go and answers come.

        Raises:
            JailError: It does not run.
        """
        if self.control is None:
            raise JailError("the jail was not started")
        return self.control

    def order(self, what: dict[str, object], descriptors: list[int]) -> None:
        """Send an order; its descriptors are copied to the other side.

        Raises:
            JailError: It is gone.
        """
        data = marshal.dumps(what)
        try:
            socket.send_fds(self.socket, [_HEADER.pack(len(data))], descriptors)
            self.socket.sendall(data)
        except OSError as error:
            raise JailError(f"the jail is gone: {error}") from error

    def answer(self) -> End:
        """Wait for the end of what was ordered.

        Raises:
            JailError: It is gone.
        """
        end: End = self._message()
        return end

    def _message(self) -> Any:
        try:
            (size,) = _HEADER.unpack(self._exactly(_HEADER.size))
            return json.loads(self._exactly(size))
        except (OSError, ValueError) as error:
            raise JailError(f"the jail gives no answer: {error}") from error

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise JailError("the jail is gone")
            data += chunk
        return data

    def threads(self) -> int:
        """Threads of the program that runs, by the kernel's account; 0 where there is none, or no account.

        Only the address space limits them otherwise, and it leaves room for thousands, while a machine's process
        numbers may end at 32,768.
        """
        if self.process is None:
            return 0
        try:
            pids = [str(self.process.pid)]
            for _ in range(self.level.forks):
                pids = [c for p in pids for c in Path(f"/proc/{p}/task/{p}/children").read_text().split()]
            return max((len(os.listdir(f"/proc/{p}/task")) for p in pids), default=0)
        except OSError:
            return 0

    def close(self) -> None:
        """End it and all that lives in it."""
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.process = None
        self.level.remove_scratch(self._scratch)
        self._scratch = None


def _environment(scratch: str) -> dict[str, str]:
    """All that a program sees of an environment: nothing of the user's."""
    return {
        "HOME": scratch,
        "TMPDIR": scratch,
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",  # the order of a set, and a verdict that hangs on it, is the same every time
        "PKT_EVAL_AUTOLOAD": "0",  # our own start-up hook has nothing to do there
        # A thread reserves address space, which is limited; numpy would start one a core.
        "MALLOC_ARENA_MAX": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
