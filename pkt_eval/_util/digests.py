"""sha256 of files and of JSON: what everything that is kept by content is named by."""

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

from pkt_eval._util.files import save_text
from pkt_eval._util.folders import store_root


def combine_digests(parts: dict[str, Any]) -> str:
    """sha256 of a JSON-able mapping in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's content.

    A hub snapshot links to blobs that are named by their sha256; other files over 1 MB are remembered in the store by
    resolved path, size, inode and modification time in nanoseconds, so that a 3 GB model is hashed once.
    """
    real = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", real.name) and real.parent.name == "blobs":
        return real.name
    stat = real.stat()
    if stat.st_size < 1 << 20:
        return hashlib.sha256(real.read_bytes()).hexdigest()
    key = combine_digests({"f": [str(real), stat.st_size, stat.st_ino, stat.st_mtime_ns]})
    memo = store_root() / "digests" / key
    if memo.exists() and len(found := memo.read_text()) == 64:
        return found
    with real.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256")
    if time.time() - stat.st_mtime < 2:
        # A write within the clock's granularity after this one would leave the same time: do not remember yet.
        return digest.hexdigest()
    save_text(memo, digest.hexdigest())
    return digest.hexdigest()
