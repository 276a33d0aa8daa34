"""The leaderboard as one HTML page: no network, no library, readable without its script.

What models wrote is untrusted. The template escapes everything; the script puts text into the page as text, never as
HTML; the policy in the page's head lets no other script run and nothing be loaded.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from pkt_eval._util.text import json_escapes
from pkt_eval.report.board import BoardCell, Column, Group, Leaderboard, Table, wording
from pkt_eval.report.board.columns import columns, compared, comparisons, legend, sortable
from pkt_eval.report.board.model import hypotheses, written
from pkt_eval.report.board.wording import harmless
from pkt_eval.report.render.forest import difference_sentence, forest
from pkt_eval.report.render.links import link
from pkt_eval.report.render.registry import Content, formats, output

HEAT = 0.3
"""Difference of a subject at which the heat map's colour is full."""
_DRAWN = ("score", "items", "vanilla", "lora", "gap", "seeds", "detectable")
"""The columns that the script draws itself in a student's details; of others it shows what is written here."""
_LINKED = ("JSON", "CSV", "Markdown", "LaTeX")
"""The formats that are named first below the page, in this order."""


@output("index.html", "HTML", place=1)
def page(content: Content) -> str:
    """The whole file."""
    board, flips = content.board, content.flips
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        w=wording, style=wording.style, sentence=difference_sentence, link=link, heat=heat, number=_number
    )
    others = [column for column in columns(Table.PAGE, board) if column.id not in _DRAWN]
    script = _script(board, others)
    groups = [
        {
            "group": group,
            "number": number,
            "scales": {name: _scale(group, name) for name in group.benchmarks},
            "forests": [plot for name in group.benchmarks if (plot := forest(group, name))],
            "heat_maps": [name for name in group.benchmarks if _has_subjects(group, name)],
            "flips": {row.id: flips.cells[row.id] for row in group.rows if row.id in flips.cells},
        }
        for number, group in enumerate(board.groups)
    ]
    data: dict[str, object] = {"board": board.to_dict(), "texts": flips.texts, "flips": flips.cells}
    if others:
        data["others"] = _others(board, others)
    return environment.from_string(_file("page.html")).render(
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
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(embedded(data)),
    )


def _script(board: Leaderboard, others: Sequence[Column]) -> str:
    """The script, with the heads of the columns; and where there are others than it draws itself, a cell for each."""
    drawn = [column for column in columns(Table.PAGE, board) if column.id in _DRAWN]
    slots = {
        "/*heads*/": ", ".join(embedded(column.head) for column in [*drawn, *others]),
        "/*comparisons*/": embedded([column.id for column, _ in comparisons()]),
        "/*, others*/": ", others" if others else "",
        "/*cells*/": '...others[row.id][name].map((text) => h("td", {}, text)), ' if others else "",
    }
    script = _file("page.js")
    for slot, text in slots.items():
        script = script.replace(slot, text)
    return script


def _others(board: Leaderboard, others: Sequence[Column]) -> dict[str, dict[str, list[str]]]:
    """Row → benchmark → what stands in the columns that the script does not draw itself."""
    of_rows: dict[str, dict[str, list[str]]] = {}
    for _, row, benchmark, cell in board.cells():
        shown = [column.shown(cell) for column in others]
        texts = [" ".join(filter(None, (each.text, each.interval, each.on))) for each in shown]
        of_rows.setdefault(row.id, {})[benchmark] = texts
    return of_rows


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


def heat(value: float) -> str:
    """Strength of a heat map's colour, 0 to 100, by the size of a difference."""
    return f"{min(abs(value) / HEAT, 1.0) * 100:.0f}"


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
    return (Path(__file__).parent / "templates" / name).read_text("utf-8")
