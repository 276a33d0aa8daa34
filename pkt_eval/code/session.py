"""One program, judged: a candidate's jail and a tester's, joined by a channel, watched until both have ended."""

import json
import os
import secrets
import selectors
import signal
import socket
import threading
import time
from contextlib import ExitStack

from pkt_eval.code.isolation import Level
from pkt_eval.code.jail import End, Jail, JailError
from pkt_eval.code.verdict import Job, Limits, Status, Verdict

CHUNK = 64 * 1024
POLL_SECONDS = 0.1
MOST_THREADS = 256
MEGABYTE = 1 << 20
_PATIENCE = 12
"""The zygotes keep the time; only when one has not answered in so many times the limit is its jail given up."""


class Session:
    """A worker's two jails, used for one job after the other by the thread that made them.

    Args:
        level: How both are isolated.
        stop: Set from elsewhere, it ends the job that runs.
    """

    def __init__(self, level: Level, stop: threading.Event) -> None:
        self.level, self.stop = level, stop
        self.candidate, self.tester = Jail(level), Jail(level)

    def close(self) -> None:
        """End both jails."""
        self.candidate.close()
        self.tester.close()

    def judge(self, job: Job) -> Verdict:
        """The verdict on a job; a failure of ours is retried once in new jails, and then reported as such."""
        for _ in range(2):
            try:
                verdict = self._split(job) if job.verify == "split" else self._inproc(job)
            except (JailError, OSError) as error:
                verdict = self._verdict(job, "infrastructure", str(error))
            if verdict.status in ("infrastructure", "killed", "timeout", "output"):
                self.close()
            if verdict.status != "infrastructure" or self.stop.is_set():
                break
        return verdict

    def _split(self, job: Job) -> Verdict:
        self.candidate.start()
        self.tester.start()
        with ExitStack() as stack:
            channel, other = (stack.enter_context(s) for s in socket.socketpair())
            output, report = stack.enter_context(_Pipe(job.limits.output_bytes)), stack.enter_context(_Pipe(CHUNK))
            common = {"do": "run", "names": list(job.wanted()), **_limits(job.limits)}
            self.candidate.order(
                {**common, "role": "candidate", "candidate": job.candidate}, [output.writer, channel.fileno()]
            )
            self.tester.order(
                {
                    **common,
                    "role": "tester",
                    "context": "".join(f"import {m}\n" for m in job.modules()) + job.context,
                    "tests": job.tests,
                    "wall_seconds": job.limits.wall_seconds * 2 + 5,  # the candidate's time is up first
                },
                [other.fileno(), report.writer],
            )
            for end in (channel, other):
                end.close()
            for pipe in (output, report):
                pipe.close_writer()
            ends = self._watch(job.limits, output, {"candidate": self.candidate, "tester": self.tester})
            report.drain()
            status, message = _conclude(job.limits, ends["candidate"], ends["tester"], bytes(report.data))
            return self._verdict(job, status, message, ends["candidate"], output)

    def _inproc(self, job: Job) -> Verdict:
        self.candidate.start()
        with ExitStack() as stack:
            output, report = stack.enter_context(_Pipe(job.limits.output_bytes)), stack.enter_context(_Pipe(CHUNK))
            token = secrets.token_hex(16)
            self.candidate.order(
                {
                    "do": "run",
                    "role": "inproc",
                    "token": token,
                    "candidate": job.candidate,
                    "context": job.context,
                    "tests": job.tests,
                    **_limits(job.limits),
                },
                [output.writer, report.writer],
            )
            for pipe in (output, report):
                pipe.close_writer()
            end = self._watch(job.limits, output, {"candidate": self.candidate})["candidate"]
            report.drain()
            lines = [line.split(" ", 2) for line in bytes(report.data).decode("utf-8", "replace").splitlines()]
            said = [line[1:] for line in lines if line[0] == token and len(line) == 3]
            reported = json.dumps(said[-1] if said else ["gone", ""]).encode()
            status, message = _conclude(job.limits, end, None, reported)
            return self._verdict(job, status, message, end, output)

    def _watch(self, limits: Limits, output: "_Pipe", jails: dict[str, Jail]) -> dict[str, End]:
        """Drain the output until every jail has answered; the answers, with ``cut`` where we ended it."""
        ends: dict[str, End] = {}
        start = looked = time.monotonic()
        asked, cut = False, None
        with selectors.DefaultSelector() as selector:
            selector.register(output.reader, selectors.EVENT_READ, None)
            for name, jail in jails.items():
                selector.register(jail.socket, selectors.EVENT_READ, name)
            while len(ends) < len(jails):
                for key, _ in selector.select(POLL_SECONDS):
                    if key.data is None:
                        if output.read() is False:
                            selector.unregister(output.reader)
                        continue
                    ends[key.data] = jails[key.data].answer()
                    if ends[key.data]["dirty"]:
                        jails[key.data].close()
                    selector.unregister(key.fileobj)
                if time.monotonic() > looked + POLL_SECONDS:
                    looked = time.monotonic()
                    if "candidate" not in ends and jails["candidate"].threads() > MOST_THREADS:
                        cut = "threads"
                if self.stop.is_set():
                    cut = "interrupted"
                elif output.overflowed:
                    cut = "output"
                if not asked and "candidate" not in ends and (cut or "tester" in ends):
                    jails["candidate"].order({"do": "end"}, [])
                    asked = True
                if time.monotonic() - start > _PATIENCE * limits.wall_seconds + 30:
                    raise JailError("the jail does not answer")
        output.drain()
        ends["candidate"]["cut"] = "output" if output.overflowed else cut or ends["candidate"]["cut"]
        return ends

    def _verdict(
        self, job: Job, status: Status, message: str, end: End | None = None, output: "_Pipe | None" = None
    ) -> Verdict:
        return Verdict(
            passed=status == "passed",
            status=status,
            message=" ".join(message.split()),
            cpu_seconds=round(end["cpu"], 3) if end else 0.0,
            wall_seconds=round(end["wall"], 3) if end else 0.0,
            peak_memory_mb=round(end["peak_mb"], 1) if end else None,
            output=bytes(output.data).decode("utf-8", "replace") if output else "",
            isolation=self.level.name,
            verify=job.verify,
        )


