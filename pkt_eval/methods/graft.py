"""Graft: neurons of the teacher's FFNs, brought into the student's streams, take the places of its idlest ones.

No paper has it: it is a well-posed test of whether single neurons can be moved at all (arXiv 2606.03280 suggests that
they cannot). A neuron of a gated FFN reads the stream by two vectors and writes to it by one. Given linear maps between
the streams, ``x_T ≈ A·x_S`` before the FFN and ``y_S ≈ B·y_T`` behind it, all three have images in the student. Those
neurons are moved whose effect the task's loss would like, to first order, on two halves of the align records alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.align.carry import delta_over_weight
from pkt_eval.align.contexts import fitted_and_held_out, text_batches, texts
from pkt_eval.align.gradients import output_gradients
from pkt_eval.align.maps import AffineMap, Moments, collect, fit_map
from pkt_eval.data.chat import IGNORE
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.locate.layers import map_layers
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap, activations
from pkt_eval.models.edits import LocatedEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.selection import Criterion


class GraftConfig(MethodConfig):
    """Options of Graft."""

    rate: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (0.005, 0.02, 0.05)
    """Share of each student layer's neurons that are replaced, at most; of several, joined by +, validation chooses."""
    tokens: int = Field(2048, ge=2, le=10**7)
    """Tokens of align records that maps are fitted on and gains are taken of, at most."""
    select_by: Criterion | None = None
    """What chooses the rate on validation; default score where the answer is a number, else loss."""

    @model_validator(mode="after")
    def _shares(self) -> GraftConfig:
        if not self.rate or any(not 0 < rate <= 1 for rate in self.rate):  # neither is NaN
            raise ValueError("a rate is above 0 and at most 1")
        return self


class Neurons(NamedTuple):
    """Neurons of a gated FFN, by their vectors in the student's streams.

    Attributes:
        gate: ``(k, d_S)``, a row each.
        up: ``(k, d_S)``, likewise.
        down: ``(k, d_S)``, a column each of the weight, as rows here.
    """

    gate: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor

    def take(self, places: torch.Tensor) -> Neurons:
        """Some of them, in that order."""
        return Neurons(*(vectors[places] for vectors in self))


@dataclass(frozen=True)
class Layer:
    """What goes where in a student layer, the best first.

    Attributes:
        neurons: The teacher's, in float32.
        places: ``(k,)`` indices of the student's neurons that they replace, the idlest first.
        positive: How many of the teacher's neurons had a positive gain on both halves.
        r2: Held-out R² of the maps before and behind the FFN.
    """

    neurons: Neurons
    places: torch.Tensor
    positive: int
    r2: tuple[float, float]


