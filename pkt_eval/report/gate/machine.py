"""A gate's outcome for machines: JSON and JUnit XML."""

import json
import re
from dataclasses import asdict
from xml.etree import ElementTree as ET

from pkt_eval.report.gate.console import details
from pkt_eval.report.gate.outcome import HOLDS, REFUSED, WORSE, Check, Compared, Gate

_BLANK: dict[str, object] = {
    **{"items": 0, "seeds": None, "baseline": None, "candidate": None, "difference": None, "low": None, "high": None},
    **{"p_holds": None, "p_worse": None, "by_seeds": None, "won": [], "lost": [], "promise": None},
}
"""Of a benchmark that was not compared."""


def to_json(gate: Gate) -> str:
    """Everything that was found out."""
    checks = [_check(check) for check in gate.checks]
    whole = {"verdict": gate.verdict, "exit_code": gate.exit_code, **asdict(gate), "checks": checks}
    return json.dumps(whole, indent=1) + "\n"


def _check(check: Check) -> dict[str, object]:
    if not isinstance(check, Compared):
        return asdict(check) | _BLANK
    promise = asdict(check.promise) | {"power": check.promise.power, "detectable": check.promise.detectable}
    return asdict(check) | {"promise": promise}


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
            said.text = _xml(details(gate, check))
        ET.SubElement(case, "system-out").text = _xml(details(gate, check))
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


def refused_json(reason: str) -> str:
    """Of a gate that could not begin: a folder that cannot be read, an unknown student, a tolerance that is none."""
    return json.dumps({"verdict": REFUSED, "exit_code": 2, "reason": reason, "checks": []}, indent=1) + "\n"


def refused_junit(reason: str) -> str:
    """The same: one case, an error."""
    return to_junit(Gate("", "", 0.0, (Check("pkt-eval gate", 0.0, reason=reason),), (), ()))


def _xml(text: str) -> str:
    """Without the characters that XML has no way to write."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
