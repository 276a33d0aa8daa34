"""A suite: what is compared, as a checked YAML file."""

import difflib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
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
from pkt_eval.suite.names import check_apart
from pkt_eval.suite.rows import Entry, check_own, expanded
from pkt_eval.transfer.words import FIELDS


def _batch_size(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and value > 0):
        return value
    raise ValueError(f"{str(value)[:60]!r} is neither a number above zero nor auto")


BatchSize = Annotated[int | Literal["auto"], PlainValidator(_batch_size)]
"""Items that are computed at a time; ``auto``: as many as the machine gains speed from, and has memory for."""

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
  - {method: seeking, name: seeking-r64, rank: 64, alpha: 64}
  - laten
# - {method: lora, grid: {rank: [4, 16], learning_rate: [1e-4, 3e-4]}}   # a student for each combination; a name of
#                                                                      # your own for them: name: "lora-r{rank}"
seeds: [0, 1, 2]

# Options of every method that takes them (here: a budget for a small machine).
options: {train_samples: 256, epochs: 1}
# tuned: true                # learning_rate: auto for every method that trains, and does not say its own

protocol: chat               # the papers' zero-shot chat prompts; or: upstream
limit: 100                   # items a task, or by benchmark: {mmlu: 570, gsm8k: 200}; by default all. Of MMLU, the chat
                             # protocol takes its subjects in turn, so many in all; upstream's so many of each subject
batch_size: 8                # recorded: it moves scores; or by benchmark: {mmlu: 8, gsm8k: 64}; or auto: as many as
                             # this machine gains speed from, measured in seconds
