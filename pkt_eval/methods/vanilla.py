"""The two ends of the scale: the student's base as it is, and the teacher."""

from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student


@register("vanilla", title="Student base, unchanged", reference="–", paradigm="baseline", model="student")
@register("teacher", title="Teacher itself", reference="–", paradigm="baseline", uses=("teacher",), model="teacher")
class Untouched(TransferMethod):
    """A model of the pair with no edit."""

    def transfer(self, pair: ModelPair, data: TransferData | None, progress: Progress) -> Student:
        """The student's base or the teacher, by the row."""
        return Student(base=getattr(pair, self.method.row["model"]))
