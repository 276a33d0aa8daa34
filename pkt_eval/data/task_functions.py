"""The functions that the task YAMLs name: questions of the chat tasks, and the judging of code answers.

A code task judges in its *filter*, where lm-eval hands over all answers at once, so they run in parallel;
what the filter returns, verdict and program, is what lm-eval writes as ``filtered_resps`` of each sample.
``process_results`` then only counts.
"""

import logging
from collections.abc import Callable

from pkt_eval.data.records import code_tests, entry_point, user_turn

PASS_AT = (1, 2, 4, 5, 8, 10, 16, 32, 64, 100)
"""The k of pass@k, as far as the number of answers allows: 1 alone, unless a task sets ``repeats``."""

Judged = list[tuple[str, str, str]]
"""For each answer to one item: its verdict's status ("passed", or why not) and message, and the program."""

log = logging.getLogger(__name__)


def mmlu_question(doc: dict) -> str:
    """The user's turn of an MMLU row, as in the transfer data."""
    return user_turn("mmlu", doc)


def gsm8k_question(doc: dict) -> str:
    """The user's turn of a GSM8K row, as in the transfer data."""
    return user_turn("gsm8k", doc)


def humaneval_question(doc: dict) -> str:
    """The user's turn of a HumanEval row, as in the transfer data."""
    return user_turn("humaneval", doc)


def mbpp_question(doc: dict) -> str:
    """The user's turn of an MBPP row, as in the transfer data."""
    return user_turn("mbpp", doc)


def humaneval_tests(doc: dict) -> str:
    """The tests of a HumanEval row."""
    return code_tests("humaneval", doc)


def mbpp_tests(doc: dict) -> str:
    """The tests of an MBPP row, its setup code included."""
    return code_tests("mbpp", doc)


def judge_humaneval_continuations(answers: list[list[str]], docs: list[dict]) -> list[Judged]:
    """Judge ``prompt + answer``, as HumanEval's authors and upstream do."""
    return _judge("humaneval", answers, docs, lambda doc, answer: doc["prompt"] + answer)


def judge_humaneval_answers(answers: list[list[str]], docs: list[dict]) -> list[Judged]:
    """Judge the program found in an answer to a HumanEval prompt."""
    from pkt_eval.code import extract_code

    return _judge(
        "humaneval",
        answers,
        docs,
        lambda doc, answer: extract_code(answer, prompt=doc["prompt"], entry_point=doc["entry_point"]),
    )


def judge_mbpp_programs(answers: list[list[str]], docs: list[dict]) -> list[Judged]:
    """Judge the answer itself as the program, as MBPP's authors and upstream do."""
    return _judge("mbpp", answers, docs, lambda doc, answer: answer)


def judge_mbpp_answers(answers: list[list[str]], docs: list[dict]) -> list[Judged]:
    """Judge the program found in an answer to an MBPP task."""
    from pkt_eval.code import extract_code

    return _judge("mbpp", answers, docs, lambda doc, answer: extract_code(answer, entry_point=entry_point("mbpp", doc)))


def judge_mbpp_fenced(answers: list[list[str]], docs: list[dict]) -> list[Judged]:
    """As :func:`judge_mbpp_answers`, for answers that continue a code fence which the prompt opened."""
    return judge_mbpp_answers([[f"```python\n{answer}" for answer in row] for row in answers], docs)


def pass_at_k(doc: dict, results: list[Judged]) -> dict[str, float]:
    """lm-eval's ``process_results``: unbiased pass@k of one item, for each k of :data:`PASS_AT` that fits."""
    from pkt_eval.code import pass_at_k as estimate

    (judged,) = results
    passed = sum(status == "passed" for status, *_ in judged)
    return {f"pass@{k}": estimate(len(judged), passed, k) for k in PASS_AT if k <= len(judged)}


def _judge(
    benchmark: str,
    answers: list[list[str]],
    docs: list[dict],
    program_of: Callable[[dict, str], str],
) -> list[Judged]:
    from pkt_eval.code import judge_many

    programs = [[program_of(doc, answer) for answer in row] for row, doc in zip(answers, docs, strict=True)]
    tests = [code_tests(benchmark, doc) for doc in docs]
    jobs = [(program, test) for row, test in zip(programs, tests, strict=True) for program in row]
    verdicts = judge_many(jobs)
    if unjudged := sum(verdict.status == "infrastructure" for verdict in verdicts):
        log.warning("%d of %d programs could not be run and count as not passed", unjudged, len(jobs))
    judged = iter([(v.status, v.message, program) for v, (program, _) in zip(verdicts, jobs, strict=True)])
    return [[next(judged) for _ in row] for row in programs]
