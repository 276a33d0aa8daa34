"""One number a task, and the one that can be expected of a student that was told no format."""

import pytest

from pkt_eval.report.records import primary_metric

BOTH = ("exact_match,strict-match", "exact_match,flexible-extract")


@pytest.mark.parametrize(
    ("task", "scores", "name"),
    [
        ("pkt_gsm8k", BOTH, "exact_match,strict-match"),
        ("nano_gsm8k", BOTH, "exact_match,strict-match"),
        ("pkt_gsm8k_chat", BOTH, "exact_match,flexible-extract"),
        ("pkt_mbpp_chat", ("pass@1,judged",), "pass@1,judged"),
        ("mmlu", ("acc,none",), "acc,none"),
        ("lambada", ("perplexity,none",), None),
    ],
)
def test_the_score_of_a_task(task, scores, name):
    assert primary_metric(task, scores) == name
    assert primary_metric(task, scores[::-1]) == name
