"""A suite: what is compared, as a checked YAML file."""

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from pkt_eval._util.files import check_regular
from pkt_eval.data import benchmarks
from pkt_eval.data.splits import canonical_task
from pkt_eval.errors import ConfigError, MissingDataError
from pkt_eval.methods.base import get_method
from pkt_eval.suite.engines import ENGINES, EngineOptions, options_class
from pkt_eval.transfer.words import FIELDS

EXAMPLE = """\
# pkt-eval run suite.yaml: every method × benchmark × seed, scored by lm-eval, journalled and resumable.

# Both models: folders, or names on the hub. Without either, the embedded nano family is used.
teacher: Qwen/Qwen2.5-Coder-1.5B-Instruct
student: Qwen/Qwen2.5-Coder-0.5B-Instruct

# What is transferred, and what is scored; each benchmark by the student that was transferred for it.
benchmarks: [mmlu, gsm8k, humaneval, mbpp]
# cross: true                # score every student on every benchmark

# Methods, as `pkt-eval methods` lists them. With options of its own, and under a name of your choice:
methods:
  - vanilla
  - teacher
  - lora
  - pissa
  - seeking
  - {method: seeking, name: seeking-r64, options: {rank: 64, alpha: 64}}
  - laten
seeds: [0, 1, 2]

# Options of every method that takes them (here: a budget for a small machine).
options: {train_samples: 256, epochs: 1}

protocol: chat               # the papers' zero-shot chat prompts; or: upstream
limit: 100                   # items a task, or by benchmark: {mmlu: 570, gsm8k: 200}; by default all. Of MMLU, the chat
                             # protocol takes its subjects in turn, so many in all; upstream's so many of each subject
batch_size: 8                # recorded: it moves scores; or by benchmark: {mmlu: 8, gsm8k: 64}. MMLU takes more memory,
                             # the logits of whole prompts; generation's are the last token's alone
# dtype: float32             # of the evaluation; auto: as the checkpoint, float32 if a student needs it
# device: cuda:0
# confirm_run_unsafe_code: true    # lm-eval's consent; needed for humaneval and mbpp
# engine: ray                # students as Ray tasks; default: local, one after the other in this process
# ray: {address: auto, num_cpus: 4, num_gpus: 1}   # a running cluster (default: one of our own), and what a task gets
"""


BATCH_SIZE = 8
_LARGEST = 1_000_000
"""Characters of a file."""
_LONGEST_NAME = 100
"""It is a folder's, beside which others stand in one path."""


