"""Code answers: the program in a model's answer, the verdict on it, and pass@k.

``extract_code`` turns an answer into a program, ``judge`` runs a program against its tests in a jail, ``pass_at_k``
turns counts of passes into the benchmark's number.
"""

from pkt_eval.code.extract import extract_code
from pkt_eval.code.passk import pass_at_k
from pkt_eval.code.pool import judge, judge_many
from pkt_eval.code.verdict import Job, Limits, Verdict

__all__ = ["Job", "Limits", "Verdict", "extract_code", "judge", "judge_many", "pass_at_k"]
