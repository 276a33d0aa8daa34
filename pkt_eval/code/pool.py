"""Workers that judge: each has its jails for as long as the process lives, and takes one job after the other."""

import atexit
import os
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace

from tqdm.auto import tqdm

from pkt_eval.code.isolation import LEVELS
from pkt_eval.code.levels import choose_level
from pkt_eval.code.session import Session
from pkt_eval.code.verdict import DEFAULT_LIMITS, Job, Limits, Verdict, Verify
from pkt_eval.errors import ConfigError

Submission = tuple[str, str]


class Pool:
    """Threads that judge, in the order in which jobs come.

    Args:
        level: How programs are isolated.
        workers: Programs that run at the same time.
    """

    def __init__(self, level: str, workers: int) -> None:
        self.level, self.workers = level, workers
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Verdict]] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._ahead: dict[Job, Future[Verdict]] = {}
        self._threads = [threading.Thread(target=self._work, name=f"judge-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> "Future[Verdict]":
        """Judge a job, unless that was begun ahead."""
        if (begun := self._ahead.pop(job, None)) is not None:
            return begun
        future: Future[Verdict] = Future()
        self._jobs.put((job, future))
        return future

    def begin(self, job: Job) -> None:
        """Judge a job that will be asked for later, while something else is done."""
        if job not in self._ahead:
            self._ahead[job] = self.submit(job)

    def close(self) -> None:
        """End what runs, and leave no process."""
        self._stop.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        session = Session(LEVELS[self.level], self._stop)
        try:
            while (item := self._jobs.get()) is not None:
                job, future = item
                if self._stop.is_set():
                    future.cancel()
                elif future.set_running_or_notify_cancel():
                    try:
                        future.set_result(session.judge(job))
                    except BaseException as error:
                        future.set_exception(error)
        finally:
            session.close()


_pools: dict[tuple[str, int], Pool] = {}
_guard = threading.Lock()


def shared_pool(level: str | None = None, workers: int | None = None) -> Pool:
    """The process's pool of a level and size, started when it is first asked for and closed at exit.

    Raises:
        ConfigError: ``workers`` is below 1, or there is no such level.
        PrerequisiteError: This machine does not offer the level.
    """
    workers = available_cores() if workers is None else workers
    if workers < 1:
        raise ConfigError(f"at least 1 worker is needed to judge, got {workers}")
    key = (choose_level(level), workers)
    with _guard:
        if key not in _pools:
            _pools[key] = Pool(*key)
        return _pools[key]


@atexit.register
def close_pools() -> None:
    """End all workers; those asked for later are started anew."""
    with _guard:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # a forked copy has neither our threads nor our jails


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def judge(
    candidate: str,
    tests: str,
    *,
    context: str = "",
    names: Sequence[str] | None = None,
    verify: Verify = "split",
    limits: Limits = DEFAULT_LIMITS,
    level: str | None = None,
) -> Verdict:
    """Judge one program in the jail.

    Args:
        candidate: The program under test.
        tests: Statements that use the candidate's names and raise if it is wrong.
        context: See ``Job``.
        names: See ``Job``.
        verify: See ``Job``.
        limits: What the program may use.
        level: How it is isolated; by default as well as this machine can.

    Returns:
        The verdict, ``passed`` only if the tests ran to their last statement. A failure of the infrastructure
        is retried once and then returned as such.

    Raises:
        PrerequisiteError: This machine does not offer the level, or none that isolates.
    """
    job = Job(candidate, tests, context, None if names is None else tuple(names), verify, limits)
    return judge_many([job], workers=1, level=level)[0]


def judge_many(
    jobs: Sequence[Job | Submission],
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    level: str | None = None,
    progress: bool | str = False,
) -> list[Verdict]:
    """Judge many programs, several at a time; an interrupt leaves none of them running.

    Args:
        jobs: Jobs, or pairs of candidate and tests. Equal ones are judged once.
        workers: Programs that run at the same time; by default the cores that this process may use.
        limits: What each program may use; by default what its job says.
        level: How they are isolated; by default as well as this machine can.
        progress: Whether to show a bar on standard error; a text says whose programs they are.

    Returns:
        One verdict a job, in the order of the jobs.

    Raises:
        ConfigError: ``workers`` is below 1, or there is no such level.
        PrerequisiteError: This machine does not offer the level, or none that isolates.
    """
    asked = [job if isinstance(job, Job) else Job(*job) for job in jobs]
    asked = [replace(job, limits=limits) for job in asked] if limits else asked
    pool = shared_pool(level, workers)
    futures = {job: pool.submit(job) for job in dict.fromkeys(asked)}
    try:
        whose = f"{progress}: " if isinstance(progress, str) else ""
        for job in tqdm(futures, desc=f"{whose}judging code", disable=not progress):
            futures[job].result()
        return [futures[job].result() for job in asked]
    except BaseException:
        close_pools()
        raise
