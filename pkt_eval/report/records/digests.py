"""Whether a file of a suite's cell is as it was written."""

import hashlib
import json
from pathlib import Path

from pkt_eval.errors import DataError

CELL = "cell.json"
"""What a suite writes last into a cell, with the sha256 of its files."""


def check_digests(path: Path) -> None:
    """Compare a file with its digest, where a ``cell.json`` beside it has one.

    Raises:
        DataError: It was changed after it was written; names it.
    """
    cell = path.with_name(CELL)
    if not cell.exists():
        return
    try:
        digest = json.loads(cell.read_text("utf-8"))["files"].get(path.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{cell} cannot be read, so it is not known whether {path.name} is as it was written") from None
    if digest is not None and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise DataError(
            f"{path} was changed after it was written: {CELL} has another digest of it. Restore it, or run that cell "
            "of the suite again."
        )