@register(
    "graft",
    title="Graft: the teacher's neurons, mapped into the student's streams, replace its idlest",
    reference="–",
    paradigm="PrePKT",
    uses=("teacher", "data"),
)
class Graft(TransferMethod[GraftConfig]):
    """Fit the maps, map the neurons, keep those with a gain, choose how many."""

    Config = GraftConfig
    splits = ("align", "validation")

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Graft. Teacher and student are in memory one after the other.

        The teacher's FFNs are read from its files, a layer at a time. FLOPs a layer, with ``n`` tokens:
        ``6·f_T·d_T·d_S`` for the images and ``6·n·f_T·d_S`` for the gains; with n = 2,048 and Qwen2.5-Coder
        1.5B → 0.5B some 170 GFLOP, 4 TFLOP in all.
        """
        pair.check()
        dims, name = pair.student.dims, self.method.name
        layers = map_layers(pair.the_teacher.dims.layers, dims.layers)
        fitted, held_out = fitted_and_held_out(
            texts(data, pair.student.tokenizer, ["align"], rows="all", budget=self.config.tokens)
        )
        examples = [*fitted, *held_out]
        with pair.open_teacher() as teacher, progress.stage("read teacher"):
            bar = progress.bar(text_batches(examples), f"{name}: activations of the teacher")
            theirs = collect(teacher, bar, [tap for layer in layers for tap in _streams(layer)])
        with pair.open_student() as model:
            with progress.stage("read student"):
                ours, busy = self._read(model, examples, progress)
                gradients = self._gradients(model, examples, pair, data, progress)
            text = torch.repeat_interleave(torch.arange(len(examples)), torch.tensor([_rows(e) for e in examples]))
            found: list[Layer] = []
            with progress.stage("graft"):
                for k in progress.bar(range(dims.layers), f"{name}: neurons"):
                    streams = zip(_streams(layers[k]), _streams(k), strict=True)
                    into, behind = ((theirs[t], ours[s]) for t, s in streams)
                    names = [blocks.weight_name(block, layers[k]) for block in Neurons._fields]
                    weights = dict(pair.the_teacher.weights(names))
                    before = no_constant_map(into[1], into[0], text < len(fitted))
                    after = centred_map(*behind, text < len(fitted))
                    gate, up, down = (weights[n].float() for n in names)
                    mapped = images(gate, up, down, before.M, after.M)
                    gains = first_order_gains(
                        mapped,
                        into[1],
                        gradients[Tap("down", k)],
                        text % 2 == 0,
                        blocks.ffn_activation(blocks.layers(model)[k]),
                    )
                    best = with_gain(gains)[: self._count(dims.ffn, max(self.config.rate))]
                    written = model.get_parameter(blocks.weight_name("down", k)).detach().float().cpu().norm(dim=0)
                    idle = torch.sort(busy[k] * written, stable=True).indices[: len(best)]
                    found.append(Layer(mapped.take(best), idle, len(with_gain(gains)), (before.r2, after.r2)))
            jury = Jury.of(model, pair.student.tokenizer, data, self.config.select_by)
            candidates = [
                CandidateEdit({"rate": rate}, partial(grafted, model, found, self._count(dims.ffn, rate)))
                for rate in sorted(self.config.rate)
            ]
            _, edits, choice = choose_candidate(candidates, jury, progress, name, self.work)
            record = {
                "choice": choice,
                "delta_over_weight": delta_over_weight(model, edits),
                "teacher_layers": layers,
                "tokens": len(text),
                "neurons_with_gain": [layer.positive for layer in found],
                "r2_before_ffn": [round(layer.r2[0], 4) for layer in found],
                "r2_behind_ffn": [round(layer.r2[1], 4) for layer in found],
            }
        return Student(base=pair.student, edits=edits, record=record)

    def _count(self, neurons: int, rate: float) -> int:
        return max(1, int(rate * neurons))

    def _read(
        self, model: Any, examples: Sequence[Example], progress: Progress
    ) -> tuple[Mapping[Tap, torch.Tensor], list[torch.Tensor]]:
        """The student's rows before and behind each FFN, and the mean ``|m|`` of each neuron, layer by layer."""
        layers = range(len(blocks.layers(model)))
        inside = {Tap("down", k, "input"): k for k in layers}
        rows: dict[Tap, list[torch.Tensor]] = {tap: [] for k in layers for tap in _streams(k)}
        busy = [torch.zeros(()).double() for _ in layers]
        count = 0
        bar = progress.bar(text_batches(examples), f"{self.method.name}: activations of the student")
        for batch in activations(model, bar, [*inside, *rows]):
            for tap, states in batch.items():
                if tap in rows:
                    rows[tap].append(states.cpu())
                else:
                    busy[inside[tap]] = busy[inside[tap]] + states.abs().sum(0, dtype=torch.float64).cpu()
            count += len(states)
        return {tap: torch.cat(parts) for tap, parts in rows.items()}, [b.float() / count for b in busy]

    def _gradients(
        self, model: Any, examples: Sequence[Example], pair: ModelPair, data: TransferData, progress: Progress
    ) -> dict[Tap, torch.Tensor]:
        """``∂loss/∂y`` behind each FFN, of the loss that is trained on, at the rows of the examples."""
        # The same records: what is chosen depends on their lengths alone.
        chosen = texts(data, pair.student.tokenizer, ["align"], rows=data.loss_on, budget=self.config.tokens)
        losses = [e for part in fitted_and_held_out(chosen) for e in part]
        both = (
            {**loss, "rows": row["labels"]}
            for row, loss in zip(text_batches(examples), text_batches(losses), strict=True)
        )
        bar = progress.bar(both, f"{self.method.name}: gradients of the student")
        return output_gradients(model, bar, [Tap("down", k) for k in range(pair.student.dims.layers)])


def _streams(layer: int) -> tuple[Tap, Tap]:
    """Before the FFN, normed, and what it adds to the stream."""
    return Tap("up", layer, "input"), Tap("down", layer, "output")


def _rows(example: Example) -> int:
    return sum(label != IGNORE for label in example["labels"][1:])


