"""The leaderboard on a terminal: the overview of each pair, and each benchmark with its intervals."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pkt_eval.report.board.leaderboard import Difference, Group, Leaderboard
from pkt_eval.report.render import wording


def show(board: Leaderboard, console: Console) -> None:
    """Print it."""
    for group in board.groups:
        for benchmark in group.benchmarks:
            console.print(_table(group, benchmark))
            console.print()
    for line in [*wording.legend(board)[1:3], *board.notes]:
        console.print(Text(line), style="dim", soft_wrap=True)


def _table(group: Group, benchmark: str) -> Table:
    table = Table(box=None, title=Text(f"{group.title}: {benchmark}", style="bold"), title_justify="left")
    table.add_column("student", min_width=12, overflow="fold")
    for name in ("score", "Δ vanilla", "Δ LoRA", "gap", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in group.rows:
        if cell := row.cells.get(benchmark):
            table.add_row(
                Text(row.label),
                _with(Text(wording.score(cell)), wording.ends(cell.low, cell.high)),
                _with(_bold(cell.vanilla), wording.difference_ends(cell.vanilla), wording.on(cell.vanilla, cell)),
                _with(_bold(cell.lora), wording.difference_ends(cell.lora), wording.on(cell.lora, cell)),
                wording.gap(cell),
                wording.seeds(cell),
            )
    return table


def _bold(of: Difference | None) -> Text:
    style = "" if of is None or not of.significant else "bold green" if of.value > 0 else "bold red"
    return Text(wording.difference(of), style)


def _with(number: Text, interval: str, on: str = "") -> Text:
    """An interval behind a number, in columns of their own width: the numbers stand below each other."""
    return number + Text(f"{interval:>16}{on and ' ' + on}", "dim") if interval else number
