"""From a suite to its cells: one student on one benchmark each, what is equal being there once."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import get_method
from pkt_eval.models.source import ModelSource
from pkt_eval.suite.rows import Entry
from pkt_eval.suite.schema import BatchSize, Suite
from pkt_eval.transfer.recipe import Recipe, make_recipe
from pkt_eval.transfer.words import ASKED, FIELDS


@dataclass(frozen=True)
class Learner:
    """One student of a suite.

    Attributes:
        name: Unique in the suite and a good name for a folder, e.g. ``seeking/gsm8k/seed0``.
        entry: The method's name in the suite.
        benchmark: What is transferred; None where nothing is learnt.
        seed: None where nothing is random.
        recipe: How it is made.
    """

    name: str
    entry: str
    benchmark: str | None
    seed: int | None
    recipe: Recipe

    @property
    def label(self) -> str | None:
        """What the suite calls its row, where that is a name of its own."""
        return None if self.entry == self.recipe.method else self.entry

    @property
    def base(self) -> ModelSource:
        """The model that its edits are for."""
        return self.recipe.base_source


@dataclass(frozen=True)
class Cell:
    """One student on one benchmark."""

    learner: Learner
    benchmark: str
    task: str

    @property
    def name(self) -> str:
        """Folder of the cell, relative to the suite's."""
        return f"{self.learner.name}/{self.task}"


_HARMLESS = ("consent",)
"""What of ``Asked`` decides no answer; what is not named here counts."""


@dataclass(frozen=True)
class Asked:
    """How a cell is asked.

    Attributes:
        limit: Items a task; None for all.
        batch_size: Items that are asked at once.
        chat: In the chat format.
        consent: lm-eval's ``confirm_run_unsafe_code``.
    """

    limit: int | None
    batch_size: BatchSize
    chat: bool
    consent: bool

    @classmethod
    def of(cls, suite: Suite, benchmark: str) -> "Asked":
        """How a suite asks a benchmark."""
        return cls(suite.items(benchmark), suite.batch(benchmark), suite.chat, suite.confirm_run_unsafe_code)

    @property
    def identity(self) -> dict[str, Any]:
        """The part of it that decides answers."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _HARMLESS}


_RATE = "learning_rate"


def learner(suite: Suite, entry: Entry, benchmark: str, seed: int) -> Learner:
    """The student that a method makes for a benchmark; vanilla and teacher are the same for all of them."""
    method = get_method(entry.method)
    learns = "data" in method.uses
    wanted = {*method.options(), *(FIELDS if learns else ASKED)}
    taken = {k: v for k, v in suite.options.items() if k in wanted}
    if suite.tuned and _RATE in method.options():
        taken[_RATE] = "auto"
    arguments: dict[str, Any] = {**taken, **entry.options, "method": entry.method}
    arguments |= {"pretrained": suite.student, "teacher": suite.teacher}
    if not learns:
        return Learner(entry.name, entry.name, None, None, make_recipe(arguments))
    recipe = make_recipe({**arguments, "transfer_task": benchmark, "seed": seed})
    return Learner(f"{entry.name}/{benchmark}/seed{seed}", entry.name, benchmark, seed, recipe)


def cells(suite: Suite) -> list[Cell]:
    """The cells in the order in which they are run: those of one student together, cheap students first.

    Raises:
        ConfigError: A method's option is wrong; says which.
    """
    unique: dict[tuple[str, str], Cell] = {}
    for seed in suite.seeds:
        for benchmark in suite.benchmarks:
            for entry in suite.methods:
                student = learner(suite, entry, benchmark, seed)
                for scored in suite.benchmarks if suite.cross else (benchmark,):
                    cell = Cell(student, scored, suite.task(scored))
                    unique.setdefault((student.name, cell.task), cell)
    order = {name: place for place, name in enumerate(dict.fromkeys(c.learner.name for c in unique.values()))}
    return sorted(unique.values(), key=lambda c: (c.learner.benchmark is not None, order[c.learner.name]))


def select(of: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells of some methods, benchmarks or students; of all, if nothing is named.

    Args:
        of: All cells.
        only: Names, as a suite's file gives them or a table shows them. Of a method and a benchmark, the cells that
            are of both; of two methods, those of either.

    Raises:
        ConfigError: A name is none of these; says which are.
    """
    kinds = [
        {cell.name: {cell.learner.entry} for cell in of},
        {cell.name: {cell.benchmark, cell.task} for cell in of},
        {cell.name: {cell.learner.name, cell.name} for cell in of},
    ]
    # vanilla is the name of a method and of its one student: the first kind that knows a name has it.
    taken: dict[int, set[str]] = {}
    for name in only:
        place = next((i for i, names in enumerate(kinds) if any(name in of_cell for of_cell in names.values())), None)
        if place is None:
            known = sorted(set().union(*kinds[0].values(), *kinds[1].values()))
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"--only {name}: no method, benchmark or student of the suite is called so"
                + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}")
            )
        taken.setdefault(place, set()).add(name)
    return [cell for cell in of if all(kinds[place][cell.name] & names for place, names in taken.items())]


def learners(of: Sequence[Cell]) -> list[Learner]:
    """The students of cells, each once."""
    return list({cell.learner.name: cell.learner for cell in of}.values())
