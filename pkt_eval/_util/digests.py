"""sha256 of files and of JSON: what everything that is kept by content is named by."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pkt_eval._util.files import save_text
from pkt_eval._util.folders import store_root

_DIGEST = re.compile("[0-9a-f]{64}")


def combine_digests(parts: Mapping[str, object]) -> str:
    """sha256 of a JSON-able mapping in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path, *, remember: bool = True) -> str:
    """sha256 of a file's content.

    A hub snapshot links to blobs that are named by their sha256; other files over 1 MB are remembered in the store by
    resolved path, size, inode and the times of the last modification and the last change in nanoseconds, so that a 3 GB
    model is hashed once. (``cp -p`` and ``rsync`` set the former to what it was elsewhere, and nobody sets the latter.)
    A store that cannot be read or written remembers nothing, and that is no error.

    Args:
        path: The file.
        remember: False reads the content each time, whatever the file is called and whatever is remembered of it: what
            was damaged on the disk keeps size and time.
    """
    real = path.resolve()
    if not remember:
        return _sha256(real)
    if _DIGEST.fullmatch(real.name) and real.parent.name == "blobs":
        return real.name
    stat = real.stat()
    if stat.st_size < 1 << 20:
        return hashlib.sha256(real.read_bytes()).hexdigest()
    key = combine_digests({"f": [str(real), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]})
    memo = store_root() / "digests" / key
    with suppress(OSError, ValueError):
        if _DIGEST.fullmatch(remembered := memo.read_text("ascii")):
            return remembered
    digest = _sha256(real)
    # A write within the clock's granularity after this one would leave the same time: do not remember yet.
    if time.time() - stat.st_mtime >= 2:
        with suppress(OSError):
            save_text(memo, digest)
    return digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
