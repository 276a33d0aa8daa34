"""Transfer: a recipe, resolved once, and the way from it to its student, through the store.

Its identity is built from what was resolved, and holds everything of the recipe that is not known to be harmless, so
that an option which nobody listed counts. Places on disk decide nothing: what lies there counts by its content.
"""

import hashlib
import importlib.metadata
import logging
import platform
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

from pkt_eval._util import sources
from pkt_eval._util.digests import combine_digests
from pkt_eval._util.options import MethodConfig
from pkt_eval._util.progress import Progress
from pkt_eval._util.remembered import remembered_text
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.decontaminate import contamination_warning
from pkt_eval.data.splits import Splits
from pkt_eval.data.transfer_data import TransferData, Undeclared
from pkt_eval.methods.base import Method, TransferMethod
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.plain_tokenizer import plain_tokenizer
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import MANIFEST, Student
from pkt_eval.transfer.recipe import Recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.words import ASKED
from pkt_eval.tune.config import FinetuneConfig

log = logging.getLogger(__name__)

_warned: set[str] = set()
"""Benchmarks of which it was said what of their test sets is learnt from."""

#: Fields of a recipe that stand in the identity by what they lead to: digests of models, splits and template, the
#: method's whole configuration, the dtype that ``auto`` became.
_RESOLVED = frozenset(
    "pretrained teacher revision teacher_revision data_dir splits extract_samples align_samples train_samples "
    "validation_samples transfer_dtype options".split()
)
#: Fields of a recipe that decide no student but by rounding: how much memory is free must not.
_HARMLESS = frozenset({"teacher_memory"})


class Known:
    """What many recipes have in common, read once: models, their templates, and splits.

    A model is kept by where it lies, so what a plan has read of it is not read again where it changes meanwhile.
    """

    _MOST = 64
    """Splits that are kept: a plan asks for those of one task and seed one after the other."""

    def __init__(self) -> None:
        self._sources: dict[ModelSource, ModelSource] = {}
        self._splits: dict[tuple[object, ...], Splits] = {}
        self._templates: dict[tuple[ModelSource, str], str] = {}

    def source(self, source: ModelSource) -> ModelSource:
        """The same model, with what has been read of it."""
        return self._sources.setdefault(source, source)

    def splits(self, recipe: Recipe, task: str) -> Splits:
        """``recipe.task_splits``."""
        decided_by = (recipe.seed, recipe.data_dir, recipe.splits, recipe.decontaminate, recipe.entry.cls.splits)
        key = (task, *decided_by, *sorted(recipe.sizes.items()))
        if key not in self._splits:
            if len(self._splits) >= self._MOST:
                del self._splits[next(iter(self._splits))]
            self._splits[key] = recipe.task_splits(task)
        return self._splits[key]

    def template(self, student: ModelSource, chat: ChatFormat) -> str:
        """``chat.template`` of a model's tokenizer, which takes seconds to open: remembered in the store, too."""
        key = (student, chat.name)
        if key not in self._templates:
            decided_by = {
                "tokenizer": student.tokenizer_digest,
                "chat_format": chat.name,
                "trust_remote_code": student.trust_remote_code,
                "versions": versions(),
                "code": sources.digest(("data/chat.py", "models/plain_tokenizer.py")),
            }
            self._templates[key] = remembered_text("templates", decided_by, lambda: _template(student, chat))
        return self._templates[key]


def _template(student: ModelSource, chat: ChatFormat) -> str:
    """What ``chat.template`` says, without transformers where the papers' format needs to know of the ends alone."""
    plain = plain_tokenizer(student.files) if chat.name == "paper" else None
    return chat.template(plain or student.tokenizer)


