"""LaTen (arXiv 2505.14436, ACL 2025), a PrePKT method, and the controls that share its path.

The neurons that matter most for a task are located in teacher and student by attribution; the teacher's vectors,
aligned by a hypernetwork, are added to the student's. Nothing is fine-tuned afterwards.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import LearningRates, MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align import AlignmentExamples, AlignmentOptions, injected, located_edits
from pkt_eval.align.choice import choose_rate, rates_to_try
from pkt_eval.align.loop import Deltas, mean_loss
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError
from pkt_eval.extract.neurons import neuron_vectors, neuron_vectors_of
from pkt_eval.locate.attribution import NeuronScores, attribute_sets
from pkt_eval.locate.memo import remembered_sets
from pkt_eval.locate.places import best_places, random_places
from pkt_eval.locate.samples import Sample, examples, extract_records
from pkt_eval.locate.select import AXIS, Counts, Located, neuron_counts
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.edits import LocatedEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.stream import StreamedModel
from pkt_eval.models.student import Student
from pkt_eval.tune.selection import (
    Criterion,
    Question,
    as_json,
    criterion,
    generate_answers,
    told,
    validation_items,
)

log = logging.getLogger(__name__)

_PAPER = "arXiv 2505.14436"
_STEPS = {"mmlu": 2, "gsm8k": 4, "humaneval": 3, "mbpp": 8}  # published, by kind of benchmark
# Validation chooses among the steps, so that one too many costs its time alone: about the published mean.
_STEPS_OF_OTHERS = 4
_NEXT = 1_000_003  # from a random location's seed to the next step's


class LaTenConfig(MethodConfig):
    """Options of LaTen; the defaults are the published protocol, with exact attribution."""

    modules: Annotated[tuple[str, ...], BeforeValidator(plus_separated)] = ("up", "down", "v", "o")
    """Blocks that are edited, joined by +: out of up, down, v, o."""
    rate: float = Field(0.1, gt=0, le=1)
    """Share of a student layer's neurons that are edited."""
    attribution: Literal["exact", "published"] = "exact"
    """Scores as they are meant, or with the released code's deviations."""
    scoring: Literal["fast", "full"] = "fast"
    """Evaluate each neuron on 512 well-chosen tokens, or on the whole vocabulary (20 and more times slower)."""
    locate_with: Literal["step", "all", "one"] = "step"
    """Locate anew in each step, with its own extract sample, as published; or once, with all or a random one."""
    steps: int | None = Field(None, ge=1, le=10**8)
    """Optimizer steps of the alignment; default 2, 4, 3, 8 for MMLU, GSM8K, HumanEval, MBPP, and 4 for others."""
    samples_per_step: int = Field(16, ge=2, le=2**20)
    """Samples of a step: one of extract, the others of align."""
    learning_rate: LearningRates = ()
    """Peak rate; of several, joined by +, validation chooses. Default: 3e-5, 3e-4, both also times 5120/d_teacher;
    auto: four from the smaller of the latter, a factor √10 apart."""
    select_by: Criterion | None = None
    """What chooses step and rate on validation; default score where the answer is a number, else loss."""
    scale: float | None = None
    """``unaligned`` alone: factor of the teacher's vectors (default 1)."""

    @model_validator(mode="after")
    def _names(self) -> LaTenConfig:
        blocks.check_blocks(self.modules)
        if wrong := set(self.modules) - set(AXIS):
            raise ValueError(f"LaTen edits {', '.join(AXIS)}, not {', '.join(sorted(wrong))}")
        return self


@dataclass(frozen=True)
class Variant:
    """What tells LaTen from its controls.

    Attributes:
        neurons: Whose are edited: those of the best scores; the same, with the teacher's in random order; random ones.
        delta: What is added to them: the teacher's vectors aligned, as they are, or nothing.
        donor: Whose vectors they are.
    """

    neurons: Literal["located", "shuffled", "random"]
    delta: Literal["aligned", "zero", "teacher"]
    donor: Literal["teacher", "student"] = "teacher"


