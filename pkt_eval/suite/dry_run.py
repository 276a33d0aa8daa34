"""What a suite would do, how long that would take and what it could show, without doing any of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pkt_eval.data.decontaminate import contamination_warning
from pkt_eval.models.student import MANIFEST
from pkt_eval.suite.detectable import can_show, counted_discordance, finished_folders
from pkt_eval.suite.estimate import estimate
from pkt_eval.suite.plan import Cell, Learner, learners
from pkt_eval.suite.work import Work
from pkt_eval.transfer.store import Store

_ROWS = 60
"""Rows of the table that are shown of a large suite."""
_REASONS = 10
_WIDTH = 80


def show_plan(planned: Work, to: Console, records: Sequence[Path] = (), *, measured: bool = False) -> bool:
    """Print the plan.

    Args:
        planned: The suite in its folder.
        to: Where.
        records: Folders of records that say how many answers of two students differ, besides the suite's own.
        measured: Measure first what the store has no times of.

    Returns:
        Whether every cell can be done.
    """
    planned.mark_finished(planned.cells)
    left = planned.state.waiting(planned.cells)
    students = learners(planned.cells)
    there = {
        student.name
        for student in learners(left)
        if student.benchmark is None
        or (Store().path(planned.identities.transfer(student).fingerprint) / MANIFEST).exists()
    }
    to_make = [student for student in learners(left) if student.name not in there]
    if measured:
        from pkt_eval.suite.measure import measure_work

        measure_work(planned.identities, left, to_make, to)
    to.print(_table(planned, {student.name for student in to_make}), width=_WIDTH)
    bases = len({s.base for s in students})
    to.print(
        f"\n{_count(planned.cells, 'cell')}, {len(left)} of them to do, of {_count(students, 'student')}, "
        f"{len(to_make)} of them to be made, on {bases} loaded model{'s' * (bases > 1)}; results in {planned.out}/",
        soft_wrap=True,
    )
    to.print(estimate(left, to_make, planned.identities, measured=measured), soft_wrap=True)
    counted = counted_discordance([*finished_folders(planned.out, planned.cells, planned.state), *records])
    for line in can_show(planned.suite, planned.cells, counted):
        to.print(line, soft_wrap=True)
    for line in _contamination(planned, to_make):
        to.print(line, style="yellow", soft_wrap=True)
    if lacking := planned.suite.lacks_consent:
        to.print(f"To run it, consent is needed: {lacking}", style="yellow", soft_wrap=True)
    return _show_failures(planned, to)


def _count(of: Sequence[object], what: str) -> str:
    return f"{len(of)} {what}{'s' * (len(of) != 1)}"


def _contamination(planned: Work, to_make: Sequence[Learner]) -> Iterator[str]:
    """What of each test set its first student to be made would learn from."""
    first: dict[str | None, Learner] = {}
    for student in to_make:
        first.setdefault(student.benchmark, student)
    for student in first.values():
        splits = planned.identities.transfer(student).splits
        if splits and not student.recipe.decontaminate:
            if said := contamination_warning(splits, data_dir=student.recipe.data_dir):
                yield said


def _table(planned: Work, to_make: set[str]) -> Table:
    """A row for each method and task, whatever the number of seeds."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in planned.cells:
        learner = cell.learner
        crossed = learner.benchmark not in (None, cell.benchmark)
        groups.setdefault((learner.entry, f" ← {learner.benchmark}" if crossed else "", cell.task), []).append(cell)
    table = Table(box=None)
    for column in ("student", "task", "cells", "state"):
        table.add_column(column, overflow="fold", justify="right" if column == "cells" else "left")
    for (entry, of, task), cells in list(groups.items())[:_ROWS]:
        states = Counter(_state(planned, cell, to_make) for cell in cells)
        said = next(iter(states)) if len(states) == 1 else ", ".join(f"{n} {state}" for state, n in states.items())
        table.add_row(entry + of, task, str(len(cells)), said)
    if len(groups) > _ROWS:
        table.add_row(f"… {len(groups) - _ROWS} more rows", "", "", "")
    return table


def _state(planned: Work, cell: Cell, to_make: set[str]) -> str:
    state = planned.state[cell].state
    if state == "waiting":
        return "to do, student to make" if cell.learner.name in to_make else "to do"
    return {"kept": "finished", "failed": "cannot be done"}.get(state, state)


def _show_failures(planned: Work, to: Console) -> bool:
    """Why cells cannot be done, each reason once; returns whether all can be."""
    reasons: dict[str, list[Cell]] = {}
    for cell in planned.cells:
        if planned.state[cell].state == "failed":
            reasons.setdefault(planned.state[cell].reason, []).append(cell)
    for reason, cells in list(reasons.items())[:_REASONS]:
        to.print(f"cannot be done: {_named(cells)}: {reason}", style="red", soft_wrap=True)
    if len(reasons) > _REASONS:
        to.print(f"… and for {len(reasons) - _REASONS} other reasons", style="red")
    return not reasons


def _named(cells: Sequence[Cell]) -> str:
    return cells[0].name + (f" and {len(cells) - 1} more" if len(cells) > 1 else "")
