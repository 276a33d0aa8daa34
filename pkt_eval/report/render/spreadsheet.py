"""The leaderboard as CSV: a line for each student and benchmark, every number as in the JSON file."""

import csv
import io

from pkt_eval.report.board.leaderboard import Difference, Leaderboard, written
from pkt_eval.report.render.wording import COLUMNS

_DIFFERENCE = ("value", "low", "high", "p", "adjusted", "significant", "count", "won", "lost", "detectable", "against")


def spreadsheet(board: Leaderboard) -> str:
    """The whole file. Scores and differences are shares in [0, 1] and [-1, 1]; what is not known is empty."""
    text = io.StringIO()
    lines = [_line(*cell) for cell in board.cells()]
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(written, lines))
    return text.getvalue()


def _line(group, row, benchmark, cell) -> dict[str, object]:
    line = {
        "teacher": _plain(group.teacher),
        "student": _plain(group.student),
        "label": _plain(row.label),
        "method": row.method,
        "paradigm": row.paradigm,
        "benchmark": _plain(benchmark),
        "score": cell.score,
        "score_low": cell.low,
        "score_high": cell.high,
        "items": cell.count,
        "seeds": len(cell.sources),
        "spread": cell.spread,
    }
    for name in ("vanilla", "lora"):
        line |= _of(getattr(cell, name), name)
    line |= dict(zip(("gap", "gap_low", "gap_high"), cell.gap or (None,) * 3, strict=True))
    line |= {name: cell.budget.get(name) for name in COLUMNS}
    return line | {"records": " ".join(source.results for source in cell.sources)}


def _of(difference: Difference | None, name: str) -> dict[str, object]:
    return {f"{name}_{part}": _plain(getattr(difference, part, None)) for part in _DIFFERENCE}


def _plain(value: object) -> object:
    """A spreadsheet takes text that begins so for a formula; labels are not ours."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
