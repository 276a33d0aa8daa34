"""Files that are there whole or not at all, after a crash of the machine too."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_eval.errors import PKTError, StoreError

if TYPE_CHECKING:  # text is written where torch is not loaded
    import torch


def check_regular(path: Path) -> None:
    """Check that a file has an end, before it is opened: a pipe would be waited for, and a device need not have one.

    Raises:
        OSError: It has none, or is not there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no file, but a folder, a pipe or a device", str(path))


def save_text(path: Path, text: str) -> None:
    """Write a UTF-8 file; its folder is made.

    Raises:
        StoreError: It cannot be written; what was there before still is.
    """
    with _whole(path) as temporary:
        temporary.write_text(text, "utf-8")


def save_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"], *, within: int = 1, **metadata: object) -> None:
    """Write a safetensors file.

    Args:
        path: The file; its folder is made.
        tensors: By name, on any device.
        within: How many of the last parts of the path say what the file is of: at another place it is not read. The
            folder before them may be moved.
        metadata: Kept in the header as JSON, which keeps a float to the last bit, NaN included.

    Raises:
        StoreError: It cannot be written; what was there before still is.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    kept = {name: json.dumps(value) for name, value in metadata.items()}
    kept[_CHECKSUM] = _checksum(whole, kept, path.parts[-within:])
    with _whole(path) as temporary:
        try:
            save_file(whole, temporary, metadata=kept)
        except SafetensorError as error:  # as it calls a full disk
            raise OSError(str(error)) from error


def load_tensors(path: Path, *, within: int = 1) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Read what ``save_tensors`` wrote, and nothing else: a bit that has changed would be another result.

    Args:
        path: The file.
        within: As it was written.

    Returns:
        Tensors by name, on the CPU; and the metadata.

    Raises:
        StoreError: The file is missing, cut, altered, of another place, or not of ``save_tensors``.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            kept = dict(file.metadata() or {})
        if kept.pop(_CHECKSUM, None) != _checksum(tensors, kept, path.parts[-within:]):
            raise StoreError(f"{path} is altered, or was at another place: its checksum is another")
        return tensors, {name: json.loads(value) for name, value in kept.items()}
    except StoreError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"{path} is damaged: {' '.join(str(error).split())}") from None


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``path``, which takes its place once the body has ended and the disk has its content.

    Args:
        path: The folder; those that it is in are made. It must not be there, or be empty.
        replace: What is there goes, then.

    Yields:
        The temporary folder; if the body fails it goes, and what was at ``path`` stays.

    Raises:
        StoreError: It cannot be written; other errors of the body stay what they are.
    """
    path = path.resolve() if path.is_symlink() else path  # the folder is replaced, and not the link to it
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        if os.name == "posix":  # elsewhere a folder cannot be opened
            for within in (*temporary.rglob("*"), temporary):
                _sync(within)
        if replace:
            remove(path)
        elif path.exists():
            path.rmdir()
        temporary.rename(path)
        if os.name == "posix":
            _sync(path.parent)
    except Exception as error:  # safetensors calls a full disk by a type of its own
        if isinstance(error, PKTError) or not (is_full(error) or _is_about(error, temporary, path)):
            raise
        raise StoreError(f"cannot write the folder {path}: {why(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, or a file or link; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


_CHECKSUM = "sha256"


def _checksum(tensors: Mapping[str, "torch.Tensor"], metadata: Mapping[str, str], place: Sequence[str]) -> str:
    """Of names, types, shapes and bytes of tensors, of the metadata, and of where they lie."""
    import torch

    digest = hashlib.sha256(json.dumps([sorted(metadata.items()), place]).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
        raise StoreError(f"cannot write {path.name} in {path.parent}: {why(error)}") from error
    finally:
        with suppress(OSError):  # it has moved, or there is a better error to raise
            temporary.unlink()


def is_full(error: BaseException) -> bool:
    """Whether the disk, or what a user may fill of it, is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "(os error 28)" in str(error)


def _is_about(error: BaseException, *folders: Path) -> bool:
    """Whether an error of the system names one of some folders, what is in it, or the one that it is in."""
    named = getattr(error, "filename", None)
    if not isinstance(error, OSError) or not isinstance(named, str | os.PathLike):
        return False
    return any(Path(named) in (folder, *folder.parents) or folder in Path(named).parents for folder in folders)


def why(error: BaseException) -> str:
    """What stands in the way of writing, for the end of a message."""
    if is_full(error):
        return "the disk is full: make room there"
    return getattr(error, "strerror", None) or str(error)


def _sync(path: Path) -> None:
    """Wait until the disk has a file's content: a rename may reach it before what is renamed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
