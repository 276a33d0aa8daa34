"""Recipe: everything that decides a student, as the user says it, checked."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pkt_eval.data.benchmarks import names
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits, build_splits, canonical_task
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import Method, get_method
from pkt_eval.models.provenance import template_arguments
from pkt_eval.models.source import ModelSource

log = logging.getLogger(__name__)


class Recipe(BaseModel):
    """What decides a student. Every field is an option of ``--model_args`` and of ``pkt-eval transfer``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,  # lm-eval makes numbers of words of digits, also of a revision or a folder
    )

    pretrained: str
    """Base of the student: a folder, or a name on the hub."""
    teacher: str | None = None
    """The model that knowledge is taken from."""
    method: str = "vanilla"
    """How: by a method that pkt-eval methods lists."""
    transfer_task: str | None = None
    """What is transferred: a benchmark, as pkt-eval data show --help lists them, or one of its tasks."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Decides the splits, the order of training and every random start."""
    chat_format: Literal["paper", "model"] = "paper"
    """Text format of the transfer's data, which the student then carries as its chat template."""
    enable_thinking: bool | None = None
    """Told to the model's chat template, in training and in evaluation."""
    chat_template_args: dict[str, Any] = Field(default_factory=dict)
    """What else it is told, as JSON, e.g. {"date_string": "1 May 2025"}."""
    loss_on: Literal["answer", "all"] = "answer"
    """Tokens that the loss is on; 'all' is an option for MMLU, whose answer is one letter."""
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
    transfer_max_length: int = Field(1024, ge=8, le=2**24)
    """Longest example of the transfer, in tokens."""
    transfer_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the transfer: auto is the checkpoint's where the hardware has it, else float32."""
    revision: str = "main"
    """Revision of the student's base on the hub: a branch, a tag or a commit."""
    teacher_revision: str = "main"
    """Revision of the teacher on the hub."""
    trust_remote_code: bool = False
    """Run code that comes with a model; off unless asked for."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The method's own options."""

    @field_validator("chat_template_args", mode="before")
    @classmethod
    def _is_an_object(cls, value: Any) -> Any:
        try:
            value = json.loads(value) if isinstance(value, str) else value
            if not isinstance(value, dict):
                raise TypeError
            json.dumps(value)  # it is kept with the student
        except (TypeError, ValueError):
            raise ValueError('it is a JSON object, e.g. {"date_string": "1 May 2025"}') from None
        if own := sorted(_OURS & {*value}):
            raise ValueError(f"{', '.join(own)} is not for a template to choose")
        return value

    @property
    def entry(self) -> Method:
        """The registered method."""
        return get_method(self.method)

    @property
    def chat(self) -> ChatFormat:
        """The text format of the transfer's data, with what its template is told."""
        return ChatFormat(self.chat_format, template_arguments(self.enable_thinking, self.chat_template_args))

    @property
    def student_source(self) -> ModelSource:
        """The student's base."""
        return ModelSource(self.pretrained, self.revision, self.trust_remote_code)

    @property
    def teacher_source(self) -> ModelSource | None:
        """The teacher, where one is named."""
        return ModelSource(self.teacher, self.teacher_revision, self.trust_remote_code) if self.teacher else None

    @property
    def base_source(self) -> ModelSource:
        """The model that the student's edits are for: the student's base, but for ``method=teacher``."""
        return (self.teacher_source or self.student_source) if self.method == "teacher" else self.student_source

    @property
    def sizes(self) -> dict[str, int]:
        """Split → the number of records that was asked for."""
        asked = {name: getattr(self, f"{name}_samples") for name in ("extract", "align", "train", "validation")}
        return {name: size for name, size in asked.items() if size is not None}

    def task_splits(self, task: str) -> Splits:
        """The splits of a task under this recipe's seed, folder and sizes."""
        return build_splits(task, seed=self.seed, data_dir=self.data_dir, splits_dir=self.splits, sizes=self.sizes)


#: What lm-eval and training tell ``apply_chat_template`` themselves.
_OURS = frozenset("conversation chat_template tokenize add_generation_prompt continue_final_message".split())

#: Fields that decide how a student is asked, also one that has learnt nothing.
ASKED = ("chat_format", "enable_thinking", "chat_template_args")

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
            raise ConfigError(f"method={entry.name} needs transfer_task=, one of {', '.join(names())}")
        canonical_task(recipe.transfer_task)
    return recipe
