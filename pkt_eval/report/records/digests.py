"""Whether a file of a suite's cell is as it was written."""

import hashlib
import json
from pathlib import Path

from pkt_eval.errors import DataError

CELL = "cell.json"
"""What a suite writes last into a cell, with the sha256 of its files."""
UNFINISHED = ".new"
"""Folder in a cell into which lm-eval writes: what is there is not whole, or not yet in its place."""


def check_digests(path: Path) -> None:
    """Compare a file with its digest, where a ``cell.json`` beside it has one.

    Raises:
        DataError: It was changed after it was written, is not listed, or a file that is listed is missing; names it.
    """
    cell = path.with_name(CELL)
    if not cell.exists():
        return
    try:
        files = json.loads(cell.read_text("utf-8"))["files"]
        digest = files.get(path.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{cell} cannot be read, so it is not known whether {path.name} is as it was written") from None
    if digest is None:
        raise DataError(f"{path} is no file of this cell: {CELL} does not list it. Remove it.")
    if gone := sorted(name for name in files if not path.with_name(name).exists()):
        raise DataError(f"{path.with_name(gone[0])} is missing, which {CELL} lists: run that cell of the suite again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise DataError(
            f"{path} was changed after it was written: {CELL} has another digest of it. Restore it, or run that cell "
            "of the suite again."
        )
