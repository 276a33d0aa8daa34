"""What the commands of a report print: text of somebody's, on the console of ``_util``."""

from rich.text import Text

from pkt_eval.report.board.wording import harmless


def line(text: str, style: str = "") -> Text:
    """A text of somebody's: a control character is shown to have been there, and is no command."""
    return Text(harmless(text), style)
