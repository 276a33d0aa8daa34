"""What a hostile program is: a candidate, the tests it is judged by, and the verdicts that are in order."""

from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

#: Not the program's fault (``infrastructure``) would stop or distort a run as well as a pass would.
NEVER = ("passed", "infrastructure")

ADD_TESTS = """\
assert add(1, 2) == 3
assert add(-1, 1) == 0
assert add(10**20, 7) == 10**20 + 7
"""
RIGHT = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return -7\n"

#: For candidates whose function ``probe`` returns whether it got through: a pass is an escape.
PROBE_TESTS = "assert probe()\n"

#: Appears at the front of candidates that call the kernel themselves.
CTYPES = """\
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = libc.shmat.restype = ctypes.c_void_p
REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
def call(number, *arguments):
    ctypes.set_errno(0)
    wrapped = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(number), *wrapped)
"""


@dataclass(frozen=True)
class Program:
    """One property of the jail, as a program that attacks it."""

    name: str
    candidate: str
    tests: str = ADD_TESTS
    statuses: tuple[str, ...] = ()
    """The statuses that are in order; if none are given, all but ``NEVER``."""
    provable: bool = False
    """Whether it succeeds without a jail, and so shows that a refusal is the jail's doing."""
    limits: dict[str, Any] = field(default_factory=dict)
    """Beyond the defaults of its category."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "candidate", dedent(self.candidate))

    def job(self, **plants: Any) -> tuple[str, str]:
        """Candidate and tests; what the test planted is assigned to names at the candidate's top."""
        prelude = "".join(f"{name} = {value!r}\n" for name, value in plants.items())
        return prelude + self.candidate, self.tests


def fake(name: str, source: str, tests: str = ADD_TESTS, **options: Any) -> Program:
    """A program that starts out with a wrong ``add`` and does something about the verdict."""
    return Program(name, WRONG + dedent(source), tests, **options)


def system(name: str, source: str, tests: str = PROBE_TESTS, **options: Any) -> Program:
    """A program that has ``libc`` and ``call(number, *arguments)`` at hand."""
    return Program(name, CTYPES + dedent(source), tests, **options)
