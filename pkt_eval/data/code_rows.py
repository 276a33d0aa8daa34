"""Row → question, answer, tests and job, of the benchmarks that ask for a program.

Facts of the published records that this file reproduces, odd as some are: MBPP shows the code up to its first colon,
so 20 of the 500 test items show a helper's signature and not that of the function under test; the answer opens a code
fence that it never closes; ``\\r\\n`` stays as in the rows.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pkt_eval.data.rows import Row

if TYPE_CHECKING:
    from pkt_eval.code import Job

CODE_ANSWER = "Here is the completed function:\n\n\n```python\n"
CODE_QUESTION = "Complete the following python function.\n\n\n"


@dataclass(frozen=True)
class Code:
    """How the answers to a benchmark of programs are judged.

    Attributes:
        tests: Row → the program that judges an answer: it uses names that the answer defines.
        entry_point: Row → name of the function under test; None where the row does not tell.
        prompt: Row → what an answer may continue, and what defines the imports and helpers that the tests may use; ""
            where there is none.
        tests_name_more: Whether the tests may take more from an answer than its entry point.
        in_process: Numbers of the items that hand over or get back more than plain data: objects of a class of the
            answer's, a type.
        cpu_seconds: Item → its limit, where that is not the default.
    """

    tests: Callable[[Row], str]
    entry_point: Callable[[Row], str | None]
    prompt: Callable[[Row], str] = lambda row: ""
    tests_name_more: bool = True
    in_process: frozenset[int] = frozenset()
    cpu_seconds: Mapping[int, int] = field(default_factory=dict)

    def job(self, row: Row, program: str) -> "Job":
        """A program that answers a row, with all that is needed to judge it."""
        from pkt_eval.code import Job, Limits
        from pkt_eval.code.verdict import free_names

        tests, name, item = self.tests(row), self.entry_point(row), row.get("task_id")
        names = dict.fromkeys([*(free_names(tests) if self.tests_name_more else ()), *([name] if name else [])])
        return Job(
            candidate=program,
            tests=tests,
            context=self.prompt(row),
            names=tuple(names),
            verify="inproc" if item in self.in_process else "split",
            limits=Limits(cpu_seconds=self.cpu_seconds.get(item or 0, Limits.cpu_seconds)),
        )


def humaneval_question(row: Row) -> str:
    """The prompt under the papers' header."""
    return f"{CODE_QUESTION}{row['prompt']}"


def humaneval_answer(row: Row) -> str:
    """Prompt and reference solution in a fence."""
    return f"{CODE_ANSWER}{row['prompt']}{row['canonical_solution']}"


def humaneval_tests(row: Row) -> str:
    """The row's ``check``, called with its function."""
    return f"{row['test']}\ncheck({row['entry_point']})\n"


def humaneval_entry_point(row: Row) -> str | None:
    """The column of that name."""
    name: str = row["entry_point"]
    return name


def prompt(row: Row) -> str:
    """HumanEval's prompt: what is continued, and what defines the imports and helpers that the tests may use."""
    text: str = row["prompt"]
    return text


def mbpp_question(row: Row) -> str:
    """The task, and the reference code up to its first colon."""
    signature = row["code"].split(":", 1)[0]
    return f"{CODE_QUESTION}{row['text']}\n{signature}"


def mbpp_answer(row: Row) -> str:
    """The reference code in a fence."""
    return f"{CODE_ANSWER}{row['code']}"


def mbpp_tests(row: Row) -> str:
    """The row's assertions; ``test_setup_code`` comes first, since it defines what they use."""
    return "\n".join([row.get("test_setup_code") or "", *row["test_list"]]).lstrip("\n") + "\n"


def mbpp_entry_point(row: Row) -> str | None:
    """The function of the reference code that the first assertion calls; None where it calls none of them."""
    defined = set(re.findall(r"^\s*def\s+(\w+)", row["code"], re.MULTILINE))
    called: list[str] = re.findall(r"(\w+)\s*\(", row["test_list"][0])
    return next((name for name in called if name in defined), None)
