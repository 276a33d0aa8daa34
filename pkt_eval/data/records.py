"""Benchmark row → chat record, worded exactly like the papers' published transfer data.

The wording of the *question* (``user_turn``) is what the chat tasks ask as well, so a student is scored on the
sentence it was trained on. The words themselves are in ``wording`` and ``code_rows``, by the table of ``benchmarks``;
it is not decided here which rows are used (``splits``) nor how a record becomes tokens (``chat``).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pkt_eval.data.benchmarks import benchmark as row_of
from pkt_eval.data.code_rows import Code
from pkt_eval.data.rows import ChatRecord, Row
from pkt_eval.errors import DataError

if TYPE_CHECKING:
    from pkt_eval.code import Job


def kind(benchmark: str) -> str:
    """The kind of a benchmark: ``nano_gsm8k`` and ``gsm8k`` are both ``gsm8k``.

    Raises:
        DataError: There is no such benchmark.
    """
    return row_of(benchmark).kind


def user_turn(benchmark: str, row: Row) -> str:
    """The question of a row, as the user's turn.

    Args:
        benchmark: E.g. ``"gsm8k"`` or ``"nano_gsm8k"``.
        row: A row in the hub's columns.

    Raises:
        DataError: The row lacks a column.
    """
    return _worded(benchmark, row, row_of(benchmark).question)


def assistant_turn(benchmark: str, row: Row) -> str:
    """The reference answer of a row, as the assistant's turn. Arguments and errors as of ``user_turn``."""
    return _worded(benchmark, row, row_of(benchmark).answer)


def to_chat(benchmark: str, row: Row) -> ChatRecord:
    """A row as a chat record ``{"messages": [user, assistant]}``. As ``user_turn``."""
    return {
        "messages": [
            {"role": "user", "content": user_turn(benchmark, row)},
            {"role": "assistant", "content": assistant_turn(benchmark, row)},
        ]
    }


def code_tests(benchmark: str, row: Row) -> str:
    """The program that judges an answer to a code row: it uses names that the answer defines."""
    return _code(benchmark).tests(row)


def code_job(benchmark: str, row: Row, program: str) -> "Job":
    """A program that answers a code row, with all that is needed to judge it."""
    return _code(benchmark).job(row, program)


def entry_point(benchmark: str, row: Row) -> str | None:
    """The name of the function under test: the column of HumanEval, the function that MBPP's first assertion
    calls.

    None where no function of the reference code occurs in the first assertion.
    """
    return _code(benchmark).entry_point(row)


def _code(benchmark: str) -> Code:
    code = row_of(benchmark).code
    if code is None:
        raise DataError(f"{benchmark} asks for no program, so there is none to judge")
    return code


_TEXTS = {"question", "prompt", "text", "code", "canonical_solution"}
"""Columns that are text in every benchmark that has them."""


def _worded(benchmark: str, row: Row, wording: Callable[[Row], str]) -> str:
    try:
        for column in _TEXTS & row.keys():
            row[column].encode()  # text, and without halves of characters
        return wording(row)
    except KeyError as missing:
        raise DataError(
            f"a {benchmark} row needs the column {missing}; this one has {', '.join(map(str, row))}"
        ) from None
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        raise DataError(f"a {benchmark} row has a column of another type than the hub's: {error}") from None
