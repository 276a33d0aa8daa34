"""Which of a task's metrics is its score."""

from collections.abc import Container

from pkt_eval.data.benchmarks import metric_of_task

_METRICS = ("pass@1,judged", "exact_match,strict-match", "acc,none", "pass@1,create_test", "pass_at_1,none")
_OTHER_MEANS = ("exact_match,flexible-extract", "acc_norm,none")


def is_mean(name: str) -> bool:
    """Whether ``metric,filter`` is known to be the mean of what it is for each item."""
    return name in (*_METRICS, *_OTHER_MEANS)


def primary_metric(task: str, scores: Container[str]) -> str | None:
    """The ``metric,filter`` that is a task's one number, in leaderboards and tables; None if it has none of ours.

    Args:
        task: lm-eval's name of the task.
        scores: Names of its metrics.
    """
    return next((name for name in (metric_of_task(task), *_METRICS) if name and name in scores), None)
