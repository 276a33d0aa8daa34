"""The two ends of the scale: the student's base as it is, and the teacher."""

from dataclasses import dataclass
from typing import Literal

from pkt_eval._util.options import MethodConfig
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student


@dataclass(frozen=True)
class Which:
    """Which model of the pair."""

    role: Literal["student", "teacher"]


@register("vanilla", title="Student base, unchanged", reference="–", paradigm="baseline", variant=Which("student"))
@register(
    "teacher",
    title="Teacher itself",
    reference="–",
    paradigm="baseline",
    uses=("teacher",),
    variant=Which("teacher"),
)
class Untouched(TransferMethod[MethodConfig]):
    """A model of the pair with no edit."""

    variant: Which

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """The student's base or the teacher, by the row."""
        return Student(base=pair.student if self.variant.role == "student" else pair.the_teacher)
