"""Transport & Merge (arXiv 2602.05495) with its normalisation mended, and its control: shrinking alone.

Channels of the student's attention are matched with those of every teacher layer by optimal transport of their
activations; the teacher's weights, sent through these plans and averaged over its layers, are mixed into the
student's: ``W ← (1 − α)·W + α·W*``. The released code normalises each plan to a mass of 1 and loses the scale, so that
``W*`` is nothing and what remains is ``(1 − α)·W``: that is the control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.align.carry import delta_over_weight
from pkt_eval.align.contexts import text_batches, texts
from pkt_eval.align.maps import collect
from pkt_eval.align.procrustes import standardised
from pkt_eval.align.sinkhorn import sinkhorn
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap
from pkt_eval.models.edits import DenseEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.selection import Criterion

_PAPER = "arXiv 2602.05495"
_EPSILON = 0.1  # published, of both transports
_SAMPLE = 256  # channels of a site that tell how far two layers are apart, at most: guessed
_BLOCKS = ("q", "k", "v", "o")


class Site(NamedTuple):
    """A side of an attention's block, in whatever layer; q, k and v read the same."""

    block: str
    side: Literal["input", "output"]


SITES = (Site("q", "input"), *(Site(block, "output") for block in _BLOCKS), Site("o", "input"))
"""Where channels are matched."""


def _input(block: str) -> Site:
    return Site("o" if block == "o" else "q", "input")


class TransportConfig(MethodConfig):
    """Options of Transport & Merge."""

    strength: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (0.01, 0.03, 0.1)
    """Share α of the transported weights; of several, joined by +, validation chooses."""
    tokens: int = Field(2048, ge=2, le=10**7)
    """Tokens of extract and align records whose activations are compared, at most; all layers' stay in memory."""
    select_by: Criterion | None = None
    """What chooses α on validation; default score where the answer is a number, else loss."""

    @model_validator(mode="after")
    def _shares(self) -> TransportConfig:
        if not self.strength or any(not 0 < strength <= 1 for strength in self.strength):  # neither is NaN
            raise ValueError("a strength is above 0 and at most 1")
        return self


@dataclass(frozen=True)
class Mixed:
    """What is mixed into the student's weights."""

    what: Literal["teacher", "nothing"]


@register(
    "transport",
    title="Transport & Merge: the teacher's attention, by optimal transport of channels, mixed into the student's",
    reference=_PAPER,
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Mixed("teacher"),
)
@register(
    "transport_shrink",
    title="Transport & Merge without a teacher: attention weights times 1 − α",
    reference=_PAPER,
    paradigm="control",
    uses=("data",),
    variant=Mixed("nothing"),
    control_of=("transport",),
)
class Transport(TransferMethod[TransportConfig]):
    """Read both models, transport, mix, choose how much."""

    Config = TransportConfig
    splits = ("extract", "align", "validation")
    streams = True
    variant: Mixed

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Transport & Merge. Teacher and student are in memory one after the other.

        For each of ``L_S·L_T`` pairs of layers and each of six sites a cost matrix, ``2·n·d_S·d_T`` FLOPs, a plan, some
        30 passes over as many entries, and for each of four blocks two products. Of Qwen2.5-Coder 1.5B → 0.5B with
        n = 2,048: 672 pairs of ``4·5.6`` GFLOP and 14 GFLOP, 25 TFLOP in all, and four plans of 1.4 million entries, a
        tenth of a second each: about a quarter of an hour of one core. Memory: 2.3 GB of activations in float32, 0.3 GB
        of the teacher's weights, 0.2 GB of differences.
        """
        record: dict[str, Any] = {}
        theirs: list[Mapping[Site, torch.Tensor]] = []
        sources: list[Mapping[str, torch.Tensor]] = []
        name, dims = self.method.name, pair.student.dims
        if self.variant.what == "teacher":
            pair.check()
            count = pair.the_teacher.dims.layers
            with pair.read_teacher() as teacher:
                theirs = self._read(teacher, "teacher", count, pair, data, progress)
                sources = [_weights(teacher, j) for j in range(count)]
        with pair.open_student() as model:
            differences: dict[str, torch.Tensor] = {}
            if self.variant.what == "teacher":
                ours = self._read(model, "student", dims.layers, pair, data, progress)
                with progress.stage("match layers"):
                    share = layer_shares(progress.bar(ours, f"{name}: layers"), theirs)
                record["nearest_teacher_layer"] = {"_".join(s): p.argmax(1).tolist() for s, p in share.items()}
                sizes: dict[str, list[float]] = {block: [] for block in _BLOCKS}
            with progress.stage("transport"):
                for i in progress.bar(range(dims.layers), f"{name}: transport"):
                    own = _weights(model, i)
                    if self.variant.what == "nothing":
                        moved = {block: torch.zeros_like(w) for block, w in own.items()}
                    else:
                        shares = {site: share[site][i] for site in SITES}
                        moved = transported(ours[i], theirs, sources, shares)
                        for block, w in moved.items():
                            sizes[block].append(float(w.norm() / own[block].float().norm()))
                            moved[block] = with_row_norms(w, own[block].float())
                    for block, w in moved.items():
                        differences[blocks.weight_name(block, i)] = w.float() - own[block].float()
            if self.variant.what == "teacher":
                record["size_before_rescaling"] = {b: sum(of_block) / len(of_block) for b, of_block in sizes.items()}
            jury = Jury.of(model, pair.student.tokenizer, data, self.config.select_by)
            candidates = [
                CandidateEdit({"strength": strength}, partial(mixed, differences, strength))
                for strength in sorted(self.config.strength)
            ]
            _, edits, record["choice"] = choose_candidate(candidates, jury, progress, name, self.work)
            record["delta_over_weight"] = delta_over_weight(model, edits)
        return Student(base=pair.student, edits=edits, record=record)

    def _read(
        self, model: Any, role: str, layers: int, pair: ModelPair, data: TransferData, progress: Progress
    ) -> list[Mapping[Site, torch.Tensor]]:
        """Standardised channels of every layer, ``(n, width)`` float32, on the device that computes."""
        rows = texts(data, pair.student.tokenizer, ["extract", "align"], rows="all", budget=self.config.tokens)
        taps = {(k, site): Tap(site.block, k, site.side) for k in range(layers) for site in SITES}
        with progress.stage(f"read {role}"):
            bar = progress.bar(text_batches(rows), f"{self.method.name}: activations of the {role}")
            found = collect(model, bar, list(taps.values()))
            return [
                {site: standardised(found.pop(taps[k, site])).to(pair.device, torch.float32) for site in SITES}
                for k in range(layers)
            ]


def _weights(model: Any, layer: int) -> dict[str, torch.Tensor]:
    """Copies, in the model's dtype on its device."""
    names = {block: blocks.weight_name(block, layer) for block in _BLOCKS}
    return {block: model.get_parameter(name).detach().clone() for block, name in names.items()}