# dtype: float32             # of the evaluation; auto: as the checkpoint, where the device is fast in it
# device: cuda:0
# backend: vllm              # who answers; default: hf, by our own loops
# vllm: {max_model_len: 4096}    # arguments of vLLM's engine
# confirm_run_unsafe_code: true    # lm-eval's consent; a run needs it for humaneval and mbpp, a dry run does not
# engine: ray                # students as Ray tasks; default: local, one after the other in this process
# ray: {address: auto, num_cpus: 4, num_gpus: 1}   # a running cluster (default: one of our own), and what a task gets
"""


BATCH_SIZE = 8
_LARGEST = 1_000_000
"""Characters of a file."""


class Suite(BaseModel):
    """The checked content of a suite file; ``pkt-eval run --example`` explains each key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str | None = Field(None, min_length=1)
    student: str | None = Field(None, min_length=1)
    benchmarks: tuple[str, ...] = Field(min_length=1)
    methods: tuple[Entry, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    cross: bool = False
    tuned: bool = False
    options: dict[str, Any] = Field(default_factory=dict)
    protocol: Literal["chat", "upstream"] = "chat"
    limit: dict[str, PositiveInt] = Field(default_factory=dict)
    batch_size: dict[str, BatchSize] = Field(default_factory=dict)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str | None = Field(None, min_length=1)
    backend: Literal["hf", "vllm"] = "hf"
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Arguments of vLLM's engine."""
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

    @field_validator("seeds")
    @classmethod
    def _apart(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        """A seed that is there twice is one student, and would be counted as two."""
        for seed, count in Counter(value).items():
            if count > 1:
                raise ValueError(f"{seed} is there {count} times: name each seed once")
        return value

    @field_validator("methods", mode="before")
    @classmethod
    def _grids(cls, value: Any) -> Any:
        """A row with a grid is the rows of its combinations."""
        return expanded(value)

    @field_validator("seeds", "limit", "batch_size", mode="before")
    @classmethod
    def _no_truths(cls, value: Any) -> Any:
        """To Python ``true`` is the number 1."""
        for each in (*value.values(),) if isinstance(value, dict) else value if isinstance(value, list) else (value,):
            if isinstance(each, bool):
                raise ValueError(f"{str(each).lower()} is no number")
        return value

    @field_validator("limit", "batch_size", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any, info: ValidationInfo) -> Any:
        """One number is that of every benchmark."""
        if value is None:
            return {}
        return value if isinstance(value, dict) else dict.fromkeys(info.data.get("benchmarks", ()), value)

    @model_validator(mode="after")
    def _together(self) -> "Suite":
        check_apart([entry.name for entry in self.methods])
        if self.teacher and not self.student:
            raise ValueError("teacher is given but student is not")
        if self.tuned and "learning_rate" in self.options:
            raise ValueError("tuned: true finds the learning_rate of each method: leave it out of options")
        if self.vllm and self.backend != "vllm":
            raise ValueError("vllm: says how backend: vllm works; say backend: vllm, too")
        known = set(FIELDS).union(*(get_method(entry.method).options() for entry in self.methods))
        for name in self.options:
            check_own(name)
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
        return self

    @property
    def lacks_consent(self) -> str:
        """What has to be said before this suite is run, since code is run in it; "" where nothing is lacking."""
        code = [name for name in self.benchmarks if benchmarks.benchmark(name).code]
        if not code or self.confirm_run_unsafe_code:
            return ""
        return (
            f"{' and '.join(code)} run{'s' * (len(code) == 1)} code that a model wrote: say "
            "confirm_run_unsafe_code: true (in a jail; see `pkt-eval doctor`)"
        )

    def items(self, benchmark: str) -> int | None:
        """Items that are asked of each task of a benchmark; None for all."""
        return self.limit.get(benchmark)

    @property
    def backend_arguments(self) -> dict[str, Any]:
        """What the wrapper is told, besides the model."""
        return {"backend": "vllm", **self.vllm} if self.backend == "vllm" else {}

    def batch(self, benchmark: str) -> BatchSize:
        """Items of a benchmark that are asked at once."""
        return self.batch_size.get(benchmark, BATCH_SIZE)

    def task(self, benchmark: str) -> str:
        """The lm-eval task of a benchmark in the suite's protocol."""
        return benchmarks.benchmark(benchmark).task(self.protocol)

    @property
    def chat(self) -> bool:
        """Whether prompts are asked in the chat format."""
        return self.protocol == "chat"


class _OneOfEachKey(yaml.SafeLoader):
    """YAML whose mappings have each key once: else the last would win, and the others go without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} is there twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


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
        content = yaml.load(text, _OneOfEachKey)  # a safe loader
    except (yaml.YAMLError, ValueError) as error:  # no day of a calendar, a number without end
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deep to be read") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} has no keys; `pkt-eval run --example` prints a suite to start from")
    try:
        return Suite(**content)
    except ValidationError as error:
        wrongs = [_said(wrong, content.get("engine", "local")) for wrong in _causes(error)]
        raise ConfigError(f"{path}: {'; '.join(wrongs)}") from None
    except TypeError:  # a key that is no string
        raise ConfigError(f"{path}: every key is a word; `pkt-eval run --example` shows them") from None


_WANTED = {
    "tuple_type": "it is a list, as in [a, b]",
    "dict_type": "it has keys, as in {key: value}",
    "model_type": "it has keys, as in {key: value}",
    "model_attributes_type": "it has keys, as in {key: value}",
}
"""What pydantic says of Python's types, of YAML's."""


def _causes(error: ValidationError) -> list[Any]:
    """Its mistakes, without what follows from another one: a list is too short where what is in it is wrong."""
    every = error.errors()

    def follows(wrong: Any) -> bool:
        within = (other["loc"] for other in every if len(other["loc"]) > len(wrong["loc"]))
        return wrong["type"] == "too_short" and any(loc[: len(wrong["loc"])] == wrong["loc"] for loc in within)

    return [wrong for wrong in every if not follows(wrong)]


def _said(wrong: Any, engine: str) -> str:
    place = [str(engine) if part == "engine_options" else str(part) for part in wrong["loc"]]
    where = ".".join(place)
    if wrong["type"] == "extra_forbidden":
        model: type[BaseModel] = Suite
        if len(place) > 1:
            model = options_class(place[0] if place[0] in ENGINES else "local")
        known = [name for name in model.model_fields if name != "engine_options"]
        near = difflib.get_close_matches(place[-1], known, n=1)
        there = f": there are {', '.join(known)}" if known else f": {'.'.join(place[:-1])} takes none"
        return f"{where} is no key" + (f"; did you mean {near[0]!r}?" if near else there)
    message = _WANTED.get(wrong["type"]) or wrong["msg"].removeprefix("Value error, ")
    if place[:1] == ["methods"] and len(place) == 2 and wrong["type"] in _WANTED:
        message = "a row is a method's name, or keys as in {method: lora, rank: 8}"
    return f"{where}: {message}" if where else message
