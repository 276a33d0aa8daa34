"""Transfer quality under test: what the pytest plug-in offers, also without pytest.

``Runner`` evaluates a student by lm-eval and reads its records; ``assert_not_worse`` puts two of them through the gate.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pkt_eval.errors import ConfigError, PKTError, StoreError
from pkt_eval.report.records import Record, read

ModelArgs = str | Path | Mapping[str, Any]


class InconclusiveError(PKTError, AssertionError):
    """Neither that a candidate holds nor that it is worse could be shown; the message says what is missing."""


class Runner:
    """Evaluates students, each once.

    Args:
        folder: Where lm-eval's results and samples are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._done: dict[str, list[Record]] = {}

    def __call__(
        self,
        student: ModelArgs,
        tasks: Sequence[str],
        *,
        limit: int | float | None = None,
        model: str = "pkt_student",
        **options: Any,
    ) -> list[Record]:
        """Records of a student on tasks; the same call again costs nothing.

        Args:
            student: A folder of ``pkt-eval transfer --out``, a checkpoint or hub name, or ``--model_args`` as text or
                mapping, e.g. ``"method=lora,transfer_task=gsm8k"``.
            tasks: lm-eval's names.
            limit: Items a task; None for all.
            model: lm-eval's name of the model.
            **options: Of ``lm_eval.simple_evaluate``, e.g. ``apply_chat_template=True``.

        Returns:
            One record a task, as they would be read from disk.

        Raises:
            ConfigError: ``tasks`` is a text, or an option is wrong.
            PKTError: The student cannot be made.
        """
        if isinstance(tasks, str):
            raise ConfigError(f"tasks is a list, such as [{tasks!r}]")
        arguments = _model_args(student, model)
        call = {"model": model, "model_args": arguments, "tasks": list(tasks), "limit": limit, **options}
        key = json.dumps(call, sort_keys=True, default=repr)
        if key not in self._done:
            name = re.sub(r"[^\w.=+-]+", "_", str(student))[-60:].strip("_")
            self._done[key] = _evaluate(call, self.folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")
        return self._done[key]


def assert_not_worse(
    candidate: Sequence[Record] | str | Path,
    baseline: Sequence[Record] | str | Path,
    margin: float = 0.02,
    alpha: float = 0.05,
    margins: Mapping[str, float] | None = None,
) -> None:
    """Fail unless the candidate is shown to have lost less than ``margin`` on every benchmark.

    Args:
        candidate: Records, or a folder of them as for ``pkt-eval gate``.
        baseline: Records, or a folder of them: such as the records of a release, kept beside the tests.
        margin: The loss in score that is tolerated: two points are 0.02.
        alpha: Chance that a candidate that has lost ``margin`` passes, and that one within it is called worse.
        margins: Benchmark → margin, where it differs.

    Raises:
        AssertionError: It is worse by more than the margin; shows the table and the documents that flipped.
        InconclusiveError: That is an AssertionError, too: there are too few items to show either, and it says how many
            are needed, or the two cannot be compared.
        ConfigError: A margin is out of range, or there are several students on a side.
    """
    __tracebackhide__ = True
    from pkt_eval.report.gate import HOLDS, WORSE, gate, text

    (new, more), (old, notes) = _records(candidate), _records(baseline)
    outcome = gate(old, new, margin, margins, alpha, [*notes, *more])
    if outcome.verdict == HOLDS:
        return
    kind = AssertionError if outcome.verdict == WORSE else InconclusiveError
    raise kind(text(outcome))


def _records(side: Sequence[Record] | str | Path) -> tuple[Sequence[Record], list[str]]:
    from pkt_eval.report.gate import load

    return load(str(side)) if isinstance(side, str | Path) else (side, [])


def _model_args(student: ModelArgs, model: str) -> dict[str, Any]:
    if isinstance(student, Mapping):
        return dict(student)
    if isinstance(student, str) and "=" in student:
        from lm_eval.utils import simple_parse_args_string

        return simple_parse_args_string(student)
    if (Path(student) / "pkt_student.json").is_file():
        return {"student": str(student)}
    return {"pretrained": str(student), **({"method": "vanilla"} if model == "pkt_student" else {})}


def _evaluate(call: dict[str, Any], folder: Path) -> list[Record]:
    import lm_eval
    from lm_eval.loggers import EvaluationTracker

    from pkt_eval._util.devices import default_device

    tracker = EvaluationTracker(output_path=str(folder))
    # Intervals are the gate's own, so lm-eval need not resample; of itself it asks for CUDA even where there is none.
    defaults = {"task_manager": _manager(), "bootstrap_iters": 0, "device": default_device()}
    results = lm_eval.simple_evaluate(**{**defaults, **call}, evaluation_tracker=tracker)
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    written = [*folder.rglob(f"results_{tracker.date_id}.json")]
    # lm-eval turns an error of writing into a log line.
    if len(written) != 1:
        raise StoreError(f"lm-eval could not write its results into {folder}; is the disk full?")
    return read(written)[0]


@cache
def _manager() -> Any:
    """Scanning lm-eval's task files takes seconds: once a process is enough."""
    from lm_eval.tasks import TaskManager

    return TaskManager()
