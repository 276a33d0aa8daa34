"""Where the harness keeps what it makes."""

import os
from pathlib import Path


def store_root() -> Path:
    """Where transferred students and file digests are kept: ``PKT_EVAL_STORE``, else the user's cache folder."""
    root = os.environ.get("PKT_EVAL_STORE")
    if root:
        return Path(root).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "pkt_eval"
