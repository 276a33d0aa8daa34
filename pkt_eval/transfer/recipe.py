"""Recipe: everything that decides a student, checked; and the way from it to the student, through the store."""

import difflib
import importlib.metadata
import logging
import platform
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pkt_eval._util import sources
from pkt_eval._util.digests import combine_digests
from pkt_eval._util.options import MethodConfig
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits, build_splits, canonical_task
from pkt_eval.data.transfer_data import TransferData, Undeclared
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import Method, TransferMethod, get_method, methods
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student
from pkt_eval.transfer.store import Store

log = logging.getLogger(__name__)


class Recipe(BaseModel):
    """What decides a student. Every field is an option of ``--model_args`` and of ``pkt-eval transfer``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    pretrained: str
    """Base of the student: a folder, or a name on the hub."""
    teacher: str | None = None
    """The model that knowledge is taken from."""
    method: str = "vanilla"
    """How; `pkt-eval methods` lists them."""
    transfer_task: str | None = None
    """What is transferred: mmlu, gsm8k, humaneval, mbpp, or nano_… of each."""
    seed: int = 0
    """Decides the splits, the order of training and every random start."""
    chat_format: Literal["paper", "model"] = "paper"
    """Text format of the transfer's data, which the student then carries as its chat template."""
    loss_on: Literal["answer", "all"] = "answer"
    """Tokens that the loss is on; `all` is an option for MMLU, whose answer is one letter."""
    splits: str | None = None
    """Folder of chat JSONL that replaces the default splits."""
    data_dir: str | None = None
    """Local folder of the benchmarks; default PKT_EVAL_DATA, else the hub."""
    extract_samples: int | None = Field(None, ge=1)
    """Records that locate (default 32)."""
    align_samples: int | None = Field(None, ge=1)
    """Records that align (PrePKT)."""
    train_samples: int | None = Field(None, ge=1)
    """Records that fine-tune (default 1000; MBPP 300)."""
    validation_samples: int | None = Field(None, ge=1)
    """Records that choose a rate or a step (default 64)."""
    transfer_max_length: int = Field(1024, ge=8)
    """Longest example of the transfer, in tokens."""
    transfer_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the transfer: auto is the checkpoint's where the hardware has it, else float32."""
    revision: str = "main"
    """Revision of the student's base on the hub."""
    trust_remote_code: bool = False
    """Run code that comes with a model; off unless asked for."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The method's own options."""

    @property
    def entry(self) -> Method:
        """The registered method."""
        return get_method(self.method)

    def pair(self, device: str = "cpu") -> ModelPair:
        """The models, not yet opened."""
        student = ModelSource(self.pretrained, revision=self.revision, trust_remote_code=self.trust_remote_code)
        teacher = ModelSource(self.teacher, trust_remote_code=self.trust_remote_code) if self.teacher else None
        return ModelPair(teacher, student, device=device, dtype=self.transfer_dtype)

    def task_splits(self, task: str) -> Splits:
        """The splits of a task under this recipe's seed, folder and sizes."""
        sizes = {
            name: size
            for name in ("extract", "align", "train", "validation")
            if (size := getattr(self, f"{name}_samples")) is not None
        }
        return build_splits(task, seed=self.seed, data_dir=self.data_dir, splits_dir=self.splits, sizes=sizes)


#: Option names that a recipe takes itself; all others belong to the method or, in lm-eval, to ``hf``.
FIELDS = tuple(name for name in Recipe.model_fields if name != "options")


def make_recipe(arguments: Mapping[str, Any]) -> Recipe:
    """Check flat options (the recipe's and the method's) and fill in what follows from them.

    With neither ``pretrained`` nor ``teacher`` the embedded nano family is meant.

    Raises:
        ConfigError: An unknown option, a bad value, or something that the method needs and that is missing.
    """
    arguments = {k: v for k, v in arguments.items() if v is not None}
    if "pretrained" not in arguments and "teacher" not in arguments:
        from pkt_eval import nano

        arguments |= {"pretrained": nano.model_path("student"), "teacher": nano.model_path("teacher")}
    elif "pretrained" not in arguments:
        raise ConfigError("teacher= is given but pretrained= is not: name the base of the student as well")
    own = {k: arguments.pop(k) for k in FIELDS if k in arguments}
    try:
        recipe = Recipe(**own, options=arguments)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise ConfigError(f"{'.'.join(str(p) for p in wrong['loc'])}={wrong.get('input')!r}: {wrong['msg']}") from None
    entry = recipe.entry
    entry.configure(recipe.options, recipe.seed)
    if "teacher" in entry.uses and not recipe.teacher:
        raise ConfigError(f"method={entry.name} needs a teacher: add teacher=FOLDER_OR_HUB_NAME")
    if "data" in entry.uses:
        if not recipe.transfer_task:
            from pkt_eval.data.records import BENCHMARKS

            names = ", ".join([*BENCHMARKS, *(f"nano_{b}" for b in BENCHMARKS)])
            raise ConfigError(f"method={entry.name} needs transfer_task=, one of {names}")
        canonical_task(recipe.transfer_task)
    return recipe


