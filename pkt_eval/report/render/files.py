"""The files of a report: all of them, or none."""

import os
from collections.abc import Mapping
from pathlib import Path

from pkt_eval._util.files import why
from pkt_eval.errors import StoreError


def save_all(folder: Path, texts: Mapping[str, str]) -> None:
    """Write UTF-8 files beside those of an earlier report and, once all are whole, in their place.

    Half a surrogate pair, which a model may write, is no UTF-8: it becomes ``\\ud800``, which JSON reads as it was.

    Args:
        folder: Is made.
        texts: File → text.

    Raises:
        StoreError: Something cannot be written; what was there is as it was.
    """
    written = {name: folder / f".{name}.{os.getpid()}.tmp" for name in texts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            written[name].write_bytes(text.encode("utf-8", "backslashreplace"))
        for name, path in written.items():
            path.replace(folder / name)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {why(error)}") from error
    finally:
        for path in written.values():
            try:
                path.unlink(missing_ok=True)
            except OSError:  # the folder itself is out of reach, which was said
                continue
