"""Text that is data, made fit for an output: without control characters, and within its encoding."""

import codecs
import re

#: Name of the codec error handler that writes a character which an encoding lacks as it is written in ASCII.
IN_ASCII = "pkt_eval.in_ascii"
_ASCII = dict(zip("−–—←→≤≥×±…·‘’“”", "- - - <- -> <= >= x +- ... | ' ' \" \"".split(), strict=True))

# What moves a cursor, changes a terminal's state or the order in which text is read: C0 but tab and newline, delete,
# C1, the bidirectional marks and overrides, and the separators of lines.
_CONTROL = dict.fromkeys(
    [
        *range(9),
        *range(11, 32),
        *range(127, 160),
        0x61C,
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    ],
    "",
)


def printable(text: str, encoding: str = "utf-8") -> str:
    """The text without control characters (newline and tab stay), as far as an encoding has its characters."""
    shown = text.translate(_CONTROL)
    return shown if shown.isascii() else shown.encode(encoding, IN_ASCII).decode(encoding)


def in_markdown(text: str) -> str:
    """Text on one line that Markdown shows as it is, in a table's cell too: names, titles and paths are not ours."""
    return re.sub(r"([\\`*_\[\]<>|#&~$])", r"\\\1", printable(" ".join(text.split())))


def json_escapes(text: str) -> str:
    """JSON in which control characters that JSON lets stand, such as C1, are written as escapes: it says the same."""
    return "".join(f"\\u{ord(c):04x}" if ord(c) in _CONTROL and c != "\n" else c for c in text)


def lenient(stream: object) -> None:
    """Have a text stream replace the characters that its encoding lacks, for what is printed without a console.

    Args:
        stream: Such as ``sys.stdout``; one that is no ``io.TextIOWrapper`` is left as it is.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if callable(reconfigure):
        reconfigure(errors=IN_ASCII)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_ASCII.get(character, "?") for character in lacking), error.end


codecs.register_error(IN_ASCII, _in_ascii)
