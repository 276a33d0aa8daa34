"""Measures a part of what a suite has to do and was never done here, so that its first dry run has an estimate.

Of each kind of cell a handful of items, asked of the base as a run asks them; of each kind of transfer its own code,
until the pace of its training is known. Nothing is kept of it but the seconds.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pkt_eval._util.devices import release_memory
from pkt_eval._util.progress import Progress, minutes
from pkt_eval.data.benchmarks import benchmark
from pkt_eval.suite.estimate import History, remember_transfer, transfer_kind
from pkt_eval.suite.identity import Identities
from pkt_eval.suite.plan import Asked, Cell, Learner
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer

if TYPE_CHECKING:  # and with it lm-eval
    from pkt_eval.suite.workers import Workers

_ITEMS = 16
"""Items that are asked, of all tasks of a group."""
_WHOLE = 20.0
"""Seconds: what is before a training and takes no longer is done whole, since what follows needs it."""
_LAST = ("fine-tuning", "align")
"""What takes most of a transfer, and after which little is left."""
_STEPS = 2
"""Steps of it that are taken: the first one warms up."""
_SHORT = 5.0
"""Seconds of a first step after which a second one is taken."""
_OF_AUTO = 9
"""What ``learning_rate=auto`` takes, in fifths of the budget: four rates on a fifth each, and one on all of it."""


def measure_work(identities: Identities, left: Sequence[Cell], to_make: Sequence[Learner], to: Console) -> None:
    """Measure what the store has no times of, and say each as it is measured and remembered.

    Args:
        identities: Of the cells.
        left: Cells that are not finished.
        to_make: Students that are not stored.
        to: Where it is said.
    """
    with tempfile.TemporaryDirectory(prefix="pkt_measure_") as folder:
        for said in _measure_cells(identities, left, Path(folder)):
            to.print(said, soft_wrap=True)
        for said in _measure_transfers(identities, to_make, Path(folder)):
            to.print(said, soft_wrap=True)


def _measure_cells(identities: Identities, left: Sequence[Cell], folder: Path) -> Iterator[str]:
    """A few items of each task, for each base: loaded once, and asked twice, since the first time builds and warms."""
    history, kinds = History(), dict[tuple[str, str], Cell]()
    for cell in left:
        base = identities.base(cell.learner)
        if history.evaluation(cell.task, base, identities.device, None) is None:
            kinds.setdefault((base.digest, cell.task), cell)
    if not kinds:
        return
    from pkt_eval.suite.local import base_arguments
    from pkt_eval.suite.workers import Workers

    workers, loaded = Workers(), ""
    for number, ((base_digest, task), cell) in enumerate(sorted(kinds.items())):
        of = f"{task} of {Path(cell.learner.base.path).name}"
        asked = identities.asked(cell)
        if benchmark(cell.benchmark).code and not asked.consent:
            yield f"not measured: {of}: it runs code that a model wrote, which needs confirm_run_unsafe_code: true"
            continue
        try:
            if loaded != base_digest:
                workers.load(base_arguments(cell, identities))
                loaded = base_digest
            yield f"measured: {of}: {_ask(workers, cell, identities, asked, folder / str(number))}"
        except Exception as error:
            yield f"not measured: {of}: {_reason(error)}"
    workers.unload()


def _ask(workers: "Workers", cell: Cell, identities: Identities, asked: Asked, folder: Path) -> str:
    from pkt_eval.suite.evaluate import evaluate_cell, load_task

    tasks = len(load_task(cell.task)["tasks"])
    limit = min(asked.limit or _ITEMS, max(1, _ITEMS // tasks))
    for few, kept in ((1, False), (limit, True)):
        record = evaluate_cell(
            workers,
            cell.task,
            folder / ("counts" if kept else "warms"),
            identities[cell],
            replace(asked, limit=few),
            advance=lambda done, of: None,
            remembered="part" if kept else None,
        )
    whole = History().evaluation(cell.task, identities.base(cell.learner), identities.device, asked.limit)
    return f"{sum(record['items'].values())} items in {record['seconds']:.1f} s; all take about {minutes(whole or 0)}"


def _measure_transfers(identities: Identities, to_make: Sequence[Learner], folder: Path) -> Iterator[str]:
    """Each kind of transfer until its pace is known, in a store of its own."""
    history, kinds = History(), dict[str, Learner]()
    for student in to_make:
        wanted = identities.transfer(student)
        if history.transfer(wanted) is None:
            kinds.setdefault(transfer_kind(wanted), student)
    for student in kinds.values():
        wanted = identities.transfer(student)
        watched = _Watched(_trainings(wanted))
        try:
            Transfer(student.recipe, identities.device, Store(folder)).make(watched)
            seconds, how = time.monotonic() - watched.start, "it was short enough to be done"
        except _KnownError as known:
            seconds, how = known.seconds, known.how
        except Exception as error:
            yield f"not measured: {student.name}: {_reason(error)}"
            continue
        finally:
            release_memory()
        if watched.ahead:
            yield (
                f"not measured: {student.name}: {how} so {minutes(seconds)} of that alone, and what follows needs "
                f"it: --only {student.name} makes it known"
            )
            continue
        remember_transfer(wanted, seconds)
        yield f"measured: {student.name}: {how}; all takes about {minutes(seconds)}"


def _trainings(wanted: Transfer) -> float:
    """How many trainings of its budget a transfer is: one for each rate that it tries."""
    rates = getattr(wanted.method.config, "learning_rate", ())
    return _OF_AUTO if rates == "auto" else max(1, len(rates)) if isinstance(rates, tuple) else 1


class _KnownError(Exception):
    """Ends a transfer whose pace is known.

    Args:
        seconds: That all of it takes.
        how: What was measured of it, in words.
    """

    def __init__(self, seconds: float, how: str) -> None:
        super().__init__(how)
        self.seconds, self.how = seconds, how


class _Watched(Progress):
    """Looks on as a transfer counts what it does, and ends it when it is known how long the rest takes.

    Args:
        trainings: How many there will be, each like the first.

    Attributes:
        start: When it began.
        ahead: Whether the transfer was ended before its training.
    """

    def __init__(self, trainings: float) -> None:
        super().__init__(enabled=False)
        self.start, self.ahead, self._trainings = time.monotonic(), False, trainings
        self._last: dict[str, tuple[int, float]] = {}
        self._began: dict[str, float] = {}
        self._steps = 0

    def tell(self, what: str, done: int, of: int | None = None, loss: float | None = None) -> None:
        """As ``Progress.tell``."""
        now = time.monotonic()
        before, then = self._last.get(what, (done, now))
        self._began.setdefault(what, now)
        self._last[what] = done, now
        if not of or done <= before:
            return
        took = now - then
        left = took / (done - before) * (of - done)
        if what not in _LAST:
            if left > _WHOLE:
                self.ahead = True
                raise _KnownError(left + took, f"{what}, 1 of {of} in {took:.1f} s,")
            return
        self._steps += 1
        if left and (self._steps == _STEPS or took > _SHORT):
            training = left + now - self._began[what]
            more = (self._trainings - 1) * training + self._trainings * self.seconds.get("validation", 0.0)
            raise _KnownError(now - self.start + left + more, f"{what} {done}/{of}, the last step in {took:.1f} s")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
