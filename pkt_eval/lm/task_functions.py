"""The functions that the task YAMLs name: questions of the chat tasks, and the judging of code answers.

They are the same for every benchmark. lm-eval calls them with a row alone, so the task class (``lm.tasks``) binds them
to the benchmark of the task's ``dataset_path`` first.

A code task judges in its *filter*, where lm-eval hands over all answers at once, so they run in parallel;
what the filter returns, verdict and program, is what lm-eval writes as ``filtered_resps`` of each sample.
``process_results`` then only counts. Our own models have answers judged as they come, while others are still being
generated (``JudgedAhead``); the filter then finds most verdicts there.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from pkt_eval.data.benchmarks import benchmark as row_of
from pkt_eval.data.code_rows import Code
from pkt_eval.data.records import code_job, code_tests, user_turn
from pkt_eval.data.rows import Row
from pkt_eval.errors import ConfigError

if TYPE_CHECKING:
    from datasets import Dataset

    from pkt_eval.code import Job

PASS_AT = (1, 2, 4, 5, 8, 10, 16, 32, 64, 100)
"""The k of pass@k, as far as the number of answers allows: 1 alone, unless a task sets ``repeats``."""

Judged: TypeAlias = list[str]
"""For each answer to one item, its verdict and the program that was judged, as JSON text: anything else is written by
lm-eval as its Python repr."""

_UNJUDGED = {
    "infrastructure": "could not be run",
    "unsupported": "use a value that cannot cross between tests and program",
}
"""Status of a verdict that says nothing about the program → what is said of how many there are."""

log = logging.getLogger(__name__)


class OfBenchmark:
    """What a YAML names and what has to know whose rows it is called with.

    Args:
        function: Does the work; also what the name of the bound object is made of.
        benchmark: Whose rows; None until ``of`` says it.
    """

    def __init__(self, function: Callable[..., str], benchmark: str | None = None) -> None:
        self.function = function
        self._benchmark = benchmark

    @property
    def benchmark(self) -> str:
        """Whose rows.

        Raises:
            ConfigError: It is used in a task of another class than ours.
        """
        if self._benchmark is None:
            raise ConfigError(
                f"{self!r} does not know its benchmark: give the task the line "
                "`class: !function pkt_eval.lm.tasks.BenchmarkTask` and a benchmark of ours as its dataset_path"
            )
        return self._benchmark

    def of(self, benchmark: str) -> "OfBenchmark":
        """The same for the rows of a benchmark."""
        return type(self)(self.function, benchmark)

    def __repr__(self) -> str:  # lm-eval writes it in the results, which are to be the same for the same run
        return f"{self.function.__module__}.{self.function.__name__} of {self._benchmark}"


class RowText(OfBenchmark):
    """A text that is made of a row: ``function(benchmark, row)``."""

    def __call__(self, doc: Row) -> str:
        return self.function(self.benchmark, doc)


class CodeFilter(OfBenchmark):
    """An lm-eval filter: from the answers of a code task to their verdicts.

    ``function(code, row, answer)`` is the program in an answer.
    """

    def job(self, doc: Row, answer: str) -> "Job":
        """What there is to judge in an answer.

        Raises:
            ConfigError: The task is of a benchmark that asks for no program.
        """
        code = row_of(self.benchmark).code
        if code is None:
            raise ConfigError(f"{self.benchmark} asks for no program: its task cannot have {self!r} as a filter")
        return code_job(self.benchmark, doc, self.function(code, doc, answer))

    def __call__(self, answers: list[list[str]], docs: list[Row]) -> list[Judged]:
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
        verdicts = judge_many(flat, progress=self.benchmark)
        for status, said in _UNJUDGED.items():
            if unjudged := sum(verdict.status == status for verdict in verdicts):
                log.warning("%d of %d programs %s and count as not passed", unjudged, len(flat), said)
        judged = iter([verdict.to_json(program=job.candidate) for verdict, job in zip(verdicts, flat, strict=True)])
        return [[next(judged) for _ in row] for row in jobs]


def _continuation(code: Code, doc: Row, answer: str) -> str:
    """``prompt + answer``, as HumanEval's authors and upstream do."""
    return code.prompt(doc) + answer


def _as_it_is(code: Code, doc: Row, answer: str) -> str:
    """The answer itself, as MBPP's authors and upstream do."""
    return answer


def _extracted(code: Code, doc: Row, answer: str) -> str:
    """The program found in an answer."""
    from pkt_eval.code import extract_code

    return extract_code(answer, prompt=code.prompt(doc) or None, entry_point=code.entry_point(doc))


def _fenced(code: Code, doc: Row, answer: str) -> str:
    """The same, for an answer that continues a code fence which the prompt opened."""
    return _extracted(code, doc, f"```python\n{answer}")


question = RowText(user_turn)
"""The user's turn of a row, as in the transfer data."""
tests = RowText(code_tests)
"""The tests of a row, its setup code included."""
judge_continuations = CodeFilter(_continuation)
"""Judges ``prompt + answer``."""
judge_programs = CodeFilter(_as_it_is)
"""Judges the answer itself."""
judge_answers = CodeFilter(_extracted)
"""Judges the program found in an answer."""
judge_fenced = CodeFilter(_fenced)
"""Judges the program found in an answer that continues a code fence which the prompt opened."""


def by_turns(docs: "Dataset") -> "Dataset":
    """Rows with a subject, one of each in turn, so that the first N are of all subjects."""
    seen: Counter[str] = Counter()
    turns = []
    for row, subject in enumerate(docs["subject"]):
        turns.append((seen[subject], row))
        seen[subject] += 1
    return docs.select([row for _, row in sorted(turns)])


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
        self.docs: dict[str, dict[int, tuple[CodeFilter, Row]]] = {}
        for request in requests:
            if (code := CODE_FILTERS.get(request.task_name)) is not None:
                self.docs.setdefault(request.args[0], {})[request.doc_id] = (code, request.doc)

    def add_partial(self, attribute: str, request: tuple[Any, ...], answer: str) -> None:
        """Called by the model for each answer, ``request[0]`` being the prompt."""
        from pkt_eval.code.pool import shared_pool

        self.hook.add_partial(attribute, request, answer)
        for code, doc in self.docs.get(request[0], {}).values():
            shared_pool().begin(code.job(doc, answer))


def pass_at_k(doc: Row, results: list[Judged]) -> dict[str, float]:
    """lm-eval's ``process_results``: unbiased pass@k of one item, for each k of ``PASS_AT`` that fits."""
    from pkt_eval.code import Verdict
    from pkt_eval.code import pass_at_k as estimate

    (judged,) = results
    right = sum(Verdict.from_text(text).passed for text in judged)
    return {f"pass@{k}": estimate(len(judged), right, k) for k in PASS_AT if k <= len(judged)}
