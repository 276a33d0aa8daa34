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
from typing import Any
from urllib.parse import quote

from pkt_eval.report.board.diagnoses import Diagnosis
from pkt_eval.report.board.flips import Flips
from pkt_eval.report.board.leaderboard import Group, Leaderboard, written
from pkt_eval.report.render import wording
from pkt_eval.report.render.forest import forest, sentence, style

HEAT = 0.3
"""Difference of a subject at which the heat map's colour is full."""


def page(board: Leaderboard, flips: Flips, diagnoses: Sequence[Diagnosis] = ()) -> str:
    """The whole file."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=written, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(w=wording, style=style, sentence=sentence, link=link, heat=heat)
    script = _file("page.js")
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
    differences = [d for *_, cell in board.cells() for d in cell.differences()]
    return environment.from_string(_file("page.html")).render(
        board=board,
        groups=groups,
        diagnoses=diagnoses,
        facts=[
            _counted(len(board.groups), "pair"),
            _counted(sum(len(group.rows) for group in board.groups), "student"),
            _counted(len(differences), "comparison"),
            ("significant", sum(d.significant for d in differences)),
        ],
        legend=wording.legend(board),
        css=Markup(_file("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(embedded({"board": board.to_dict(), "texts": flips.texts, "flips": flips.cells})),
    )


def embedded(value: Any) -> str:
    """JSON that ends no script element and opens no comment, whatever strings it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Half a surrogate pair, which a model may write, is no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def link(path: str) -> str:
    """A relative link to a file, whatever its name; a colon in it makes no scheme."""
    return quote(path, safe="/")


def heat(value: float) -> str:
    """Strength of a heat map's colour, 0 to 100, by the size of a difference."""
    return f"{min(abs(value) / HEAT, 1.0) * 100:.0f}"


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
