"""What of an answer is not its answer: drafts thought aloud, blanks of typesetting, lines without an end to a parser.

All are taken out before a program is looked for. Where the program is, ``extract`` says.
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

# What Python takes for no blank though it looks like one, what ends a line elsewhere, and what cannot be seen at all.
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\x0b\x1c-\x1f"
_ENDS = "\x85\u2028\u2029"
_UNSEEN = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_MARGIN = re.compile(rf"^[ \t{_BLANKS}{_UNSEEN}]+", re.M)
# Strings and comments first: what is in them stays.
_OUTSIDE = re.compile(
    rf"""('{{3}}|"{{3}})[\s\S]*?\1|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\#[^\n]*|[{_BLANKS}{_ENDS}{_UNSEEN}]"""
)


def with_plain_blanks(answer: str) -> str:
    """The answer with blanks for what only looks like one, such as U+00A0, and without zero-width characters.

    Strings and comments keep theirs, but for the indentation of their lines. Other letters that look alike, such as
    typographic quotation marks, are left: whoever writes them has not written Python.
    """
    if not re.search(f"[{_BLANKS}{_ENDS}{_UNSEEN}]", answer):
        return answer
    return _OUTSIDE.sub(_plain, _MARGIN.sub(lambda m: "".join(map(_plain_character, m[0])), answer))


def _plain(match: re.Match[str]) -> str:
    return match[0] if match[1] or len(match[0]) > 1 else _plain_character(match[0])


def _plain_character(character: str) -> str:
    if re.match(f"[{_ENDS}]", character):
        return "\n"
    if re.match(f"[{_UNSEEN}]", character):
        return ""
    return " " if re.match(f"[{_BLANKS}]", character) else character


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
