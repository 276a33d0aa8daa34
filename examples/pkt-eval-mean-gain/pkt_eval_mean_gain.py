"""Mean gain: each FFN of the student writes, on average, as strongly as the teacher's at the same relative depth.

With ``m`` the mean input of a ``down`` matrix ``W`` over the supervised tokens, ``W m`` is what it writes on average,
and ``g = ‖W m‖ / mean ‖residual‖`` how strongly. ``W + (s − 1)·W m mᵀ / ‖m‖²`` writes ``s·W m`` instead, and leaves
every input that is orthogonal to ``m`` as it was; ``s`` goes from 1 towards ``g_teacher / g_student``.
"""

import torch
from pydantic import Field

from pkt_eval.methods import (
    LowRankEdit,
    MethodConfig,
    ModelPair,
    Progress,
    Student,
    Tap,
    TransferData,
    TransferMethod,
    activations,
    blocks,
    map_layers,
    register,
)  # fmt: skip


class MeanGainConfig(MethodConfig):
    """Options of mean gain."""

    strength: float = Field(0.5, gt=0, le=1)
    """How far each FFN goes towards the teacher's gain: 1 is all the way."""


@register(
    "mean_gain",
    title="Mean gain: the student's FFNs write as strongly as the teacher's",
    reference="an example",
    paradigm="PrePKT",
    uses=("teacher", "data"),
)
class MeanGain(TransferMethod[MeanGainConfig]):
    """Measure both models, then one closed-form edit a layer."""

    Config = MeanGainConfig

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """One rank-one edit of ``down`` a layer."""
        with pair.open_teacher() as model:
            theirs, _, _ = self.measure(model, "teacher", pair, data, progress)
        with pair.open_student() as model:
            ours, inputs, outputs = self.measure(model, "student", pair, data, progress)
        ratio = theirs[map_layers(len(theirs), len(ours))] / ours
        scale = 1 + self.config.strength * (ratio - 1)
        edits = tuple(
            LowRankEdit(blocks.weight_name("down", k), (s - 1) * y[:, None], m[None] / m.square().sum())
            for k, (s, m, y) in enumerate(zip(scale, inputs, outputs, strict=True))
        )
        return Student(pair.student, edits, record={"scale": scale.tolist()})

    def measure(
        self, model: torch.nn.Module, role: str, pair: ModelPair, data: TransferData, progress: Progress
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Gain of each layer ``(L,)``, and the mean input ``(f,)`` and output ``(d,)`` of its ``down``."""
        batches = list(data.batches(pair.student.tokenizer, "extract"))
        taps = [Tap("down", k, "input") for k in range(len(blocks.layers(model)))]
        streams = [Tap("middle", tap.layer) for tap in taps]
        tokens, sums, norms = 0, [torch.zeros(())] * len(taps), torch.zeros(len(taps))
        with progress.stage(f"measure {role}"):
            for rows in activations(model, progress.bar(batches, f"measure {role}"), [*taps, *streams]):
                tokens += len(rows[taps[0]])
                sums = [total + rows[tap].float().sum(0).cpu() for total, tap in zip(sums, taps, strict=True)]
                norms += torch.stack([rows[tap].float().norm(dim=1).sum().cpu() for tap in streams])
        inputs = [total / tokens for total in sums]
        outputs = [blocks.block(model, "down", k).weight.detach().float().cpu() @ m for k, m in enumerate(inputs)]
        return torch.stack([y.norm() for y in outputs]) * tokens / norms, inputs, outputs
