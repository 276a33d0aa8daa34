"""What a suite can show: for each benchmark the smallest difference that would be seen four times in five.

At the level that the table of its students will ask, by the function that the report has too. Nothing is measured
here: how much students differ is assumed, and said.
"""

from collections import Counter
from collections.abc import Sequence
from math import isinf

from pkt_eval.data.benchmarks import benchmark
from pkt_eval.data.sources import load_rows
from pkt_eval.errors import MissingDataError
from pkt_eval.suite.plan import Cell
from pkt_eval.suite.schema import Suite

SPREAD = 0.02
"""Assumed standard deviation between the scores of a method's seeds."""


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


def can_show(suite: Suite, cells: Sequence[Cell]) -> list[str]:
    """The smallest differences, a line for each benchmark, under a line that says what was assumed."""
    if not (family := suite_comparisons(cells)):
        return []
    from pkt_eval.report.stats import Correction
    from pkt_eval.report.stats.detectable import detectable_difference

    level, seeds = Correction.BH.level(family), len(suite.seeds)
    lines = []
    for name in dict.fromkeys(cell.benchmark for cell in cells):
        row = benchmark(name)
        try:
            n = items(suite, name)
        except MissingDataError:  # its cells say so
            continue
        smallest = detectable_difference(n, row.discordance, seeds, SPREAD, alpha=level)
        points = "none" if isinf(smallest) else f"{100 * smallest:.1f} points"
        lines.append(f"  {name}: {points}, with {n} items if {100 * row.discordance:.0f} % of the answers differ")
    spread = f" and {seeds} seeds whose scores scatter by {100 * SPREAD:.0f} points" if seeds > 1 else ""
    head = f"Seen four times in five among {family} comparisons (p ≤ {level:.2g}){spread}, all assumed:"
    return [head, *lines] if lines else []
