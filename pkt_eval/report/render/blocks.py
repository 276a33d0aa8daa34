"""What a page holds compressed, and opens when it is looked at: all answers, and how each student was made.

A block is JSON, gzipped, in base64. Of each sheet (a benchmark of a pair) there are an index, with every score, and
parts of ``PART`` items with their texts. In a part the answers to one item stand together, so that students that say
nearly the same cost next to nothing.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator

from pkt_eval.report.board import Leaderboard, Sheet
from pkt_eval.report.board.model import written
from pkt_eval.report.records import Item

PART = 25
"""Items whose texts are opened at once."""
LONGEST = {"prompt": 3000, "target": 1500, "answer": 1500}
"""Characters that are shown of a text; of a prompt its end, where the question is."""


def page_blocks(board: Leaderboard, sheets: list[Sheet]) -> dict[str, str]:
    """Name of a block → its base64. Names are fit for an HTML id."""
    made = {f"made-{number}": _compressed(_made(board, number)) for number in range(len(board.groups))}
    for sheet in sheets:
        name = block_name(sheet.group, board.groups[sheet.group].benchmarks.index(sheet.benchmark))
        made[name] = _compressed(_index(sheet))
        for part, first in enumerate(range(0, len(sheet.keys), PART)):
            made[f"{name}-{part}"] = _compressed(_texts(sheet, range(first, min(first + PART, len(sheet.keys)))))
    return made


def block_name(group: int, benchmark: int) -> str:
    """Of the index of the answers to a benchmark, both by their places; its parts have a number behind it."""
    return f"answers-{group}-{benchmark}"


def opened(block: str) -> object:
    """What a block holds."""
    return json.loads(zlib.decompress(base64.b64decode(block), wbits=31))


def cut(value: str, kind: str) -> str:
    """A text no longer than a page shows it; what is left out is said."""
    most = LONGEST[kind]
    if len(value) <= most:
        return value
    said = f"[{len(value) - most:,} characters left out]"
    return f"{said}\n{value[-most:]}" if kind == "prompt" else f"{value[:most]}\n{said}"


def _made(board: Leaderboard, number: int) -> dict[str, dict[str, object]]:
    """Row → benchmark → its sources: how each seed was asked, and how it was made."""
    rows: dict[str, dict[str, object]] = {}
    for row in board.groups[number].rows:
        rows[row.id] = {
            benchmark: [
                {"seed": s.seed, "results": s.results, "conditions": s.conditions, "provenance": s.provenance}
                for s in cell.sources
            ]
            for benchmark, cell in row.cells.items()
        }
    return rows


def _index(sheet: Sheet) -> dict[str, object]:
    clusters: dict[str, int] = {}
    return {
        "part": PART,
        # What a link to an item names: the same in every report of the same items
        "links": [hashlib.sha256(key.encode()).hexdigest()[:10] for key in sheet.keys],
        "docs": [item.doc_id for item in sheet.questions],
        "cluster": [clusters.setdefault(item.cluster or "", len(clusters)) for item in sheet.questions],
        "clusters": list(clusters),
        "runs": {
            row: [
                {"seed": run.seed, "scores": [None if answer is None else answer.score for answer in run.answers]}
                for run in runs
            ]
            for row, runs in sheet.runs.items()
        },
        "alike": sheet.alike,
    }


def _texts(sheet: Sheet, places: range) -> dict[str, object]:
    """Prompts, targets and answers of some items; answers are places in ``texts``, with how a program ended."""
    texts: dict[tuple[str, ...], int] = {}
    answers: dict[str, list[list[int | None]]] = {row: [[] for _ in runs] for row, runs in sheet.runs.items()}
    for place in places:
        for row, runs in sheet.runs.items():
            for seed, run in enumerate(runs):
                answer = run.answers[place]
                known = None if answer is None else texts.setdefault(tuple(_said(answer)), len(texts))
                answers[row][seed].append(known)
    return {
        "prompts": [cut(sheet.questions[place].prompt, "prompt") for place in places],
        "targets": [cut(sheet.questions[place].target, "target") for place in places],
        "texts": [list(said) for said in texts],
        "answers": answers,
    }


def _said(answer: Item) -> Iterator[str]:
    yield cut(answer.answer, "answer")
    if answer.verdict:
        yield cut(answer.verdict, "answer")


def _compressed(value: object) -> str:
    text = json.dumps(written(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Half a surrogate pair, which a model may write, is no UTF-8; as an escape JSON reads it as it was.
    data = text.encode("utf-8", "backslashreplace")
    return base64.b64encode(zlib.compress(data, level=9, wbits=31)).decode()
