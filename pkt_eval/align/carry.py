"""What the methods share that carry a teacher's LoRA to the student: its tuning, and the choice of its strength.

They need a *tuned* teacher, τ_T = B·A of each block: a LoRA that is trained on the train split exactly as ``lora``
trains the student's. It takes far longer than all else, and is the same for every such method, so that it is kept in
the store under the digest of all that decides it. How it is carried is each method's own affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from pkt_eval._util import sources
from pkt_eval._util.kept import kept_tensors
from pkt_eval._util.lazy import torch
from pkt_eval._util.options import plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.models import blocks
from pkt_eval.models.edits import Edit, LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.tune.adapter import Factors, finetune, random_start
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.selection import Criterion

CARRIED = ("v", "o", "up", "gate", "down")
"""Blocks that can be carried: a rotation of q or k would mix planes that rotary positions turn at different speeds."""


class CarryConfig(FinetuneConfig):
    """Options of the teacher's fine-tuning, and of the choice of strength."""

    modules: Annotated[tuple[str, ...], BeforeValidator(plus_separated)] = CARRIED
    """Blocks that are tuned in the teacher and carried, joined by +: out of v, o, up, gate, down."""
    strength: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (0.25, 0.5, 1.0, 2.0)
    """Factor of the carried product; of several, joined by +, validation chooses."""
    select_by: Criterion | None = None
    """What chooses the strength on validation; default score where the answer is a number, else loss."""

    @model_validator(mode="after")
    def _carried(self) -> CarryConfig:
        if wrong := [block for block in self.modules if block not in CARRIED]:
            raise ValueError(f"{', '.join(CARRIED)} can be carried, not {', '.join(wrong)}")
        check_strengths(self.strength)
        return self


def check_strengths(strengths: Sequence[float]) -> None:
    """Check that there is a strength, and that each is a number above zero.

    Raises:
        ValueError: There is none, or one is no strength.
    """
    if not strengths or any(not 0 < strength <= 100 for strength in strengths):  # neither is NaN
        raise ValueError("a strength is above 0 and at most 100")


def tuned_teacher(
    teacher: Any,
    pair: ModelPair,
    data: TransferData,
    config: FinetuneConfig,
    seed: int,
    progress: Progress,
    work: Path | None,
) -> tuple[dict[str, Factors], dict[str, Any]]:
    """The teacher's LoRA for a task: from the store, or trained and stored.

    Args:
        teacher: The teacher, loaded; it is left as found.
        pair: Whose teacher it is.
        data: Train and validation examples.
        config: How it is trained.
        seed: Of its start and of the order of the examples.
        progress: Bars and stages.
        work: Folder in which an interrupted training goes on.

    Returns:
        Weight's name → ``(B, A)`` with the scale inside ``B``; and the record of the training, as ``lora``'s, with
        ``of`` saying whose it is and ``stored`` whether it was in the store.
    """
    source = pair.the_teacher
    decided_by = {
        "model": source.transfer_digest,
        "examples": {s: data.examples(source.tokenizer, s) for s in ("train", "validation")},
        "benchmark": data.splits.benchmark,
        "config": config.model_dump(mode="json", include=set(FinetuneConfig.model_fields)),
        "seed": seed,
        "dtype": str(teacher.dtype),
        "device": teacher.device.type,
    }

    def tune() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        generator = torch.Generator().manual_seed(seed)
        start: dict[str, Factors] = {}
        for layer in range(source.dims.layers):
            for block in config.modules:
                shape = source.dims.shape(block)
                start[blocks.module_name(block, layer)] = random_start(*shape, config.rank, generator)
        folder = work / "teacher" if work else None
        edits, record = finetune(teacher, start, pair, data, config, seed, progress, folder)
        tensors = {f"{edit.name}/{part}": t.contiguous() for edit in edits for part, t in edit.tensors.items()}
        return tensors, {"of": "teacher", **record["training"]}

    tensors, record, stored = kept_tensors("tuned", decided_by, tune, code=sources.TUNING, progress=progress)
    return _factors(tensors), {**record, "stored": stored}


def _factors(tensors: dict[str, torch.Tensor]) -> dict[str, Factors]:
    names = dict.fromkeys(key.rpartition("/")[0] for key in sorted(tensors))
    return {name: (tensors[f"{name}/B"], tensors[f"{name}/A"]) for name in names}


def choose_strength(
    model: Any,
    edits: Sequence[LowRankEdit],
    pair: ModelPair,
    data: TransferData,
    config: CarryConfig,
    progress: Progress,
    name: str,
    work: Path | None,
) -> tuple[tuple[Edit, ...], dict[str, Any]]:
    """The carried products times the strength that validation chooses; and the record of the choice.

    Args:
        model: The student's base, loaded.
        edits: The products at strength 1.
        pair: For the tokenizer.
        data: Validation examples.
        config: The strengths, and what chooses.
        progress: Bars.
        name: Of the method, for the bars.
        work: Folder in which measurements are kept.
    """
    jury = Jury.of(model, pair.student.tokenizer, data, config.select_by)
    candidates = [
        CandidateEdit({"strength": strength}, partial(_scaled, edits, strength)) for strength in sorted(config.strength)
    ]
    _, chosen, record = choose_candidate(candidates, jury, progress, name, work)
    return chosen, {"choice": record, "delta_over_weight": delta_over_weight(model, chosen)}


def _scaled(edits: Sequence[LowRankEdit], strength: float) -> list[LowRankEdit]:
    return [LowRankEdit(edit.name, edit.B * strength, edit.A) for edit in edits]


def delta_over_weight(model: Any, edits: Sequence[Edit]) -> dict[str, float]:
    """Block → mean over its layers of ``‖Δ‖/‖W‖`` (Frobenius) of all that is changed, for the record."""
    sizes: dict[str, list[float]] = {}
    for edit in edits:
        block = next(b for b in blocks.BLOCKS if edit.name == blocks.weight_name(b, blocks.layer_of(edit.name)))
        sizes.setdefault(block, []).append(edit.relative(model.get_parameter(edit.name).detach()))
    return {block: sum(of_block) / len(of_block) for block, of_block in sizes.items()}
