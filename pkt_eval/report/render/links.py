"""Links from a report to the records."""

from urllib.parse import quote


def link(path: str) -> str:
    """A relative link to a file, whatever its name: a colon makes no scheme, a byte that is no UTF-8 stays."""
    return quote(path, safe="/", errors="surrogateescape")