def unknown_options(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Names that are probably a misspelt option of ours, or another method's: name → what to say.

    lm-eval hands every unknown argument on to the model's constructor, which fails far from the mistake.

    Args:
        names: Options that nobody has claimed.
        known: Options that the recipe and the method take.
    """
    known = list(known)
    said = {}
    for name in names:
        if owners := [m.name for m in methods().values() if name in m.options()]:
            said[name] = f"is an option of {', '.join(owners)}, not of this method"
        elif near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
            said[name] = f"did you mean {near[0]!r}?"
    return said


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
    entry, pair = recipe.entry, recipe.pair(device)
    method = entry.configure(recipe.options, recipe.seed)
    progress = progress or Progress()
    splits = recipe.task_splits(recipe.transfer_task) if "data" in entry.uses else None
    identity = _identity(recipe, pair, method, splits)
    fingerprint = combine_digests(identity)
    store = store or Store()
    method.work = store.work(fingerprint)

    def build() -> Student:
        if splits is None:
            data: TransferData = Undeclared(entry.name)
        else:
            progress.go_on(method.work)
            chat = ChatFormat(recipe.chat_format)
            data = TransferData(splits, chat, recipe.loss_on, recipe.transfer_max_length, recipe.task_splits)
            log.info("transferring: %s for %s, student %s", entry.name, splits.benchmark, fingerprint[:12])
        student = method.transfer(pair, data, progress)
        provenance = {
            **identity,
            "student": recipe.pretrained,
            "teacher": recipe.teacher if "teacher" in entry.uses else None,
            "fingerprint": fingerprint,
            "weights_digest": student.weights_digest(),
            "title": entry.title,
            "paradigm": entry.paradigm,
            "reference": entry.reference,
            "splits_source": splits.source if splits else None,
            "split_sizes": splits.sizes if splits else None,
            "seconds": progress.seconds,
            "peak_memory_bytes": progress.peak_memory_bytes,
            "record": student.provenance,
        }
        template = ChatFormat(recipe.chat_format).template(pair.student.tokenizer)
        return Student(student.base, student.edits, template, provenance)

    if not splits:  # nothing is edited, so there is nothing to keep: the base is on disk already
        return build()
    student = store.get_or_build(fingerprint, build)
    # The store knows models by content: the one that made this student may have stood elsewhere.
    return replace(student, base=recipe.pretrained)


def fingerprint(recipe: Recipe, device: str = "cpu") -> str:
    """Digest of everything that decides a recipe's student, without making it."""
    method = recipe.entry.configure(recipe.options, recipe.seed)
    splits = recipe.task_splits(recipe.transfer_task) if "data" in recipe.entry.uses else None
    return combine_digests(_identity(recipe, recipe.pair(device), method, splits))


def _identity(
    recipe: Recipe, pair: ModelPair, method: TransferMethod[MethodConfig], splits: Splits | None
) -> dict[str, Any]:
    """Everything that decides the student, as JSON; its digest is the fingerprint. Places on disk decide nothing."""
    uses = recipe.entry.uses
    identity: dict[str, Any] = {
        "method": recipe.method,
        "student_digest": pair.student.digest,
        "chat_format": recipe.chat_format,
        "versions": versions(),
    }
    if "teacher" in uses:
        identity["teacher_digest"] = pair.teacher.digest
    if splits:
        others = method.other_tasks(splits.benchmark)
        identity |= {
            "config": method.config.model_dump(mode="json"),
            "other_split_digests": {task: recipe.task_splits(task).digest for task in others},
            "transfer_task": splits.benchmark,
            "seed": recipe.seed,
            "loss_on": recipe.loss_on,
            "split_digests": splits.digests,
            "transfer_max_length": recipe.transfer_max_length,
            "device": pair.device.split(":")[0],
            "dtype": str(pair.dtype(pair.student)).removeprefix("torch."),
            "code": sources.digest(sources.TRANSFER),
        }
    return identity


@cache
def versions() -> dict[str, str]:
    """Versions of what computes a student."""
    packages = ("pkt-eval", "torch", "transformers", "peft", "accelerate")
    found = {p: importlib.metadata.version(p) for p in packages if _installed(p)}
    return {"python": platform.python_version(), **found}


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
