"""A leaderboard in the formats of other people's collections, a file for each student. A new one is a row here."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pkt_eval.report.board import Leaderboard
from pkt_eval.report.export.eval_results import eval_results_files
from pkt_eval.report.export.every_eval_ever import every_eval_ever_files
from pkt_eval.report.render.files import save_all

EXPORTS: Mapping[str, tuple[str, Callable[[Leaderboard], dict[str, str]]]] = {
    "every-eval-ever": ("every_eval_ever", every_eval_ever_files),
    "eval-results": (".eval_results", eval_results_files),
}
"""Name → folder in the leaderboard's, and what is written there: file → text."""


def exported_before(out: Path) -> frozenset[str]:
    """Ids of the rows of the leaderboard that lies in a folder, before another takes its place."""
    try:
        groups = json.loads((out / "leaderboard.json").read_text("utf-8"))["groups"]
        return frozenset(str(row["id"]) for group in groups for row in group["rows"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return frozenset()


def write_export(name: str, board: Leaderboard, out: Path, before: Iterable[str] = ()) -> tuple[Path, int]:
    """Write a leaderboard's students; returns the folder, and of how many students there was something to say.

    Args:
        name: Of ``EXPORTS``.
        board: What is written.
        out: Its folder.
        before: Rows of an earlier one in that folder, whose files are removed where they are not written anew; those of
            others, which lie there in a model's repository, stay.

    Raises:
        StoreError: It cannot be written.
    """
    folder, files = EXPORTS[name]
    texts = files(board)
    if texts:
        save_all(out / folder, texts)
    for row in before:
        for file in {f"{row}.json", f"{row}.yaml"} - set(texts):
            if Path(file).name == file:
                with suppress(OSError):
                    (out / folder / file).unlink()
    return out / folder, len(texts)
