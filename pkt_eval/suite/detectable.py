"""What a suite can show: for each benchmark the smallest difference that would be seen four times in five.

At the level that the table of its students will ask, by the function that the report has too. How many answers of two
students differ is counted in records where there are any, in the suite's own folder or elsewhere, and else assumed; how
much seeds scatter is assumed. Both are said.
"""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from pkt_eval._util import sources
from pkt_eval._util.remembered import remembered_text
from pkt_eval.data.benchmarks import benchmark, benchmark_of_task
from pkt_eval.data.sources import load_rows
from pkt_eval.errors import MissingDataError
from pkt_eval.suite.plan import Cell
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.state import RunState

if TYPE_CHECKING:  # records are read where there are any
    from pkt_eval.report.records import Record

SPREAD = 0.02
"""Assumed standard deviation between the scores of a method's seeds."""
_MOST = 12
"""Finished cells of a benchmark whose answers are read: more say no more, and a plan is made in seconds."""


@dataclass(frozen=True)
class Discordance:
    """How many answers of two students differ on a benchmark.

    Attributes:
        share: Of the items, in [0, 1]: a mean over pairs of students.
        pairs: In how many pairs it was counted; 0 where it is assumed.
    """

    share: float
    pairs: int = 0


def suite_comparisons(cells: Sequence[Cell]) -> int:
    """Differences that the leaderboard of a suite corrects for: of each transfer to vanilla, and to LoRA."""
    methods = {cell.learner.recipe.method for cell in cells}
    rows = {
        (cell.learner.entry, cell.learner.benchmark, cell.task, cell.learner.recipe.method)
        for cell in cells
        if cell.learner.benchmark
    }
    return sum(("vanilla" in methods) + ("lora" in methods and method != "lora") for *_, method in rows)


def items(suite: Suite, name: str) -> int:
    """How many items of a benchmark a suite asks.

    Raises:
        MissingDataError: Its test rows are not there.
    """
    rows, limit = load_rows(name, "test"), suite.items(name)
    if suite.protocol == "upstream" and "subject" in rows[0] and limit:  # a task for each subject
        return sum(min(limit, count) for count in Counter(row["subject"] for row in rows).values())
    return min(limit or len(rows), len(rows))


def finished_folders(out: Path, cells: Sequence[Cell], state: RunState) -> list[Path]:
    """Folders of finished cells whose answers say how much students differ: of each benchmark the first few."""
    finished = [cell for cell in cells if state[cell].record]
    by_benchmark: dict[str, list[Cell]] = {}
    for cell in finished:
        by_benchmark.setdefault(cell.benchmark, []).append(cell)
    return [out / cell.name for of_one in by_benchmark.values() for cell in of_one[:_MOST]]


def counted_discordance(folders: Sequence[Path]) -> dict[str, Discordance]:
    """Benchmark → how many answers differ, between each transferred student and its vanilla and its LoRA.

    Args:
        folders: As ``records.read`` takes them; none is no record.

    Raises:
        MissingDataError: One is not there, or holds no results.
        DataError: A file is damaged, or not lm-eval's.
    """
    if not folders:
        return {}
    from pkt_eval.report.records import NotComparableError, join, read, side_by_side

    shares: dict[str, list[float]] = {}
    for a, b in _pairs(join(read(folders)[0])):
        asked = benchmark_of_task(a.benchmark)
        try:
            x, y = side_by_side([a, b]).scores
        except NotComparableError:
            continue
        shares.setdefault(asked.name if asked else a.benchmark, []).append(float(((x - y) ** 2).mean()))
    return {name: Discordance(fmean(found), len(found)) for name, found in shares.items()}


def _pairs(records: Sequence["Record"]) -> Iterator[tuple["Record", "Record"]]:
    for a in records:
        if a.student.transfer_task is None:
            continue
        for b in records:
            of_one = a.benchmark == b.benchmark and a.student.base.same(b.student.base)
            alike = (a.student.transfer_task, a.student.seed) == (b.student.transfer_task, b.student.seed)
            lora = b.student.method == "lora" and a.student.method != "lora" and alike
            if of_one and (b.student.method == "vanilla" or lora):
                yield a, b


def can_show(suite: Suite, cells: Sequence[Cell], counted: Mapping[str, Discordance]) -> list[str]:
    """The smallest differences, a line for each benchmark, under a line that says at which level.

    Args:
        suite: What is compared.
        cells: Of the suite.
        counted: Benchmark → how many answers differ, where that is known.
    """
    if not (family := suite_comparisons(cells)):
        return []
    asked: dict[str, tuple[int, Discordance]] = {}
    for name in dict.fromkeys(cell.benchmark for cell in cells):
        try:
            asked[name] = items(suite, name), counted.get(name) or Discordance(benchmark(name).discordance)
        except MissingDataError:  # its cells say so
            continue
    if not asked:
        return []
    seeds = len(suite.seeds)
    level, smallest = _smallest(family, [(n, of.share) for n, of in asked.values()], seeds)
    spread = f" and {seeds} seeds whose scores scatter by {100 * SPREAD:.0f} points (assumed)" if seeds > 1 else ""
    lines = [f"Seen four times in five among {family} comparisons (p ≤ {level:.2g}){spread}:"]
    for (name, (n, of)), difference in zip(asked.items(), smallest, strict=True):
        points = "none" if isinf(difference) else f"{100 * difference:.1f} points"
        whence = f"as in {of.pairs} pair{'s' * (of.pairs > 1)} of students" if of.pairs else "which is assumed"
        lines.append(f"  {name}: {points}, with {n} items if {100 * of.share:.0f} % of the answers differ, {whence}")
    return lines


def _smallest(family: int, asked: Sequence[tuple[int, float]], seeds: int) -> tuple[float, list[float]]:
    """The level of a table and, for items and shares that differ, the differences that it shows.

    Remembered: what computes them takes a second to import.
    """

    def compute() -> str:
        from pkt_eval.report.stats import Correction
        from pkt_eval.report.stats.detectable import detectable_difference

        level = Correction.BH.level(family)
        return json.dumps([level, [detectable_difference(n, x, seeds, SPREAD, alpha=level) for n, x in asked]])

    decided_by = {
        "asked": asked,
        "family": family,
        "seeds": [seeds, SPREAD],
        "scipy": importlib.metadata.version("scipy"),
        "code": sources.digest(("report/stats",)),
    }
    level, smallest = json.loads(remembered_text("detectable", decided_by, compute))
    return level, smallest