class Entry(BaseModel):
    """One method of a suite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"method": value, "name": value}
        if isinstance(value, dict) and "method" in value:
            return {"name": value["method"], **value}
        return value

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        get_method(value)
        return value

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, value: str) -> str:
        if not value or set(value) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"):
            raise ValueError("a name consists of letters, digits, dots, dashes and underscores")
        if not value.strip("."):
            raise ValueError(f"{value!r} is a folder's name for another one: choose a word")
        if len(value) > _LONGEST_NAME:
            raise ValueError(f"{value[:20]}… has {len(value)} characters: a name has at most {_LONGEST_NAME}")
        return value


class Suite(BaseModel):
    """The checked content of a suite file; ``pkt-eval run --example`` explains each key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str | None = None
    student: str | None = None
    benchmarks: tuple[str, ...] = Field(min_length=1)
    methods: tuple[Entry, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    cross: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    protocol: Literal["chat", "upstream"] = "chat"
    limit: dict[str, PositiveInt] = Field(default_factory=dict)
    batch_size: dict[str, PositiveInt] = Field(default_factory=dict)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str | None = None
    confirm_run_unsafe_code: bool = False
    engine: str = "local"
    engine_options: SerializeAsAny[EngineOptions] = Field(default_factory=dict, validate_default=True)
    """In a file they are under the engine's name."""

    @model_validator(mode="before")
    @classmethod
    def _named_options(cls, content: Any) -> Any:
        """An engine's options are under its name."""
        if not isinstance(content, dict):
            return content
        asked = content.get("engine", "local")
        content = dict(content)
        for name in [name for name in ENGINES if name in content]:
            options = content.pop(name)
            if name == asked:
                content["engine_options"] = options
            elif options_class(name).model_validate(options) != options_class(name)():
                raise ValueError(f"{name}: says how engine: {name} works; say engine: {name}, too")
        return content

    @model_serializer(mode="wrap")
    def _by_name(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = plain(self)
        options = content.pop("engine_options")
        return content | ({self.engine: options} if options else {})

    @field_validator("engine")
    @classmethod
    def _is_an_engine(cls, value: str) -> str:
        if value not in ENGINES:
            raise ValueError(f"there is no {value!r}; there are {', '.join(ENGINES)}")
        return value

    @field_validator("engine_options", mode="before")
    @classmethod
    def _of_the_engine(cls, value: Any, info: ValidationInfo) -> EngineOptions:
        return options_class(info.data.get("engine", "local")).model_validate(value)

    @field_validator("benchmarks")
    @classmethod
    def _benchmarks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(canonical_task(name) for name in value))

    @field_validator("limit", "batch_size", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any, info: ValidationInfo) -> Any:
        """One number is that of every benchmark."""
        if value is None:
            return {}
        return value if isinstance(value, dict) else dict.fromkeys(info.data.get("benchmarks", ()), value)

    @model_validator(mode="after")
    def _together(self) -> "Suite":
        names = [entry.name for entry in self.methods]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two methods are called {', '.join(twice)}: give each a name: of its own")
        if self.teacher and not self.student:
            raise ValueError("teacher is given but student is not")
        known = set(FIELDS).union(*(get_method(entry.method).options() for entry in self.methods))
        for name in self.options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise ValueError(
                    f"options: no method here takes {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                )
        self.engine_options.device(self.device)  # says if they do not go together
        for key in ("limit", "batch_size"):
            if others := set(getattr(self, key)) - set(self.benchmarks):
                raise ValueError(
                    f"{key}: {', '.join(sorted(others))} is none of the benchmarks {', '.join(self.benchmarks)}"
                )
        if self.needs_consent and not self.confirm_run_unsafe_code:
            code = " and ".join(row.name for row in benchmarks.benchmarks("real") if row.code)
            raise ValueError(
                f"{code} run code that a model wrote: say confirm_run_unsafe_code: true (in a jail; see "
                "`pkt-eval doctor`)"
            )
        return self

    @property
    def needs_consent(self) -> bool:
        """Whether code is run."""
        return any(benchmarks.benchmark(name).code for name in self.benchmarks)

    def items(self, benchmark: str) -> int | None:
        """Items that are asked of each task of a benchmark; None for all."""
        return self.limit.get(benchmark)

    def batch(self, benchmark: str) -> int:
        """Items of a benchmark that are asked at once."""
        return self.batch_size.get(benchmark, BATCH_SIZE)

    def task(self, benchmark: str) -> str:
        """The lm-eval task of a benchmark in the suite's protocol."""
        return benchmarks.benchmark(benchmark).task(self.protocol)

    @property
    def chat(self) -> bool:
        """Whether prompts are asked in the chat format."""
        return self.protocol == "chat"


def load_suite(path: Path) -> Suite:
    """Read and check a suite file.

    Raises:
        ConfigError: What is wrong, under which key, and what was probably meant.
        MissingDataError: There is no such file.
    """
    try:
        check_regular(path)
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8: {error}") from None
    except (OSError, ValueError) as error:  # a path with a null is a ValueError
        said = getattr(error, "strerror", None) or error
        raise MissingDataError(
            f"there is no suite {path} ({said}); `pkt-eval run --example > suite.yaml` writes one to start from"
        ) from None
    if len(text) > _LARGEST:
        raise ConfigError(f"{path} has {len(text):,} characters: no suite, of which {_LARGEST:,} are read at most")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep to be read") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} has no keys; `pkt-eval run --example` prints a suite to start from")
    try:
        return Suite(**content)
    except ValidationError as error:
        raise ConfigError(
            f"{path}: " + "; ".join(_said(wrong, content.get("engine", "local")) for wrong in error.errors())
        ) from None
    except TypeError:  # a key that is no string
        raise ConfigError(f"{path}: every key is a word; `pkt-eval run --example` shows them") from None


def _said(wrong: Any, engine: str) -> str:
    place = [str(engine) if part == "engine_options" else str(part) for part in wrong["loc"]]
    where = ".".join(place)
    if wrong["type"] == "extra_forbidden":
        model: type[BaseModel] = Suite
        if len(place) > 1:
            model = Entry if place[0] == "methods" else options_class(place[0] if place[0] in ENGINES else "local")
        known = [name for name in model.model_fields if name != "engine_options"]
        near = difflib.get_close_matches(place[-1], known, n=1)
        there = f": there are {', '.join(known)}" if known else f": {'.'.join(place[:-1])} takes none"
        return f"{where} is no key" + (f"; did you mean {near[0]!r}?" if near else there)
    message = wrong["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
