"""ModelPair: the teacher and the student's base, opened lazily and never together unless a method says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from pkt_eval._util.devices import native_dtype
from pkt_eval.errors import IncompatiblePairError
from pkt_eval.models import blocks
from pkt_eval.models.cost import Meter, Role, count_passes
from pkt_eval.models.source import ModelSource


class ModelPair:
    """A teacher and the base of its student.

    Args:
        teacher: Source of the teacher, or None for methods that need none.
        student: Source of the student's base.
        device: Where transfers compute.
        dtype: ``"auto"`` (see ``native_dtype``) or a torch dtype's name.

    Attributes:
        meter: Is told of every pass through a model that is opened here; None: nobody is.
    """

    meter: Meter | None = None

    def __init__(
        self, teacher: ModelSource | None, student: ModelSource, *, device: str = "cpu", dtype: str = "auto"
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.device = device
        self._dtype = dtype

    @property
    def the_teacher(self) -> ModelSource:
        """The teacher, for a method that has said that it uses one.

        Raises:
            IncompatiblePairError: There is none.
        """
        if self.teacher is None:
            raise IncompatiblePairError(f"there is no teacher for {self.student}: add teacher=FOLDER_OR_HUB_NAME")
        return self.teacher

    def dtype(self, source: ModelSource) -> Any:
        """The ``torch.dtype`` in which a transfer computes with this model."""
        import torch

        return getattr(torch, self.dtype_name(source))

    def dtype_name(self, source: ModelSource) -> str:
        """Its name."""
        if self._dtype != "auto":
            return self._dtype
        stored = source.stored_dtype
        # Gradients underflow in fp16 on every device, so an fp16 checkpoint is transferred in fp32.
        return native_dtype("float32" if stored == "float16" else stored, self.device)

    @contextmanager
    def open_teacher(self) -> Iterator[Any]:
        """The teacher's model for the body of a ``with``."""
        teacher = self.the_teacher
        with teacher.open(self.dtype(teacher), self.device) as model:
            yield self._metered(model, "teacher")

    @contextmanager
    def open_student(self, dtype: Any = None) -> Iterator[Any]:
        """The student's base for the body of a ``with``; in the transfer's dtype, or in another ``torch.dtype``."""
        with self.student.open(dtype or self.dtype(self.student), self.device) as model:
            yield self._metered(model, "student")

    def _metered(self, model: Any, role: Role) -> Any:
        if self.meter:
            count_passes(model, partial(self.meter, role))
        return model

    def check(self) -> None:
        """Check that blocks can go from this teacher to this student.

        Raises:
            IncompatiblePairError: Unknown family, unlike tokenizers, or a teacher smaller than the student. The message
                names both sides and what to do.
        """
        names = dict(teacher_name=str(self.teacher), student_name=str(self.student))
        teacher = self.the_teacher
        for role, source in (("teacher", teacher), ("student", self.student)):
            try:
                _ = source.dims
            except IncompatiblePairError as error:
                raise IncompatiblePairError(
                    f"{error} ({role} of the pair teacher={self.teacher}, student={self.student})"
                ) from None
        blocks.check_fits(teacher.dims, self.student.dims, **names)
        theirs, ours = (s.tokenizer.get_vocab() for s in (teacher, self.student))
        if theirs != ours:
            unlike = sorted(t for t in theirs.keys() | ours.keys() if theirs.get(t) != ours.get(t))
            raise IncompatiblePairError(
                f"teacher {self.teacher} and student {self.student} have different tokenizers ({len(theirs)} and "
                f"{len(ours)} tokens, {len(unlike)} unlike, e.g. {unlike[0]!r}). Blocks mean the same only over one "
                "vocabulary: choose a pair from one family."
            )
