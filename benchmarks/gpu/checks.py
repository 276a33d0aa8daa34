"""The checks that matter on another device, with the embedded family: transfer, save and load, suite, resume."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from part import DEVICE, TINY, Part, expect, free

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.methods.base import methods
from pkt_eval.models.student import load_student
from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import make_student
from pkt_eval.tune import checkpoints, training

TASK = "nano_mbpp"
BUDGET = {
    "extract_samples": 4 if TINY else 16,
    "align_samples": 8 if TINY else 32,
    "train_samples": 16 if TINY else 96,
    "validation_samples": 8 if TINY else 32,
}
TUNED = {"train_batch_size": 16, "micro_batch_size": 16, "learning_rate": 2e-3, "epochs": 2}
METHODS = ("lora", "seeking", "laten", "steer")
#: Three steps an epoch of two passes each; the ninth pass, validation counted, is in the second epoch.
RESUMED = {
    "method": "seeking",
    "transfer_task": "nano_gsm8k",
    "extract_samples": 2,
    "train_samples": 24,
    "validation_samples": 4,
    "train_batch_size": 8,
    "micro_batch_size": 4,
    "epochs": 3,
    "learning_rate": 1e-3,
}


def transferred(method: str, store: Store, device: str = DEVICE) -> Any:
    """A student of the nano family, made on a device."""
    row = methods()[method]
    options = {k: v for k, v in TUNED.items() if k in row.options()}
    recipe = make_recipe({"method": method, "transfer_task": TASK, **BUDGET, **options})
    return make_student(recipe, device=device, store=store, progress=Progress(enabled=False))


def check_transfer(student: Any, facts: dict[str, Any]) -> None:
    """There are edits, and they are finite."""
    expect(bool(student.edits), "the student has no edit")
    tensors = [t for edit in student.edits for t in edit.tensors.values() if t.is_floating_point()]
    expect(all(bool(t.isfinite().all()) for t in tensors), "an edit is not finite")
    facts |= {"edits": len(student.edits), "stages": dict(student.provenance.seconds)}


def losses(student: Any) -> list[float]:
    """All losses that the transfer's record holds, in the order of their names."""

    def walk(value: Any, is_loss: bool) -> Any:
        if isinstance(value, dict):
            for key, one in sorted(value.items()):
                yield from walk(one, "loss" in key)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one, is_loss)
        elif is_loss and isinstance(value, (int, float)):
            yield float(value)

    return list(walk(dict(student.record), False))


def check_agreement(student: Any, reference: Any, facts: dict[str, Any]) -> None:
    """The same transfer on the CPU, in the same dtype, saw the same losses and ends in about the same function."""
    here, there = losses(reference), losses(student)
    facts["losses"] = len(here)
    expect(len(here) == len(there), f"{len(here)} losses on the CPU, {len(there)} on the device")
    if here:
        facts["losses_off_by"] = max(abs(a - b) for a, b in zip(here, there, strict=True))
        facts["last_losses"] = [here[-1], there[-1]]
        # Adam makes differences of rounding larger, step by step; a wrong product is off by far more.
        close = all(abs(a - b) <= 1e-3 + 0.05 * abs(a) for a, b in zip(here, there, strict=True))
        expect(close, f"losses {here} on the CPU, {there} on the device")
    answers = []
    for one in (reference, student):
        model = base()
        one.apply(model)
        answers.append(log_probabilities(model))
    facts["probabilities_off_by"] = round(float((answers[0].exp() - answers[1].exp()).abs().max()), 6)


def base(dtype: torch.dtype = torch.float32, path: str | None = None) -> Any:
    """The student's base, or another checkpoint, on the device."""
    from transformers import AutoModelForCausalLM

    path = path or nano.model_path("student")
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(DEVICE).eval()


@torch.no_grad()
def log_probabilities(model: Any) -> torch.Tensor:
    """Of the next token at every place of some random text."""
    ids = torch.randint(8, 1000, (4, 48), generator=torch.Generator().manual_seed(0)).to(DEVICE)
    return model(input_ids=ids).logits.float().log_softmax(-1)


