"""``steer``: what the right context changes in the teacher, compiled into the student's weights; and its controls.

A contrast of prompts (arXiv 2604.06377, UNLOCK) says how the teacher's residual stream moves at the place where the
answer is decided when worked examples stand before the question. Mapped to the student, it is not added by a hook when
the student answers but written into ``down``, as an edit of rank one a layer. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align import contexts
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.align.editing import SecondMoment, before_norm, covariance, edits_in_order, rank_one, relative_sizes
from pkt_eval.align.maps import AffineMap, TeacherRows, collect
from pkt_eval.data.chat import collate
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.locate.layers import map_layers
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import RESIDUAL, Tap
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.selection import Criterion

_SPLITS = ("align", "extract")
_TOKENS = 2048  # of the prompts whose keys are edited, in one pass a candidate, and of generic text
_TINY = 1e-30

Layers = Literal["middle", "all"]


class SteerConfig(MethodConfig):
    """Options of steering; of several values, joined by +, validation chooses."""

    strength: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (0.05, 0.1, 0.2, 0.5)
    """Norm of the shift of a layer, over the mean norm of the student's residual stream there."""
    layers: Annotated[tuple[Layers, ...], BeforeValidator(plus_separated)] = ("all",)
    """Layers that are edited: all, or the middle third."""
    contrast: Literal["fewshot", "answer"] = "fewshot"
    """What stands before the question: worked examples of the train split, or the question itself, answered."""
    ridge: float = Field(1e-2, gt=0)
    """Of the covariance of generic inputs of down, over the median token's mean square."""
    select_by: Criterion | None = None
    """What chooses on validation; default score where the answer is a number, else loss."""

    @model_validator(mode="after")
    def _values(self) -> SteerConfig:
        if not self.strength or any(s <= 0 for s in self.strength) or not self.layers:
            raise ValueError(f"strengths are positive, and layers out of {', '.join(get_args(Layers))}")
        return self


@dataclass(frozen=True)
class Direction:
    """What tells steering from its controls.

    Attributes:
        whose: Contrast of the teacher, mapped; of the student itself; a random direction.
    """

    whose: Literal["teacher", "self", "random"]


