"""ModelPair: the teacher and the student's base, opened lazily and never together unless a method says so."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

from pkt_eval._util.devices import free_memory, native_dtype
from pkt_eval._util.progress import Progress
from pkt_eval.errors import IncompatiblePairError
from pkt_eval.models import blocks
from pkt_eval.models.cost import Meter, Role, count_passes
from pkt_eval.models.source import ModelSource
from pkt_eval.models.stream import StreamedModel
from pkt_eval.models.tensors import stored_tensors

log = logging.getLogger(__name__)

TeacherMemory = Literal["auto", "stream", "whole"]

_SHARE = 0.8  # of the memory that is free, which a teacher may take that is loaded whole
_BESIDE = 4  # bytes beside each weight: Seeking has as many scores, in float32


class ModelPair:
    """A teacher and the base of its student.

    Args:
        teacher: Source of the teacher, or None for methods that need none.
        student: Source of the student's base.
        device: Where transfers compute.
        dtype: ``"auto"`` (see ``native_dtype``) or a torch dtype's name.
        teacher_memory: How ``read_teacher`` opens it: ``"whole"``, ``"stream"``, i.e. a layer at a time, or ``"auto"``:
            whole where it fits with room.

    Attributes:
        meter: Is told of every pass through a model that is opened here; None: nobody is.
        progress: Shows the layers of a streamed teacher; None: nobody does.
    """

    meter: Meter | None = None
    progress: Progress | None = None

    def __init__(
        self,
        teacher: ModelSource | None,
        student: ModelSource,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        teacher_memory: TeacherMemory = "auto",
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.device = device
        self._dtype = dtype
        self._teacher_memory = teacher_memory

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
        """The teacher's model, whole, for the body of a ``with``."""
        teacher = self.the_teacher
        with teacher.open(self.dtype(teacher), self.device) as model:
            yield self._metered(model, "teacher")

    @contextmanager
    def read_teacher(self) -> Iterator[Any]:
        """The teacher for a method that only reads it, in the body of a ``with``: whole, or a ``StreamedModel``.

        Both are what ``activations``, ``locate`` and ``extract`` read, and have ``config``, ``dtype``, ``device`` and
        ``get_parameter``. A method that opens its teacher so says it by ``streams``.
        """
        teacher = self.the_teacher
        if self._fits(teacher):
            with self.open_teacher() as model:
                yield model
            return
        streamed = StreamedModel(teacher, self.dtype(teacher), self.device, self.progress)
        self._metered(streamed.skeleton, "teacher")
        yield streamed

    def _fits(self, teacher: ModelSource) -> bool:
        """Whether a teacher that is only read is loaded whole."""
        if self._teacher_memory != "auto":
            return self._teacher_memory == "whole"
        count = sum(tensor.count for tensor in stored_tensors(teacher.folder).values())
        needed, free = count * (self.dtype(teacher).itemsize + _BESIDE), free_memory(self.device)
        if fits := needed <= _SHARE * free:
            return fits
        log.info(
            "the teacher %s is read a layer at a time: whole it may need %.1f GB, and %.1f GB are free",
            teacher,
            needed / 1e9,
            free / 1e9,
        )
        return False

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
