"""The leaderboard as one HTML page: no network, no library, readable without its script.

What models wrote is untrusted. The template escapes everything; the script puts text into the page as text, never as
HTML; the policy in the page's head lets no other script run and nothing be loaded. Only a page that `pkt-eval view`
serves asks its own server whether there is a newer one.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pkt_eval._util.text import json_escapes
from pkt_eval.report.board import BoardCell, Column, Difference, Group, Leaderboard, Sheet, StudentRow, Table, wording
from pkt_eval.report.board.columns import columns, compared, comparisons, legend, sortable
from pkt_eval.report.board.model import Subject, hypotheses, written
from pkt_eval.report.board.wording import harmless
from pkt_eval.report.render.blocks import page_blocks
from pkt_eval.report.render.forest import difference_sentence, forest
from pkt_eval.report.render.links import link
from pkt_eval.report.render.registry import Content, formats, output

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
HEAT = 0.3
"""Difference of a subject, less its chance, at which the heat map's colour is full."""
_SCRIPT = ("elements", "state", "blocks", "statistics", "table", "details", "diff", "reader", "scatter", "links")
"""Its parts, in the order in which they run."""
_LINKED = ("JSON", "CSV", "Markdown", "LaTeX")
"""The formats that are named first below the page, in this order."""


@output("index.html", "HTML", place=1)
def page(content: Content) -> str:
    """The whole file."""
    board = content.board
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(
        w=wording,
        style=wording.style,
        sentence=difference_sentence,
        link=link,
        heat=heat,
        warmth=warmth,
        number=_number,
        breaking=_breaking,
    )
    script = _script(live=content.live is not None)
    groups = [
        {
            "group": group,
            "number": number,
            "means": any(row.mean_rank is not None for row in group.rows),
            "scales": {name: _scale(group, name) for name in group.benchmarks},
            "forests": [plot for name in group.benchmarks if (plot := forest(group, name))],
            "heat_maps": [name for name in group.benchmarks if _has_subjects(group, name)],
            "sheets": [sheet for sheet in content.sheets if sheet.group == number],
            "protocol_lines": list(dict.fromkeys(what for said in group.protocols.values() for what in said)),
        }
        for number, group in enumerate(board.groups)
    ]
    return environment.get_template("page.html").render(
        board=board,
        groups=groups,
        diagnoses=content.diagnoses,
        sortable=sortable(board),
        comparisons=comparisons(),
        compared=compared(board),
        files=_linked(),
        facts=[
            _counted(len(board.groups), "pair"),
            _counted(sum(len(group.rows) for group in board.groups), "student"),
            _counted(board.comparisons, "comparison"),
            ("significant", sum(same[0].significant for same in hypotheses(board.groups))),
        ],
        legend=legend(board),
        css=Markup(_file("page.css")),
        script=Markup(script),
        live=content.live,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(embedded(written(_data(board, content.sheets)))),
        blocks=[(name, Markup(block)) for name, block in page_blocks(board, list(content.sheets)).items()],
    )


def _script(live: bool) -> str:
    """The script as one function, whose parts know one another."""
    parts = "\n".join(_file(f"script/{name}.js") for name in (*_SCRIPT, *(["live"] if live else [])))
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _data(board: Leaderboard, sheets: Sequence[Sheet]) -> dict[str, object]:
    """What the script knows when the page opens; all else is in the blocks."""
    here = columns(Table.PAGE, board)
    return {
        "columns": [{"id": column.id, "head": column.head} for column in here],
        "comparisons": [{"id": id, "to": to} for id, to in compared(board)],
        "groups": [
            {
                "benchmarks": group.benchmarks,
                "sheets": [sheet.benchmark for sheet in sheets if sheet.group == number],
                "rows": [_row(row, here) for row in group.rows],
            }
            for number, group in enumerate(board.groups)
        ],
    }


def _row(row: StudentRow, here: Sequence[Column]) -> dict[str, object]:
    said = {name: getattr(row, name) for name in ("id", "label", "method", "paradigm", "title", "reference")}
    means = {"mean_score": row.mean_score, "mean_rank": row.mean_rank}
    return said | means | {"cells": {name: _cell(cell, here) for name, cell in row.cells.items()}}


def _cell(cell: BoardCell, here: Sequence[Column]) -> dict[str, object]:
    """What stands in each column, and what the script filters and draws by."""
    content: dict[str, object] = {
        "shown": [[each.text, each.interval, each.on, each.style] for each in (column.shown(cell) for column in here)],
        "score": cell.score,
        "budget": cell.budget,
        "differences": {column.id: _tested(tested) for column, of in comparisons() if (tested := of(cell))},
        "sources": [{"seed": source.seed, "results": source.results} for source in cell.sources],
    }
    if cell.vanilla:
        content |= {"against": cell.vanilla.against}
        content |= {"wonAndLost": [round(cell.vanilla.won, 1), round(cell.vanilla.lost, 1)]}
    return content


def _tested(of: Difference) -> dict[str, object]:
    return {"value": of.value, "significant": of.significant}


def _linked() -> list[tuple[str, str]]:
    """File and title of the other formats."""
    named = {each.title: each.file for each in formats() if each.file != "index.html"}
    order = [*(title for title in _LINKED if title in named), *(title for title in named if title not in _LINKED)]
    return [(named[title], title) for title in order]


def embedded(value: object) -> str:
    """JSON that ends no script element and opens no comment, whatever strings it holds."""
    text = json_escapes(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Half a surrogate pair, which a model may write, is no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _shown(value: object) -> object:
    """A value as the template puts it into the page: numbers as JSON has them, and text that is only text."""
    from markupsafe import Markup

    if isinstance(value, str):
        return value if isinstance(value, Markup) else harmless(value)
    return written(value)


def heat(of: Subject) -> str:
    """Strength of a heat map's colour, 0 to 100: how far the nearer end of the interval is from zero."""
    return f"{min(abs(_sure(of)) / HEAT, 1.0) * 100:.0f}"


def warmth(of: Subject) -> str:
    """The class of a heat map's cell: grey where the interval covers zero."""
    sure = _sure(of)
    return "warmth up" if sure > 0 else "warmth down" if sure < 0 else "unsure"


def _sure(of: Subject) -> float:
    """What is left of a difference: the end of its interval that is nearer to zero, or zero between the ends."""
    low, high = of.low or 0.0, of.high or 0.0
    return max(low, 0.0) + min(high, 0.0)


def _breaking(text: str) -> "Markup":
    """A name that a narrow column breaks behind an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in harmless(text).split("_"))


def _number(column: Column, cell: BoardCell) -> float | str:
    """What the page sorts a cell by, as an attribute."""
    value = column.sort(cell) if column.sort else None
    return "" if value is None else value


def _counted(number: int, name: str) -> tuple[str, int]:
    return name if number == 1 else f"{name}s", number


def _scale(group: Group, benchmark: str) -> Callable[[float], float]:
    """From a score to its place on a column's strip, 0 to 100: as wide as the column's intervals."""
    cells = [row.cells[benchmark] for row in group.rows if benchmark in row.cells]
    ends = [end for cell in cells for end in (cell.score, cell.low, cell.high) if end is not None]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0
    return lambda score: round(2 + 96 * (score - low) / width, 1)


def _has_subjects(group: Group, benchmark: str) -> bool:
    return any(len(row.cells[benchmark].subjects) > 1 for row in group.rows if benchmark in row.cells)


@cache
def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")