class Transfer:
    """A recipe with everything that follows from it on this machine.

    Args:
        recipe: As from ``make_recipe``.
        device: Where the transfer computes.
        store: Default: the user's.
        known: What recipes of one plan share; default: nothing.

    Attributes:
        recipe: As given.
        entry: The registered method.
        method: The method with its options.
        pair: The models, not yet opened.
        splits: What is learnt from; None where nothing is learnt.
    """

    def __init__(
        self, recipe: Recipe, device: str = "cpu", store: Store | None = None, known: Known | None = None
    ) -> None:
        self.recipe, self.device = recipe, device
        self.entry: Method = recipe.entry
        self.method: TransferMethod[MethodConfig] = self.entry.configure(recipe.options, recipe.seed)
        self._known = known or Known()
        teacher, student = recipe.teacher_source, self._known.source(recipe.student_source)
        self.pair = ModelPair(
            self._known.source(teacher) if teacher else None,
            student,
            device=device,
            dtype=recipe.transfer_dtype,
            teacher_memory=recipe.teacher_memory,
        )
        self._store = store

    @property
    def learns(self) -> bool:
        """Whether the method looks at data; else its student is a model as it is."""
        return "data" in self.entry.uses

    @cached_property
    def store(self) -> Store:
        """Where the student is kept."""
        return self._store or Store()

    @cached_property
    def splits(self) -> Splits | None:
        """The splits of the task that is transferred; None where nothing is learnt."""
        return self._known.splits(self.recipe, str(self.recipe.transfer_task)) if self.learns else None

    @cached_property
    def template(self) -> str:
        """The chat template that the student carries."""
        return self._known.template(self.pair.student, self.recipe.chat)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the student, as JSON; its digest is the fingerprint."""
        identity: dict[str, Any] = {
            "method": self.recipe.method,
            "student_digest": self.pair.student.transfer_digest,
            **self.recipe.model_dump(mode="json", include=set(ASKED)),
            "template_digest": hashlib.sha256(self.template.encode()).hexdigest(),
            "trust_remote_code": self.recipe.trust_remote_code,
            "versions": versions(),
        }
        if "teacher" in self.entry.uses:
            identity["teacher_digest"] = self.pair.the_teacher.transfer_digest
        if self.splits:
            others = self.method.other_tasks(self.splits.benchmark)
            asked = self.recipe.model_dump(mode="json", exclude=set(_RESOLVED | _HARMLESS))
            identity |= {
                **asked,
                "config": self.method.config.model_dump(mode="json"),
                "transfer_task": self.splits.benchmark,
                "split_digests": self.splits.digests,
                "other_split_digests": {task: self._known.splits(self.recipe, task).digest for task in others},
                "device": self.device.split(":")[0],
                "dtype": self.pair.dtype_name(self.pair.student),
                "code": sources.digest(sources.TRANSFER),
                "method_code": sources.class_digest(self.entry.cls, self.entry.cls.Config),
            }
        return identity

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of ``identity``: the student's name in the store."""
        return combine_digests(self.identity)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to make: the student is in the store, or is a model as it is."""
        return not self.learns or (self.store.path(self.fingerprint) / MANIFEST).exists()

    def make(self, progress: Progress | None = None) -> Student:
        """The student: from the store if it is there, else transferred and stored.

        Args:
            progress: Default: bars on stderr.

        Returns:
            The student, its provenance complete.
        """
        progress = progress or Progress()
        progress.owner = progress.owner or self.entry.name
        self.check()
        if not self.learns:  # nothing is edited, so there is nothing to keep: the base is on disk already
            return self._build(progress)
        student = self.store.get_or_build(self.fingerprint, lambda: self._build(progress))
        # The store knows models by content: those that made this student may have stood elsewhere, under other names.
        made = replace(student.provenance, **self._names) if student.provenance else None
        return replace(student, base=self.recipe.base_source, provenance=made)

    def check(self) -> None:
        """Check the models by their headers, and options against their sizes, before any work.

        Raises:
            PKTError: A model is none, or does not fit the options; says why.
        """
        self.pair.student.check()
        if self.pair.teacher:
            self.pair.teacher.check()
        if self.learns and isinstance(self.method.config, FinetuneConfig):
            self.method.config.check_fits(self.pair.student.dims)

    def _build(self, progress: Progress) -> Student:
        data: TransferData = Undeclared(self.entry.name)
        if self.splits:
            self._warn_of_contamination(self.splits)
            self.method.work = self.store.work(self.fingerprint)
            progress.go_on(self.method.work)
            data = TransferData(
                self.splits,
                self.recipe.chat,
                self.recipe.loss_on,
                self.recipe.transfer_max_length,
                self.recipe.task_splits,
            )
            task = self.splits.benchmark
            log.info("transferring: %s for %s, student %s", self.entry.name, task, self.fingerprint[:12])
        self.pair.meter, self.pair.progress = progress.count_passes, progress
        student = self.method.transfer(self.pair, data, progress)
        return replace(
            student,
            chat_template=student.chat_template or self.template,
            provenance=self._provenance(student, progress),
        )

    def _warn_of_contamination(self, splits: Splits) -> None:
        """Say once in a process what of a benchmark's test set its students learn from."""
        if self.recipe.decontaminate or splits.benchmark in _warned:
            return
        if said := contamination_warning(splits, data_dir=self.recipe.data_dir):
            _warned.add(splits.benchmark)
            log.warning("%s", said)

    @property
    def _names(self) -> dict[str, Any]:
        """The models as this recipe names them."""
        teacher = self.recipe.teacher if "teacher" in self.entry.uses else None
        return {
            "student": self.recipe.pretrained,
            "teacher": teacher,
            "student_revision": self.recipe.revision,
            "teacher_revision": self.recipe.teacher_revision if teacher else None,
        }

    def _provenance(self, student: Student, progress: Progress) -> Provenance:
        return Provenance.from_json(
            {
                **Provenance(
                    method=self.entry.name,
                    title=self.entry.title,
                    paradigm=self.entry.paradigm,
                    control_of=self.entry.control_of,
                    reference=self.entry.reference,
                    fingerprint=self.fingerprint,
                    weights_digest=student.weights_digest(),
                    splits_source=self.splits.source if self.splits else None,
                    split_sizes=self.splits.sizes if self.splits else None,
                    dropped_records=self.splits.dropped if self.splits and self.recipe.decontaminate else None,
                    seconds=progress.seconds,
                    peak_memory_bytes=progress.peak_memory_bytes,
                    passes=progress.passes,
                    record=student.record,
                ).to_json(),
                **self._names,
                **self.identity,
            }
        )


def make_student(
    recipe: Recipe, *, device: str = "cpu", store: Store | None = None, progress: Progress | None = None
) -> Student:
    """The student of a recipe: from the store if it is there, else transferred and stored.

    Args:
        recipe: As from ``make_recipe``.
        device: Where the transfer computes.
        store: Default: the user's.
        progress: Default: bars on stderr.

    Returns:
        The student, its provenance complete.
    """
    return Transfer(recipe, device, store).make(progress)


@cache
def versions() -> dict[str, str]:
    """Versions of what computes a student."""
    packages = ("pkt-eval", "torch", "transformers", "peft", "accelerate", "scipy")
    installed = {p: importlib.metadata.version(p) for p in packages if _installed(p)}
    return {"python": platform.python_version(), **installed}


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
