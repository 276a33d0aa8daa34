"""How far the cells of a run are."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pkt_eval._util.secrets import hide_secrets
from pkt_eval.suite.plan import Cell
from pkt_eval.suite.record import CellRecord

log = logging.getLogger(__name__)

State = Literal["waiting", "transfer", "loading", "running", "done", "kept", "failed"]
ENDED: tuple[State, ...] = ("done", "kept", "failed")


@dataclass
class CellStatus:
    """How far a cell is.

    Attributes:
        state: ``kept`` is done by an earlier run.
        progress: Share of its batches that are done.
        step: What is done of its student's transfer or of its batches, in words, and how long the rest takes.
        seconds: Spent on it in this run.
        reason: Of a failure.
        record: Of a finished cell.
    """

    state: State = "waiting"
    progress: float = 0.0
    step: str = ""
    seconds: float = 0.0
    reason: str = ""
    record: CellRecord | None = None


Statuses = dict[str, CellStatus]
Show = Callable[[Statuses], None]
Follow = Callable[[str, str, int, Mapping[str, float]], None]
"""Is told what a transfer has measured: of which student and curve, at which step."""


class RunState:
    """The statuses of a run's cells, told to all who watch whenever one changes.

    Args:
        cells: All of them.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.statuses: Statuses = {cell.name: CellStatus() for cell in cells}
        self._watchers: list[Show] = []
        self._followers: list[Follow] = []

    def __getitem__(self, cell: Cell) -> CellStatus:
        return self.statuses[cell.name]

    def watch(self, show: Show) -> None:
        """Have a function called after each change."""
        self._watchers.append(show)

    def follow(self, follower: Follow) -> None:
        """Have a function called for each number of each curve of each transfer."""
        self._followers.append(follower)

    @property
    def followed(self) -> bool:
        """Whether anybody wants to know the curves."""
        return bool(self._followers)

    def measured(self, student: str, curve: str, step: int, numbers: Mapping[str, float]) -> None:
        """A transfer has measured something."""
        for follower in self._followers:
            follower(student, curve, step, numbers)

    def changed(self) -> None:
        """Tell those who watch."""
        for show in self._watchers:
            show(self.statuses)

    def waiting(self, of: Sequence[Cell]) -> list[Cell]:
        """Those that have neither failed nor ended."""
        return [cell for cell in of if self[cell].state == "waiting"]

    def set(self, of: Sequence[Cell], state: State) -> None:
        """Put cells into a state."""
        for cell in of:
            self[cell].state, self[cell].step = state, ""
        self.changed()

    def update(self, statuses: Statuses) -> None:
        """Take statuses over from where the cells are done."""
        self.statuses.update(statuses)
        self.changed()

    def end(self, cell: Cell, state: State, record: CellRecord) -> None:
        """A cell is finished: ``done`` or ``kept``."""
        self[cell].record, self[cell].progress = record, 1.0
        self.set([cell], state)

    def fail(self, of: Sequence[Cell], error: Exception) -> None:
        """Cells cannot be done, for a reason that the table gives."""
        log.debug("a cell failed", exc_info=error)
        for cell in of:
            self[cell].reason = hide_secrets(f"{type(error).__name__}: {' '.join(str(error).split())}")
        self.set(of, "failed")

    def advance(self, cell: Cell, share: float, step: str = "") -> None:
        """A share of a cell's batches is done."""
        self[cell].progress, self[cell].step = share, step
        self.changed()

    def tell(self, of: Sequence[Cell], step: str) -> None:
        """How far the transfer is that cells wait for."""
        for cell in of:
            self[cell].step = step
        self.changed()