def _limits(limits: Limits) -> dict[str, object]:
    return {
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_mb * MEGABYTE,
        "file_bytes": limits.file_mb * MEGABYTE,
        "wall_seconds": limits.wall_seconds,
    }


def _conclude(limits: Limits, candidate: End, tester: End | None, report: bytes) -> tuple[Status, str]:
    """Status and message; what was done to the candidate comes before what the tester found."""
    if trouble := candidate["trouble"] or (tester and tester["trouble"]):
        return "infrastructure", f"the limits cannot be set: {trouble}"
    match candidate["cut"]:
        case "output":
            return "output", f"wrote more than {limits.output_bytes} bytes"
        case "interrupted":
            return "killed", "interrupted"
        case "stopped":
            return "killed", "it stopped itself"
        case "threads":
            return "memory", f"it had more than {MOST_THREADS} threads"
        case "files":
            return "memory", "it made too many files"
        case "timeout":
            return "timeout", f"still running after {limits.wall_seconds:g} s on the clock"
    if not report:
        if tester is None:
            return "infrastructure", "the tests ended without a verdict"
        if tester["cut"] == "timeout" or tester["exit"] in (-signal.SIGXCPU, -signal.SIGKILL):
            return "timeout", "the tests themselves took too long"
        return "infrastructure", f"the tests ended without a verdict: {_how(tester['exit'])}"
    status, message = json.loads(report)
    if status != "gone":
        return status, message
    if candidate["cut"] == "asked":
        return "error", "the program cut itself off from the tests"
    exit_code = candidate["exit"]
    if exit_code == -signal.SIGXCPU or (exit_code == -signal.SIGKILL and candidate["cpu"] > limits.cpu_seconds):
        return "timeout", f"used {limits.cpu_seconds} s of CPU time"
    if exit_code < 0:
        return "killed", f"ended by {_how(exit_code)}"
    return "error", f"the program ended itself before the tests did: {_how(exit_code)}"


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    number = -exit_code
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


class _Pipe:
    """A pipe that the child writes to and of which we keep the first ``capacity`` bytes."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.overflowed = False
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def read(self) -> bool | None:
        """Takes one chunk; False where there will be none ever again, None where there is none now."""
        try:
            chunk = os.read(self.reader, CHUNK)
        except BlockingIOError:
            return None
        space = self.capacity - len(self.data)
        self.data += chunk[:space]
        self.overflowed |= len(chunk) > space
        return bool(chunk)

    def drain(self) -> None:
        """Takes what is there, without waiting for whoever may still hold the other end."""
        while not self.overflowed and self.read():
            pass

    def close_writer(self) -> None:
        """Close our copy of the writing end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def __enter__(self) -> "_Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close_writer()
        os.close(self.reader)
