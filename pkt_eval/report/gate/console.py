"""A gate's outcome, to read: a table, one line, the documents that flipped."""

from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pkt_eval._util.console import console
from pkt_eval.report.board.wording import harmless, points
from pkt_eval.report.gate.outcome import HOLDS, REFUSED, UNDECIDED, WORSE, Check, Compared, Gate
from pkt_eval.report.gate.power import GATE_POWER
from pkt_eval.report.printing import line

_STYLE = {HOLDS: "green", WORSE: "bold red", UNDECIDED: "yellow", REFUSED: "yellow"}
_SHOWN_FLIPS = 20


def show(gate: Gate, to: Console) -> None:
    """Print the table, what its columns mean, the notes, and the outcome as the last line."""
    _show_table(gate, to)
    to.print(line(sentence(gate)), style=_STYLE[gate.verdict], soft_wrap=True)


def text(gate: Gate, width: int = 150) -> str:
    """The same as plain text: the outcome, the table, and the documents that flipped."""
    written = StringIO()
    _show_table(gate, console(written, width=width, plain=True))
    shown = "\n".join(line.rstrip() for line in written.getvalue().splitlines())
    return harmless("\n\n".join(filter(None, [sentence(gate), shown, flips_text(gate)])))


def _show_table(gate: Gate, to: Console) -> None:
    wide = to.width >= _WIDE
    to.print(checks_table(gate, wide))
    to.print()
    if any(isinstance(check, Compared) for check in gate.checks):
        for said in _legend(gate, wide):
            to.print(Text(said), style="dim")
    for note in gate.notes:
        to.print(line(note), style="dim")
    if gate.not_asked:
        to.print(line(f"Not in the baseline, so not asked: {', '.join(gate.not_asked)}"), style="dim")


def checks_table(gate: Gate, wide: bool = True) -> Table:
    """A row for each benchmark.

    Args:
        gate: Whose.
        wide: With the p-values and the power, for which 80 columns have no room.
    """
    title = line(f"{gate.candidate} against {gate.baseline}", "bold")
    rows = Table(box=None, title=title, title_justify="left")
    rows.add_column("benchmark", overflow="fold", min_width=12)
    shown = {**_HEADS, "difference": f"difference, {100 * (1 - 2 * gate.alpha):g} %"}
    if not any(isinstance(check, Compared) and max(check.seeds) > 1 for check in gate.checks):
        del shown["seeds"]
    if not wide:
        shown = {"scores": "score", **{name: shown[name] for name in ("difference", "tolerated")}}
    for head in shown.values():
        rows.add_column(head, justify="right", no_wrap=True)
    rows.add_column("verdict", no_wrap=True)
    for check in gate.checks:
        cells, verdict = _cells(check), Text(check.verdict, style=_STYLE[check.verdict])
        rows.add_row(line(check.benchmark), *(cells.get(name, "") for name in shown), verdict)
    return rows


_WIDE = 145
_HEADS = {
    **{"items": "items", "seeds": "seeds", "baseline": "baseline", "candidate": "candidate", "flips": "lost / won"},
    **{"difference": "difference", "tolerated": "tolerated", "holds": "p holds", "worse": "p worse"},
    **{"power": "power", "detects": "detects"},
}


def _cells(check: Check) -> dict[str, str]:
    tolerated = f"{100 * check.tolerance:g}"
    if not isinstance(check, Compared):
        return {"tolerated": tolerated}
    before, after = check.seeds
    return {
        "items": f"{check.items:,}",
        "seeds": f"{before}" if before == after else f"{before} / {after}",
        "baseline": f"{100 * check.baseline:.1f}",
        "candidate": f"{100 * check.candidate:.1f}",
        "scores": f"{100 * check.baseline:.1f} → {100 * check.candidate:.1f}",
        "flips": f"{len(check.lost)} / {len(check.won)}",
        "difference": f"{points(check.difference)} [{points(check.low)}, {points(check.high)}]",
        "tolerated": tolerated,
        "holds": _p(check.p_holds),
        "worse": _p(check.p_worse),
        "power": f"{100 * check.promise.power:.0f} %",
        "detects": "" if check.promise.detectable is None else f"{100 * check.promise.detectable:.1f}",
    }


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _legend(gate: Gate, wide: bool) -> list[str]:
    alpha, power = f"{gate.alpha:g}", f"{100 * GATE_POWER:.0f} %"
    return [
        f"Scores in %, differences in points. Holds: a loss of what is tolerated is excluded (p holds ≤ {alpha}). "
        f"Worse: a loss beyond it is shown (p worse ≤ {alpha}, Holm's over the benchmarks).",
        f"Power: chance that an equal candidate holds. Detects: a true loss so large is called worse with {power}."
        if wide
        else f"p-values, power and items are in a terminal of {_WIDE} columns, and in --json FILE.",
    ]


def sentence(gate: Gate) -> str:
    """The outcome in one line."""
    who = f"{gate.candidate} against {gate.baseline}"
    if gate.verdict == HOLDS:
        largest = {f"{100 * check.tolerance:g}" for check in gate.checks}
        points_ = f"{largest.pop()} points" if len(largest) == 1 else "the tolerances"
        return f"gate holds: {who} has lost less than {points_} on {', '.join(c.benchmark for c in gate.checks)}"
    word = "fails" if gate.verdict == WORSE else "cannot tell"
    # The gate fails for what is worse alone; what is undecided besides is in the table.
    wanted = (WORSE,) if gate.verdict == WORSE else (REFUSED, UNDECIDED)
    reasons: dict[str, list[str]] = {}
    for check in gate.checks:
        if check.verdict in wanted:
            reasons.setdefault(check.reason, []).append(check.benchmark)
    said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return f"gate {word}: {who}: {said}"


def flips_text(gate: Gate) -> str:
    """The documents that were lost and won, a line for each benchmark that does not hold."""
    lines = []
    for check in gate.checks:
        if isinstance(check, Compared) and check.verdict != HOLDS:
            for word, ids in (("lost", check.lost), ("won", check.won)):
                lines += [f"{check.benchmark}, documents {word}: {_some(ids)}"] if ids else []
    return "\n".join(lines)


def _some(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - _SHOWN_FLIPS} more" if len(ids) > _SHOWN_FLIPS else ""
    return ", ".join(ids[:_SHOWN_FLIPS]) + more


def details(gate: Gate, check: Check) -> str:
    """A benchmark in a few lines."""
    if not gate.candidate:  # it could not begin
        return check.reason
    lines = [f"{gate.candidate} against {gate.baseline} on {check.benchmark}: {check.verdict}"]
    if isinstance(check, Compared):
        said = _cells(check)
        seeds = f", {said['seeds']} seeds" if max(check.seeds) > 1 else ""
        lines += [
            f"{said['items']} items{seeds}: {said['baseline']} % → {said['candidate']} %, {said['difference']} points; "
            f"tolerated {said['tolerated']}",
            f"p holds {said['holds']}, p worse {said['worse']}; power {said['power']}, "
            f"detects {said['detects'] or 'nothing'}; lost / won {said['flips']}",
            *(f"{word}: {_some(ids)}" for word, ids in (("lost", check.lost), ("won", check.won)) if ids),
        ]
    return "\n".join(lines)