def centred_map(source: torch.Tensor, target: torch.Tensor, fitted: torch.Tensor) -> AffineMap:
    """The ridge map of the largest held-out R² from one model's rows to the other's; see ``maps.fit_map``.

    Args:
        source: ``(n, p)``.
        target: ``(n, q)``.
        fitted: ``(n,)`` bool; the other rows choose the ridge.
    """
    return fit_map(*_moments(source, target, fitted))


def no_constant_map(source: torch.Tensor, target: torch.Tensor, fitted: torch.Tensor) -> AffineMap:
    """As ``centred_map``, but linear: moments about zero. An FFN has no bias in which a constant could go."""
    one, other = _moments(source, target, fitted)
    return fit_map(_about_zero(one), _about_zero(other))


def _about_zero(moments: Moments) -> Moments:
    return replace(moments, sum_T=torch.zeros_like(moments.sum_T), sum_S=torch.zeros_like(moments.sum_S))


def _moments(source: torch.Tensor, target: torch.Tensor, fitted: torch.Tensor) -> tuple[Moments, Moments]:
    one, other = (
        Moments.zero(source.shape[1], target.shape[1]).add(source[keep], target[keep]) for keep in (fitted, ~fitted)
    )
    return one, other


@torch.no_grad()
def images(gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor, A: torch.Tensor, B: torch.Tensor) -> Neurons:
    """The teacher's neurons in the student's streams: rows ``gate_i·A`` and ``up_i·A``, column ``B·down_i``.

    Args:
        gate: ``(f_T, d_T)``.
        up: ``(f_T, d_T)``.
        down: ``(d_T, f_T)``.
        A: ``(d_T, d_S)``, ``x_T ≈ A·x_S``.
        B: ``(d_S, d_T)``, ``y_S ≈ B·y_T``.

    Returns:
        ``f_T`` neurons of the weights' dtype.
    """
    A, B = A.to(gate), B.to(gate)
    return Neurons(gate @ A, up @ A, (B @ down).T.contiguous())


@torch.no_grad()
def first_order_gains(
    neurons: Neurons,
    x: torch.Tensor,
    gradient: torch.Tensor,
    half: torch.Tensor,
    activation: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """By how much the loss would fall, to first order, if each neuron were added to an FFN: ``−∂loss/∂scale``.

    A neuron of scale s adds ``s·m(x)·down`` to the output y, with ``m = activation(gate·x)·(up·x)``: the derivative at
    zero is ``Σ_tokens m(x)·⟨∂loss/∂y, down⟩``.

    Args:
        neurons: ``k`` of them.
        x: ``(n, d_S)``, what the FFN reads.
        gradient: ``(n, d_S)``, ``∂loss/∂y``.
        half: ``(n,)`` bool: the tokens of the one half.
        activation: The student's.

    Returns:
        ``(2, k)``: mean over the tokens of that half, and of the other.
    """
    x, gradient = x.to(neurons.up), gradient.to(neurons.up)
    gain = activation(x @ neurons.gate.T).mul_(x @ neurons.up.T).mul_(gradient @ neurons.down.T).neg_()
    return torch.stack([gain[keep].mean(0, dtype=torch.float64) for keep in (half, ~half)])


def with_gain(gains: torch.Tensor) -> torch.Tensor:
    """Indices of the neurons whose gain is positive on both halves, that of the larger lesser gain first.

    Args:
        gains: ``(2, k)``.
    """
    least = gains.amin(0)
    order = torch.sort(least, descending=True, stable=True).indices
    return order[least[order] > 0]


@torch.no_grad()
def grafted(model: Any, found: Sequence[Layer], count: int) -> list[LocatedEdit]:
    """The edits that put the first ``count`` neurons of each layer into their places."""
    edits = []
    for k, layer in enumerate(found):
        places = layer.places[:count]
        if not len(places):
            continue
        for block, new in zip(Neurons._fields, layer.neurons, strict=True):
            name = blocks.weight_name(block, k)
            weight = model.get_parameter(name).detach()
            old = (weight.T if block == "down" else weight)[places.to(weight.device)].float().cpu()
            delta = (new[:count] - old).contiguous()
            # A copy: tensors of a saved student share no memory.
            edits.append(LocatedEdit(name, "columns" if block == "down" else "rows", places.clone(), delta))
    return edits
