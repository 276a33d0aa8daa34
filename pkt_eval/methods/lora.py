"""LoRA (arXiv 2106.09685) and PiSSA (arXiv 2404.02948): fine-tuning without a teacher.

They differ in the start alone. PiSSA's is exact in any dtype here, since the base is never rounded to ``W − BA``
(see ``pkt_eval.tune.adapter``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.extract.svd import truncated_svd
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import Factors, finetune, random_start
from pkt_eval.tune.config import FinetuneConfig


def principal_start(weight: torch.Tensor, rank: int) -> Factors:
    """PiSSA's: the principal product with its singular values split, ``B = U√Σ`` and ``A = √Σ·Vᵀ``."""
    B, A = truncated_svd(weight, rank)
    root = B.norm(dim=0).sqrt()
    return B / root.clamp_min(torch.finfo(B.dtype).tiny), A * root[:, None]


@dataclass(frozen=True)
class Start:
    """Where the product starts."""

    kind: Literal["random", "principal"]


@register(
    "lora",
    title="LoRA fine-tuning",
    reference="arXiv 2106.09685",
    paradigm="baseline",
    uses=("data",),
    variant=Start("random"),
)
@register(
    "pissa",
    title="LoRA started from the student's principal components",
    reference="arXiv 2404.02948",
    paradigm="baseline",
    uses=("data",),
    variant=Start("principal"),
)
class LoRA(TransferMethod[FinetuneConfig]):
    """Fine-tune a low-rank product on the train split."""

    Config = FinetuneConfig
    #: Extract is Seeking's, which is to be fine-tuned on the same records, however small the pool.
    splits = ("extract", "train", "validation")
    variant: Start

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """Start, fine-tune, and keep the product as the edit."""
        config, dims = self.config, pair.student.dims
        generator = torch.Generator().manual_seed(self.seed)
        with pair.open_student() as model:
            start: dict[str, Factors] = {}
            with progress.stage("start"):
                for layer in progress.bar(range(dims.layers), f"{self.method.name}: start"):
                    for block in config.modules:
                        name = blocks.module_name(block, layer)
                        weight = model.get_parameter(blocks.weight_name(block, layer)).detach()
                        if self.variant.kind == "random":
                            start[name] = random_start(*dims.shape(block), config.rank, generator)
                        else:
                            start[name] = principal_start(weight, config.rank)
            edits, record = finetune(model, start, pair, data, config, self.seed, progress, self.work)
        return Student(base=pair.student, edits=edits, record=record)
