"""Judges for another user: run as that user, it takes batches as lines of JSON and answers each with one line.

A batch is ``{"jobs": [[candidate, tests], …], "level": …, "workers": …, "limits": {…}}``, an answer ``{"verdicts": […],
"growth_mb": …}``, or ``{"missing": …}`` where this machine does not offer the level.
"""

import json
import sys

from pkt_eval.code import Limits, judge_many
from pkt_eval.errors import PrerequisiteError


def memory_mb(name: str) -> float:
    """A line of this process's status: its memory now (``VmRSS``) or at its peak (``VmHWM``)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name + ":"))


def judge_batch(jobs, level: str, workers: int, limits: dict) -> tuple[list, float]:
    """The verdicts, and by how many MB this process grew at most meanwhile."""
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # the peak is now the present
    before = memory_mb("VmRSS")
    verdicts = judge_many([tuple(job) for job in jobs], workers=workers, limits=Limits(**limits), level=level)
    return verdicts, memory_mb("VmHWM") - before


def main() -> None:
    for line in sys.stdin:
        batch = json.loads(line)
        try:
            verdicts, growth = judge_batch(**batch)
            answer = {"verdicts": [verdict.to_dict() for verdict in verdicts], "growth_mb": growth}
        except PrerequisiteError as error:
            answer = {"missing": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
