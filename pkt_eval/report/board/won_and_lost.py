"""The items that a transfer won and lost, with both answers, to be read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

from pkt_eval.report.board.assemble import relative
from pkt_eval.report.board.model import BoardCell, Group, Leaderboard, Source
from pkt_eval.report.records import Item, Record, join

MOST_FLIPS = 50
"""Items won, and items lost, of a student on a benchmark that a page holds; the samples files have all."""
LONGEST = {"prompt": 3000, "target": 1500, "answer": 1500}
"""Characters that are shown of a text; of a prompt its end, where the question is."""


class Flip(TypedDict):
    """An item on which a student and vanilla differ."""

    doc: int
    won: bool
    # Places of the texts in ``Flips.texts``
    prompt: int
    target: int
    # What vanilla wrote, and what the student wrote
    before: str
    after: str
    cluster: str
    # For code, how the programs ended
    before_verdict: NotRequired[str]
    after_verdict: NotRequired[str]


class FlipsOfCell(TypedDict):
    """Those of a student on a benchmark: of one seed, one of ``of``; ``items`` holds the first won and lost."""

    seed: int | None
    of: int
    won: int
    lost: int
    count: int
    items: list[Flip]


@dataclass
class Flips:
    """What a page holds of the items on which a student and vanilla differ.

    Attributes:
        texts: Prompts and targets, each once.
        cells: Row id → benchmark → its flips.
    """

    texts: list[str] = field(default_factory=list)
    cells: dict[str, dict[str, FlipsOfCell]] = field(default_factory=dict)


def flips(board: Leaderboard, records: Iterable[Record], out: Path) -> Flips:
    """The items on which the first seed of each student and vanilla differ, by their place in the benchmark.

    Args:
        board: Made of ``records``.
        records: As ``records.read`` gives them.
        out: The leaderboard's folder.
    """
    shown, places = Flips(), dict[str, int]()
    by_source = {(relative(r.results, out), r.task): r for r in join(list(records))}

    def text(value: str) -> int:
        if value not in places:
            places[value] = len(shown.texts)
            shown.texts.append(value)
        return places[value]

    def record(source: Source) -> Record:
        return by_source[source.results, source.task]

    for group, row, benchmark, cell in board.cells():
        vanilla = _vanilla(group, cell, benchmark)
        if vanilla is None:
            continue
        ours, theirs = record(cell.sources[0]), record(vanilla.sources[0])
        pairs = [(item, theirs.items[key]) for key, item in ours.items.items() if key in theirs.items]
        won = [(a, b) for a, b in pairs if a.score > b.score]
        lost = [(a, b) for a, b in pairs if a.score < b.score]
        items = [_shown(a, b, text) for a, b in [*won[:MOST_FLIPS], *lost[:MOST_FLIPS]]]
        seed = cell.sources[0].seed
        shown.cells.setdefault(row.id, {})[benchmark] = {
            "seed": seed,
            "of": len(cell.sources),
            "won": len(won),
            "lost": len(lost),
            "count": len(pairs),
            "items": items,
        }
    return shown


def _vanilla(group: Group, cell: BoardCell, benchmark: str) -> BoardCell | None:
    if cell.vanilla is None:
        return None
    return next(row.cells[benchmark] for row in group.rows if row.label == cell.vanilla.against)


def _shown(ours: Item, theirs: Item, text: Callable[[str], int]) -> Flip:
    flip: Flip = {
        "doc": ours.doc_id,
        "won": ours.score > theirs.score,
        "prompt": text(cut(ours.prompt, "prompt")),
        "target": text(cut(ours.target, "target")),
        "before": cut(theirs.answer, "answer"),
        "after": cut(ours.answer, "answer"),
        "cluster": ours.cluster or "",
    }
    if theirs.verdict:
        flip["before_verdict"] = cut(theirs.verdict, "answer")
    if ours.verdict:
        flip["after_verdict"] = cut(ours.verdict, "answer")
    return flip


def cut(value: str, kind: str) -> str:
    """A text no longer than a page shows it; what is left out is said."""
    most = LONGEST[kind]
    if len(value) <= most:
        return value
    said = f"[{len(value) - most:,} characters left out]"
    return f"{said}\n{value[-most:]}" if kind == "prompt" else f"{value[:most]}\n{said}"
