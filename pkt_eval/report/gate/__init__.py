"""The gate: is a candidate at most a tolerated loss worse than its baseline?"""

from pkt_eval.report.gate.check import ALPHA, TOLERANCE, gate
from pkt_eval.report.gate.console import sentence, show, text
from pkt_eval.report.gate.machine import refused_json, refused_junit, to_json, to_junit
from pkt_eval.report.gate.outcome import HOLDS, REFUSED, UNDECIDED, WORSE, Check, Compared, Gate
from pkt_eval.report.gate.students import load

__all__ = [
    "ALPHA",
    "HOLDS",
    "REFUSED",
    "TOLERANCE",
    "UNDECIDED",
    "WORSE",
    "Check",
    "Compared",
    "Gate",
    "gate",
    "load",
    "refused_json",
    "refused_junit",
    "sentence",
    "show",
    "text",
    "to_json",
    "to_junit",
]
