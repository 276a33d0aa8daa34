"""Where tables and lines for people are printed: the one way to make a console.

What is printed is data: paths, names of tasks, text of records. So nothing in it is markup or the name of an emoji, no
control character of it reaches a terminal, and what the encoding of the output lacks is replaced and not an error: an
exit code says how the work went, never how it could be shown.
"""

import codecs
import os
import sys
from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

#: A file or a pipe has no width: a table gets what most of ours need.
WIDTH = 160

#: Name of the codec error handler that writes a character which an encoding lacks as it is written in ASCII.
IN_ASCII = "pkt_eval.in_ascii"
_ASCII = dict(zip("−–—←→≤≥×±…·‘’“”", "- - - <- -> <= >= x +- ... | ' ' \" \"".split(), strict=True))

# What moves a cursor, changes a terminal's state or the order in which text is read: C0 but tab and newline, delete,
# C1 and the bidirectional overrides.
_CONTROL = dict.fromkeys(
    [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], ""
)


def printable(text: str, encoding: str = "utf-8") -> str:
    """The text without control characters (newline and tab stay), as far as an encoding has its characters."""
    shown = text.translate(_CONTROL)
    return shown if shown.isascii() else shown.encode(encoding, IN_ASCII).decode(encoding)


def console(file: IO[str] | None = None, *, width: int | None = None, plain: bool = False) -> Console:
    """A console for output that people read.

    Args:
        file: Where to; default: standard output, whatever that is when something is printed.
        width: In columns; default: the terminal's, or what ``COLUMNS`` says, else ``WIDTH``.
        plain: Text alone, also where ``FORCE_COLOR`` asks for colours.
    """
    if width is None and not (file or sys.stdout).isatty() and not os.environ.get("COLUMNS", "").isdigit():
        width = WIDTH
    return _DataConsole(
        file=file, width=width, color_system=None if plain else "auto", markup=False, emoji=False, highlight=False
    )


def lenient(stream: object) -> None:
    """Have a text stream replace the characters that its encoding lacks, for what is printed without a console.

    Args:
        stream: Such as ``sys.stdout``; one that is no ``io.TextIOWrapper`` is left as it is.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if callable(reconfigure):
        reconfigure(errors=IN_ASCII)


class _DataConsole(Console):
    """A console to which all text is data, also that in a table or under a bar."""

    @property
    def encoding(self) -> str:
        """That of where it writes to now; of standard output, rich would say utf-8 whatever it is."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As ``Console.render``; what rich itself does to the terminal is in a segment's style and control codes."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, self.encoding), segment.style)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(character, "?") for character in lacking), error.end


codecs.register_error(IN_ASCII, _in_ascii)
