"""``ridge``: the student's residual stream at the answers is drawn to the teacher's, by closed-form edits of ``down``.

Where the student computes an answer's tokens, the teacher's state at the same tokens, mapped to the student, is what
its stream should be. As in the batch editing of facts (MEMIT, arXiv 2210.07229), a few layers in a row share what is
missing, and a covariance of generic tokens guards the rest. Nothing is trained. The controls take other goals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align import contexts
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.align.editing import before_norm, guarded, relative_sizes
from pkt_eval.align.maps import AffineMap, TeacherRows, collect
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.locate.layers import map_layers
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import RESIDUAL, Tap
from pkt_eval.models.beside import Beside
from pkt_eval.models.edits import Edit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.selection import Criterion

_SPLITS = ("align", "extract")
_GENERIC = 2048  # tokens
_PAPER = "arXiv 2210.07229"


class RidgeConfig(MethodConfig):
    """Options of the teacher-target edit; of several values, joined by +, validation chooses."""

    strength: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (0.3, 1.0)
    """Share of the way to the goal, η."""
    depth: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (0.5, 0.8)
    """Where the last edited layer lies: 0 is the first layer, 1 the last; the goal is its output."""
    guard: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (1.0,)
    """Weight of a generic token over that of an answer's, λ_C/n."""
    span: int = Field(3, ge=1)
    """Number of layers that share the way, fewer where there are fewer."""
    ridge: float = Field(1e-2, gt=0)
    """Of the covariance of generic inputs of down, over the median token's mean square."""
    select_by: Criterion | None = None
    """What chooses on validation; default score where the answer is a number, else loss."""

    @model_validator(mode="after")
    def _values(self) -> RidgeConfig:
        if not self.strength or not self.guard or any(v <= 0 for v in self.strength + self.guard):
            raise ValueError("strengths and guards are positive")
        if not self.depth or any(not 0 <= depth <= 1 for depth in self.depth):
            raise ValueError("a depth lies between 0, the first layer, and 1, the last")
        return self


@dataclass(frozen=True)
class Goal:
    """What tells the teacher-target edit from its controls.

    Attributes:
        states: The teacher's, mapped; these, of tokens in random order; the teacher's own, cut to the student's width;
            the student's own behind worked examples.
    """

    states: Literal["mapped", "shuffled", "unmapped", "fewshot"]


