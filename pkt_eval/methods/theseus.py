"""Theseus (arXiv 2602.12952), and BiCo (arXiv 2605.28444) as its row: a teacher's LoRA, carried by Procrustes maps.

Both need a *tuned* teacher: what is carried is what a fine-tune changed in it, ``τ_T = B·A``. Under
``Θ_in (d_T, d_S)`` and ``Θ_out``, which turn the teacher's activations at a block into the student's as well as
a rotation can, the student's change is ``τ_S = Θ_outᵀ·τ_T·Θ_in``, of the same rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import Field

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.align.carry import CarryConfig, choose_strength, tuned_teacher
from pkt_eval.align.contexts import text_batches, texts
from pkt_eval.align.gradients import output_gradients
from pkt_eval.align.maps import collect
from pkt_eval.align.procrustes import correlation, permutation_gauge, semi_orthogonal
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.locate.layers import map_layers
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import Factors

_FFN = ("up", "gate", "down")


class Site(NamedTuple):
    """A side of a block, in whatever layer."""

    block: str
    side: Literal["input", "output"]


Rows: TypeAlias = "Mapping[Site, torch.Tensor]"
"""What a layer has at its sites, ``(n, width)``: activations, or gradients at outputs."""
_NEURONS = Site("down", "input")


class TheseusConfig(CarryConfig):
    """Options of Theseus and BiCo."""

    tokens: int = Field(2048, ge=2, le=10**7)
    """Tokens of align records whose activations are compared, at most; they stay in memory, at all paired layers."""


@dataclass(frozen=True)
class Outputs:
    """By what the outputs of blocks are matched."""

    by: Literal["activations", "gradients"]


@register(
    "theseus",
    title="Theseus: a tuned teacher's LoRA, carried by orthogonal maps of activations",
    reference="arXiv 2602.12952",
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Outputs("activations"),
)
@register(
    "bico",
    title="BiCo: Theseus with outputs matched by the loss's gradients (needs a tuned teacher, too)",
    reference="arXiv 2605.28444",
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Outputs("gradients"),
)
class Theseus(TransferMethod[TheseusConfig]):
    """Tune the teacher, match the activations of both models, carry, choose a strength."""

    Config = TheseusConfig
    variant: Outputs

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Theseus. Teacher and student are in memory one after the other."""
        pair.check()
        config, dims = self.config, pair.student.dims
        layers = map_layers(pair.the_teacher.dims.layers, dims.layers)
        with pair.open_teacher() as teacher:
            tau, tuned = tuned_teacher(teacher, pair, data, config, self.seed, progress, self.work)
            theirs = self._read(teacher, "teacher", layers, pair, data, progress)
        with pair.open_student() as model:
            ours = self._read(model, "student", range(dims.layers), pair, data, progress)
            edits: list[LowRankEdit] = []
            with progress.stage("carry"):
                for k in progress.bar(range(dims.layers), f"{self.method.name}: carry"):
                    of_layer = {b: tau[blocks.weight_name(b, layers[k])] for b in config.modules}
                    for block, (B, A) in carried(of_layer, theirs[k], ours[k]).items():
                        edits.append(LowRankEdit(blocks.weight_name(block, k), B, A))
            tokens = len(next(iter(ours[0].values())))
            chosen, record = choose_strength(model, edits, pair, data, config, progress, self.method.name, self.work)
        record |= {"training": tuned, "teacher_layers": layers, "tokens": tokens}
        return Student(base=pair.student, edits=chosen, record=record)

    def _read(
        self, model: Any, role: str, layers: Sequence[int], pair: ModelPair, data: TransferData, progress: Progress
    ) -> list[Rows]:
        """What each of some layers has at the sites that are matched, over the same tokens in both models.

        Memory: at 2,048 tokens in bf16, 1.6 GB of the 24 paired layers of Qwen2.5-Coder 1.5B, and 0.9 GB of 0.5B.
        """
        config, tokenizer = self.config, pair.student.tokenizer
        rows = texts(data, tokenizer, ["align"], rows="all", budget=config.tokens)
        sites = needed_sites(config.modules)
        by_gradient = [s for s in sites if s.side == "output"] if self.variant.by == "gradients" else []
        by_value = [s for s in sites if s not in by_gradient]

        def bar(what: str, batches: Iterable[dict[str, torch.Tensor]]) -> Iterable[dict[str, torch.Tensor]]:
            return progress.bar(batches, f"{self.method.name}: {what} of the {role}")

        with progress.stage(f"read {role}"):
            found = collect(model, bar("activations", text_batches(rows)), _taps(by_value, layers))
            if by_gradient:
                # The same records: what is chosen depends on their lengths alone.
                losses = texts(data, tokenizer, ["align"], rows=data.loss_on, budget=config.tokens)
                both = (
                    {**loss, "rows": row["labels"]}
                    for row, loss in zip(text_batches(rows), text_batches(losses), strict=True)
                )
                found |= output_gradients(model, bar("gradients", both), _taps(by_gradient, layers))
        return [{site: found[Tap(site.block, layer, site.side)] for site in sites} for layer in layers]


def _taps(sites: Iterable[Site], layers: Sequence[int]) -> list[Tap]:
    return [Tap(site.block, layer, site.side) for layer in layers for site in sites]


def needed_sites(modules: Iterable[str]) -> list[Site]:
    """The sites at which both models are compared so that some blocks can be carried."""
    found: dict[Site, None] = {}
    for block in modules:
        if block in _FFN:
            found[_NEURONS] = None
        if block != "down":
            found[_input(block)] = None
        if block not in ("up", "gate"):
            found[Site(block, "output")] = None
    return list(found)


def _input(block: str) -> Site:
    return Site("up" if block == "gate" else block, "input")  # they read the same stream


@torch.no_grad()
def carried(tau: Mapping[str, Factors], theirs: Rows, ours: Rows) -> dict[str, Factors]:
    """The change of a student's layer: ``Θ_outᵀ·B`` and ``A·Θ_in`` of each block's ``τ_T = B·A``.

    Towards the residual stream, values and heads, ``Θ`` is the polar factor of the cross-covariance. Between ``up``,
    ``gate`` and ``down`` lies an elementwise product, which no rotation passes: there all three share one signed
    permutation, found on ``down``'s input. A neuron's sign is that of ``up`` and ``down``; ``gate`` has none.

    Args:
        tau: Block → ``(B (out_T, r), A (r, in_T))``.
        theirs: The teacher's layer at the sites that these blocks need.
        ours: The student's, row by row of the same tokens.

    Returns:
        Block → ``(B (out_S, r), A (r, in_S))`` in float32.
    """
    rotations: dict[Site, torch.Tensor] = {}

    def rotated(vectors: torch.Tensor, site: Site) -> torch.Tensor:
        """``(r, d_T)`` to ``(r, d_S)``."""
        if site not in rotations:
            rotations[site] = semi_orthogonal(theirs[site].double().T @ ours[site].double())
        return vectors @ rotations[site]

    if any(block in _FFN for block in tau):
        neurons, signs = permutation_gauge(correlation(theirs[_NEURONS], ours[_NEURONS]))
    moved: dict[str, Factors] = {}
    for block, (B, A) in tau.items():
        rows, columns = B.double().T, A.double()
        if block == "down":
            columns = columns[:, neurons] * signs
        else:
            columns = rotated(columns, _input(block))
        if block in ("up", "gate"):
            rows = rows[:, neurons] * (signs if block == "up" else 1)
        else:
            rows = rotated(rows, Site(block, "output"))
        moved[block] = rows.T.float().contiguous(), columns.float().contiguous()
    return moved
