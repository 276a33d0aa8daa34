"""Progress of a transfer: bars while it runs; seconds a stage and peak memory for the record afterwards."""

import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_eval._util.files import save_text

if TYPE_CHECKING:
    from tqdm.std import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Shows bars on stderr and keeps account of time and memory.

    Args:
        enabled: False shows nothing.
        owner: Whose bars they are, with which each begins: a method, a command.
    """

    def __init__(self, enabled: bool = True, owner: str = "") -> None:
        self.enabled = enabled
        self.owner = owner
        self.seconds: dict[str, float] = {}
        self._running: dict[str, float] = {}  # stage → when it was last counted
        self._file: Path | None = None
        self._earlier_peak = 0

    @property
    def peak_memory_bytes(self) -> int | None:
        """Largest resident memory of this process and of those whose work it goes on with."""
        return max(peak_memory() or 0, self._earlier_peak) or None

    def go_on(self, folder: Path) -> None:
        """Add what interrupted processes spent on the same transfer, and keep account in this folder from now on.

        A transfer that goes on costs what all of it took. What a killed process did after its last ``save`` is lost.
        """
        self._file = folder / "spent.json"
        try:
            seconds, peak = _spent(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("what was spent before the interruption is not known: %s is damaged (%s)", self._file, error)
            return
        self._earlier_peak = peak
        for name, of_stage in seconds.items():
            self._add(name, of_stage)

    def save(self) -> None:
        """Keep the account on disk, the running stages' part included: a killed process cannot."""
        for name in self._running:
            self._count(name)
        if self._file:
            spent = {"seconds": self.seconds, "peak_memory_bytes": self.peak_memory_bytes}
            save_text(self._file, json.dumps(spent))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under ``name``; stages of one name add up."""
        start = self._running[name] = time.perf_counter()
        try:
            yield
        finally:
            self._count(name)
            end = self._running.pop(name)
            log.info("%s took %.1f s", name, end - start)
            self.save()

    def _count(self, name: str) -> None:
        """Add a running stage's time since it was last counted."""
        now = time.perf_counter()
        self._add(name, now - self._running[name])
        self._running[name] = now

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)

    def bar(self, items: Iterable[Any], desc: str, total: int | None = None) -> Iterable[Any]:
        """Iterate under a progress bar."""
        from tqdm.auto import tqdm

        return tqdm(items, desc=self._named(desc), total=total, disable=not self.enabled)

    def counter(self, desc: str, total: int, initial: int = 0) -> "tqdm[Any]":
        """A progress bar that its caller moves, and closes."""
        from tqdm.auto import tqdm

        return tqdm(desc=self._named(desc), total=total, initial=initial, disable=not self.enabled)

    def _named(self, desc: str) -> str:
        return desc if not self.owner or desc.startswith(f"{self.owner}: ") else f"{self.owner}: {desc}"


def _spent(text: str) -> tuple[dict[str, float], int]:
    """Seconds a stage and peak memory, as ``Progress.save`` wrote them.

    Raises:
        ValueError: It wrote something else.
    """
    try:
        spent = json.loads(text)
        seconds = {name: _amount(value) for name, value in spent["seconds"].items()}
        return seconds, int(_amount(spent["peak_memory_bytes"] or 0))
    except (AttributeError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _amount(value: object) -> float:
    """A number that is finite and not negative, as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{value!r:.40} is no amount")
    return float(value)


def peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where the platform does not say."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
