"""Names in a suite's folder: those of our own files, and what a row may be called so that its folder is its own."""

from collections.abc import Iterable

SUITE, PROGRESS, LOCK = "suite.json", "progress.json", ".lock"
_OURS = (SUITE, PROGRESS, "leaderboard.", "index.html")
"""Beginnings of what we write there: a file that is being written has a longer name; a report may be put there, too."""
_RECORDS = "records"
"""What ``pkt-eval report --keep-records`` writes there."""
_LONGEST = 100
"""Characters: others stand beside it in one path."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=,()")


def check_name(name: str) -> str:
    """A row's name, as it was.

    Raises:
        ValueError: It is no folder's, another's, or one of our own files'; says why.
    """
    if not name or set(name) - _LETTERS:
        raise ValueError(
            "a name consists of letters, digits, dots, dashes, underscores, and ( ) = , + as in lora(rank=4)"
        )
    if not name.strip("."):
        raise ValueError(f"{name!r} is a folder's name for another one: choose a word")
    if name.startswith(".") or name.endswith("."):  # hidden, as our own are; some disks drop the last dot
        raise ValueError(f"{name[:40]!r} begins or ends in a dot, which no folder of a row does: leave it out")
    if name.startswith("-"):
        raise ValueError(f"{name[:40]!r} begins with a dash, as an option of a command does: begin with a letter")
    if len(name) > _LONGEST:
        raise ValueError(f"{name[:20]}… has {len(name)} characters: a name has at most {_LONGEST}")
    if _on_disk(name).startswith(_OURS) or _on_disk(name) == _RECORDS:
        raise ValueError(f"{name!r} is what a file of ours in a suite's folder is called: give the row another name:")
    return name


def check_apart(names: Iterable[str]) -> None:
    """Check that names are told apart, also on a disk that knows no capital letters.

    Raises:
        ValueError: Two are not; names them.
    """
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.get(_on_disk(name))) == name:
            raise ValueError(f"two methods are called {name}: give each a name: of its own")
        if other is not None:
            raise ValueError(
                f"{other} and {name} are one folder where capital letters do not count: give each a name: of its own"
            )
        seen[_on_disk(name)] = name


def _on_disk(name: str) -> str:
    return name.casefold()
