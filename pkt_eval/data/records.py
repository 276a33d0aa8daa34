"""Benchmark row → chat record, worded exactly like the papers' published transfer data.

The wording of the *question* (:func:`user_turn`) is what the chat tasks ask as well, so a student is scored
on the sentence it was trained on. It does not decide which rows are used (``splits``) nor how a record
becomes tokens (``chat``).

Facts of the published records that this file reproduces, odd as some are:

- MMLU questions keep the whitespace of the row (upstream's task strips it);
- GSM8K steps are joined by one space and end in a full stop before "So the answer is N.";
- MBPP shows the code up to its first colon, so 20 of the 500 test items show a helper's signature and not
  that of the function under test; the answer opens a code fence that it never closes; ``\\r\\n`` stays as in
  the rows.

The nano rows use the same wording, except that a nano_gsm8k answer keeps its steps on lines of their own and
its ``#### N`` ending (:data:`KEEPS_HASHES`): the small models learn one ending for both protocols.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pkt_eval.errors import DataError

if TYPE_CHECKING:
    from pkt_eval.code import Job

LETTERS = "ABCD"
MMLU_ANSWER = "The answer is:"
"""What precedes the letter; the chat task gives it as the assistant's prefix and compares the letters."""

CODE_ANSWER = "Here is the completed function:\n\n\n```python\n"
CODE_QUESTION = "Complete the following python function.\n\n\n"

KEEPS_HASHES = {"nano_gsm8k"}
"""Benchmarks whose GSM8K-style answers keep their ``\\n#### N`` ending."""

BENCHMARKS = ("mmlu", "gsm8k", "humaneval", "mbpp")
"""The four kinds; ``nano_<kind>`` names the nano family's benchmark of that kind."""


# Tasks that hand over or get back more than plain data: objects of a class of the answer's, a type.
_IN_PROCESS = {("mbpp", 367), ("mbpp", 533), ("mbpp", 601), ("mbpp", 927)}
# Ten times the reference solution's, where that takes more than a second; all others are ten times below the default.
_CPU_SECONDS = {("mbpp", 123): 20}


def kind(benchmark: str) -> str:
    """The kind of a benchmark: ``nano_gsm8k`` and ``gsm8k`` are both ``gsm8k``.

    Raises:
        DataError: the benchmark is none of :data:`BENCHMARKS`, with or without ``nano_``.
    """
    name = benchmark.removeprefix("nano_")
    if name not in BENCHMARKS:
        raise DataError(f"unknown benchmark {benchmark!r}; choose from {', '.join(BENCHMARKS)} or nano_<one of these>")
    return name


def user_turn(benchmark: str, row: dict) -> str:
    """The question of a row, as the user's turn.

    Args:
        benchmark: e.g. ``"gsm8k"`` or ``"nano_gsm8k"``.
        row: a row in the hub's columns.

    Raises:
        DataError: the row lacks a column.
    """
    return _worded(benchmark, row, _QUESTION)


def assistant_turn(benchmark: str, row: dict) -> str:
    """The reference answer of a row, as the assistant's turn. Arguments and errors as :func:`user_turn`."""
    if benchmark in KEEPS_HASHES:
        return _worded(benchmark, row, {"gsm8k": lambda row: f"Answer: {_plain_steps(row['answer'])}"})
    return _worded(benchmark, row, _ANSWER)


def to_chat(benchmark: str, row: dict) -> dict:
    """A row as a chat record ``{"messages": [user, assistant]}``. As :func:`user_turn`."""
    return {
        "messages": [
            {"role": "user", "content": user_turn(benchmark, row)},
            {"role": "assistant", "content": assistant_turn(benchmark, row)},
        ]
    }


def code_tests(benchmark: str, row: dict) -> str:
    """The program that judges an answer to a code row: it uses names that the answer defines.

    MBPP's ``test_setup_code`` comes first: it defines what the assertions use.
    """
    if kind(benchmark) == "humaneval":
        return f"{row['test']}\ncheck({row['entry_point']})\n"
    return "\n".join([row.get("test_setup_code") or "", *row["test_list"]]).lstrip("\n") + "\n"


def code_job(benchmark: str, row: dict, program: str) -> "Job":
    """A program that answers a code row, with all that is needed to judge it.

    HumanEval's tests may use the imports and helpers of the prompt: they get the prompt's own, not the answer's.
    """
    from pkt_eval.code import Job, Limits
    from pkt_eval.code.verdict import free_names

    tests, name = code_tests(benchmark, row), entry_point(benchmark, row)
    if kind(benchmark) == "humaneval":
        return Job(program, tests, row["prompt"], (name,))
    names = dict.fromkeys([*free_names(tests), *([name] if name else [])])
    item = (benchmark, row.get("task_id"))
    limits = Limits(cpu_seconds=_CPU_SECONDS.get(item, Limits.cpu_seconds))
    return Job(program, tests, "", tuple(names), "inproc" if item in _IN_PROCESS else "split", limits)


def entry_point(benchmark: str, row: dict) -> str | None:
    """The name of the function under test: the column of HumanEval, the function that MBPP's first assertion
    calls.

    None where no function of the reference code occurs in the first assertion.
    """
    if kind(benchmark) == "humaneval":
        return row["entry_point"]
    defined = set(re.findall(r"^\s*def\s+(\w+)", row["code"], re.MULTILINE))
    called = re.findall(r"(\w+)\s*\(", row["test_list"][0])
    return next((name for name in called if name in defined), None)


def _worded(benchmark: str, row: dict, wordings: dict[str, Callable[[dict], str]]) -> str:
    try:
        return wordings[kind(benchmark)](row)
    except KeyError as missing:
        raise DataError(
            f"a {benchmark} row needs the column {missing}; this one has {', '.join(map(str, row))}"
        ) from None


def _mmlu_question(row: dict) -> str:
    subject = row["subject"].replace("_", " ")
    choices = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, row["choices"], strict=True))
    header = f"The following are multiple choice questions (with answers) about {subject}."
    return f"{header}\n\n{row['question']}\n{choices}Answer:"


def _mbpp_question(row: dict) -> str:
    signature = row["code"].split(":", 1)[0]
    return f"{CODE_QUESTION}{row['text']}\n{signature}"


def _plain_steps(answer: str) -> str:
    """A GSM8K answer without its calculator annotations ``<<48/2=24>>``."""
    return re.sub(r"<<[^>]*>>", "", answer)


def _gsm8k_answer(row: dict) -> str:
    steps, mark, number = _plain_steps(row["answer"]).rpartition("\n####")
    if not mark:
        raise DataError(f"a GSM8K answer ends in a line '#### N'; this one does not: {row['answer'][-80:]!r}")
    text = " ".join(line.strip() for line in steps.split("\n")).strip()
    if not text.endswith("."):
        text += "."
    return f"Answer: {text} So the answer is {number.strip()}."


_QUESTION: dict[str, Callable[[dict], str]] = {
    "mmlu": _mmlu_question,
    "gsm8k": lambda row: f"Answer the following question.\n\nQuestion: {row['question']}",
    "humaneval": lambda row: f"{CODE_QUESTION}{row['prompt']}",
    "mbpp": _mbpp_question,
}

_ANSWER: dict[str, Callable[[dict], str]] = {
    "mmlu": lambda row: f"{MMLU_ANSWER} {LETTERS[row['answer']]}",
    "gsm8k": _gsm8k_answer,
    "humaneval": lambda row: f"{CODE_ANSWER}{row['prompt']}{row['canonical_solution']}",
    "mbpp": lambda row: f"{CODE_ANSWER}{row['code']}",
}
