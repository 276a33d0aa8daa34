"""What of an answer is not its answer: drafts thought aloud, and lines on which no parser comes to an end.

Both are taken out before a program is looked for. Where the program is, ``extract`` says.
"""

import ast
import re

_THOUGHT = r"(?:think(?:ing)?|thoughts?|reasoning|scratchpad)"
THOUGHT = re.compile(rf"^[ \t]*(?:<{_THOUGHT}>|<\|begin_of_thought\|>)", re.I | re.M)
THOUGHT_END = re.compile(rf"</{_THOUGHT}>|<\|end_of_thought\|>", re.I)
# The end of a thought that the prompt began; a quotation mark or a comment before it makes it a program's own.
LONE_END = re.compile(r"""^[^'"#\n]*</think(?:ing)?>[ \t]*$""", re.I | re.M)
SHORTEST_RAMBLE = 500
"""Characters: Python's parser takes deeper nesting than a shorter line can hold."""


def without_thoughts(answer: str) -> str:
    """The answer without its thoughts: from ``<think>`` or its like at the start of a line up to the end of each.

    A thought that is never closed goes on to the end of the answer. Of a thought that the prompt began only the end is
    there: all that precedes it goes.
    """
    while (start := THOUGHT.search(answer)) is not None:
        end = THOUGHT_END.search(answer, start.end())
        answer = answer[: start.start()] + (answer[end.end() :] if end else "")
    return LONE_END.split(answer)[-1]


def without_nuls(answer: str) -> str:
    """The answer without the lines that hold a NUL, which Python reads nowhere, not even in a comment."""
    return "\n".join(line for line in answer.split("\n") if "\0" not in line)


def rambling_lines(answer: str) -> list[str]:
    """The lines that alone exceed the parser's depth: ``1+1+1…``, thousands of dashes.

    Python gives no line number for such an error, and reads nothing of a text that has such a line, unless it stands in
    a string or a comment.
    """
    return [line for line in answer.split("\n") if len(line) >= SHORTEST_RAMBLE and _is_too_deep(line.strip())]


def without_lines(answer: str, lines: list[str]) -> str:
    """The answer without all lines that are one of these."""
    gone = set(lines)
    return "\n".join(line for line in answer.split("\n") if line not in gone)


def _is_too_deep(text: str) -> bool:
    try:
        ast.parse(text + " pass" if text.endswith(":") else text)
    except SyntaxError:
        return False
    except (ValueError, MemoryError, RecursionError):
        return True
    return False
