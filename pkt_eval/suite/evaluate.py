"""One cell: a loaded student on a task, by lm-eval, into a folder that lm-eval's own tools read."""

import random
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pkt_eval._util.digests import file_digest
from pkt_eval.errors import StoreError
from pkt_eval.lm.results_file import complete
from pkt_eval.lm.tasks import BenchmarkTask
from pkt_eval.report.records.digests import UNFINISHED
from pkt_eval.suite.estimate import Extent, remember
from pkt_eval.suite.journal import ORDER, Journal, JournalledLM
from pkt_eval.suite.plan import Asked
from pkt_eval.suite.record import CellRecord, Identity, replace
from pkt_eval.suite.workers import Workers

SEEDS = {"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": 1234}
"""lm-eval's own defaults."""


@cache
def load_task(name: str) -> dict[str, Any]:
    """An lm-eval task or group, loaded once a process; ours build their requests once a tokenizer."""
    loaded = _manager().load([name])
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=SEEDS["fewshot_seed"])
        if isinstance(task, BenchmarkTask):
            task.keep_requests()
    return loaded


@cache
def _manager() -> Any:
    from lm_eval.tasks import TaskManager

    import pkt_eval.tasks

    # A suite asks our tasks alone; to index lm-eval's thousands takes seconds.
    return TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False)


@cache
def _environment() -> dict[str, Any]:
    """What lm-eval records of the machine; it takes seconds to find out."""
    from lm_eval.loggers.utils import add_env_info

    environment: dict[str, Any] = {}
    add_env_info(environment)
    return environment


def evaluate_cell(
    workers: Workers,
    task: str,
    folder: Path,
    identity: Identity,
    asked: Asked,
    advance: Callable[[int, int], None],
    label: str | None = None,
    remembered: Extent | None = "whole",
) -> CellRecord:
    """Evaluate and write the cell's record, ``results_….json`` and ``samples_….jsonl``.

    Args:
        workers: The processes that have the student loaded.
        task: An lm-eval task or group.
        folder: The cell's; a journal in it under the same identity is gone on with.
        identity: Everything that decides a sample.
        asked: How the task is asked.
        advance: Called with the numbers of batches done and of all batches.
        label: What tables are to call the student, where that is not its method.
        remembered: As what the store remembers how long it took; None for not at all.

    Returns:
        The record: scores, seconds, identity and digests of the files.

    Raises:
        StoreError: Something could not be written.
    """
    import lm_eval
    import numpy
    import torch
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.loggers.utils import add_tokenizer_info

    start, lm = time.time(), workers.lm
    random.seed(SEEDS["random_seed"])
    numpy.random.seed(SEEDS["numpy_seed"])
    torch.manual_seed(SEEDS["torch_seed"])
    tracker = EvaluationTracker(output_path=str(folder / UNFINISHED))
    journal = Journal(folder / "journal.jsonl", identity)
    anew = not journal.answers
    model_args = {"pretrained": lm.pretrained, "dtype": lm.evaluated_in}
    try:
        tracker.general_config_tracker.log_experiment_args(
            model_source="pkt_student",
            model_args=model_args,
            system_instruction=None,
            chat_template=lm.chat_template(True) if asked.chat else None,
            fewshot_as_multiturn=False,
        )
        results = lm_eval.evaluate(
            lm=JournalledLM(lm, journal, asked.batch_size, advance, workers.answer, workers.size),
            task_dict=load_task(task),
            limit=asked.limit,
            apply_chat_template=asked.chat,
            confirm_run_unsafe_code=asked.consent,
        )
    finally:
        journal.close()
    results["config"] = {
        "model": "pkt_student",
        "model_args": model_args,
        **lm.get_model_info(),
        **({"pkt_label": label} if label else {}),
        "batch_size": asked.batch_size,
        "batch_order": ORDER,
        "batch_sizes": [],
        "device": str(lm.device),
        "limit": asked.limit,
        **SEEDS,
    }
    results |= {**_environment(), "date": start}
    add_tokenizer_info(results, lm)
    record = _write(folder, tracker, results, identity, time.time() - start)
    if anew and remembered:  # else it took less than it takes
        remember(task, lm.source, str(lm.device), results["n-samples"], record["seconds"], remembered)
    return record


def _write(folder: Path, tracker: Any, results: dict[str, Any], identity: Identity, seconds: float) -> CellRecord:
    samples = results.pop("samples")
    new = folder / UNFINISHED
    shutil.rmtree(new, ignore_errors=True)
    complete(results, samples)
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    written = sorted(new.glob("*/*.json*"))
    # lm-eval turns an error of writing into a log line.
    if len(written) != 1 + len(results["configs"]):
        raise StoreError(f"lm-eval could not write all results into {new}; is the disk full?")
    record: CellRecord = {
        "scores": {name: _numbers(values) for name, values in results["results"].items()},
        "items": {name: count["effective"] for name, count in results["n-samples"].items()},
        "seconds": round(seconds, 1),
        "identity": identity,
        "files": {path.name: file_digest(path) for path in written},
    }
    replace(folder, record, written)
    shutil.rmtree(new)
    return record


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if isinstance(value, int | float)}
