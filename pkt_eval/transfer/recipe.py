"""Recipe: everything that decides a student, as the user says it, checked."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from pkt_eval._util.options import first_mistake
from pkt_eval.data.benchmarks import names
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import SPLIT_NAMES, Splits, build_splits, canonical_task
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import Method, get_method, methods
from pkt_eval.models.provenance import template_arguments
from pkt_eval.models.source import ModelSource
from pkt_eval.transfer.words import FIELDS, Words


class Recipe(Words):
    """What decides a student: the words that were said of it, and what follows from them."""

    options: dict[str, Any] = Field(default_factory=dict)
    """The method's own options."""

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
        asked = {name: getattr(self, f"{name}_samples") for name in SPLIT_NAMES}
        return {name: size for name, size in asked.items() if size is not None}

    def task_splits(self, task: str) -> Splits:
        """The splits of a task under this recipe's seed, folder and sizes."""
        return build_splits(
            task,
            seed=self.seed,
            data_dir=self.data_dir,
            splits_dir=self.splits,
            sizes=self.sizes,
            names=self.entry.cls.splits,
            decontaminate=self.decontaminate,
        )


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
        raise ConfigError(first_mistake(error)) from None
    entry = recipe.entry
    entry.configure(recipe.options, recipe.seed)
    if "teacher" in entry.uses and not recipe.teacher:
        raise ConfigError(f"method={entry.name} needs a teacher: add teacher=FOLDER_OR_HUB_NAME")
    if recipe.teacher_memory == "stream" and "teacher" in entry.uses and not entry.cls.streams:
        able = ", ".join(name for name, m in methods().items() if m.cls.streams and "teacher" in m.uses)
        raise ConfigError(
            f"teacher_memory=stream: method={entry.name} does more with its teacher than read it, and needs it whole. "
            f"Those that read theirs a layer at a time are {able}."
        )
    if "data" in entry.uses:
        if not recipe.transfer_task:
            raise ConfigError(f"method={entry.name} needs transfer_task=, one of {', '.join(names())}")
        canonical_task(recipe.transfer_task)
    return recipe
