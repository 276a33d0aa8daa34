"""The formats that a leaderboard is written in: a function each, registered where it is defined.

A new format is one file in this folder: a function from ``Content`` to the text of a file, under ``@output``.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pkt_eval.report.board import Leaderboard, Sheet
from pkt_eval.report.board.diagnoses import LinkedDiagnosis


@dataclass(frozen=True)
class Live:
    """A page that looks for a newer one.

    Attributes:
        every: Seconds between two looks.
        version: Of this one.
    """

    every: float
    version: str


@dataclass(frozen=True)
class Content:
    """What a report says.

    Attributes:
        board: The numbers.
        sheets: All answers.
        diagnoses: Of the same pairs.
        live: Of a page that ``pkt-eval view`` serves; None of a file, which loads nothing.
    """

    board: Leaderboard
    sheets: Sequence[Sheet] = ()
    diagnoses: Sequence[LinkedDiagnosis] = ()
    live: Live | None = None


@dataclass(frozen=True)
class Format:
    """A registered format.

    Attributes:
        file: Its name in the leaderboard's folder.
        title: What people call the format.
        place: Among the others, where they are listed.
        write: The text of the file.
    """

    file: str
    title: str
    place: int
    write: Callable[[Content], str]


_FORMATS: dict[str, Format] = {}


def output(file: str, title: str, place: int = 100) -> Callable[[Callable[[Content], str]], Callable[[Content], str]]:
    """Register a function that writes a file; see ``Format``."""

    def register(write: Callable[[Content], str]) -> Callable[[Content], str]:
        _FORMATS[file] = Format(file, title, place, write)
        return write

    return register


def formats() -> list[Format]:
    """All of them, in the order in which they are listed."""
    _load()
    return sorted(_FORMATS.values(), key=lambda each: (each.place, each.file))


@cache
def _load() -> None:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"pkt_eval.report.render.{module.name}")
