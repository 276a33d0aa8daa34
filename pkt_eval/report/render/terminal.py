"""The leaderboard on a terminal: each benchmark with its intervals."""

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from pkt_eval.report.board import Group, Leaderboard, Shown, Table
from pkt_eval.report.board.columns import columns, legend
from pkt_eval.report.printing import line

_STYLES = {"gain": "bold green", "loss": "bold red", "": ""}


def print_board(board: Leaderboard, console: Console) -> None:
    """Print it."""
    for group in board.groups:
        for benchmark in group.benchmarks:
            console.print(_table(group, benchmark))
            console.print()
    for said in [*legend(board, Table.TERMINAL), *board.notes]:
        console.print(line(said), style="dim", soft_wrap=True)


def _table(group: Group, benchmark: str) -> RichTable:
    table = RichTable(box=None, title=line(f"{group.title}: {benchmark}", "bold"), title_justify="left")
    table.add_column("student", min_width=12, overflow="fold")
    for column in columns(Table.TERMINAL):
        table.add_column(column.head, justify="right", no_wrap=True)
    for row in group.rows:
        if cell := row.cells.get(benchmark):
            table.add_row(line(row.label), *(_cell(column.shown(cell)) for column in columns(Table.TERMINAL)))
    return table


def _cell(shown: Shown) -> Text:
    """An interval behind a number, in columns of their own width: the numbers stand below each other."""
    number = Text(shown.text, _STYLES[shown.style])
    on = f" {shown.on}" if shown.on else ""
    return number + Text(f"{shown.interval:>16}{on}", "dim") if shown.interval else number