@register(
    "laten",
    title="LaTen: the teacher's neurons, aligned by a hypernetwork, added to the student's",
    reference=_PAPER,
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Variant("located", "aligned"),
)
@register(
    "laten_shuffled",
    title="LaTen with the teacher's neurons in random order",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Variant("shuffled", "aligned"),
    control_of=("laten",),
)
@register(
    "laten_random",
    title="LaTen with random neurons of random layers",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Variant("random", "aligned"),
    control_of=("laten",),
)
@register(
    "laten_self",
    title="LaTen with the student's own vectors in place of the teacher's",
    reference=_PAPER,
    paradigm="control",
    uses=("data",),
    variant=Variant("located", "aligned", donor="student"),
    control_of=("laten",),
)
@register(
    "laten_zero",
    title="LaTen that adds zero: the vanilla student",
    reference=_PAPER,
    paradigm="control",
    uses=("data",),
    variant=Variant("located", "zero"),
    control_of=("laten",),
)
@register(
    "unaligned",
    title="LaTen without alignment: the teacher's vectors, cut to the student's width",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Variant("located", "teacher"),
    control_of=("laten",),
)
class LaTen(TransferMethod[LaTenConfig]):
    """Locate, extract, align, inject."""

    Config = LaTenConfig
    splits = ("extract", "align", "validation")
    streams = True
    variant: Variant

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, LaTen. Teacher and student are in memory one after the other."""
        config, delta = self.config, self.variant.delta
        if config.scale is not None and delta != "teacher":
            raise ConfigError(f"scale= has no effect on method={self.method.name}; use method=unaligned")
        tokenizer, dims = pair.student.tokenizer, pair.student.dims
        keep = neuron_counts(dims, config.rate)
        extract, skipped = extract_records(data, tokenizer)
        samples = [sample for sample, _ in extract]
        steps = config.steps or _STEPS.get(data.kind, _STEPS_OF_OTHERS)
        sets = [samples]
        if config.locate_with == "one":
            sets = [[random.Random(self.seed).choice(samples)]]
        elif config.locate_with == "step" and delta == "aligned":  # without an alignment there are no steps
            sets = [[sample] for sample in samples[:steps]]
        record: dict[str, Any] = {
            "kept_per_layer": vars(keep),
            "located_with": config.locate_with if delta == "aligned" or config.locate_with == "one" else "all",
            "extract_samples": sum(len(chosen) for chosen in sets),
            "skipped": skipped,
        }
        vectors: list[Deltas] = []
        theirs: list[Located] = []
        if delta != "zero" and self.variant.donor == "teacher":
            pair.check()
            with pair.read_teacher() as teacher:
                theirs = self.locate(teacher, pair, "teacher", keep, sets, record, progress)
                vectors = neuron_vectors_of(teacher, theirs)
            if self.variant.neurons == "shuffled":
                vectors = [_shuffled(of_step, self.seed) for of_step in vectors]
        # The deltas are float32 beside its weights, whatever its dtype.
        with pair.open_student() as model:
            record["student_dtype"] = str(model.dtype).removeprefix("torch.")
            places = self.locate(model, pair, "student", keep, sets, record, progress)
            if self.variant.donor == "student":
                theirs, vectors = places, neuron_vectors_of(model, places)
            items = validation_items(data, tokenizer)
            if delta == "zero":
                chosen = 0
                deltas = {block: torch.zeros(*i.shape, dims.hidden) for block, i in places[0].indices.items()}
            else:
                encoded = AlignmentExamples(
                    [example for _, example in extract],
                    *(examples(data, tokenizer, split, skipped) for split in ("align", "validation")),
                )
                room = _Room(model, tokenizer, data, encoded, items, progress)
                deltas, chosen, record["alignment"] = self._deltas(room, places, vectors, steps)
                record["teacher_layers"] = {block: list(layers) for block, layers in theirs[chosen].layers.items()}
            located = places[chosen]
            with progress.stage("validation"), injected(model, located, _on(model, deltas)):
                record["answers"] = told(generate_answers(model, tokenizer, items))
            edits = located_edits(located, deltas)
            record["delta_norm_per_layer"] = {
                block: [round(n, 9) for n in d.float().flatten(1).norm(dim=1).tolist()] for block, d in deltas.items()
            }
            record["delta_over_weight"] = {
                block: float((deltas[block].to(w.device).norm(dim=-1) / w.norm(dim=-1)).mean())
                for block, w in neuron_vectors(model, located).items()
            }
            record["changed_share"] = _changed_share(model, edits, pair)
        return Student(base=pair.student, edits=edits, record=record)

    def locate(
        self,
        model: Any,
        pair: ModelPair,
        role: Literal["teacher", "student"],
        keep: Counts,
        sets: Sequence[Sequence[Sample]],
        record: dict[str, Any],
        progress: Progress,
    ) -> list[Located]:
        """For each set of samples as many layers as the student has and the best neurons in each, or random ones."""
        source = pair.student if role == "student" else pair.the_teacher
        dims, layers, config = source.dims, pair.student.dims.layers, self.config
        if self.variant.neurons == "random":
            seeds = [self.seed + _NEXT * number for number in range(len(sets))]
            return [random_places(dims, keep, layers, config.modules, seed) for seed in seeds]
        decided_by = [
            {
                "attribution": config.attribution,
                "scoring": config.scoring,
                "model": source.digest,
                "samples": [[*ids.tolist(), target] for ids, target in samples],
                "keep": vars(keep),
                "dtype": str(model.dtype),
                "device": model.device.type,
            }
            for samples in sets
        ]

        def compute(missing: Sequence[int]) -> list[NeuronScores]:
            bars = [progress.bar(sets[i], f"{self.method.name}: locate in {role}") for i in missing]
            return attribute_sets(model, bars, keep=keep, attribution=config.attribution, scoring=config.scoring)

        with progress.stage(f"locate in {role}"):
            scores, stored = remembered_sets(decided_by, compute, together=isinstance(model, StreamedModel))
        if stored:
            record.setdefault("located_before", []).append(role)
        return [best_places(of_set, dims, keep, layers, config.modules) for of_set in scores]

    def _deltas(
        self, room: _Room, places: Sequence[Located], vectors: Sequence[Deltas], steps: int
    ) -> tuple[Deltas, int, dict[str, Any]]:
        """Aligned deltas of the chosen step and rate, or the teacher's vectors; which place; the record."""
        config, model, validation, progress = self.config, room.model, room.examples.validation, room.progress
        with progress.stage("validation"):
            bar = progress.bar(validation, f"{self.method.name}: validation of the base")
            record: dict[str, Any] = {
                "validation_loss_of_base": as_json(mean_loss(model, bar)),
                "answers_of_base": told(generate_answers(model, room.tokenizer, room.items)),
            }
        if self.variant.delta == "teacher":
            scale = 1.0 if config.scale is None else config.scale
            deltas = {block: scale * t[..., : model.config.hidden_size].float() for block, t in vectors[0].items()}
            with progress.stage("validation"), injected(model, places[0], _on(model, deltas)):
                record |= {"scale": scale, "validation_loss": as_json(mean_loss(model, validation))}
            return deltas, 0, record
        by, why = criterion(room.data.splits.benchmark, config.select_by)
        if why:
            log.info("steps and rates are chosen by loss: %s", why)
            record["select_by_loss_because"] = why
        scorer = (lambda: generate_answers(model, room.tokenizer, room.items)) if by == "score" else None
        rates = rates_to_try(config.learning_rate, next(iter(vectors[0].values())).shape[-1], bool(validation))
        options = [AlignmentOptions(steps, config.samples_per_step, rate, self.seed) for rate in rates]
        with progress.stage("align"):
            checkpoint, of_chosen = choose_rate(
                model, places, vectors, room.examples, options, scorer, progress, self.work
            )
        chosen = next(i for i, place in enumerate(places) if place is checkpoint.located)
        return checkpoint.deltas, chosen, record | of_chosen


