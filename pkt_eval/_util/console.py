"""Where tables and lines for people are printed: the one way to make a console.

What is printed is data: paths, names of tasks, text of records. So nothing in it is markup or the name of an emoji, no
control character of it reaches a terminal, and what the encoding of the output lacks is replaced and not an error: an
exit code says how the work went, never how it could be shown.
"""

import os
import sys
from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pkt_eval._util.text import printable

#: A file or a pipe has no width: a table gets what most of ours need.
WIDTH = 160


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


class _DataConsole(Console):
    """A console to which all text is data, also that in a table or under a bar."""

    @property
    def encoding(self) -> str:
        """That of where it writes to now; of standard output, rich would say utf-8 whatever it is."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()

    def on_broken_pipe(self) -> None:
        """Say the rest to nobody where the reader has gone, as ``| head`` does: the exit code stays the work's."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As ``Console.render``; what rich itself does to the terminal is in a segment's style and control codes."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text, self.encoding), segment.style)
