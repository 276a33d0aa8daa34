"""From a suite to its cells: one student on one benchmark each, what is equal being there once."""

from dataclasses import dataclass
from typing import Any

from pkt_eval.methods.base import get_method
from pkt_eval.models.source import ModelSource
from pkt_eval.suite.schema import Entry, Suite
from pkt_eval.transfer.recipe import FIELDS, Recipe, make_recipe


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


def learner(suite: Suite, entry: Entry, benchmark: str, seed: int) -> Learner:
    """The student that a method makes for a benchmark; vanilla and teacher are the same for all of them."""
    method = get_method(entry.method)
    learns = "data" in method.uses
    # The chat format is how a student is asked, too.
    wanted = {*method.options(), *(FIELDS if learns else ["chat_format"])}
    taken = {k: v for k, v in suite.options.items() if k in wanted}
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
    found: dict[tuple[str, str], Cell] = {}
    for seed in suite.seeds:
        for benchmark in suite.benchmarks:
            for entry in suite.methods:
                student = learner(suite, entry, benchmark, seed)
                for scored in suite.benchmarks if suite.cross else (benchmark,):
                    cell = Cell(student, scored, suite.task(scored))
                    found.setdefault((student.name, cell.task), cell)
    order = list(dict.fromkeys(cell.learner.name for cell in found.values()))
    return sorted(found.values(), key=lambda c: (c.learner.benchmark is not None, order.index(c.learner.name)))


def learners(of: list[Cell]) -> list[Learner]:
    """The students of cells, each once."""
    return list({cell.learner.name: cell.learner for cell in of}.values())
