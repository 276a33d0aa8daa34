"""Full fine-tuning: every weight of the layers' blocks is trained, and not a product beside it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.config import TrainingConfig
from pkt_eval.tune.search import course_of, train_at_best_rate
from pkt_eval.tune.weights import WholeWeights

_RATE = 1e-5  # a thirtieth of LoRA's, as is usual


class FullConfig(TrainingConfig):
    """Options of full fine-tuning; the default of learning_rate is 1e-5."""

    modules: Annotated[tuple[str, ...], BeforeValidator(plus_separated)] = blocks.BLOCKS
    """Blocks that are trained, joined by +: out of up, gate, down, q, k, v, o."""


@register(
    "full",
    title="Full fine-tuning of the layers' weights",
    reference="–",
    paradigm="baseline",
    uses=("data",),
)
class Full(TransferMethod[FullConfig]):
    """Fine-tune the weights themselves on the train split."""

    Config = FullConfig
    #: Those of LoRA, with which it is compared.
    splits = ("extract", "train", "validation")

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """Fine-tune, and keep what changed."""
        layers = range(pair.student.dims.layers)
        names = [blocks.weight_name(block, layer) for layer in layers for block in self.config.modules]
        with pair.open_student(torch.float32) as model:
            course, record = course_of(
                WholeWeights(model, names),
                pair.student.tokenizer,
                pair.device,
                data,
                self.config,
                self.seed,
                progress,
                self.work,
            )
            edits, trained = train_at_best_rate(course, self.config.learning_rate, _RATE)
        return Student(base=pair.student, edits=edits, record={"training": trained | record})
