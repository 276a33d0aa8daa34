"""The record of a verdict: what a code task leaves in lm-eval's samples for each answer.

It is JSON text, since lm-eval writes anything else in a sample as its Python repr. Nothing here needs lm-eval.
"""

import json

from pkt_eval.code import Verdict


def to_text(verdict: Verdict, program: str) -> str:
    """The verdict and the ``program`` that was judged, as they stand in a sample."""
    return json.dumps({**verdict.to_dict(), "program": program}, ensure_ascii=False)


def passed(text: str) -> bool:
    """Whether the verdict of such a record is that the program passed."""
    record: dict[str, object] = json.loads(text)
    return record["passed"] is True
