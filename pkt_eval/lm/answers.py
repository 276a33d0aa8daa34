"""An answer that knows how it ended: whether by itself, in circles, and how long it is.

lm-eval's models return text, and its tasks score text. A model of ours returns text that says more of itself, and our
task class (``lm.tasks``) makes metrics of it, so that they are in every results JSON and sample. Text from elsewhere,
such as lm-eval's ``--use_cache`` or another model, says nothing, and has no such metrics.
"""

from collections.abc import Iterable, Sequence
from typing import Any

METRICS = ("ended", "looped", "answer_tokens")
"""Share of answers that ended by themselves; of those that did not and go round in circles; tokens of an answer."""
BETTER = {"ended": True, "looped": False}
"""Whether more of it is better, as lm-eval asks; of a length nobody can say."""


class Answer(str):
    """A generated text.

    It is pickled as the text alone: what reads lm-eval's cache later need not know this class.

    Attributes:
        ended: It ended by itself: by an end-of-sequence token or a stop sequence, not by its limit.
        looped: It did not, and its end is one passage time and again.
        tokens: Of the text.
    """

    ended: bool
    looped: bool
    tokens: int

    def __new__(cls, text: str, ended: bool, looped: bool, tokens: int) -> "Answer":
        self = super().__new__(cls, text)
        self.ended, self.looped, self.tokens = ended, looped, tokens
        return self

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return str, (str(self),)


Kept = str | list[Any]
"""An answer as JSON: ``[text, ended, looped, tokens]``, or the text where it is only that."""


def answer_to_json(answer: str) -> Kept:
    """See ``Kept``."""
    return [str(answer), answer.ended, answer.looped, answer.tokens] if isinstance(answer, Answer) else answer


def answer_from_json(kept: Kept) -> str:
    """See ``Kept``."""
    return kept if isinstance(kept, str) else Answer(*kept)


def is_kept(value: object) -> bool:
    """Whether a value is an answer as JSON."""
    kinds = (str, bool, bool, int)
    return isinstance(value, str) or (
        isinstance(value, list) and len(value) == 4 and all(type(v) is k for v, k in zip(value, kinds, strict=True))
    )


def metrics_of(instances: Iterable[Any]) -> dict[int, dict[str, float]]:
    """Document → its ``METRICS``, a mean over its answers; {} unless all answers of all say how they ended.

    Args:
        instances: lm-eval's, answered.
    """
    found: dict[int, dict[str, float]] = {}
    for instance in instances:
        answers: Sequence[object] = instance.resps
        known = [answer for answer in answers if isinstance(answer, Answer)]
        if not known or len(known) < len(answers):
            return {}
        n = len(known)
        found[instance.doc_id] = {
            "ended": sum(a.ended for a in known) / n,
            "looped": sum(a.looped for a in known) / n,
            "answer_tokens": sum(a.tokens for a in known) / n,
        }
    return found
