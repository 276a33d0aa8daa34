"""Which of a task's metrics is its score."""

from collections.abc import Container

_METRICS = ("pass@1,judged", "exact_match,strict-match", "acc,none", "pass@1,create_test", "pass_at_1,none")
#: A zero-shot chat prompt asks for no format of the answer: that the last number is right is all that can be expected.
_CHAT = "exact_match,flexible-extract"


def is_mean(name: str) -> bool:
    """Whether ``metric,filter`` is known to be the mean of what it is for each item."""
    return name in (_CHAT, *_METRICS)


def primary_metric(task: str, scores: Container[str]) -> str | None:
    """The ``metric,filter`` that is a task's one number, in leaderboards and tables; None if it has none of ours.

    Args:
        task: lm-eval's name of the task.
        scores: Names of its metrics.
    """
    order = (_CHAT, *_METRICS) if task.endswith("_chat") else _METRICS
    return next((name for name in order if name in scores), None)
