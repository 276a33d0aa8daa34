"""The functions that the task YAMLs name: questions of the chat tasks, and the judging of code answers.

A code task judges in its *filter*, where lm-eval hands over all answers at once, so they run in parallel;
what the filter returns, verdict and program, is what lm-eval writes as ``filtered_resps`` of each sample.
``process_results`` then only counts. Our own models have answers judged as they come, while others are still being
generated (``JudgedAhead``); the filter then finds most verdicts there.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pkt_eval.data.records import code_job, code_tests, entry_point, user_turn

if TYPE_CHECKING:
    from datasets import Dataset

PASS_AT = (1, 2, 4, 5, 8, 10, 16, 32, 64, 100)
"""The k of pass@k, as far as the number of answers allows: 1 alone, unless a task sets ``repeats``."""

Judged = list[str]
"""For each answer to one item, as JSON: its verdict (``pkt_eval.code.Verdict``) and the ``program`` that was judged.

Text, since lm-eval writes anything else in a sample as its Python repr.
"""

log = logging.getLogger(__name__)


def mmlu_question(doc: dict) -> str:
    """The user's turn of an MMLU row, as in the transfer data."""
    return user_turn("mmlu", doc)


def by_turns(docs: "Dataset") -> "Dataset":
    """MMLU's rows, one of each subject in turn, so that the first N are of all subjects."""
    seen: Counter[str] = Counter()
    turns = []
    for row, subject in enumerate(docs["subject"]):
        turns.append((seen[subject], row))
        seen[subject] += 1
    return docs.select([row for _, row in sorted(turns)])


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


class CodeFilter:
    """An lm-eval filter: from the answers of a code task to their verdicts.

    Args:
        benchmark: Whose rows the task has.
        program_of: The program in an answer to a row.
    """

    def __init__(self, benchmark: str, program_of: Callable[[dict, str], str]) -> None:
        self.benchmark, self.program_of = benchmark, program_of

    def job(self, doc: dict, answer: str) -> Any:
        """What there is to judge in an answer."""
        return code_job(self.benchmark, doc, self.program_of(doc, answer))

    def __call__(self, answers: list[list[str]], docs: list[dict]) -> list[Judged]:
        """Judge all answers.

        Args:
            answers: For each item, its answers.
            docs: The items.

        Returns:
            For each item, the verdicts on its answers.
        """
        from pkt_eval.code import judge_many

        jobs = [[self.job(doc, answer) for answer in row] for row, doc in zip(answers, docs, strict=True)]
        flat = [job for row in jobs for job in row]
        verdicts = judge_many(flat, progress=True)
        if unjudged := sum(verdict.status == "infrastructure" for verdict in verdicts):
            log.warning("%d of %d programs could not be run and count as not passed", unjudged, len(flat))
        records = ({**v.to_dict(), "program": job.candidate} for v, job in zip(verdicts, flat, strict=True))
        judged = iter([json.dumps(record, ensure_ascii=False) for record in records])
        return [[next(judged) for _ in row] for row in jobs]


def _continuation(doc: dict, answer: str) -> str:
    """``prompt + answer``, as HumanEval's authors and upstream do."""
    return doc["prompt"] + answer


def _humaneval_program(doc: dict, answer: str) -> str:
    from pkt_eval.code import extract_code

    return extract_code(answer, prompt=doc["prompt"], entry_point=doc["entry_point"])


def _mbpp_program(doc: dict, answer: str) -> str:
    from pkt_eval.code import extract_code

    return extract_code(answer, entry_point=entry_point("mbpp", doc))


judge_humaneval_continuations = CodeFilter("humaneval", _continuation)
"""Judges ``prompt + answer``."""
judge_humaneval_answers = CodeFilter("humaneval", _humaneval_program)
"""Judges the program found in an answer to a HumanEval prompt."""
judge_mbpp_programs = CodeFilter("mbpp", lambda doc, answer: answer)
"""Judges the answer itself, as MBPP's authors and upstream do."""
judge_mbpp_answers = CodeFilter("mbpp", _mbpp_program)
"""Judges the program found in an answer to an MBPP task."""
judge_mbpp_fenced = CodeFilter("mbpp", lambda doc, answer: _mbpp_program(doc, f"```python\n{answer}"))
"""The same, for answers that continue a code fence which the prompt opened."""

judge_nano_mbpp_answers = CodeFilter("nano_mbpp", _mbpp_program)
"""The same for nano_mbpp, whose items have numbers of their own."""

CODE_FILTERS: dict[str, CodeFilter] = {}
"""The filter of each code task that has been built, by the task's name."""


class JudgedAhead:
    """An lm-eval cache hook that has each answer judged when it comes, while the model generates the next.

    Args:
        hook: The hook that was there, which is called as before.
        requests: All requests of the run.
    """

    def __init__(self, hook: Any, requests: Iterable[Any]) -> None:
        self.hook = hook
        self.docs: dict[str, dict[int, tuple[CodeFilter, dict]]] = {}
        for request in requests:
            if (code := CODE_FILTERS.get(request.task_name)) is not None:
                self.docs.setdefault(request.args[0], {})[request.doc_id] = (code, request.doc)

    def add_partial(self, attribute: str, request: tuple, answer: str) -> None:
        """Called by the model for each answer, ``request[0]`` being the prompt."""
        from pkt_eval.code.pool import shared_pool

        self.hook.add_partial(attribute, request, answer)
        for code, doc in self.docs.get(request[0], {}).values():
            shared_pool().begin(code.job(doc, answer))


def pass_at_k(doc: dict, results: list[Judged]) -> dict[str, float]:
    """lm-eval's ``process_results``: unbiased pass@k of one item, for each k of :data:`PASS_AT` that fits."""
    from pkt_eval.code import pass_at_k as estimate

    (judged,) = results
    passed = sum(json.loads(verdict)["passed"] for verdict in judged)
    return {f"pass@{k}": estimate(len(judged), passed, k) for k in PASS_AT if k <= len(judged)}