def layer_shares(
    ours: Iterable[Mapping[Site, torch.Tensor]], theirs: Sequence[Mapping[Site, torch.Tensor]]
) -> dict[Site, torch.Tensor]:
    """How much of each teacher layer a student layer gets, by site.

    The cost of a pair of layers is ``⟨C, Q⟩`` of the transport between their channels, of 256 evenly spaced ones where
    a side has more; the plan between layers is that of the costs divided by their median.

    Args:
        ours: The student's layers, standardised channels ``(n, width)`` each.
        theirs: The teacher's.

    Returns:
        Site → ``(L_S, L_T)``, each row a distribution.
    """
    costs: dict[Site, list[torch.Tensor]] = {site: [] for site in SITES}
    sampled = {site: torch.stack([_sample(layer[site]) for layer in theirs]) for site in SITES}  # (L_T, n, ≤ 256)
    for layer in ours:
        for site in SITES:
            C = channel_costs(_sample(layer[site]), sampled[site])
            costs[site].append((C * sinkhorn(C, epsilon=_EPSILON)).sum((-2, -1)))
    shares = {}
    for site, rows in costs.items():
        cost = torch.stack(rows).cpu().double()
        plan = sinkhorn(cost / cost.median().clamp_min(torch.finfo(torch.float64).tiny), epsilon=_EPSILON)
        shares[site] = plan * len(plan)
    return shares


def _sample(channels: torch.Tensor) -> torch.Tensor:
    count = channels.shape[-1]
    kept = min(count, _SAMPLE)
    return channels[:, torch.arange(kept) * count // kept]


def channel_costs(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """``1 − corr``, ``(…, d_S, d_T)``, of standardised channels ``(n, d_S)`` and ``(…, n, d_T)``."""
    return 1 - ours.T @ theirs / len(ours)


@torch.no_grad()
def transported(
    ours: Mapping[Site, torch.Tensor],
    theirs: Sequence[Mapping[Site, torch.Tensor]],
    weights: Sequence[Mapping[str, torch.Tensor]],
    shares: Mapping[Site, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """``W* = Σ_j √(P_out·P_in)_j · Q_out·W_j·Q_inᵀ`` of a student layer, over all layers j of the teacher.

    A plan Q is row-stochastic: each channel of the student is a mean of the teacher's. (As released, its rows sum to
    ``1/d_S``, and the product of two plans is smaller by ``d_S²``.)

    Args:
        ours: The layer's standardised channels.
        theirs: Those of the teacher's layers.
        weights: Block → ``(out_T, in_T)``, of each teacher layer.
        shares: Site → ``(L_T,)``, of ``layer_shares``.

    Returns:
        Block → ``(out_S, in_S)`` in the dtype of the channels.
    """
    total = {block: torch.zeros(()) for block in _BLOCKS}
    for j, (layer, W) in enumerate(zip(theirs, weights, strict=True)):
        plans = {}
        for site in SITES:
            plan = sinkhorn(channel_costs(ours[site], layer[site]), epsilon=_EPSILON)
            plans[site] = plan / plan.sum(1, keepdim=True)
        for block in _BLOCKS:
            out, into = Site(block, "output"), _input(block)
            share = float((shares[out][j] * shares[into][j]).sqrt())
            total[block] = total[block] + share * (plans[out] @ W[block].to(plans[out]) @ plans[into].T)
    return total


def with_row_norms(weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A weight whose rows are scaled to the norms of another's; a row of zeros stays."""
    norms = weight.norm(dim=1, keepdim=True)
    return weight * (like.norm(dim=1, keepdim=True) / norms.clamp_min(torch.finfo(weight.dtype).tiny))


def mixed(differences: Mapping[str, torch.Tensor], strength: float) -> list[DenseEdit]:
    """``α·(W* − W)`` of each weight, on the CPU."""
    return [DenseEdit(name, (strength * difference).cpu()) for name, difference in differences.items()]
