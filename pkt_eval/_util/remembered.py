"""Texts that are slow to work out, kept in the store under the digest of all that decides them."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress

from pkt_eval._util.digests import combine_digests
from pkt_eval._util.files import save_text
from pkt_eval._util.folders import store_root
from pkt_eval.errors import StoreError


def remembered_text(kind: str, decided_by: Mapping[str, object], compute: Callable[[], str]) -> str:
    """The text from the store, or worked out and kept there.

    A store that cannot be read or written remembers nothing, and that is no error; neither is one that was altered.

    Args:
        kind: Folder of the store.
        decided_by: All that decides the text, as JSON; what is kept under another is not used.
        compute: Called if it is not there.
    """
    path = store_root() / kind / combine_digests(decided_by)
    with suppress(OSError, ValueError):
        digest, _, text = path.read_text("utf-8").partition("\n")
        if digest == _sha256(text):  # as it was written
            return text
    text = compute()
    with suppress(OSError, StoreError):
        save_text(path, f"{_sha256(text)}\n{text}")
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
