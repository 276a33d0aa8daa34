"""The main job on the embedded family: vanilla, LoRA, PostPKT, PrePKT and the teacher on the four nano benchmarks.

Every score comes from ``lm_eval.simple_evaluate`` on ``pkt_student``, as it would from the command line; each
benchmark is scored with the student that was transferred for it, which is the papers' protocol. Run it with
``python -m pkt_eval.demo``.
"""

import logging
import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from pkt_eval._util import boundary
from pkt_eval.data.benchmarks import benchmarks
from pkt_eval.report.records import primary_metric

if TYPE_CHECKING:
    from rich.table import Table

TASKS = tuple(row.task("chat") for row in benchmarks("nano"))
STUDENTS = ("vanilla", "lora", "seeking", "laten", "teacher")

#: What fits two cores and a few minutes, instead of the published protocol (1000 records, 5 epochs, 7B models).
RECORDS = {"extract_samples": 32, "align_samples": 64, "train_samples": 384, "validation_samples": 32}
FINE_TUNING = {"epochs": 2, "train_batch_size": 32, "micro_batch_size": 32, "learning_rate": 5e-3}
ALIGNMENT = {"learning_rate": 3e-4, "select_by": "loss"}  # one of LaTen's four rates, and no answers to be generated
OPTIONS: dict[str, dict[str, Any]] = {"lora": FINE_TUNING, "seeking": FINE_TUNING, "laten": ALIGNMENT}


def main() -> None:
    """Score every student on the four benchmarks and print the table."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.ERROR)
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pkt_eval._util.console import console
    from pkt_eval._util.quiet import quiet

    start, out = time.time(), console()
    scores: dict[tuple[str, str], tuple[float, int]] = {}
    jobs = [(name, [task]) for task in TASKS for name in OPTIONS]
    # Neither of the other two learns anything, so one model serves all tasks.
    jobs = [("vanilla", list(TASKS)), ("teacher", list(TASKS)), *jobs]
    columns = (TextColumn("{task.description:42}"), MofNCompleteColumn(), TimeElapsedColumn())
    with quiet(logging.ERROR), Progress(*columns, console=out) as bar:  # one bar is enough
        shown = bar.add_task("", total=sum(len(tasks) for _, tasks in jobs))
        for name, tasks in jobs:
            bar.update(shown, description=f"{name}: {', '.join(tasks) if len(tasks) == 1 else 'all four'}")
            for task, cell in evaluate_student(name, tasks).items():
                scores[name, task] = cell
                bar.advance(shown)
    out.print(scores_table(scores))
    out.print(
        "Score in % ± one standard error. Differences within about three of these are noise; the real pairs' published "
        f"differences mostly are. Took {time.time() - start:.0f} s.",
        style="dim",
    )


def evaluate_student(name: str, tasks: list[str]) -> dict[str, tuple[float, int]]:
    """Evaluate one student; returns its score in [0, 1] and the number of items, a task."""
    import lm_eval

    arguments: dict[str, Any] = {"method": name}
    if name in OPTIONS:
        arguments |= {"transfer_task": tasks[0], **RECORDS, **OPTIONS[name]}
    results = lm_eval.simple_evaluate(
        model="pkt_student",
        model_args=arguments,
        tasks=tasks,
        batch_size=64,
        device="cpu",
        apply_chat_template=True,
        confirm_run_unsafe_code=True,
        bootstrap_iters=0,
        task_manager=_tasks(),
    )
    scores = {}
    for task in tasks:
        values = results["results"][task]
        scores[task] = (values[primary_metric(task, values)], results["n-samples"][task]["effective"])
    return scores


@cache
def _tasks() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()  # scans thousands of files: once is enough


def scores_table(scores: dict[tuple[str, str], tuple[float, int]]) -> "Table":
    """The leaderboard as a rich table."""
    from rich.table import Table

    from pkt_eval.methods.base import get_method

    counts = {task: next(n for (_, t), (_, n) in scores.items() if t == task) for task in TASKS}
    made = Table(title="The nano family: teacher → student")
    made.add_column("student")
    made.add_column("paradigm")
    for task in TASKS:
        made.add_column(f"{task}\n(n={counts[task]})", justify="right")
    for name in STUDENTS:
        cells = []
        for task in TASKS:
            p, n = scores[name, task]
            cells.append(f"{100 * p:.1f} ± {100 * (p * (1 - p) / n) ** 0.5:.1f}")
        made.add_row(name, get_method(name).paradigm, *cells)
    return made


if __name__ == "__main__":
    boundary.within("pkt_eval.demo", main)