def check_save_and_load(student: Any, folder: Path, facts: dict[str, Any]) -> None:
    """What is read back computes the same to the bit; merged and as a PEFT adapter, to rounding."""
    from peft import PeftModel

    student.save(folder, merged=True)
    loaded = load_student(folder)
    expect(loaded.weights_digest() == student.weights_digest(), "the loaded student has other weights")
    answers = []
    for one in (student, loaded):
        model = base()
        one.apply(model)
        answers.append(log_probabilities(model))
    expect(torch.equal(*answers), "the loaded student computes something else")
    vanilla = log_probabilities(base())
    moved = float((answers[0] - vanilla).abs().max())
    facts["moved_by"] = round(moved, 6)
    expect(moved > 0, "the edits do not change what is computed")
    merged = float((log_probabilities(base(path=str(folder / "merged"))) - answers[0]).abs().max())
    facts["merged_off_by"] = round(merged, 6)
    expect(merged <= max(0.05 * moved, 1e-4), f"the merged checkpoint is off by {merged} of {moved}")
    if (folder / "adapter").is_dir() and not (folder / "located").is_dir():
        adapted = PeftModel.from_pretrained(base(), str(folder / "adapter")).eval()
        peft = float((log_probabilities(adapted) - answers[0]).abs().max())
        facts["peft_off_by"] = round(peft, 7)
        expect(peft <= max(1e-3 * moved, 1e-3), f"the PEFT adapter is off by {peft} of {moved}")


def check_suite(folder: Path, facts: dict[str, Any]) -> None:
    """A suite does all its cells, and a second run does none of them again."""
    suite = Suite(
        benchmarks=["nano_mmlu", "nano_gsm8k"],
        methods=["vanilla", "lora", {"method": "laten", "options": {"steps": 1, "samples_per_step": 2}}],
        options={**BUDGET, **TUNED, "train_samples": 32, "epochs": 1},
        limit=4 if TINY else 24,
        batch_size=4 if TINY else 12,
        device=DEVICE,
    )
    first = Run(suite, folder).run()
    bad = {name: status.reason for name, status in first.items() if status.state != "done"}
    expect(not bad, f"cells failed: {bad}")
    facts["cells"] = len(first)
    facts["evaluation_seconds"] = round(sum(s.record["seconds"] for s in first.values() if s.record), 1)
    again = {status.state for status in Run(suite, folder).run().values()}
    expect(again == {"kept"}, f"the second run did cells again: {again}")


def check_resume(folder: Path, facts: dict[str, Any]) -> None:
    """An interrupted fine-tune goes on from its checkpoint and ends where an undisturbed one does."""
    recipe = make_recipe(RESUMED)
    undisturbed = make_student(recipe, device=DEVICE, store=Store(folder / "a"), progress=Progress(enabled=False))
    loss, passes = training.supervised_loss, []

    def counted(model: Any, batch: Any) -> Any:
        passes.append(1)
        if len(passes) == 9:
            raise KeyboardInterrupt
        return loss(model, batch)

    interrupted = False
    checkpoints.SECONDS, seconds = 0.0, checkpoints.SECONDS
    training.supervised_loss = counted
    try:
        make_student(recipe, device=DEVICE, store=Store(folder / "b"), progress=Progress(enabled=False))
    except KeyboardInterrupt:
        interrupted = True
    expect(interrupted, "nothing was interrupted")
    first = len(passes)
    try:
        resumed = make_student(recipe, device=DEVICE, store=Store(folder / "b"), progress=Progress(enabled=False))
    finally:
        training.supervised_loss, checkpoints.SECONDS = loss, seconds
    facts["passes"] = [first, len(passes) - first]
    facts["same_to_the_bit"] = resumed.weights_digest() == undisturbed.weights_digest()
    ends = {edit.name: edit for edit in resumed.edits}
    pairs = [(t, ends[edit.name].tensors[part]) for edit in undisturbed.edits for part, t in edit.tensors.items()]
    off = max(float((a - b).norm() / a.norm().clamp_min(1e-30)) for a, b in pairs)
    facts["off_by"] = off
    # A device may add in another order each time; a resume that lost the optimizer or the order is off by far more.
    expect(off < 1e-2, f"the resumed student is off by {off}")


def main() -> None:
    """All checks; each student is made once."""
    part = Part("checks", "Checks on the device, with the nano family")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        students: dict[str, Any] = {}
        for method in (m for m in METHODS if m in methods()):
            with part.step(f"transfer: {method}") as facts:
                student = transferred(method, Store(folder / "store"))
                check_transfer(student, facts)
                students[method] = student
        for method, student in students.items():
            with part.step(f"save and load: {method}") as facts:
                check_save_and_load(student, folder / method, facts)
        with part.step("suite, twice") as facts:
            check_suite(folder / "suite", facts)
        with part.step("resume of an interrupted fine-tune") as facts:
            check_resume(folder, facts)
        free()
        for method, student in students.items():
            with part.step(f"the same transfer on the CPU: {method}") as facts:
                check_agreement(student, transferred(method, Store(folder / "cpu"), "cpu"), facts)
    part.end()


if __name__ == "__main__":
    main()
