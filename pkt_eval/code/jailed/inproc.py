"""Candidate and tests in one process, for tasks whose values are not plain data.

Only a token, drawn afresh for each run, makes a line of the report count: an exit code, a print or a forged line says
nothing. A program that walks the frames to find the token can forge a report, which is why a task has to be marked for
this, and why its verdicts say so.
"""

import os

from candidate import describe, module


def run_inproc(report: int, token: str, candidate: str, context: str, tests: str) -> None:
    """Run the candidate and then, in its module, the tests; reports ``TOKEN STATUS MESSAGE``."""
    write, leave = os.write, os._exit  # bound now: the candidate may replace what os offers
    out_of_memory = f"\n{token} memory MemoryError\n".encode()  # nothing may be left to build it with then
    sources = {f"<{name}>": text.splitlines() for name, text in (("candidate", candidate), ("tests", tests))}
    space = module().__dict__

    def finish(status: str, message: str = "") -> None:
        write(report, f"\n{token} {status} {message}\n".encode("utf-8", "replace"))
        leave(0)

    try:
        for name, text in (("context", context), ("candidate", candidate), ("tests", tests)):
            exec(compile(text, f"<{name}>", "exec", dont_inherit=True), space)
    except MemoryError:
        write(report, out_of_memory)
        leave(0)
    except BaseException as error:
        wrong = isinstance(error, AssertionError) and name == "tests"
        finish("failed" if wrong else "error", describe(error, sources))
    finish("passed")
