"""A chat answer → the stretches of it inside and outside fenced code blocks.

Kinder than Markdown, because models are not careful: any tag or none, either fence, fences that are indented,
glued to a line of text or code, never closed, or opened before the answer began.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pkt_eval.code.source import indentation

FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*(.*?)[ \t]*")
# Code on the line of its opening fence, with or without a tag: "```python def f(x):".
FENCE_AND_CODE = re.compile(
    r"([ \t]*`{3,}[ \t]*(?:(?i:python3?|py)[ \t]+)?)(?:(?:async +def|def|class|import|from) +\w|@\w).*"
)
MOST_ENDS_TRIED = 8  # three examples in a docstring, and the end


@dataclass(frozen=True)
class Segment:
    """A stretch of the answer, without the fences."""

    text: str
    fenced: bool


def split_fences(text: str, is_code: Callable[[str], bool]) -> list[Segment]:
    """Splits an answer at its fences.

    A block ends at the first fence up to which it is code: so a fence inside a string does not end it. If
    there is no such fence it ends at the next one, and at the end of the answer if there is none. A fence
    with a tag ends a block as well, and opens the next. What precedes the first fence may be the rest of a block
    that the prompt has opened, and ends likewise.

    Args:
        text: The answer.
        is_code: Whether a text parses.

    Returns:
        The segments in order. The first is what precedes the first fence, even if empty: where the prompt has
        opened the block already, that is the code.
    """
    lines, glued = _unglue(text.split("\n"))
    fences = {i: match for i, line in enumerate(lines) if (match := FENCE.fullmatch(line))}
    order = list(fences)

    def joined(first: int, end: int, indent: str = "") -> str:
        """Lines as they were in the answer: those that were taken apart are one again, unless it is cut there."""
        parts: list[str] = []
        for i in range(first, end):
            if i in glued and i > first:
                parts[-1] += lines[i]
            else:
                parts.append(_outdent(lines[i], indent))
        if end in glued and parts:
            parts[-1] = parts[-1].rstrip()
        return "\n".join(parts)

    segments = []
    start = 0  # of the text outside
    at = next((n for n, end in enumerate(order[:MOST_ENDS_TRIED]) if is_code(joined(0, end))), 0)  # in `order`
    while at < len(order):
        first = order[at]
        indent, mark, info = fences[first].groups()
        segments.append(Segment(joined(start, first), fenced=False))
        if info.endswith(mark):  # ```python f = abs``` on one line
            inline = re.sub(r"^(python3?|py)\s", "", info[: -len(mark)])
            segments.append(Segment(inline.strip(), fenced=True))
            at, start = at + 1, first + 1
            continue
        ends = [i for i in order[at + 1 : at + 1 + MOST_ENDS_TRIED] if fences[i][2][0] == mark[0]]
        blocks = [joined(first + 1, end, indent) for end in ends]
        chosen = next((n for n, block in enumerate(blocks) if is_code(block)), 0)
        if not blocks:
            return [*segments, Segment(joined(first + 1, len(lines), indent), fenced=True)]
        segments.append(Segment(blocks[chosen], fenced=True))
        end = ends[chosen]
        opens_next = bool(fences[end][3])
        at = order.index(end, at) + (not opens_next)
        start = end + (not opens_next)
    return [*segments, Segment(joined(start, len(lines)), fenced=False)]


def _unglue(lines: list[str]) -> tuple[list[str], set[int]]:
    """Gives a fence that shares a line a line of its own: "Solution: ```python", "    return x```", "```def f(x):".

    Returns:
        The lines, and the numbers of those that belong to the end of the one before.
    """
    apart = []
    glued = set()
    for line in lines:
        opening = FENCE_AND_CODE.fullmatch(line)
        if opening:
            apart.append(opening[1])
            glued.add(len(apart))
            line = line[len(opening[1]) :]
        at = line.rfind("```")
        text = line[:at].rstrip("`") if at > 0 else ""
        tag = line[at + 3 :].strip()
        if text.strip() and not text.lstrip().startswith("```") and (not tag or tag.isidentifier()):
            glued.add(len(apart) + 1)
            apart += [text, line[len(text) :]]
        else:
            apart.append(line)
    return apart, glued


def _outdent(line: str, indent: str) -> str:
    """Takes the indentation of the fence off a line of its block, or as much as there is."""
    if line.startswith(indent):
        return line[len(indent) :]
    return line.lstrip(" \t") if indentation(line) < len(indent) else line
