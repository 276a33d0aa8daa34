"""Cross-LoRA (arXiv 2508.05232), and its control: a teacher's LoRA, carried from singular vector to singular vector.

No text is looked at but to tune the teacher: the bases that are paired are those of the two models' weights. It needs
a *tuned* teacher. The published form is not conformable where shapes differ; the one that is, and that the published
least squares come to, sends the i-th singular vector of the teacher's weight to the i-th of the student's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.align.carry import CarryConfig, choose_strength, tuned_teacher
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.extract.svd import singular_vectors
from pkt_eval.locate.layers import map_layers
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import Factors

_PAPER = "arXiv 2508.05232"


class CrossLoRAConfig(CarryConfig):
    """Options of Cross-LoRA."""

    directions: int = Field(320, ge=1, le=2**20)
    """Leading singular vectors that are paired, at most; as many as there are where a block has fewer."""


@dataclass(frozen=True)
class Signs:
    """Of each pair of the student's singular vectors: as they are fixed, or drawn at random."""

    random: bool


@register(
    "cross_lora",
    title="Cross-LoRA: a tuned teacher's LoRA, carried from singular vector to singular vector",
    reference=_PAPER,
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Signs(random=False),
)
@register(
    "crosslora_signs",
    title="Cross-LoRA with random signs of the student's singular vectors, which are as good a basis",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Signs(random=True),
    control_of=("cross_lora",),
)
class CrossLoRA(TransferMethod[CrossLoRAConfig]):
    """Tune the teacher, decompose both models' weights, carry, choose a strength."""

    Config = CrossLoRAConfig
    variant: Signs

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Cross-LoRA. Teacher and student are in memory one after the other.

        An eigendecomposition of 1,536 × 1,536 for each of 120 weights of Qwen2.5-Coder 1.5B, and one of 896 × 896 for
        each of 0.5B: about ``120·(2·8960·1536² + 9·1536³) + 120·(2·4864·896² + 9·896³)``, 11 TFLOP in float64.
        """
        pair.check()
        theirs, ours = pair.the_teacher.dims, pair.student.dims
        layers = map_layers(theirs.layers, ours.layers)
        coordinates: dict[str, Factors] = {}
        with pair.open_teacher() as teacher:
            tau, tuned = tuned_teacher(teacher, pair, data, self.config, self.seed, progress, self.work)
            with progress.stage("decompose teacher"):
                for k in progress.bar(range(ours.layers), f"{self.method.name}: teacher's singular vectors"):
                    for block in self.config.modules:
                        name, rank = blocks.weight_name(block, layers[k]), self._rank(pair, block)
                        U, V = singular_vectors(teacher.get_parameter(name).detach(), rank)
                        coordinates[blocks.weight_name(block, k)] = in_basis(tau[name], U, V)
        with pair.open_student() as model:
            edits = self._edits(model, coordinates, progress)
            chosen, record = choose_strength(
                model, edits, pair, data, self.config, progress, self.method.name, self.work
            )
        directions = {block: self._rank(pair, block) for block in self.config.modules}
        record |= {"training": tuned, "teacher_layers": layers, "directions": directions}
        return Student(base=pair.student, edits=chosen, record=record)

    def _rank(self, pair: ModelPair, block: str) -> int:
        return min(self.config.directions, *pair.the_teacher.dims.shape(block), *pair.student.dims.shape(block))

    def _edits(self, model: Any, coordinates: dict[str, Factors], progress: Progress) -> list[LowRankEdit]:
        generator = torch.Generator().manual_seed(self.seed)
        edits = []
        with progress.stage("carry"):
            for name, (B, A) in progress.bar(coordinates.items(), f"{self.method.name}: carry"):
                U, V = singular_vectors(model.get_parameter(name).detach(), len(B))
                if self.variant.random:
                    signs = torch.randint(2, (len(B),), generator=generator, dtype=torch.float64).to(U.device) * 2 - 1
                    U, V = U * signs, V * signs
                edits.append(LowRankEdit(name, *from_basis((B, A), U, V)))
        return edits


def in_basis(factors: Factors, U: torch.Tensor, V: torch.Tensor) -> Factors:
    """``UᵀB (R, r)`` and ``A·V (r, R)``: the product in the basis of singular vectors, on the CPU in float64."""
    B, A = (t.to(U) for t in factors)
    return (U.T @ B).cpu(), (A @ V).cpu()


def from_basis(factors: Factors, U: torch.Tensor, V: torch.Tensor) -> Factors:
    """``U·B (out, r)`` and ``A·Vᵀ (r, in)``, on the CPU in float32."""
    B, A = (t.to(U) for t in factors)
    return (U @ B).float().cpu(), (A @ V.T).float().cpu()
