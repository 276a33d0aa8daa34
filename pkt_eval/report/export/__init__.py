"""A leaderboard in the formats of other people's collections, a file for each student. A new one is a row here."""

from collections.abc import Callable, Mapping
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


def write_export(name: str, board: Leaderboard, out: Path) -> tuple[Path, int]:
    """Write a leaderboard's students; returns the folder, and of how many students there was something to say.

    Raises:
        StoreError: It cannot be written.
    """
    folder, files = EXPORTS[name]
    texts = files(board)
    if texts:
        save_all(out / folder, texts)
    return out / folder, len(texts)
