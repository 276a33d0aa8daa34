"""The local engine: first what needs no transfer, then each student as soon as it is made.

So a broken evaluation shows in minutes, not after all transfers. No two big models are in memory at once: a base is
loaded once for all students that are there already, and once more for each one that was made meanwhile.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from pkt_eval._util.devices import release_memory
from pkt_eval._util.progress import Pace, Progress
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import MANIFEST
from pkt_eval.suite.engine import Engine
from pkt_eval.suite.engines import EngineOptions
from pkt_eval.suite.identity import Identities
from pkt_eval.suite.plan import Cell, Learner, learners
from pkt_eval.suite.work import Work
from pkt_eval.transfer.processes import make_once
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer


def base_arguments(cell: Cell, identities: Identities) -> dict[str, Any]:
    """What ``pkt_vanilla`` is given to be the base of a cell's student."""
    base = cell.learner.base
    return {
        "pretrained": base.path,
        **base.arguments,
        "chat_format": cell.learner.recipe.chat_format,
        "batch_size": 1,  # each cell says its own
        "device": identities.device,
        "dtype": identities.dtype(cell),
        **identities.suite.backend_arguments,
    }


class Local(Engine):
    """Does cells in this process, and in those that ``accelerate launch`` started with it.

    Args:
        work: The suite, its folder, and how far its cells are.
    """

    Options = EngineOptions
    several_processes: ClassVar[bool] = True

    def __init__(self, work: Work) -> None:
        self.suite, self.out, self.identities, self.state = work.suite, work.out, work.identities, work.state
        from pkt_eval.suite.workers import Workers  # and with it lm-eval: seconds, which a dry run does not need

        self.workers = Workers()

    def run(self, left: Sequence[Cell]) -> None:
        """Do cells that are waiting.

        Where vLLM answers, all students are made first: its engine takes its time to load, and the device's memory.
        """
        at_once = self.suite.backend != "vllm"
        to_make = [student for student in learners(left) if not self._is_there(student, left)]
        self._evaluate_all([cell for cell in left if cell.learner not in to_make])
        for student in to_make:
            mine = [cell for cell in left if cell.learner == student]
            self._transfer(student, mine)
            if at_once:
                self._evaluate_all(mine)
        if not at_once:
            self._evaluate_all([cell for cell in left if cell.learner in to_make])
        self.workers.dismiss()  # after an error it is the launcher that ends the others

    def _is_there(self, student: Learner, left: Sequence[Cell]) -> bool:
        """Whether there is nothing to learn, or it was learnt already."""
        cell = next(cell for cell in left if cell.learner == student)
        return student.benchmark is None or (Store().path(self.identities.student(cell)) / MANIFEST).exists()

    def _transfer(self, student: Learner, of: list[Cell]) -> None:
        with self._timed(of):
            self.state.set(of, "transfer")
            try:
                progress = Progress(
                    enabled=False,
                    listener=lambda step: self.state.tell(of, step),
                    measured=partial(self.state.measured, student.name),
                )
                make_once(Transfer(student.recipe, self.identities.device), progress)
                self.state.set(of, "waiting")
            except Exception as error:
                self.state.fail(of, error)
            release_memory()

    def _evaluate_all(self, of: Sequence[Cell]) -> None:
        """Those of some cells that are waiting, base by base."""
        bases: dict[ModelSource, list[Cell]] = {}
        for cell in self.state.waiting(of):
            bases.setdefault(cell.learner.base, []).append(cell)
        for of_base in bases.values():
            self._evaluate(of_base)

    def _evaluate(self, of: list[Cell]) -> None:
        """The cells of one base, which is loaded once."""
        self.state.set(of, "loading")
        try:
            self.workers.load(base_arguments(of[0], self.identities))
        except Exception as error:
            self.state.fail(of, error)
            return
        self.state.set(of, "waiting")
        for student in learners(of):
            mine = [cell for cell in of if cell.learner == student]
            try:
                self.workers.become(student.recipe, self.identities.device)
            except Exception as error:
                self.state.fail(mine, error)
                continue
            for cell in mine:
                self._cell(cell)
        self.workers.unload()

    def _cell(self, cell: Cell) -> None:
        from pkt_eval.suite.evaluate import evaluate_cell

        self.state.set([cell], "running")
        paces: list[Pace] = []

        def advance(done: int, of: int) -> None:
            if not paces:  # what an earlier run has answered took this one no time
                paces.append(Pace("block", done))
            self.state.advance(cell, done / of, paces[0].said(done, of))

        try:
            with self._timed([cell]):
                record = evaluate_cell(
                    self.workers,
                    cell.task,
                    self.out / cell.name,
                    self.identities[cell],
                    self.identities.asked(cell),
                    advance=advance,
                    label=cell.learner.label,
                )
            self.state.end(cell, "done", record)
        except Exception as error:
            self.state.fail([cell], error)

    @contextmanager
    def _timed(self, of: list[Cell]) -> Iterator[None]:
        """Share the seconds of the body among cells."""
        start = time.monotonic()
        try:
            yield
        finally:
            for cell in of:
                self.state[cell].seconds += (time.monotonic() - start) / len(of)
