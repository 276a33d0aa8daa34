"""The work of a suite in a folder, as an engine gets it: its cells, what decides them, and how far they are."""

from collections.abc import Sequence
from pathlib import Path

from pkt_eval.suite.identity import Identities
from pkt_eval.suite.plan import Cell, cells, select
from pkt_eval.suite.record import finished
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.state import RunState, Show


class Work:
    """A suite in a folder.

    Args:
        suite: What is compared.
        out: Its folder; the same one goes on where an earlier run ended.
        show: Called whenever a cell's status has changed.
        only: Names of methods, benchmarks or students: the cells to be done; by default all.

    Attributes:
        suite: As given.
        out: As given.
        cells: Those to be done.
        identities: Of the cells.
        state: How far they are.
    """

    def __init__(self, suite: Suite, out: Path, show: Show | None = None, only: Sequence[str] = ()) -> None:
        self.suite, self.out = suite, out
        every = cells(suite)
        self.cells = select(every, only)
        self.identities = Identities(suite)
        self.state = RunState(self.cells)
        if show:
            self.state.watch(show)

    def mark_finished(self, of: Sequence[Cell]) -> None:
        """Keep the cells that are finished already; what cannot even be named has failed."""
        for cell in of:
            try:
                record = finished(self.out / cell.name, self.identities[cell])
            except Exception as error:
                self.state.fail([cell], error)
                continue
            if record:
                self.state.end(cell, "kept", record)
        self.state.changed()
