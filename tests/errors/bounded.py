"""Seconds and memory for a request that is to be refused."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pkt_eval.errors import PKTError

SECONDS, BYTES = 60, 4 << 30
LONG = "x" * 300
DEEP = 100_000


class TooLongError(BaseException):
    """Not an Exception, which the code under test might turn into a line."""


@contextmanager
def bounds() -> Iterator[None]:
    """Stop what takes too long or too much."""

    def stop(*_: object) -> None:
        raise TooLongError(f"over {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, hard))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused(work: Callable[[], object], says: str) -> None:
    """A call ends in an error of ours that says so, in one line."""
    with bounds(), pytest.raises(PKTError) as ended:
        work()
    said = str(ended.value)
    assert says in said and "\n" not in said.strip(), said