@register(
    "steer",
    title="Steering: the teacher's contrast of prompts, compiled into down",
    reference="arXiv 2604.06377",
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Direction("teacher"),
)
@register(
    "steer_self",
    title="Steering by the student's own contrast",
    reference="arXiv 2604.06377",
    paradigm="control",
    uses=("data",),
    control_of=("steer",),
    variant=Direction("self"),
)
@register(
    "steer_random",
    title="Steering in a random direction of the same norm",
    reference="arXiv 2604.06377",
    paradigm="control",
    uses=("data",),
    control_of=("steer",),
    variant=Direction("random"),
)
class Steer(TransferMethod[SteerConfig]):
    """Contrast, map, compile."""

    Config = SteerConfig
    streams = True
    variant: Direction

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Steering. Teacher and student are in memory one after the other."""
        name, tokenizer, count = self.method.name, pair.student.tokenizer, pair.student.dims.layers
        before = None if self.config.contrast == "answer" else contexts.worked_examples(data)
        pairs = contexts.with_examples(data, tokenizer, _SPLITS, before, budget=2 * contexts.TOKENS)
        prompts = [tuple(contexts.prompt_part(data, example) for example in both) for both in pairs]
        record: dict[str, Any] = {"prompts": len(prompts)}
        contrasts: list[torch.Tensor] = []
        rows: TeacherRows | None = None
        if self.variant.whose == "teacher":
            pair.check()
            layers = map_layers(pair.the_teacher.dims.layers, count)
            record["teacher_layers"] = layers
            with progress.stage("teacher"), pair.read_teacher() as teacher:
                contrasts, _ = _contrast(teacher, prompts, layers, progress, f"{name}: teacher's contrast")
                sites = {Tap(RESIDUAL, mine): Tap(RESIDUAL, theirs) for mine, theirs in enumerate(layers)}
                examples = contexts.texts(data, tokenizer, _SPLITS, rows="all")
                rows = TeacherRows.of(teacher, examples, sites, progress, f"{name}: teacher's texts")
        with pair.open_student() as model:
            with progress.stage("map"):
                own, norms = _contrast(model, prompts, range(count), progress, f"{name}: student's contrast")
                maps = list(rows.maps(model, progress, f"{name}: maps").values()) if rows else []
                generic = self._generic(model, data, tokenizer, progress)
            directions = self._directions(contrasts or own, maps)
            if maps:
                record |= {"ridge": [m.ridge for m in maps], "r2": [round(m.r2, 6) for m in maps]}
            record["cosine_to_own"] = [
                round(float(torch.cosine_similarity(d, o, dim=0)), 4) for d, o in zip(directions, own, strict=True)
            ]
            shifts = [norm * d / d.norm().clamp_min(_TINY) for norm, d in zip(norms, directions, strict=True)]
            batch = collate(contexts.within_budget([plain for plain, _ in prompts], _TOKENS), 0)
            jury = Jury.of(model, tokenizer, data, self.config.select_by)
            candidates = self._candidates(model, batch, shifts, generic)
            _, edits, chosen = choose_candidate(candidates, jury, progress, name, self.work)
            record |= {**chosen, "delta_over_weight": relative_sizes(model, edits)}
        return Student(base=pair.student, edits=edits, record=record)

    def _generic(self, model: Any, data: TransferData, tokenizer: Any, progress: Progress) -> dict[int, SecondMoment]:
        """Layer → ``C`` of its keys at all tokens of train records."""
        layers = range(len(blocks.layers(model)))
        taps = [Tap("down", layer, "input") for layer in layers]
        examples = contexts.texts(data, tokenizer, ("train",), rows="all", budget=_TOKENS)
        keys = collect(model, contexts.text_batches(examples), taps, positions="all")
        bar = progress.bar(layers, f"{self.method.name}: generic keys")
        return {layer: covariance(keys.pop(taps[layer]), self.config.ridge) for layer in bar}

    def _directions(self, contrasts: Sequence[torch.Tensor], maps: Sequence[AffineMap]) -> list[torch.Tensor]:
        """Of each student layer, ``(d_S,)`` float64; a contrast is a difference, so that of a map ``M`` alone acts."""
        whose = self.variant.whose
        if whose == "teacher":
            return [m.M @ r for m, r in zip(maps, contrasts, strict=True)]
        if whose == "self":
            return list(contrasts)
        generator = torch.Generator().manual_seed(self.seed)
        return [torch.randn(r.shape, generator=generator, dtype=torch.float64) for r in contrasts]

    def _candidates(
        self,
        model: Any,
        batch: Mapping[str, torch.Tensor],
        shifts: Sequence[torch.Tensor],
        generic: Mapping[int, SecondMoment],
    ) -> Iterator[CandidateEdit]:
        count = len(shifts)
        third = range(count // 3, count - count // 3)

        def maker(strength: float, layers: range) -> Callable[[], list[LowRankEdit]]:
            def edit(layer: int, keys: torch.Tensor, out: torch.Tensor) -> LowRankEdit:
                shift = before_norm(model, layer, strength * shifts[layer], out.double().mean(0))
                key = keys.double().mean(0)
                return rank_one(blocks.weight_name("down", layer), shift, key, generic[layer])

            return lambda: edits_in_order(model, batch, layers, edit)

        for strength in sorted(self.config.strength):
            for name in self.config.layers:
                layers = range(count) if name == "all" else third
                yield CandidateEdit({"strength": strength, "layers": name}, maker(strength, layers))


def _contrast(
    model: Any,
    prompts: Sequence[tuple[Example, ...]],
    layers: Sequence[int],
    progress: Progress,
    desc: str,
) -> tuple[list[torch.Tensor], list[float]]:
    """For each layer the mean over prompts of its output with less without what stands before the question, ``(d,)``
    float64, and the mean norm without.
    """
    taps = [Tap(RESIDUAL, layer) for layer in layers]
    plain, behind = (
        collect(model, progress.bar(list(contexts.text_batches(of)), f"{desc} {number}"), taps)
        for number, of in enumerate(zip(*prompts, strict=True), 1)
    )
    contrasts = [(behind[tap].double() - plain[tap].double()).mean(0) for tap in taps]
    return contrasts, [float(plain[tap].double().norm(dim=1).mean()) for tap in taps]
