"""A gate's outcome, to read: a table, one line, the documents that flipped; and JUnit XML and JSON for machines."""

import json
import re
from dataclasses import asdict
from io import StringIO
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pkt_eval.report.board.wording import points
from pkt_eval.report.gate.check import HOLDS, REFUSED, UNDECIDED, WORSE, Check, Gate
from pkt_eval.report.gate.power import POWER

_STYLE = {HOLDS: "green", WORSE: "bold red", UNDECIDED: "yellow", REFUSED: "yellow"}
_SHOWN_FLIPS = 20


def show(gate: Gate, console: Console) -> None:
    """Print the table, what its columns mean, the notes, and the outcome as the last line."""
    _show_table(gate, console)
    console.print(Text(sentence(gate)), style=_STYLE[gate.verdict], soft_wrap=True)


def text(gate: Gate, width: int = 150) -> str:
    """The same as plain text: the outcome, the table, and the documents that flipped."""
    written = StringIO()
    _show_table(gate, Console(file=written, width=width, color_system=None))
    shown = "\n".join(line.rstrip() for line in written.getvalue().splitlines())
    return "\n\n".join(filter(None, [sentence(gate), shown, flips(gate)]))


def _show_table(gate: Gate, console: Console) -> None:
    console.print(table(gate))
    console.print()
    if any(check.items for check in gate.checks):
        for line in _legend(gate):
            console.print(Text(line), style="dim", soft_wrap=True)
    for note in gate.notes:
        console.print(Text(note), style="dim", soft_wrap=True)
    if gate.not_asked:
        console.print(Text(f"Not in the baseline, so not asked: {', '.join(gate.not_asked)}"), style="dim")


def table(gate: Gate) -> Table:
    """A row for each benchmark."""
    level = f"{100 * (1 - 2 * gate.alpha):g} %"
    title = Text(f"{gate.candidate} against {gate.baseline}", style="bold")
    found = Table(box=None, title=title, title_justify="left")
    found.add_column("benchmark", overflow="fold")
    for name in ("items", "baseline", "candidate", "lost / won", f"difference, {level}", "tolerated"):
        found.add_column(name, justify="right")
    for name in ("p holds", "p worse", "power", "detects"):
        found.add_column(name, justify="right")
    found.add_column("verdict", no_wrap=True)
    for check in gate.checks:
        verdict = Text(check.verdict, style=_STYLE[check.verdict])
        found.add_row(check.benchmark, *_cells(check), verdict)
    return found


def _cells(check: Check) -> list[str]:
    tolerated = f"{100 * check.tolerance:g}"
    if check.difference is None:
        return ["", "", "", "", "", tolerated, "", "", "", ""]
    return [
        f"{check.items:,}",
        f"{100 * check.baseline:.1f}",
        f"{100 * check.candidate:.1f}",
        f"{len(check.lost)} / {len(check.won)}",
        f"{points(check.difference)} [{points(check.low)}, {points(check.high)}]",
        tolerated,
        _p(check.p_holds),
        _p(check.p_worse),
        f"{100 * check.promise.power:.0f} %",
        "" if check.promise.detectable is None else f"{100 * check.promise.detectable:.1f}",
    ]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _legend(gate: Gate) -> list[str]:
    alpha, power = f"{gate.alpha:g}", f"{100 * POWER:.0f} %"
    return [
        f"Scores in %, differences in points. Holds: a loss of what is tolerated is excluded (p holds ≤ {alpha}). "
        f"Worse: a loss beyond it is shown (p worse ≤ {alpha}, Holm's over the benchmarks).",
        f"Power: chance that an equal candidate holds. Detects: a true loss so large is called worse with {power}.",
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


def flips(gate: Gate) -> str:
    """The documents that were lost and won, a line for each benchmark that does not hold."""
    lines = []
    for check in gate.checks:
        if check.verdict in (WORSE, UNDECIDED):
            for word, ids in (("lost", check.lost), ("won", check.won)):
                lines += [f"{check.benchmark}, documents {word}: {_some(ids)}"] if ids else []
    return "\n".join(lines)


def _some(ids: tuple[str, ...]) -> str:
    more = f" and {len(ids) - _SHOWN_FLIPS} more" if len(ids) > _SHOWN_FLIPS else ""
    return ", ".join(ids[:_SHOWN_FLIPS]) + more


def to_json(gate: Gate) -> str:
    """Everything that was found out."""
    found = {"verdict": gate.verdict, "exit_code": gate.exit_code, **asdict(gate)}
    for check, shown in zip(gate.checks, found["checks"], strict=True):
        if check.promise:
            shown["promise"] |= {"power": check.promise.power, "detectable": check.promise.detectable}
    return json.dumps(found, indent=1) + "\n"


def to_junit(gate: Gate) -> str:
    """JUnit XML: worse is a failure, undecided and not compared are errors, what was not asked is skipped."""
    suites = ET.Element("testsuites")
    counts = {"tests": len(gate.checks) + len(gate.not_asked), "failures": 0, "errors": 0}
    suite = ET.SubElement(suites, "testsuite", name="pkt-eval gate")
    for check in gate.checks:
        case = ET.SubElement(suite, "testcase", classname="pkt_eval.gate", name=_xml(check.benchmark), time="0")
        if check.verdict != HOLDS:
            kind = "failure" if check.verdict == WORSE else "error"
            counts[f"{kind}s"] += 1
            said = ET.SubElement(case, kind, type=check.verdict, message=_xml(check.reason))
            said.text = _xml(_details(gate, check))
        ET.SubElement(case, "system-out").text = _xml(_details(gate, check))
    for name in gate.not_asked:
        case = ET.SubElement(suite, "testcase", classname="pkt_eval.gate", name=_xml(name), time="0")
        ET.SubElement(case, "skipped", message="the baseline has no record of it")
    counts["skipped"] = len(gate.not_asked)
    for element in (suites, suite):
        element.attrib |= {key: str(value) for key, value in counts.items()}
    if gate.notes:
        ET.SubElement(suite, "system-out").text = _xml("\n".join(gate.notes))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _details(gate: Gate, check: Check) -> str:
    lines = [f"{gate.candidate} against {gate.baseline} on {check.benchmark}: {check.verdict}"]
    if check.difference is not None:
        items, baseline, candidate, flipped, difference, tolerated, holds, worse, power, detects = _cells(check)
        lines += [
            f"{items} items: {baseline} % → {candidate} %, {difference} points; tolerated {tolerated}",
            f"p holds {holds}, p worse {worse}; power {power}, detects {detects or 'nothing'}; lost / won {flipped}",
            *(f"{word}: {_some(ids)}" for word, ids in (("lost", check.lost), ("won", check.won)) if ids),
        ]
    return "\n".join(lines)


def _xml(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
