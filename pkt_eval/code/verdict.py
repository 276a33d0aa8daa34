"""What is asked and what is answered: a job with its limits, and the verdict on it."""

import ast
import builtins
import json
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from pkt_eval.errors import ConfigError, DataError

VERDICT_VERSION = 2
"""Of the verdict's JSON. 1 had no ``version`` and knew no status ``unsupported``; it is read all the same."""

Verify = Literal["split", "inproc"]
Status = Literal[
    "passed",
    "failed",
    "error",
    "unsupported",
    "timeout",
    "memory",
    "output",
    "killed",
    "refused",
    "infrastructure",
]


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    CPU time decides a timeout, so that a loaded machine changes no verdict; the clock is for programs that
    sleep, and a program that was computing while the machine had other work gets up to ten times as long on it.
    """

    cpu_seconds: int = 10
    """CPU time of the process, in whole seconds: the kernel counts no finer."""
    memory_mb: int = 512
    """Address space; the interpreter itself takes about 50 MB of it."""
    output_bytes: int = 64 * 1024
    """Standard output and error together."""
    file_mb: int = 16
    """Size of any one file that it writes."""
    wall_seconds: float = None  # type: ignore[assignment]  # by default set below, from another field
    """Time on the clock; by default ``3 * cpu_seconds + 5``."""

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "memory_mb", "output_bytes", "file_mb"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"Limits.{name} must be a whole number above 0, got {value!r}")
        if self.wall_seconds is None:
            object.__setattr__(self, "wall_seconds", 3.0 * self.cpu_seconds + 5.0)
        elif not self.wall_seconds > 0:
            raise ConfigError(f"Limits.wall_seconds must be above 0, got {self.wall_seconds!r}")


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Job:
    """One program to judge.

    Attributes:
        candidate: The program under test.
        tests: Statements that use the candidate's names and raise if it is wrong.
        context: Trusted definitions for the tests, such as a HumanEval prompt with its imports and helpers.
        names: What the tests take from the candidate; by default the names that they use and that neither they, nor the
            context, nor Python itself defines. A module of the standard library that the tests use without importing
            it is imported for them, whatever the candidate calls by its name.
        verify: ``split``: the tests run in a process of their own, and only plain data comes from the candidate.
            ``inproc``: in the candidate's, for tasks whose values are not plain data.
        limits: What it may use.
    """

    candidate: str
    tests: str
    context: str = ""
    names: tuple[str, ...] | None = None
    verify: Verify = "split"
    limits: Limits = DEFAULT_LIMITS

    def wanted(self) -> tuple[str, ...]:
        """The names that are taken from the candidate."""
        return free_names(self.tests, self.context) if self.names is None else self.names

    def modules(self) -> tuple[str, ...]:
        """Modules of the standard library that the tests use without importing them."""
        wanted = self.wanted()
        return tuple(n for n in _unbound(self.tests, self.context) if n in _MODULES and n not in wanted)


_MODULES = frozenset(sys.stdlib_module_names)


def free_names(tests: str, context: str = "") -> tuple[str, ...]:
    """Names that tests use and that have to come from the candidate: not a built-in, nor a module of Python's.

    A candidate is not to replace what the tests judge it with. Tests that do not parse give none: running them will
    tell.
    """
    return tuple(name for name in _unbound(tests, context) if name not in _MODULES)


@lru_cache(4096)
def _unbound(tests: str, context: str) -> tuple[str, ...]:
    used, bound = [], set(dir(builtins))
    for text in (context, tests):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # over escapes in the benchmark's strings
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ()
        for node in ast.walk(tree):
            match node:
                case ast.Name(ctx=ast.Load()):
                    used += [node.id] if text is tests else []
                case ast.Name():
                    bound.add(node.id)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    bound.add(node.name)
                case ast.arg():
                    bound.add(node.arg)
                case ast.alias():
                    bound.add((node.asname or node.name).partition(".")[0])
                case ast.ExceptHandler() if node.name:
                    bound.add(node.name)
    return tuple(dict.fromkeys(name for name in used if name not in bound))


@dataclass(frozen=True)
class Verdict:
    """How one program ended.

    ``failed`` is an assertion of the tests that does not hold, ``error`` any other exception or an early
    exit, ``refused`` an exception over something that the jail does not allow; ``unsupported`` is a value that cannot
    cross between tests and program, ``infrastructure`` a failure of ours: neither says anything about the program.
    """

    passed: bool
    status: Status
    message: str = ""
    """Last line of the traceback, with the values of a failed comparison; or why the program was ended."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_mb: float | None = None
    """Resident memory, the interpreter's included; None where the program did not run."""
    output: str = ""
    """Standard output and error as they came, up to ``Limits.output_bytes``."""
    isolation: str = "none"
    """Name of the level at which it ran."""
    verify: Verify = "split"
    version: int = VERDICT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)

    def to_json(self, **more: object) -> str:
        """The verdict as JSON text, which ``from_text`` reads.

        Args:
            more: What is to stand beside it, such as the program that was judged; ``from_text`` leaves that out.
        """
        return json.dumps({**self.to_dict(), **more}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "Verdict":
        """The verdict in a JSON text: of ``to_json``, of an earlier version, or of a record that kept a part of it.

        Raises:
            DataError: It holds no verdict, one whose fields contradict each other, or one of a later version.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"a verdict is a JSON object; this is none ({error}): {text[:80]!r}") from None
        if not isinstance(fields, dict) or not isinstance(fields.get("passed"), bool):
            raise DataError(f"a verdict is a JSON object with `passed`, true or false; this is none: {text[:80]!r}")
        version = fields.setdefault("version", 1)
        if not isinstance(version, int) or not 1 <= version <= VERDICT_VERSION:
            raise DataError(
                f"a verdict of version {version!r}: this pkt-eval reads 1 to {VERDICT_VERSION}, install a later"
            )
        status = fields.setdefault("status", "passed" if fields["passed"] else "failed")
        if status not in get_args(Status) or fields["passed"] != (status == "passed"):
            raise DataError(f"a verdict with `passed` {fields['passed']} and `status` {status!r}: it is not ours")
        return cls(
            **{name: fields[name] for name in cls.__dataclass_fields__ if name in fields} | {"version": VERDICT_VERSION}
        )
