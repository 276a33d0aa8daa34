"""What a suite's run says to a tracker (``--log``): each student's curves as they grow, and its cells as they end."""

from collections.abc import Mapping, Sequence

from pkt_eval._util.logs import Log
from pkt_eval.suite.plan import Cell, Learner, learners
from pkt_eval.suite.show import cell_score
from pkt_eval.suite.state import ENDED, RunState, Statuses


def configs(cells: Sequence[Cell]) -> dict[str, dict[str, object]]:
    """Student → what is to be known of it: the words of its recipe, and its method's options."""
    return {student.name: _config(student) for student in learners(cells)}


def _config(student: Learner) -> dict[str, object]:
    recipe = student.recipe.model_dump(mode="json", exclude_none=True)
    return {"student": student.entry, "benchmark": student.benchmark, **recipe}


class Logged:
    """Tells a log what the state of a run says.

    Args:
        log: Where to.
        cells: Of the run.
    """

    def __init__(self, log: Log, cells: Sequence[Cell]) -> None:
        self._log, self._cells = log, cells
        self._told: set[str] = set()

    def watch(self, state: RunState) -> None:
        """Tell it from now on."""
        state.watch(self.show)
        state.follow(self.measured)

    def measured(self, student: str, curve: str, step: int, numbers: Mapping[str, float]) -> None:
        """What a transfer has measured."""
        self._log.step(student, curve, step, numbers)

    def show(self, statuses: Statuses) -> None:
        """What has ended since the last call."""
        new = [c for c in self._cells if c.name not in self._told and statuses[c.name].state in ENDED]
        for cell in new:
            self._told.add(cell.name)
            if record := statuses[cell.name].record:
                score = cell_score(record, cell.task)
                numbers = {"seconds": record["seconds"]} | ({} if score is None else {"score": score})
                self._log.cell(cell.learner.name, cell.task, numbers)
        for student in {cell.learner.name for cell in new}:
            if all(cell.name in self._told for cell in self._cells if cell.learner.name == student):
                self._log.end(student)
