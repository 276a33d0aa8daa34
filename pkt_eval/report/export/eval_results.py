"""``.eval_results/*.yaml``, which the hub reads in a model's repository: a file for each student.

The hub has results on its own datasets only, so benchmarks that are embedded in this package are left out. Scores are
in per cent; the interval is in the notes, for which the format has no other place.
"""

import yaml

from pkt_eval.data.benchmarks import Hub, benchmark_of_task
from pkt_eval.report.board import BoardCell, Leaderboard, StudentRow, wording
from pkt_eval.report.board.wording import harmless


def eval_results_files(board: Leaderboard) -> dict[str, str]:
    """Row id + ``.yaml`` → the entries of its benchmarks; no file of a student that has none."""
    texts = {}
    for group in board.groups:
        for row in group.rows:
            if entries := _entries(row):
                texts[f"{row.id}.yaml"] = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)
    return texts


def _entries(row: StudentRow) -> list[dict[str, object]]:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for name, cell in row.cells.items():
        asked = benchmark_of_task(cell.sources[0].task)
        if asked and isinstance(asked.source, Hub):
            entries.append(
                EvalResultEntry(
                    dataset_id=asked.source.path,
                    task_id=asked.source.config or "default",
                    value=round(100 * cell.score, 2),
                    date=cell.date,
                    notes=harmless(_notes(row, name, cell)),
                )
            )
    return eval_result_entries_to_yaml(entries)


def _notes(row: StudentRow, benchmark: str, cell: BoardCell) -> str:
    said = [f"{row.label} on {benchmark}", f"{cell.count} items"]
    if interval := wording.ends(cell.low, cell.high):
        said.append(f"95 % interval {interval}")
    if len(cell.sources) > 1:
        said.append(f"mean of {len(cell.sources)} seeds")
    if cell.vanilla:
        difference = f"{wording.difference_text(cell.vanilla)} {wording.difference_ends(cell.vanilla)}"
        said.append(f"{difference} points to {cell.vanilla.against} on the same items")
    return ", ".join(said)
