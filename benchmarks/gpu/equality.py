"""One student, scored on the CPU and on the device: log-likelihoods, answers and scores must agree within noise."""

import tempfile
from pathlib import Path
from typing import Any

from checks import transferred
from part import DEVICE, TINY, Part, expect

from pkt_eval.transfer.store import Store

TASKS = ["nano_mmlu", "nano_gsm8k"]
#: Two devices add in another order: float32 logits of some tens differ by some 1e-5.
FLOAT32 = 1e-3


def evaluated(student: Path, device: str, dtype: str) -> dict[str, Any]:
    """Scores and samples of lm-eval."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    import pkt_eval.tasks

    return lm_eval.simple_evaluate(
        model="pkt_student",
        model_args={"student": str(student), "dtype": dtype},
        tasks=TASKS,
        limit=8 if TINY else None,
        batch_size=32,
        device=device,
        apply_chat_template=True,
        bootstrap_iters=0,
        # To index lm-eval's own thousands of tasks takes longer than to score these.
        task_manager=TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False),
    )


def answers(results: dict[str, Any], task: str) -> dict[int, Any]:
    """Item → what the model said: log-likelihoods of the choices, or a text."""
    return {s["doc_id"]: s["filtered_resps"] for s in results["samples"][task]}


def right(results: dict[str, Any], task: str) -> dict[int, float]:
    """Item → 1 or 0."""
    metric = _metric(results, task)
    return {s["doc_id"]: float(s[metric]) for s in results["samples"][task]}


def _metric(results: dict[str, Any], task: str) -> str:
    from pkt_eval.report.records.primary_metric import primary_metric

    return primary_metric(task, results["results"][task]).split(",")[0]


def compare(cpu: dict[str, Any], other: dict[str, Any], facts: dict[str, Any], strict: bool) -> None:
    """Record how far apart they are; fail where it is more than rounding and chance explain."""
    for task in TASKS:
        ours, theirs = answers(cpu, task), answers(other, task)
        expect(ours.keys() == theirs.keys() and bool(ours), f"{task}: other items")
        first = next(iter(ours.values()))[0]
        here, there = right(cpu, task), right(other, task)
        lost, won = (sum(s * (there[i] - here[i]) > 0 for i in here) for s in (-1, 1))
        said = {
            "items": len(here),
            "cpu": round(sum(here.values()) / len(here), 4),
            "device": round(sum(there.values()) / len(there), 4),
            "lost": lost,
            "won": won,
        }
        if isinstance(first, str):
            said["same_text"] = round(sum(ours[i] == theirs[i] for i in ours) / len(ours), 4)
            expect(not strict or said["same_text"] >= 0.97, f"{task}: {said}")
        else:
            off = max(abs(float(a[0]) - float(b[0])) for i in ours for a, b in zip(ours[i], theirs[i], strict=True))
            said["loglikelihood_off_by"] = off
            expect(not strict or off <= FLOAT32, f"{task}: {said}")
        facts[task] = said
        # McNemar: items that changed sides do so as often one way as the other.
        expect(abs(lost - won) <= 3 * max(lost + won, 1) ** 0.5, f"{task}: {said}")


def main() -> None:
    """A LoRA student, which both dtypes can hold."""
    part = Part("equality", "The same student on the CPU and on the device")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "student"
        with part.step("transfer: lora"):
            transferred("lora", Store(Path(temporary) / "store")).save(folder, merged=True)
        cpu: dict[str, Any] = {}
        with part.step("scored on the CPU, float32"):
            cpu = evaluated(folder, "cpu", "float32")
        for dtype in ("float32", "bfloat16"):
            with part.step(f"scored on the device, {dtype}") as facts:
                compare(cpu, evaluated(folder, DEVICE, dtype), facts, strict=dtype == "float32")
    part.end()


if __name__ == "__main__":
    main()
