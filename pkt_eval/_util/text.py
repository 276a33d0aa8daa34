"""Text that is data, made fit for an output: without control characters, and within its encoding."""

import codecs

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
