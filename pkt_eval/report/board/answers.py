"""Every answer of every student, side by side, to be read on the page: by pair and benchmark, with all seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pkt_eval.report.board.assemble import relative
from pkt_eval.report.board.model import Leaderboard
from pkt_eval.report.records import Item, Record, conditions, join


@dataclass(frozen=True)
class AnsweredSeed:
    """What one seed of a student answered: an item of a sheet each; None where it was not asked."""

    seed: int | None
    answers: list[Item | None]


@dataclass(frozen=True)
class Sheet:
    """One benchmark of a pair.

    Attributes:
        group: Place of the pair in the leaderboard.
        benchmark: Its name there.
        keys: ``(N,)`` what was asked, by lm-eval's hashes of document, prompt and target.
        questions: ``(N,)`` an item each, whoever answered it, for its prompt and target.
        runs: Row id → its seeds, as the row's sources are ordered.
        alike: Row id → a number; rows that have the same were asked under the same conditions, and may be compared.
    """

    group: int
    benchmark: str
    keys: list[str]
    questions: list[Item]
    runs: dict[str, list[AnsweredSeed]]
    alike: dict[str, int]


def sheets(board: Leaderboard, records: Iterable[Record], out: Path) -> list[Sheet]:
    """All that have answers.

    Args:
        board: Made of ``records``.
        records: As ``records.read`` gives them.
        out: The leaderboard's folder.
    """
    by_source = {(relative(r.results, out), r.task): r for r in join(list(records))}
    made = []
    for number, group in enumerate(board.groups):
        for benchmark in group.benchmarks:
            of_rows = {}
            for row in group.rows:
                if cell := row.cells.get(benchmark):
                    runs = [by_source[source.results, source.task] for source in cell.sources]
                    if all(run.items for run in runs):
                        of_rows[row.id] = runs
            if of_rows:
                made.append(_sheet(number, benchmark, of_rows))
    return made


def _sheet(group: int, benchmark: str, of_rows: dict[str, list[Record]]) -> Sheet:
    asked: dict[str, Item] = {}
    for runs in of_rows.values():
        for run in runs:
            for key, item in run.items.items():
                asked.setdefault(_key(key, item), item)
    ordered = sorted(asked.items(), key=lambda pair: (pair[1].cluster or "", pair[1].doc_id, pair[0]))
    settings: dict[str, int] = {}
    return Sheet(
        group,
        benchmark,
        [key for key, _ in ordered],
        [item for _, item in ordered],
        {id: [_run(run, [key for key, _ in ordered]) for run in runs] for id, runs in of_rows.items()},
        {id: settings.setdefault(repr(conditions(runs[0])), len(settings)) for id, runs in of_rows.items()},
    )


def _run(record: Record, keys: list[str]) -> AnsweredSeed:
    answers = {_key(key, item): item for key, item in record.items.items()}
    return AnsweredSeed(record.student.seed, [answers.get(key) for key in keys])


def _key(key: str, item: Item) -> str:
    """What was asked: the same document in another prompt is another question."""
    return f"{key} {item.prompt_hash} {item.target_hash}"
