"""What a run shows: a live table on a terminal, a line for each change elsewhere, and the scores at the end."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pkt_eval._util.progress import minutes
from pkt_eval.report.records import primary_metric
from pkt_eval.suite.plan import Cell
from pkt_eval.suite.record import CellRecord
from pkt_eval.suite.state import ENDED, CellStatus, Statuses

_SCORE = ", score "


class Display:
    """Shows a run as it goes.

    Args:
        cells: Of the run.
        console: Where; a terminal gets a live table.
    """

    def __init__(self, cells: list[Cell], console: Console) -> None:
        self.cells, self.console = cells, console
        self.start = time.monotonic()
        self._said: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, statuses: Statuses) -> None:
        """Draw the statuses, or say what has changed."""
        if self._live:
            self._live.update(progress_table(self.cells, statuses, self._left(statuses)))
            return
        for cell in self.cells:
            status = statuses[cell.name]
            if status.state != "waiting" and self._said.get(cell.name) != status.state:
                self._said[cell.name] = status.state
                self.console.print(f"{cell.name}: {_words(status)}", soft_wrap=True)

    def _left(self, statuses: Statuses) -> str:
        todo = [s for s in (statuses[c.name] for c in self.cells) if s.state != "kept"]
        share = sum(1.0 if s.state in ENDED else s.progress for s in todo) / len(todo) if todo else 1.0
        took = time.monotonic() - self.start
        left = f", about {minutes(took * (1 - share) / share)} left" if 0 < share < 1 else ""
        return f"{minutes(took)}{left}"


def progress_table(cells: Sequence[Cell], statuses: Statuses, caption: str | None = None) -> Table:
    """A row for each cell; of a large suite, what is over is counted and what goes on is shown."""
    ended = [cell for cell in cells if statuses[cell.name].state in ENDED]
    rows = Table(box=None, caption=caption, caption_justify="left")
    for column in ("student", "task", ""):  # folded where they have no room: a name cut short is another student's
        rows.add_column(column, overflow="fold")
    rows.add_column("score", no_wrap=True)
    shown = [c for c in cells if len(cells) <= 40 or statuses[c.name].state not in ENDED][:40]
    for cell in shown:
        status = statuses[cell.name]
        said, _, _ = _words(status).partition(_SCORE)  # which has a column here
        rows.add_row(cell.learner.name, cell.task, said, cell_score_text(status.record))
    if len(shown) < len(cells):
        rows.add_row(f"… {len(cells)} cells, {len(ended)} ended", "", "", "")
    return rows


def done_of_all(statuses: Statuses) -> str:
    """How many cells are done, in words."""
    states = [status.state for status in statuses.values()]
    done, failed = sum(state in ("done", "kept") for state in states), states.count("failed")
    return f"{done} of {len(states)} cells done" + (f", {failed} failed" if failed else "")


def _words(status: CellStatus) -> str:
    match status.state:
        case "running":
            return f"{100 * status.progress:.0f} %" + (f": {status.step}" if status.step else "")
        case "transfer" if status.step:
            return f"transfer: {status.step}"
        case "done":
            return f"done in {minutes(status.seconds)}{_SCORE}{cell_score_text(status.record)}"
        case "kept":
            return f"kept from an earlier run{_SCORE}{cell_score_text(status.record)}"
        case "failed":
            return f"failed: {status.reason}"
    return status.state


def cell_score(record: CellRecord | None, task: str | None = None) -> float | None:
    """A cell's one number in [0, 1]: of its task, or of its only or first entry (a group comes first)."""
    if not record or not record["scores"]:
        return None
    name = task if task and task in record["scores"] else next(iter(record["scores"]))
    values = record["scores"][name]
    metric = primary_metric(name, values)
    return values.get(metric) if metric else None


def cell_score_text(record: CellRecord | None) -> str:
    """The same in per cent."""
    value = cell_score(record)
    return "" if value is None else f"{100 * value:.1f}"


def students_table(cells: list[Cell], statuses: Statuses) -> Table:
    """Students × tasks, mean over seeds; a cell that failed says so."""
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    scores = Table(box=None)
    scores.add_column("student")
    for task in tasks:
        scores.add_column(task, justify="right")
    # With `cross`, students of one method for several benchmarks are rows of their own.
    crossed = any(cell.learner.benchmark not in (None, cell.benchmark) for cell in cells)

    def row(cell: Cell) -> str:
        learner = cell.learner
        return f"{learner.entry} ← {learner.benchmark}" if crossed and learner.benchmark else learner.entry

    for name in dict.fromkeys(row(cell) for cell in cells):
        texts = []
        for task in tasks:
            mine = [(c, statuses[c.name]) for c in cells if row(c) == name and c.task == task]
            values = [v for c, s in mine if (v := cell_score(s.record, c.task)) is not None]
            failed = any(s.state == "failed" for _, s in mine)
            mean = f"{100 * sum(values) / len(values):.1f}" if values else ""
            spread = f" [{100 * min(values):.1f}, {100 * max(values):.1f}]" if len(values) > 1 else ""
            texts.append(f"{mean}{spread}{' failed' if failed else ''}".strip())
        scores.add_row(name, *texts)
    return scores
