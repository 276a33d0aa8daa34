"""The forest plot of a benchmark as geometry: where each difference and its interval lie. The page draws it."""

import math
from dataclasses import dataclass

from pkt_eval.report.board import Difference, Group, wording
from pkt_eval.report.board.columns import comparisons

WIDTH, LABELS, RIGHT = 460, 128, 20
"""Pixels: of the drawing, of the names on its left, of the margin on its right."""
LINE, MARK, TOP, BOTTOM = 31, 12, 6, 26
"""Pixels: least height of a student, height of a difference, space above the first, space of the axis."""
_LONGEST = 18


@dataclass
class Mark:
    """A difference: ``x`` with its interval from ``left`` to ``right``, in pixels."""

    kind: str
    x: float
    left: float
    right: float
    y: float
    style: str
    text: str


@dataclass
class Line:
    """A student: its name and options, shortened, at ``y``, and its marks."""

    name: str
    options: str
    label: str
    y: float
    marks: list[Mark]


@dataclass
class Forest:
    """A plot of ``WIDTH × height`` pixels."""

    benchmark: str
    height: float
    zero: float
    ticks: list[tuple[float, str]]
    lines: list[Line]
    lead: str
    width: int = WIDTH
    left: int = LABELS
    right: int = WIDTH - RIGHT
    bottom: float = 0.0


def forest(group: Group, benchmark: str) -> Forest | None:
    """The plot of all students but the teacher, whose lead would dwarf theirs and is said in words; None if empty."""
    rows = [row for row in group.rows if row.method != "teacher" and benchmark in row.cells]
    rows = [row for row in rows if row.cells[benchmark].differences()]
    if not rows:
        return None
    shown = [d for row in rows for d in row.cells[benchmark].differences()]
    ticks = _ticks(min(0.0, *(_end(d.low) for d in shown)), max(0.0, *(_end(d.high) for d in shown)))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(LABELS + share * (WIDTH - LABELS - RIGHT), 1)

    most = max(len(row.cells[benchmark].differences()) for row in rows)
    height = max(LINE, MARK * most + LINE % MARK)
    lines = []
    for number, row in enumerate(rows):
        y, cell = TOP + height * (number + 0.5), row.cells[benchmark]
        there = [(column.id, d) for column, of in comparisons() if (d := of(cell))]
        # Marks stand below each other, one alone in the middle.
        places = [y + MARK * (i - (len(there) - 1) / 2) for i in range(len(there))]
        marks = [
            Mark(
                kind,
                x(d.value),
                x(_end(d.low)),
                x(_end(d.high)),
                place,
                wording.style(d),
                f"{row.label}: {difference_sentence(d)}",
            )
            for (kind, d), place in zip(there, places, strict=True)
        ]
        name, options = row.name_and_options
        lines.append(Line(_short(name, _LONGEST), _short(options, _LONGEST + 7), row.label, y, marks))
    bottom = TOP + height * len(rows)
    axis = [(x(tick), wording.points(tick).replace(".0", "")) for tick in ticks]
    return Forest(benchmark, bottom + BOTTOM, x(0.0), axis, lines, _lead(group, benchmark), bottom=bottom)


def difference_sentence(of: Difference) -> str:
    """A difference in words, for a tooltip and for who cannot see the plot."""
    verdict = "significant" if of.significant else "not significant"
    return (
        f"{wording.difference_text(of)} points against {of.against}, {wording.difference_ends(of)}, adjusted p "
        f"{of.adjusted:.2g}: {verdict}"
    )


def _lead(group: Group, benchmark: str) -> str:
    for row in group.rows:
        if row.method == "teacher" and benchmark in row.cells and (lead := row.cells[benchmark].vanilla):
            said = "" if lead.significant else ", not significant"
            return f"Teacher: {wording.difference_text(lead)} {wording.difference_ends(lead)}{said}"
    return ""


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _end(value: float) -> float:
    return min(max(value, -1.0), 1.0)


def _ticks(low: float, high: float) -> list[float]:
    """About five round values that enclose both ends."""
    rough = max(high - low, 0.02) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    return [step * i for i in range(first, last + 1)]
