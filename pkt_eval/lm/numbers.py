"""Answers that are a number, in the chat tasks: which number an answer gives, and whether it is the right one.

How a number is found in words, and when two are the same, is ``data.numbers``' business. Upstream's tasks keep
upstream's patterns: see their YAMLs.
"""

from collections.abc import Callable

from pkt_eval.data.numbers import announced_number, final_number, same_number
from pkt_eval.data.records import assistant_turn
from pkt_eval.data.rows import Row
from pkt_eval.lm.task_functions import OfBenchmark

NONE = "[invalid]"
"""What stands in a sample where an answer gives no number: lm-eval's own word."""


class NumberFilter:
    """An lm-eval filter: from answers to the number that each gives.

    Args:
        number: Finds it in an answer; None where there is none.
    """

    def __init__(self, number: Callable[[str], str | None]) -> None:
        self.number = number

    def __call__(self, answers: list[list[str]], docs: list[Row]) -> list[list[str]]:
        """The numbers as digits, ``[invalid]`` where an answer gives none."""
        return [[self.number(answer) or NONE for answer in row] for row in answers]

    def __repr__(self) -> str:  # lm-eval writes it in the results, which are to be the same for the same run
        return f"{self.number.__module__}.{self.number.__name__}"


class RightNumber(OfBenchmark):
    """lm-eval's ``process_results``: whether an answer's number is that of the reference answer."""

    def __call__(self, doc: Row, results: list[str]) -> dict[str, float]:
        """``exact_match``: 1 where the two are the same number, however it is written, else 0."""
        reference = final_number(self.function(self.benchmark, doc))
        return {"exact_match": float(reference is not None and same_number(results[0], reference))}


announced = NumberFilter(announced_number)
r"""Of an answer that says which number is its result: after ``####``, in ``\boxed{}``, after "the answer is"."""
final = NumberFilter(final_number)
"""The same, or else the last number in the answer."""
right = RightNumber(assistant_turn)
"""Compares with the row's reference answer."""
