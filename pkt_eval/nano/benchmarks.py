"""The four nano benchmarks: rows with exactly the columns of the hub's datasets, made on the spot.

Which split a row may be in follows from its content (``dice.fold``), so splits are disjoint by
construction; folds that no split uses feed pretraining (``stream``), so no benchmark row, not even of
a ``train`` split, has been seen by the embedded models.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial

from pkt_eval._util import sources
from pkt_eval._util.remembered import remembered_text
from pkt_eval.errors import DataError
from pkt_eval.nano import coding, stories, world
from pkt_eval.nano.dice import FOLDS, Dice, fold
from pkt_eval.nano.rows import Row

FOLDS_OF = {
    "test": (0, 1),
    "validation": (2,),
    "dev": (3,),
    "prompt": (3,),
    "train": (4, 5, 6),
    "pretrain": tuple(range(7, FOLDS)),
}
"""Split -> the folds of content it may draw from; dev and prompt are two benchmarks' names for one idea."""


@dataclass(frozen=True)
class Maker:
    """How the rows of one benchmark are made.

    Attributes:
        source: Dice -> endless stream of rows.
        key: row -> what identifies its content.
        sizes: split -> number of rows.
        task_id: column value of the i-th row of a split, where the dataset has that column.
        pretraining: The stream of rows that the models learn from, where it is another.
        asks: Whether ``source`` takes which keys are wanted, since a row costs more than its key.
    """

    source: Callable[..., Iterator[Row]]
    key: Callable[[Row], str]
    sizes: dict[str, int]
    task_id: dict[str, Callable[[int], str | int]] = field(default_factory=dict)
    pretraining: Callable[[Dice], Iterator[Row]] | None = None
    asks: bool = False


MAKERS = {
    "mmlu": Maker(
        world.questions,
        world.question_key,
        {"dev": 25, "validation": 100, "test": 400, "train": 1200},
        pretraining=partial(world.questions, uniform=False),
    ),
    "gsm8k": Maker(stories.problems, stories.story_key, {"train": 2000, "test": 400}),
    "humaneval": Maker(
        coding.humaneval,
        coding.humaneval_key,
        {"test": 400, "train": 800},
        {"test": lambda i: f"HumanEval/{i}", "train": lambda i: f"HumanEval/train/{i}"},
        asks=True,
    ),
    "mbpp": Maker(
        coding.mbpp,
        coding.mbpp_key,
        {"prompt": 10, "train": 600, "validation": 90, "test": 400},
        # MBPP numbers its rows through: 1-10 prompt, then test, validation, train.
        {
            "prompt": lambda i: 1 + i,
            "test": lambda i: 11 + i,
            "validation": lambda i: 411 + i,
            "train": lambda i: 501 + i,
        },
        asks=True,
    ),
}


def _belongs(benchmark: Maker, row: Row, split: str) -> bool:
    return fold(benchmark.key(row)) in FOLDS_OF[split]


@cache
def _rows(name: str, split: str) -> tuple[Row, ...]:
    """A split's rows, from the store if they were made before: with all their programs run, that takes a second."""
    decided_by = {"name": name, "split": split, "code": sources.digest(("nano",))}
    return tuple(json.loads(remembered_text("nano", decided_by, lambda: json.dumps(_make(name, split)))))


def _make(name: str, split: str) -> list[Row]:
    benchmark, made = MAKERS[name], dict[str, Row]()
    number = benchmark.task_id.get(split)
    wanted = {"wanted": lambda key: fold(key) in FOLDS_OF[split] and key not in made} if benchmark.asks else {}
    source = benchmark.source(Dice(f"{name}/{split}"), **wanted)
    # mmlu's subjects take equal parts of a split, as its source offers them in turn and this quota holds.
    quota = benchmark.sizes[split] // len(world.WORLD_SUBJECTS)
    taken = dict.fromkeys((s.name for s in world.WORLD_SUBJECTS), 0)
    while len(made) < benchmark.sizes[split]:
        row = next(source)
        key, subject = benchmark.key(row), row.get("subject")
        if key in made or not _belongs(benchmark, row, split) or (subject and taken[subject] == quota):
            continue
        made[key] = {"task_id": number(len(made)), **row} if number else row
        if subject:
            taken[subject] += 1
    return list(made.values())


def rows(name: str, split: str) -> list[Row]:
    """The rows of a split of a nano benchmark, the same on every machine and Python version.

    Args:
        name: ``mmlu``, ``gsm8k``, ``humaneval`` or ``mbpp``.
        split: a split of it; every benchmark has ``train`` (for transfers) and ``test``.

    Returns:
        Fresh shallow copies of the rows, with the columns of the hub's dataset of that name.

    Raises:
        DataError: there is no such benchmark or split; the message lists those that exist.
    """
    if name not in MAKERS:
        raise DataError(f"no nano benchmark {name!r}; there are {', '.join(MAKERS)}")
    if split not in MAKERS[name].sizes:
        raise DataError(f"nano {name} has no split {split!r}; there are {', '.join(MAKERS[name].sizes)}")
    return [dict(row) for row in _rows(name, split)]


def stream(name: str, seed: int | str) -> Iterator[Row]:
    """An endless stream of rows for pretraining, none of them in any split of the benchmark.

    Args:
        name: a key of ``MAKERS``.
        seed: another seed, another stream.

    Yields:
        Rows without ``task_id``.
    """
    benchmark, dice = MAKERS[name], Dice(f"{name}/pretrain/{seed}")
    return (row for row in (benchmark.pretraining or benchmark.source)(dice) if _belongs(benchmark, row, "pretrain"))
