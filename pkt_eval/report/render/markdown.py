"""The leaderboard as Markdown: for each pair a table of all benchmarks, and one of each with everything known."""

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from pkt_eval.report.board.leaderboard import Cell, Difference, Group, Leaderboard
from pkt_eval.report.render import wording

_HEAD = ("student", "score", "Δ vanilla", "Δ LoRA", "gap", "seeds", "records", "steps", "time", "memory", "detectable")


def markdown(board: Leaderboard) -> str:
    """The whole document."""
    parts = ["# Leaderboard", *wording.legend(board)]
    for group in board.groups:
        parts += [f"## {escape(group.title)}", overview(group)]
        for benchmark in group.benchmarks:
            parts += [f"### {escape(benchmark)}", _details(group, benchmark)]
    if board.notes:
        parts += ["## Notes", "\n".join(f"- {escape(note)}" for note in board.notes)]
    return "\n\n".join(parts) + "\n"


def overview(group: Group) -> str:
    """Students × benchmarks: score, and in parentheses the difference to vanilla."""
    lines = []
    for row in group.rows:
        cells = [row.cells.get(benchmark) for benchmark in group.benchmarks]
        lines.append([escape(row.label), row.paradigm, *(_short(cell) if cell else "" for cell in cells)])
    return _table(["student", "paradigm", *map(escape, group.benchmarks)], lines, left=2)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table too: labels and paths are not ours."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _short(cell: Cell) -> str:
    return f"{wording.score(cell)} ({_bold(cell.vanilla)})" if cell.vanilla else wording.score(cell)


def _details(group: Group, benchmark: str) -> str:
    lines = []
    for row in group.rows:
        if cell := row.cells.get(benchmark):
            numbers = [
                f"{wording.score(cell)} {wording.ends(cell.low, cell.high)}".strip(),
                _with_ends(cell.vanilla, cell),
                _with_ends(cell.lora, cell),
                wording.gap(cell),
                wording.seeds(cell),
                *wording.budget(cell),
                wording.detectable(cell.vanilla),
            ]
            lines.append([escape(row.label), *numbers, _links(cell)])
    return _table([*_HEAD, "from"], lines, left=1)


def _bold(of: Difference | None, write: Callable[[Difference], str] = wording.difference) -> str:
    if of is None:
        return ""
    return f"**{write(of)}**" if of.significant else write(of)


def _with_ends(of: Difference | None, cell: Cell) -> str:
    return " ".join(filter(None, (_bold(of), wording.difference_ends(of), wording.on(of, cell))))


def _links(cell: Cell) -> str:
    """A link to each record, called by its seed."""
    named = [("run" if s.seed is None else f"seed {s.seed}", quote(s.results, safe="/")) for s in cell.sources]
    return ", ".join(f"[{name}]({path})" for name, path in named)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])
