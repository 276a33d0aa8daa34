"""A chat answer → the stretches of it inside and outside fenced code blocks.

Kinder than Markdown, because models are not careful: any tag or none, either fence, fences that are indented,
glued to a line of text or code, never closed, or opened before the answer began.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pkt_eval.code.source import indentation

FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*(.*)")
MOST_ENDS_TRIED = 4


@dataclass(frozen=True)
class Segment:
    """A stretch of the answer, without the fences."""

    text: str
    fenced: bool


def split_fences(text: str, is_code: Callable[[str], bool]) -> list[Segment]:
    """Splits an answer at its fences.

    A block ends at the first fence up to which it is code: so a fence inside a string does not end it. If
    there is no such fence it ends at the next one, and at the end of the answer if there is none. A fence
    with a tag ends a block as well, and opens the next.

    Args:
        text: The answer.
        is_code: Whether a text parses.

    Returns:
        The segments in order. The first is what precedes the first fence, even if empty: where the prompt has
        opened the block already, that is the code.
    """
    lines = _unglue(text.split("\n"))
    fences = {i: match for i, line in enumerate(lines) if (match := FENCE.fullmatch(line))}
    order = list(fences)
    segments = []
    start = 0  # of the text outside
    at = 0  # in `order`
    while at < len(order):
        first = order[at]
        indent, mark, info = fences[first].groups()
        segments.append(Segment("\n".join(lines[start:first]), fenced=False))
        if info.endswith(mark):  # ```python f = abs``` on one line
            inline = re.sub(r"^(python3?|py)\s", "", info[: -len(mark)])
            segments.append(Segment(inline.strip(), fenced=True))
            at, start = at + 1, first + 1
            continue
        ends = [i for i in order[at + 1 : at + 1 + MOST_ENDS_TRIED] if fences[i][2][0] == mark[0]]
        blocks = ["\n".join(_outdent(line, indent) for line in lines[first + 1 : end]) for end in ends]
        chosen = next((n for n, block in enumerate(blocks) if is_code(block)), 0)
        if not blocks:
            rest = "\n".join(_outdent(line, indent) for line in lines[first + 1 :])
            return [*segments, Segment(rest, fenced=True)]
        segments.append(Segment(blocks[chosen], fenced=True))
        end = ends[chosen]
        opens_next = bool(fences[end][3])
        at = order.index(end, at) + (not opens_next)
        start = end + (not opens_next)
    return [*segments, Segment("\n".join(lines[start:]), fenced=False)]


def _unglue(lines: list[str]) -> list[str]:
    """Gives a fence at the end of a line a line of its own: "Solution: ```python", "    return x```"."""
    apart = []
    for line in lines:
        at = line.rfind("```")
        text = line[:at].rstrip("`") if at > 0 else ""
        tag = line[at + 3 :].strip()
        if text.strip() and not text.lstrip().startswith("```") and (not tag or tag.isidentifier()):
            apart += [text.rstrip(), "```" + tag]
        else:
            apart.append(line)
    return apart


def _outdent(line: str, indent: str) -> str:
    """Takes the indentation of the fence off a line of its block, or as much as there is."""
    if line.startswith(indent):
        return line[len(indent) :]
    return line.lstrip(" \t") if indentation(line) < len(indent) else line
