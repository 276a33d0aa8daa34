"""How numbers are written, the same everywhere: scores in per cent, differences in points."""

import re

from pkt_eval.report.board.model import BoardCell, Difference

BLANK = ""
ABSENT = "–"
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"  # tab and newline stay
)
"""Control characters, ESC among them; what turns the direction of writing or ends a line; halves of surrogate pairs."""


def harmless(text: str) -> str:
    """A label, note or path of somebody's, without what a terminal, a browser or a file takes for more than text."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def score_text(cell: BoardCell) -> str:
    """``42.0``."""
    return f"{100 * cell.score:.1f}"


def ends(low: float | None, high: float | None) -> str:
    """``[35.4, 48.9]``, in per cent."""
    return BLANK if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


def difference_text(of: Difference | None) -> str:
    """``+4.5`` or ``−1.0``, in points."""
    return BLANK if of is None else points(of.value)


def points(value: float) -> str:
    """A signed number of points; zero has no sign."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def difference_ends(of: Difference | None) -> str:
    """``[−2.0, +11.0]``, in points."""
    return BLANK if of is None else f"[{points(of.low)}, {points(of.high)}]"


def on(of: Difference | None, cell: BoardCell) -> str:
    """``on 8``, where a difference is about fewer items than the score beside it."""
    return BLANK if of is None or of.count >= cell.count else f"on {of.count:,}"


def style(of: Difference) -> str:
    """``gain`` or ``loss`` where significant, else ``chance``."""
    return "chance" if not of.significant else "gain" if of.value > 0 else "loss"


def gap_text(cell: BoardCell) -> str:
    """``38 % [12, 64]``."""
    if cell.gap is None:
        return BLANK
    value, low, high = (f"{round(100 * x):d}".replace("-", "−") for x in cell.gap)
    return f"{value} % [{low}, {high}]"


def seeds(cell: BoardCell) -> str:
    """``3 ± 1.2``: how many, and the standard deviation between them in points."""
    number = len(cell.sources)
    return str(number) if cell.spread is None else f"{number} ± {100 * cell.spread:.1f}"


def share(value: float) -> str:
    """``98.5 %``."""
    return f"{100 * value:.1f} %"


def detectable(of: Difference | None) -> str:
    """``9.5``, in points."""
    return BLANK if of is None or of.detectable is None else f"{100 * of.detectable:.1f}"


def nats(value: float | None) -> str:
    """``+0.012``, a difference of cross-entropies."""
    if value is None:
        return BLANK
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text[1:] == "0.000" else text


def number(value: float) -> str:
    """``1,250``."""
    return f"{value:,.0f}"


def count(value: float) -> str:
    """``3.4 M``, ``1.2 P``: a large number."""
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g} {letter}"
    return number(value)


def gigabytes(value: float) -> str:
    """``1.2 GB``, of bytes."""
    return f"{value / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """``42 s``, ``12 min`` or ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
