"""Where the harness keeps what it makes."""

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pkt_eval.errors import ConfigError

_LONGEST = 255 - 40
"""Bytes of a name; what is written first has a longer one."""
_OF_THE_STORE = ("students", "unfinished", "tuned", "scores", "digests", "times.jsonl")
"""What the store holds."""


def store_root() -> Path:
    """Where transferred students and file digests are kept: ``PKT_EVAL_STORE``, else the user's cache folder."""
    root = os.environ.get("PKT_EVAL_STORE")
    if root:
        return Path(root).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "pkt_eval"


def _in_the_store(out: Path) -> Path | None:
    """The store, where a folder is the store itself, or lies where it keeps its own."""
    root, whole = Path(os.path.realpath(store_root())), Path(os.path.realpath(out))
    if not whole.is_relative_to(root):
        return None
    inside = whole.relative_to(root).parts
    return root if not inside or inside[0].casefold() in _OF_THE_STORE else None


def check_out(out: Path, *, new: bool = False) -> None:
    """Check that a folder of results can be written, before the work whose results they are.

    Args:
        out: As given by ``--out``.
        new: It must not be there, or be empty.

    Raises:
        ConfigError: It cannot; says why, and what to do.
    """
    try:
        if "\0" in str(out):
            raise ValueError("its name has a null byte")
        if out.exists() and not out.is_dir():
            raise ConfigError(f"--out {out} is a file: name a folder")
        if within := _in_the_store(out):
            raise ConfigError(f"--out {out} lies in the store, {within}, whose folders are ours: choose another folder")
        if new and out.exists() and any(out.iterdir()):
            raise ConfigError(f"--out {out} is there already and not empty: choose another folder, or remove it")
        if out.is_symlink() and not out.exists():
            raise ConfigError(f"--out {out} is a link that leads nowhere: choose another folder, or remove it")
        if any(len(os.fsencode(part)) > _LONGEST for part in out.parts):
            raise OSError(errno.ENAMETOOLONG, "")
        there = next(folder for folder in (out, *out.absolute().parents) if folder.exists() or folder.is_symlink())
        if not there.exists():
            raise ConfigError(f"--out {out} cannot be written: {there} is a link that leads nowhere")
        if there.is_dir():
            os.rmdir(tempfile.mkdtemp(prefix=".pkt_eval.", dir=there))  # whatever rights and kind of disk say
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        what = "its name is too long" if getattr(error, "errno", 0) == errno.ENAMETOOLONG else str(error)
        raise ConfigError(f"--out {str(out)[:200]} cannot be written: {what}. Choose another folder.") from None
    if not there.is_dir():
        raise ConfigError(f"--out {out} cannot be written: {there} is a file. Choose another folder.")


def check_kept_apart(copies: Path, read: Iterable[Path]) -> None:
    """Check that copies are put nowhere where they would be read as what they are copies of.

    Args:
        copies: Folder that is to be written.
        read: Folders and files that are read.

    Raises:
        ConfigError: One of them holds the other; says which, and what to do.
    """
    place = Path(os.path.realpath(copies))
    for path in read:
        whole = Path(os.path.realpath(path))
        if place.is_relative_to(whole) or whole.is_relative_to(place):
            raise ConfigError(
                f"--keep-records would copy {path} to {copies}, where the next report would read both: choose another "
                "--out, or leave out --keep-records"
            )
