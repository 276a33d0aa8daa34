"""Progress of a transfer: bars while it runs, and how far it is for whoever asks; seconds a stage and peak memory for
the record afterwards.
"""

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_eval._util.files import save_text

if TYPE_CHECKING:
    from tqdm.std import tqdm

log = logging.getLogger(__name__)


_EVERY = 0.5
"""Seconds between two tellings."""

CurveListener = Callable[[str, int, Mapping[str, float]], None]
"""Is told what was measured: of which curve, at which step, name → number."""


class Pace:
    """How far a piece of work is, in words.

    Args:
        what: Is done.
        done: Parts of it that were done before.
    """

    def __init__(self, what: str, done: int = 0) -> None:
        self.what, self._first, self._start = what, done, time.monotonic()

    def said(self, done: int, of: int | None, loss: float | None = None) -> str:
        """E.g. ``fine-tuning 12/79, loss 0.532, 3 min left``."""
        parts = [f"{self.what} {done}/{of}" if of else self.what]
        if loss is not None:
            parts.append(f"loss {loss:.3f}")
        if of and self._first < done < of:
            seconds = (time.monotonic() - self._start) / (done - self._first) * (of - done)
            parts.append(f"{minutes(seconds)} left")
        return ", ".join(parts)


def minutes(seconds: float) -> str:
    """A time as it is said in a table: ``40 s``, ``12 min``."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


class Progress:
    """Shows bars on stderr, keeps account of time and memory, and tells how far a transfer is.

    Args:
        enabled: False shows no bars.
        owner: Whose bars they are, with which each begins: a method, a command.
        listener: Is told in words how far the stage at work is, twice a second at most.
        measured: Is told each number of each curve.
    """

    def __init__(
        self,
        enabled: bool = True,
        owner: str = "",
        listener: Callable[[str], None] | None = None,
        measured: CurveListener | None = None,
    ) -> None:
        self.enabled, self.owner, self._listener, self._measured = enabled, owner, listener, measured
        self._curves: list[str] = []  # of the stages that are running, the innermost last
        self._pace: Pace | None = None
        self._loss: float | None = None
        self._told = -_EVERY
        self.seconds: dict[str, float] = {}
        self.passes: dict[str, dict[str, float]] = {}
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
            seconds, peak, passes = _spent(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("what was spent before the interruption is not known: %s is damaged (%s)", self._file, error)
            return
        self._earlier_peak = peak
        for name, of_stage in seconds.items():
            self._add(name, of_stage)
        for role, amounts in passes.items():
            self.count_passes(role, amounts)

    def count_passes(self, role: str, amounts: Mapping[str, float]) -> None:
        """Add what passes through a model cost.

        Args:
            role: Whose: ``teacher`` or ``student``.
            amounts: Name → number; see ``pkt_eval.models.cost``.
        """
        of_role = self.passes.setdefault(role, {})
        for name, amount in amounts.items():
            of_role[name] = of_role.get(name, 0) + amount

    def save(self) -> None:
        """Keep the account on disk, the running stages' part included: a killed process cannot."""
        for name in self._running:
            self._count(name)
        if self._file:
            spent = {"seconds": self.seconds, "peak_memory_bytes": self.peak_memory_bytes, "passes": self.passes}
            save_text(self._file, json.dumps(spent))

    @contextmanager
    def stage(self, name: str, curve: str | None = None) -> Iterator[None]:
        """Time the body under ``name``; stages of one name add up.

        Args:
            name: Of the stage.
            curve: What is measured in it belongs to this curve; default: one of the stage's name.
        """
        start = self._running[name] = time.perf_counter()
        self._curves.append(curve or name)
        self._loss = None
        self.tell(name, 0)
        try:
            yield
        finally:
            self._curves.pop()
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

        if total is None and isinstance(items, Sized):
            total = len(items)
        return tqdm(self._counted(items, desc, total), desc=self._named(desc), total=total, disable=not self.enabled)

    def counter(self, desc: str, total: int, initial: int = 0) -> "tqdm[Any]":
        """A progress bar that its caller moves, and closes."""
        from tqdm.auto import tqdm

        return tqdm(desc=self._named(desc), total=total, initial=initial, disable=not self.enabled)

    def _named(self, desc: str) -> str:
        return desc if not self.owner or desc.startswith(f"{self.owner}: ") else f"{self.owner}: {desc}"

    def _counted(self, items: Iterable[Any], desc: str, total: int | None) -> Iterator[Any]:
        for done, item in enumerate(items):
            self.tell(desc, done, total)
            yield item

    def pass_on(self, said: str) -> None:
        """Say what another process, which makes the transfer for this one, has said."""
        if self._listener:
            self._listener(said)

    def measure(self, step: int, curve: str | None = None, **numbers: float | None) -> None:
        """Say what was measured at a step to whoever keeps curves; what is not finite is left out.

        Args:
            step: Of the training; 0 is before the first.
            curve: Default: that of the running stage.
            numbers: Such as ``loss``, ``learning_rate``, ``validation_loss``, ``validation_score``.
        """
        finite = {name: float(x) for name, x in numbers.items() if x is not None and math.isfinite(x)}
        if self._measured and finite:
            self._measured(curve or (self._curves[-1] if self._curves else "transfer"), step, finite)

    def pass_on_measured(self, curve: str, step: int, numbers: Mapping[str, float]) -> None:
        """Say what another process, which makes the transfer for this one, has measured."""
        if self._measured:
            self._measured(curve, step, numbers)

    def tell(self, what: str, done: int, of: int | None = None, loss: float | None = None) -> None:
        """Say how far something is to whoever listens.

        Args:
            what: Is done.
            done: Parts that are done, such as optimizer steps.
            of: All parts; None where nobody knows.
            loss: Of the last step; it is said until the stage ends.
        """
        if self._listener is None:
            return
        self._loss = self._loss if loss is None else loss
        new = self._pace is None or self._pace.what != what
        if self._pace is None or new:
            self._pace = Pace(what, done)
        now = time.monotonic()
        if new or now - self._told >= _EVERY:
            self._told = now
            self._listener(self._pace.said(done, of, self._loss))


def _spent(text: str) -> tuple[dict[str, float], int, dict[str, dict[str, float]]]:
    """Seconds a stage, peak memory and passes, as ``Progress.save`` wrote them.

    Raises:
        ValueError: It wrote something else.
    """
    try:
        spent = json.loads(text)
        seconds = {name: _amount(value) for name, value in spent["seconds"].items()}
        passes = {
            role: {name: _amount(value) for name, value in amounts.items()}
            for role, amounts in spent.get("passes", {}).items()
        }
        return seconds, int(_amount(spent["peak_memory_bytes"] or 0)), passes
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
