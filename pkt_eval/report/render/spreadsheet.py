"""The leaderboard as CSV: a line for each student and benchmark, every number as in the JSON file."""

import csv
import io

from pkt_eval.report.board import BoardCell, Group, StudentRow, columns
from pkt_eval.report.board.model import written_object
from pkt_eval.report.board.wording import harmless
from pkt_eval.report.render.registry import Content, output


@output("leaderboard.csv", "CSV", place=3)
def spreadsheet(content: Content) -> str:
    """The whole file. Scores and differences are shares in [0, 1] and [-1, 1]; what is not known is empty."""
    text = io.StringIO()
    lines = [_line(*cell) for cell in content.board.cells()]
    writer = csv.DictWriter(text, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(written_object, lines))
    return text.getvalue()


def _line(group: Group, row: StudentRow, benchmark: str, cell: BoardCell) -> dict[str, object]:
    line: dict[str, object] = {
        "teacher": group.teacher,
        "student": group.student,
        "label": row.label,
        "method": row.method,
        "paradigm": row.paradigm,
        "benchmark": benchmark,
    }
    for column in columns.COLUMNS:
        line |= column.numbers_of(cell)
    line["records"] = " ".join(source.results for source in cell.sources)
    return {name: _plain(value) for name, value in line.items()}


def _plain(value: object) -> object:
    """A spreadsheet takes text that begins so for a formula; no text is ours."""
    if not isinstance(value, str):
        return value
    text = harmless(value)
    begins = text.lstrip().startswith(tuple("=+-@＝＋－＠"))
    return f"'{text}" if begins or text.startswith(("\t", "\n")) else text
