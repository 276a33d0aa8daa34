"""The verdict on one program, and on many: a fresh interpreter each, limits, and a report that must arrive.

This is the unprotected level. It bounds what a clumsy program can do (time, memory, output, left-over
processes) and takes nothing but the end of the tests for a pass. It does not stop a hostile one: the user's
files and network are open to it, and it can search its own process for the means to forge the report.
``runner.py`` is the child's side.
"""

import marshal
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pkt_eval.code.process import Ended, run_process
from pkt_eval.errors import ConfigError, PrerequisiteError

Status = Literal["passed", "failed", "error", "timeout", "memory", "output", "killed", "infrastructure"]

# Not -I: it would ignore the fixed hash seed. The environment is ours alone, so the isolation is the same.
COMMAND = [sys.executable, "-s", "-B", "-X", "utf8", str(Path(__file__).with_name("runner.py"))]
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one program may use.

    CPU time decides a timeout, so that a loaded machine changes no verdict; the clock is for programs that
    sleep.
    """

    cpu_seconds: int = 10
    """CPU time of the process, in whole seconds: the kernel counts no finer."""
    memory_mb: int = 512
    """Address space; a bare interpreter takes about 15 MB."""
    output_bytes: int = 64 * 1024
    """Standard output and error together."""
    file_mb: int = 16
    """Size of any one file that it writes."""
    wall_seconds: float | None = None
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
class Verdict:
    """How one program ended.

    ``failed`` is an assertion of the tests that does not hold, ``error`` any other exception or an early
    exit; ``infrastructure`` is a failure of ours and says nothing about the program.
    """

    passed: bool
    status: Status
    message: str = ""
    """Last line of the traceback, or why the program was ended."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_mb: float | None = None
    """Resident memory; None where the program ended before it could be read."""
    output: str = ""
    """Standard output and error as they came, up to ``Limits.output_bytes``."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return asdict(self)


def judge(candidate: str, tests: str, *, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """Runs tests on a candidate in a fresh process.

    Args:
        candidate: The program under test.
        tests: Statements that use the candidate's names and raise if it is wrong; they run after it, in its
            module.
        limits: What the program may use.

    Returns:
        The verdict, ``passed`` only if the tests ran to their last statement. A failure of the infrastructure
        is retried once and then returned as such.

    Raises:
        PrerequisiteError: On a platform without resource limits.
    """
    _require_limits()
    return _judge(candidate, tests, limits, threading.Event())


def judge_many(
    jobs: Sequence[tuple[str, str]],
    *,
    workers: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    progress: bool = False,
) -> list[Verdict]:
    """Judges many programs, several at a time; an interrupt leaves none of them running.

    Args:
        jobs: Pairs of candidate and tests.
        workers: Programs that run at the same time; by default the cores that this process may use.
        limits: What each program may use.
        progress: Whether to count on standard error.

    Returns:
        One verdict a job, in the order of the jobs.

    Raises:
        ConfigError: If ``workers`` is below 1.
        PrerequisiteError: On a platform without resource limits.
    """
    workers = _available_cores() if workers is None else workers
    if workers < 1:
        raise ConfigError(f"judge_many needs at least 1 worker, got {workers}")
    _require_limits()
    stop = threading.Event()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="judge")
    try:
        futures = [pool.submit(_judge, candidate, tests, limits, stop) for candidate, tests in jobs]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress:
                print(f"\rjudged {done}/{len(futures)} programs", end="", file=sys.stderr, flush=True)
        if progress and futures:
            print(file=sys.stderr)
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require_limits() -> None:
    try:
        import resource  # noqa: F401
    except ImportError as error:
        message = "running code answers needs POSIX resource limits, which this platform lacks: score them on Linux"
        raise PrerequisiteError(message) from error


def _judge(candidate: str, tests: str, limits: Limits, stop: threading.Event) -> Verdict:
    for _ in range(2):
        verdict = _attempt(candidate, tests, limits, stop)
        if verdict.status != "infrastructure":
            break
    return verdict


def _attempt(candidate: str, tests: str, limits: Limits, stop: threading.Event) -> Verdict:
    token = secrets.token_hex(16)
    job = {
        "token": token,
        "candidate": candidate,
        "tests": tests,
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_mb * MEGABYTE,
        "file_bytes": limits.file_mb * MEGABYTE,
    }
    try:
        ended = run_process(
            COMMAND,
            marshal.dumps(job),
            wall_seconds=limits.wall_seconds,
            output_bytes=limits.output_bytes,
            stop=stop,
        )
    except OSError as error:
        return Verdict(False, "infrastructure", f"the program could not be started: {error}")
    status, message, peak = _conclude(ended, token, limits)
    return Verdict(
        passed=status == "passed",
        status=status,
        message=message,
        cpu_seconds=round(ended.cpu_seconds, 3),
        wall_seconds=round(ended.wall_seconds, 3),
        peak_memory_mb=peak,
        output=ended.output.decode("utf-8", "replace"),
    )


def _conclude(ended: Ended, token: str, limits: Limits) -> tuple[Status, str, float | None]:
    """Status, message and peak memory; what we did to the process comes before what it says of itself."""
    if ended.cut == "timeout":
        return "timeout", f"still running after {limits.wall_seconds:g} s on the clock", None
    if ended.cut == "output":
        return "output", f"wrote more than {limits.output_bytes} bytes", None
    if ended.cut == "killed":
        return "killed", "interrupted", None

    lines = [line.split(" ", 3) for line in ended.report.decode("utf-8", "replace").splitlines()]
    # TOKEN STATUS PEAK MESSAGE, see runner.py; a line without the token is the candidate's own.
    reports = [line for line in lines if line[0] == token and len(line) == 4]
    if reports and reports[-1][1] != "started":
        _, status, peak, message = reports[-1]
        return status, message, None if peak == "-" else float(peak)

    how = f"exit code {ended.exit_code}"
    if ended.exit_code < 0:
        number = -ended.exit_code
        how = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if not reports:
        last = ended.output.decode("utf-8", "replace").strip().splitlines()[-1:]
        return "infrastructure", " ".join([f"the interpreter did not start: {how}", *last])[:500], None
    caught_it = ended.exit_code == -signal.SIGKILL and ended.cpu_seconds > limits.cpu_seconds
    if ended.exit_code == -signal.SIGXCPU or caught_it:
        return "timeout", f"used {limits.cpu_seconds} s of CPU time", None
    if ended.exit_code < 0:
        return "killed", f"ended by {how}", None
    return "error", f"the program ended itself before the tests did: {how}", None
