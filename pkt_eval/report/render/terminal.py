"""The leaderboard on a terminal: each benchmark with its intervals, which stand below the numbers on a narrow one.

What does not fit beside the students' names even so is left out and named: a clipped figure could be taken for one.
"""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from pkt_eval.report.board import Group, Leaderboard, Shown, Table
from pkt_eval.report.board.column import Column
from pkt_eval.report.board.columns import columns, legend
from pkt_eval.report.printing import line

_WIDE = 120
"""Columns from which an interval stands beside its number."""
_NAMES = 14
"""Columns that names have at least; what is longer is folded."""
_FIRST = ("score", "chosen", "vanilla", "control", "lora")
"""The columns that stay longest, by id; the others go from the right."""
_STYLES = {"gain": "bold green", "loss": "bold red", "": ""}


def print_board(board: Leaderboard, console: Console) -> None:
    """Print it."""
    for group in board.groups:
        for benchmark in group.benchmarks:
            for part in _table(group, benchmark, board, console.width):
                console.print(part)
            console.print()
    for said in [*legend(board, Table.TERMINAL), *board.notes]:
        console.print(line(said), style="dim")


def _table(group: Group, benchmark: str, board: Leaderboard, width: int) -> list[RichTable | Text]:
    """A benchmark, and a line on the columns that have no room."""
    table = RichTable(box=None, title=line(f"{group.title}: {benchmark}", "bold"), title_justify="left")
    table.add_column("student", min_width=12, overflow="fold")
    rows = [(row.label, cell) for row in group.rows if (cell := row.cells.get(benchmark))]
    every = columns(Table.TERMINAL, board)
    texts = {column.id: [_cell(column.shown(cell), width >= _WIDE) for _, cell in rows] for column in every}
    shown = _fitting(every, texts, width)
    for column in shown:
        table.add_column(column.head, justify="right", no_wrap=True)
    for place, (label, _) in enumerate(rows):
        table.add_row(line(label), *(texts[column.id][place] for column in shown))
    if not (absent := [column.head for column in every if column not in shown]):
        return [table]
    verb = "is" if len(absent) == 1 else "are"
    return [table, Text(f"{', '.join(absent)} {verb} in a wider terminal, and in the files.", "dim")]


def _fitting(every: Sequence[Column], texts: dict[str, list[Text]], width: int) -> list[Column]:
    """The columns that have room beside the names, in their order."""

    def wide(column: Column) -> int:
        lines = [part for text in texts[column.id] for part in text.plain.split("\n")]
        return 2 + max(map(cell_len, [column.head, *lines]))

    left, kept = width - _NAMES, set[str]()
    for column in sorted(every, key=lambda one: _FIRST.index(one.id) if one.id in _FIRST else len(_FIRST)):
        if (left := left - wide(column)) < 0 and kept:
            break
        kept.add(column.id)
    return [column for column in every if column.id in kept]


def _cell(shown: Shown, wide: bool) -> Text:
    """An interval behind a number, in columns of their own width: the numbers stand below each other."""
    text = shown.text if wide else shown.text.replace(" [", "\n[")
    number = Text(text, _STYLES[shown.style])
    if not shown.interval:
        return number
    on = f" {shown.on}" if shown.on else ""
    return number + (Text(f"{shown.interval:>16}{on}", "dim") if wide else Text(f"{on}\n{shown.interval}", "dim"))
