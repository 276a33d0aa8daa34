"""How numbers are written, the same everywhere: scores in per cent, differences in points, and what they mean."""

from pkt_eval.report.board.leaderboard import ALPHA, LEVEL, POWER, Cell, Difference, Leaderboard

BLANK = ""
COLUMNS = ("learnt_records", "steps", "seconds", "peak_bytes")
"""Of a budget, in the order in which they are shown."""


def score(cell: Cell) -> str:
    """``42.0``."""
    return f"{100 * cell.score:.1f}"


def ends(low: float | None, high: float | None) -> str:
    """``[35.4, 48.9]``, in per cent."""
    return BLANK if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


def difference(of: Difference | None) -> str:
    """``+4.5`` or ``−1.0``, in points."""
    return BLANK if of is None else points(of.value)


def points(value: float) -> str:
    """A signed number of points; zero has no sign."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def difference_ends(of: Difference | None) -> str:
    """``[−2.0, +11.0]``, in points."""
    return BLANK if of is None else f"[{points(of.low)}, {points(of.high)}]"


def on(of: Difference | None, cell: Cell) -> str:
    """``on 8``, where a difference is about fewer items than the score beside it."""
    return BLANK if of is None or of.count >= cell.count else f"on {of.count:,}"


def gap(cell: Cell) -> str:
    """``38 % [12, 64]``."""
    if cell.gap is None:
        return BLANK
    value, low, high = (f"{round(100 * x):d}".replace("-", "−") for x in cell.gap)
    return f"{value} % [{low}, {high}]"


def seeds(cell: Cell) -> str:
    """``3 ± 1.2``: how many, and the standard deviation between them in points."""
    number = len(cell.sources)
    return str(number) if cell.spread is None else f"{number} ± {100 * cell.spread:.1f}"


def detectable(of: Difference | None) -> str:
    """``9.5``, in points."""
    return BLANK if of is None or of.detectable is None else f"{100 * of.detectable:.1f}"


def budget(cell: Cell) -> list[str]:
    """Records, steps, time and memory, as `COLUMNS` has them."""
    shown = {
        "learnt_records": lambda n: f"{n:,.0f}",
        "steps": lambda n: f"{n:,.0f}",
        "seconds": duration,
        "peak_bytes": lambda n: f"{n / 1e9:.1f} GB",
    }
    return [shown[name](cell.budget[name]) if name in cell.budget else BLANK for name in COLUMNS]


def duration(seconds: float) -> str:
    """``42 s``, ``12 min`` or ``1.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def legend(board: Leaderboard) -> list[str]:
    """What the numbers are, as sentences."""
    level, alpha, power = (f"{100 * share:.0f} %" for share in (LEVEL, ALPHA, POWER))
    return [
        f"Scores are in per cent, differences in points, brackets hold {level} intervals: Wilson's for a score, over "
        "seeds and items where there are several seeds; paired over the same items for a difference, MMLU's subjects "
        "being resampled whole.",
        f"Bold: significant at {alpha} after Benjamini–Hochberg over all {board.comparisons} comparisons of the table, "
        "by exact McNemar or sign flips. What is not bold may be chance.",
        "Gap: share of the teacher's lead over vanilla that arrived; blank where that lead is not significant.",
        "Seeds: how many, and the standard deviation between them. Budget: records optimised on, optimiser steps, time "
        "and peak memory of the transfer, a mean over seeds.",
        f"Detectable: the smallest true difference to vanilla that so many items would show with {power} power; "
        "smaller ones are not excluded.",
    ]
