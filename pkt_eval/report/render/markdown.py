"""The leaderboard as Markdown: for each pair a table of all benchmarks, and one of each with everything known."""

from collections.abc import Sequence

from pkt_eval._util.text import in_markdown
from pkt_eval.report.board import BoardCell, Group, Leaderboard, Shown, Table
from pkt_eval.report.board.columns import columns, legend
from pkt_eval.report.board.wording import harmless
from pkt_eval.report.render.links import link
from pkt_eval.report.render.registry import Content, output


@output("leaderboard.md", "Markdown", place=2)
def markdown(content: Content) -> str:
    """The whole document."""
    board = content.board
    parts = ["# Leaderboard", *legend(board)]
    for group in board.groups:
        parts += [f"## {escape_markdown(group.title)}", overview(group, board)]
        for benchmark in group.benchmarks:
            parts += [f"### {escape_markdown(benchmark)}", _details(group, benchmark, board)]
    if board.notes:
        parts += ["## Notes", "\n".join(f"- {escape_markdown(note)}" for note in board.notes)]
    return "\n\n".join(parts) + "\n"


def overview(group: Group, board: Leaderboard) -> str:
    """Students × benchmarks: score, and in parentheses the difference to vanilla."""
    lines = []
    for row in group.rows:
        cells = [row.cells.get(benchmark) for benchmark in group.benchmarks]
        lines.append(
            [
                escape_markdown(row.label),
                escape_markdown(row.paradigm),
                *(_short(cell, board) if cell else "" for cell in cells),
            ]
        )
    return _table(["student", "paradigm", *map(escape_markdown, group.benchmarks)], lines, left=2)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a table too: labels and paths are not ours."""
    return in_markdown(harmless(text))


def _short(cell: BoardCell, board: Leaderboard) -> str:
    first, *others = [_bold(column.shown(cell)) for column in columns(Table.OVERVIEW, board)]
    return " ".join([first, *(f"({other})" for other in others if other)])


def _details(group: Group, benchmark: str, board: Leaderboard) -> str:
    here = columns(Table.DETAILS, board)
    lines = []
    for row in group.rows:
        if cell := row.cells.get(benchmark):
            numbers = [_with_interval(column.shown(cell)) for column in here]
            lines.append([escape_markdown(row.label), *numbers, _links(cell)])
    return _table(["student", *(escape_markdown(column.head) for column in here), "from"], lines, left=1)


def _bold(shown: Shown) -> str:
    return f"**{shown.text}**" if shown.style else shown.text


def _with_interval(shown: Shown) -> str:
    return " ".join(filter(None, (_bold(shown), shown.interval, shown.on)))


def _links(cell: BoardCell) -> str:
    """A link to each record, called by its seed."""
    named = [("run" if s.seed is None else f"seed {s.seed}", link(s.results)) for s in cell.sources]
    return ", ".join(f"[{name}]({path})" for name, path in named)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])
