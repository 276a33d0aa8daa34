"""Files that are there whole or not at all, after a crash of the machine too."""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pkt_eval.errors import StoreError

if TYPE_CHECKING:  # text is written where torch is not loaded
    import torch


def save_text(path: Path, text: str) -> None:
    """Write a UTF-8 file; its folder is made.

    Raises:
        StoreError: It cannot be written; what was there before still is.
    """
    with _whole(path) as temporary:
        temporary.write_text(text, "utf-8")


def save_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"], **metadata: object) -> None:
    """Write a safetensors file.

    Args:
        path: The file; its folder is made.
        tensors: By name, on any device.
        metadata: Kept in the header as JSON, which keeps a float to the last bit, NaN included.

    Raises:
        StoreError: It cannot be written; what was there before still is.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with _whole(path) as temporary:
        try:
            save_file(whole, temporary, metadata={name: json.dumps(value) for name, value in metadata.items()})
        except SafetensorError as error:  # as it calls a full disk
            raise OSError(str(error)) from error


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which takes its place once the body has ended and the disk has its content."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        if os.name == "posix":  # the new name is the folder's content; elsewhere a folder cannot be opened
            _sync(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "(os error 28)" in str(error)
        what = "the disk is full: make room there" if full else error.strerror or str(error)
        raise StoreError(f"cannot write {path.name} in {path.parent}: {what}") from error
    finally:
        with suppress(OSError):  # it has moved, or there is a better error to raise
            temporary.unlink()


def _sync(path: Path) -> None:
    """Wait until the disk has a file's content: a rename may reach it before what is renamed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
