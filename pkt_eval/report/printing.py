"""Where the commands of a report print: a console that takes any text, whatever its encoding and whoever wrote it."""

import sys
from io import TextIOWrapper

from rich.console import Console
from rich.text import Text

from pkt_eval.report.board.wording import harmless


def console() -> Console:
    """Standard output; a file or a pipe has no width, so a table gets what it needs.

    What its encoding cannot say (``Δ`` in cp1252) is shown as ``?``: a table half printed would be an error after the
    work, and the exit code of a gate that holds another's.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console() if sys.stdout.isatty() else Console(width=160)


def line(text: str, style: str = "") -> Text:
    """A text of somebody's: what is in brackets is no markup, and a control character no command."""
    return Text(harmless(text), style)