@dataclass(frozen=True)
class _Room:
    """What deltas are made and judged with."""

    model: Any
    tokenizer: Any
    data: TransferData
    examples: AlignmentExamples
    items: Sequence[Question]
    progress: Progress


def _on(model: Any, deltas: Deltas) -> Deltas:
    return {block: d.to(model.device) for block, d in deltas.items()}


def _shuffled(vectors: Deltas, seed: int) -> Deltas:
    """The teacher's vectors of each layer in random order, the same in all blocks of the same neurons."""
    generator = torch.Generator().manual_seed(seed)
    orders: dict[tuple[int, int, bool], torch.Tensor] = {}
    shuffled = {}
    for block, t in vectors.items():
        key = (*t.shape[:2], block in ("up", "down"))
        if key not in orders:
            orders[key] = torch.stack([torch.randperm(t.shape[1], generator=generator) for _ in t])
        shuffled[block] = torch.take_along_dim(t, orders[key][..., None].to(t.device), dim=1)
    return shuffled


def _changed_share(model: Any, edits: Sequence[LocatedEdit], pair: ModelPair) -> dict[str, float]:
    """Share of the deltas that change their weight in the checkpoint's own dtype: the rest round away."""
    stored = getattr(pair.student.config, "dtype", None) or torch.float32
    changed = meant = 0
    for edit in edits:
        before = model.get_parameter(edit.name).detach().to("cpu", stored, copy=True)
        after = before.clone()
        edit.apply(after)
        changed += int((after != before).sum())
        meant += int(edit.delta.count_nonzero())
    share, name = changed / max(meant, 1), str(stored).removeprefix("torch.")
    if meant and share < 0.9:
        log.warning("%.1f %% of the deltas round away in %s: evaluate in float32", 100 * (1 - share), name)
    return {name: round(share, 4)}
