"""The leaderboard on a terminal: each benchmark with its intervals, which stand below the numbers on a narrow one."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from pkt_eval.report.board import Group, Leaderboard, Shown, Table
from pkt_eval.report.board.columns import columns, legend
from pkt_eval.report.printing import line

_WIDE = 120
"""Columns from which an interval stands beside its number."""
_STYLES = {"gain": "bold green", "loss": "bold red", "": ""}


def print_board(board: Leaderboard, console: Console) -> None:
    """Print it."""
    for group in board.groups:
        for benchmark in group.benchmarks:
            console.print(_table(group, benchmark, board, console.width >= _WIDE))
            console.print()
    for said in [*legend(board, Table.TERMINAL), *board.notes]:
        console.print(line(said), style="dim")


def _table(group: Group, benchmark: str, board: Leaderboard, wide: bool) -> RichTable:
    table = RichTable(box=None, title=line(f"{group.title}: {benchmark}", "bold"), title_justify="left")
    table.add_column("student", min_width=12, overflow="fold")
    here = columns(Table.TERMINAL, board)
    for column in here:
        table.add_column(column.head, justify="right", no_wrap=True)
    for row in group.rows:
        if cell := row.cells.get(benchmark):
            table.add_row(line(row.label), *(_cell(column.shown(cell), wide) for column in here))
    return table


def _cell(shown: Shown, wide: bool) -> Text:
    """An interval behind a number, in columns of their own width: the numbers stand below each other."""
    text = shown.text if wide else shown.text.replace(" [", "\n[")
    number = Text(text, _STYLES[shown.style])
    if not shown.interval:
        return number
    on = f" {shown.on}" if shown.on else ""
    return number + (Text(f"{shown.interval:>16}{on}", "dim") if wide else Text(f"{on}\n{shown.interval}", "dim"))