@register(
    "ridge",
    title="Ridge edit: down draws answers to the teacher's mapped states",
    reference=_PAPER,
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Goal("mapped"),
)
@register(
    "ridge_shuffled",
    title="Ridge edit to the teacher's states of other tokens",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    control_of=("ridge",),
    variant=Goal("shuffled"),
)
@register(
    "ridge_unmapped",
    title="Ridge edit to the teacher's states as they are, cut to the student's width",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    control_of=("ridge",),
    variant=Goal("unmapped"),
)
@register(
    "ridge_fewshot",
    title="Ridge edit to the student's own states behind worked examples",
    reference=_PAPER,
    paradigm="control",
    uses=("data",),
    control_of=("ridge",),
    variant=Goal("fewshot"),
)
class Ridge(TransferMethod[RidgeConfig]):
    """Map, aim, edit."""

    Config = RidgeConfig
    streams = True
    variant: Goal

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Ridge edits. Teacher and student are in memory one after the other."""
        name, tokenizer, count = self.method.name, pair.student.tokenizer, pair.student.dims.layers
        lasts = list(dict.fromkeys(round(depth * (count - 1)) for depth in self.config.depth))
        goals = [Tap(RESIDUAL, layer) for layer in lasts]
        behind: list[Example] = []
        if self.variant.states == "fewshot":
            before, budget = contexts.worked_examples(data), (contexts.SHOTS + 1) * contexts.TOKENS  # about as many
            pairs = contexts.with_examples(data, tokenizer, _SPLITS, before, budget=budget)
            answers, behind = ([both[i] for both in pairs] for i in (0, 1))
        else:
            answers = contexts.texts(data, tokenizer, _SPLITS, rows="answer")
        record: dict[str, Any] = {"layers": lasts, "answers_edited": len(answers)}
        wanted: dict[Tap, torch.Tensor] = {}
        rows: TeacherRows | None = None
        if self.variant.states != "fewshot":
            pair.check()
            paired = map_layers(pair.the_teacher.dims.layers, count)
            record["teacher_layers"] = [paired[layer] for layer in lasts]
            sites = {tap: Tap(RESIDUAL, paired[tap.layer]) for tap in goals}
            with progress.stage("teacher"), pair.read_teacher() as teacher:
                bar = progress.bar(list(contexts.text_batches(answers)), f"{name}: teacher's answers")
                theirs = collect(teacher, bar, list(dict.fromkeys(sites.values())))
                wanted = {tap: theirs[site] for tap, site in sites.items()}
                if self.variant.states != "unmapped":
                    examples = contexts.texts(data, tokenizer, _SPLITS, rows="all")
                    rows = TeacherRows.of(teacher, examples, sites, progress, f"{name}: teacher's texts")
        with pair.open_student() as model:
            with progress.stage("map"):
                maps: dict[Tap, AffineMap] = rows.maps(model, progress, f"{name}: maps") if rows else {}
                if behind:
                    bar = progress.bar(list(contexts.text_batches(behind)), f"{name}: behind worked examples")
                    wanted = collect(model, bar, goals)
            if maps:
                record |= {"ridge": [m.ridge for m in maps.values()], "r2": [round(m.r2, 6) for m in maps.values()]}
            wanted = {tap: self._goal(tap, states, maps, pair.student.dims.hidden) for tap, states in wanted.items()}
            jury = Jury.of(model, tokenizer, data, self.config.select_by)
            examples = contexts.texts(data, tokenizer, ("train",), rows="all", budget=_GENERIC)
            maker = _Maker(model, answers, examples, wanted, self.config)
            _, edits, chosen = choose_candidate(maker.candidates(), jury, progress, name, self.work)
            record |= {**chosen, "delta_over_weight": relative_sizes(model, edits)}
        return Student(base=pair.student, edits=edits, record=record)

    def _goal(self, tap: Tap, states: torch.Tensor, maps: dict[Tap, AffineMap], width: int) -> torch.Tensor:
        """States of the row's kind to what the student's should be, ``(n, d_S)`` float64."""
        goal = maps[tap](states) if maps else states[:, :width].double()
        if self.variant.states == "shuffled":
            goal = goal[torch.randperm(len(goal), generator=torch.Generator().manual_seed(self.seed))]
        return goal


class _Maker:
    """Makes the candidates of one student.

    Args:
        model: The student, loaded.
        answers: Texts whose rows are edited.
        generic: Texts all of whose tokens are guarded.
        goals: Output of a last layer → what it should be at the answers, ``(n, d_S)``.
        config: Options.
    """

    def __init__(
        self,
        model: Any,
        answers: Sequence[Example],
        generic: Sequence[Example],
        goals: dict[Tap, torch.Tensor],
        config: RidgeConfig,
    ) -> None:
        self._model, self._answers, self._goals, self._config = model, answers, goals, config
        self._spans = {tap: list(range(max(0, tap.layer - config.span + 1), tap.layer + 1)) for tap in goals}
        layers = sorted({layer for span in self._spans.values() for layer in span})
        taps = [Tap("down", layer, "input") for layer in layers]
        self._generic = collect(model, contexts.text_batches(generic), taps, positions="all")
        # Of the unedited student: every candidate of a depth begins with them.
        self._first = {tap: self._rows(tap, span[0]) for tap, span in self._spans.items()}

    def candidates(self) -> Iterator[CandidateEdit]:
        """The gentler strength first."""
        config = self._config
        for strength, guard, tap in product(sorted(config.strength), config.guard, self._goals):
            settings = {"strength": strength, "guard": guard, "layers": self._spans[tap]}
            yield CandidateEdit(settings, self._maker(tap, strength, guard))

    def _maker(self, tap: Tap, strength: float, guard: float) -> Callable[[], list[Edit]]:
        def make() -> list[Edit]:
            span, edits = self._spans[tap], list[Edit]()
            start = self._first[tap][tap].double()
            goal = start + strength * (self._goals[tap] - start)
            for done, layer in enumerate(span):
                rows = self._rows(tap, layer, edits) if done else self._first[tap]
                keys, out = (rows[Tap("down", layer, side)] for side in ("input", "output"))
                missing = (goal - rows[tap].double()) / (len(span) - done)
                residual = before_norm(self._model, layer, missing, out)
                name = blocks.weight_name("down", layer)
                generic = self._generic[Tap("down", layer, "input")]
                edits.append(guarded(name, residual, keys, generic, guard, self._config.ridge))
            return edits

        return make

    def _rows(self, tap: Tap, layer: int, edits: Sequence[Edit] = ()) -> dict[Tap, torch.Tensor]:
        """Goal layer's output, and keys and outputs of a layer's ``down``, at the answers, under edits."""
        beside = Beside(self._model, edits)
        try:
            taps = [tap, Tap("down", layer, "input"), Tap("down", layer, "output")]
            return collect(self._model, contexts.text_batches(self._answers), taps)
        finally:
            beside.remove()
