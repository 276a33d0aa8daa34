"""The local engine: make the students, load each base once, and evaluate its students one after the other."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pkt_eval._util.devices import release_memory
from pkt_eval._util.progress import Progress
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import MANIFEST
from pkt_eval.suite.evaluate import evaluate_cell
from pkt_eval.suite.identity import Identities
from pkt_eval.suite.plan import Cell, Learner, learners
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.state import Board
from pkt_eval.suite.workers import Workers
from pkt_eval.transfer.processes import student_of
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer


class Local:
    """Does cells in this process, and in those that `accelerate launch` started with it.

    Args:
        suite: What is compared.
        out: Its folder.
        identities: Of the cells.
        board: Where it is said how far they are. A cell that fails does not keep the others from being done.
    """

    def __init__(self, suite: Suite, out: Path, identities: Identities, board: Board) -> None:
        self.suite, self.out, self.identities, self.board = suite, out, identities, board
        self.workers = Workers()

    def run(self, left: Sequence[Cell]) -> None:
        """Do cells that are waiting."""
        # First all transfers: no two big models are ever in memory at once.
        for student in learners(left):
            self._transfer(student, [cell for cell in left if cell.learner == student])
        bases: dict[ModelSource, list[Cell]] = {}
        for cell in self.board.waiting(left):
            bases.setdefault(cell.learner.base, []).append(cell)
        for base, of_base in bases.items():
            self._evaluate(base, of_base)
        self.workers.dismiss()  # after an error it is the launcher that ends the others

    def _transfer(self, student: Learner, of: list[Cell]) -> None:
        if student.benchmark is None or (Store().path(self.identities.student(of[0])) / MANIFEST).exists():
            return  # nothing to learn, or learnt already
        with self._timed(of):
            self.board.set(of, "transfer")
            try:
                student_of(Transfer(student.recipe, self.identities.device), Progress(enabled=False))
                self.board.set(of, "waiting")
            except Exception as error:
                self.board.fail(of, error)
            release_memory()

    def _evaluate(self, base: ModelSource, of: list[Cell]) -> None:
        """The cells of one base, which is loaded once."""
        self.board.set(of, "loading")
        recipe = of[0].learner.recipe
        try:
            self.workers.load(
                {
                    "pretrained": base.path,
                    **base.arguments,
                    "chat_format": recipe.chat_format,
                    "batch_size": max(map(self.suite.batch, self.suite.benchmarks)),  # a cell's own may be smaller
                    "device": self.identities.device,
                    "dtype": self.identities.dtype,
                }
            )
        except Exception as error:
            self.board.fail(of, error)
            return
        self.board.set(of, "waiting")
        for student in learners(of):
            mine = [cell for cell in of if cell.learner == student]
            try:
                self.workers.become(student.recipe, self.identities.device)
            except Exception as error:
                self.board.fail(mine, error)
                continue
            for cell in mine:
                self._cell(cell)
        self.workers.unload()

    def _cell(self, cell: Cell) -> None:
        self.board.set([cell], "running")
        try:
            with self._timed([cell]):
                record = evaluate_cell(
                    self.workers,
                    cell.task,
                    self.out / cell.name,
                    self.identities[cell],
                    limit=self.suite.items(cell.benchmark),
                    batch_size=self.suite.batch(cell.benchmark),
                    chat=self.suite.chat,
                    consent=self.suite.confirm_run_unsafe_code,
                    advance=lambda done, of: self.board.advance(cell, done / of),
                )
            self.board.end(cell, "done", record)
        except Exception as error:
            self.board.fail([cell], error)

    @contextmanager
    def _timed(self, of: list[Cell]) -> Iterator[None]:
        """Share the seconds of the body among cells."""
        start = time.monotonic()
        try:
            yield
        finally:
            for cell in of:
                self.board[cell].seconds += (time.monotonic() - start) / len(of)
