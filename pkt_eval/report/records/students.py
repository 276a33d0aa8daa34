"""Who was scored: the student of a record, from the provenance in its results JSON, or a foreign model by its name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from pkt_eval.errors import DataError


@dataclass(frozen=True)
class Model:
    """A checkpoint.

    Attributes:
        name: Its hub name, or the last part of its folder; a label, not a place on somebody's disk.
        digest: Of its weights, where the record has it.
        source: As the record names it.
    """

    name: str
    digest: str | None = None
    source: str = ""

    def same(self, other: "Model") -> bool:
        """Equal by weights, or by source where one record has no digest."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return self.source == other.source


@dataclass(frozen=True)
class Budget:
    """What a transfer took.

    Attributes:
        samples: Split → records.
        records: That were optimised on: of the training split, or of the alignment's; None where nothing was.
        steps: Optimiser steps of fine-tuning, or of alignment; None where nothing was optimised.
        seconds: Time on the clock, all parts together.
        peak_bytes: Largest resident memory of the process.
    """

    samples: dict[str, int] = field(default_factory=dict)
    records: int | None = None
    steps: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Student:
    """The student behind a record.

    Attributes:
        label: What a table calls it: its method, and the options in which it differs from others of that method.
        method: As registered; None for a model that was not made by us.
        paradigm: PrePKT, PostPKT, baseline or control; "" for a foreign model.
        base: The student's base; a foreign model is its own.
        teacher: Where one was used.
        transfer_task: The benchmark that was transferred.
        seed: None where nothing is random.
        options: Everything else that decides it.
        budget: What the transfer took.
        title: Of the method, in a line.
        reference: Of the method.
        tuned_on: Digest of the records that it was fine-tuned on; None where it was not.
        data: Split → digest of the records that it was made from; None where it was made from none.
        provenance: ``config.pkt`` as it is in the results JSON; None for a foreign model.
    """

    label: str
    method: str | None
    paradigm: str
    base: Model
    teacher: Model | None = None
    transfer_task: str | None = None
    seed: int | None = None
    options: dict[str, object] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    title: str = ""
    reference: str = ""
    tuned_on: str | None = None
    data: Mapping[str, str] | None = None
    provenance: Mapping[str, object] | None = None

    @property
    def variant(self) -> str:
        """The same for students that differ in transfer task and seed alone."""
        return json.dumps([self.method, *sources(self), self.options], sort_keys=True)

    @property
    def identity(self) -> str:
        """The same for a student that was made, or run, twice; versions of libraries and devices do not count."""
        data = None if self.data is None else dict(self.data)
        return json.dumps([self.variant, self.transfer_task, self.seed, data], sort_keys=True)


@dataclass(frozen=True)
class Made:
    """What a report reads of a provenance. A field that a record lacks is None, or empty."""

    method: str
    title: str = ""
    paradigm: str = ""
    reference: str = ""
    student: str = ""
    teacher: str | None = None
    student_digest: str | None = None
    teacher_digest: str | None = None
    transfer_task: str | None = None
    seed: int | None = None
    config: Mapping[str, object] | None = None
    chat_format: str | None = None
    loss_on: str | None = None
    transfer_max_length: int | None = None
    dtype: str | None = None
    splits_source: str | None = None
    split_sizes: Mapping[str, int] | None = None
    split_digests: Mapping[str, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    record: Mapping[str, object] = field(default_factory=dict)


def made_of(provenance: Mapping[str, object]) -> Made:
    """A provenance as it is read here: the one place that names its fields.

    Raises:
        DataError: It names no method, or no base; or a field is of another type.
    """
    fields_ = {each.name: provenance[each.name] for each in fields(Made) if provenance.get(each.name) is not None}
    for name, value in fields_.items():
        kind = _KINDS.get(name, str)
        if not isinstance(value, kind):
            raise DataError(f"its provenance's {name} is {value!r}, which is no {_KIND_NAMES[kind]}")
    for name in ("seconds", "split_sizes"):
        for part, value in fields_.get(name, {}).items():  # type: ignore[attr-defined]  # a mapping, checked above
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(f"its provenance's {name} has {value!r} for {part}, which is no number")
    for name in ("method", "student"):
        if name not in fields_:
            raise DataError(f"its provenance lacks {name}")
    return Made(**fields_)  # type: ignore[arg-type]  # checked above


_KINDS: dict[str, type] = {
    **dict.fromkeys(("config", "split_sizes", "split_digests", "seconds", "record"), Mapping),
    **dict.fromkeys(("seed", "transfer_max_length", "peak_memory_bytes"), int),
}
_KIND_NAMES = {str: "text", int: "whole number", Mapping: "JSON object"}


def student_of(config: Mapping[str, object]) -> Student:
    """The student of a results JSON.

    Args:
        config: Its ``config``.

    Raises:
        DataError: Its provenance cannot be read.
    """
    content = config.get("pkt")
    if not isinstance(content, dict):
        return _foreign(config)
    made = made_of(content)
    options = dict(made.config or {}) | _evaluation(config)
    settings = ("chat_format", "loss_on", "transfer_max_length", "dtype")
    options |= {key: value for key in settings if (value := getattr(made, key)) is not None}
    options |= {f"{split}_samples": n for split, n in (made.split_sizes or {}).items()}
    if made.splits_source and made.splits_source.startswith("files of"):  # not the benchmark's own
        options["splits"] = made.splits_source
    # A student that was not fine-tuned has the split and saw none of it.
    tuned = bool(made.record.get("training"))
    return Student(
        label=made.method,
        method=made.method,
        paradigm=made.paradigm,
        base=_model(made.student, made.student_digest),
        teacher=_model(made.teacher, made.teacher_digest) if made.teacher else None,
        transfer_task=made.transfer_task,
        seed=made.seed,
        options=options,
        budget=budget_of(made),
        title=made.title,
        reference=made.reference,
        tuned_on=(made.split_digests or {}).get("train") if tuned else None,
        data=made.split_digests,
        provenance=content,
    )


def _foreign(config: Mapping[str, object]) -> Student:
    said = config.get("model_args") or {}
    if isinstance(said, str):
        said = dict(pair.split("=", 1) for pair in said.split(",") if "=" in pair)
    arguments: Mapping[str, object] = said if isinstance(said, dict) else {}
    source = str(arguments.get("pretrained") or arguments.get("model") or config.get("model") or "unnamed model")
    # `hf` can put an adapter on a base: that is another model.
    extra = {key: arguments[key] for key in ("peft", "delta", "revision", "gguf_file") if arguments.get(key)}
    model = _model(source, None)
    name = "+".join([model.name, *(short_name(str(value)) for value in extra.values())])
    kind = str(config.get("model"))
    options: dict[str, object] = {**extra, "model": kind, **_evaluation(config)}
    return Student(f"{name} ({kind})", method=None, paradigm="", base=model, options=options)


def _evaluation(config: Mapping[str, object]) -> dict[str, str]:
    """The dtype that a model was run in moves some of its answers: in another one it is another student.

    So a LaTen student, which needs float32, is compared with vanilla in float32 where that is there.
    """
    dtype = str(config.get("model_dtype") or "").removeprefix("torch.")
    return {"evaluation_dtype": dtype} if dtype else {}


def _model(source: str, digest: str | None) -> Model:
    return Model(short_name(source), digest, source)


def short_name(source: str) -> str:
    """A label for a model: its hub name, or the last part of its folder."""
    parts = source.replace("\\", "/").rstrip("/").split("/")
    if parts[-3:-1] == ["nano", "weights"]:
        return f"nano-{parts[-1]}"
    if parts[-1] == "merged" and len(parts) > 1:  # as `pkt-eval transfer --out` names it
        return parts[-2]
    # owner/name is a name on the hub.
    return source if len(parts) == 2 and all(parts) and parts[0] not in (".", "..", "~") else parts[-1]


def budget_of(made: Made) -> Budget:
    """What a transfer took, of any method.

    A method's own record says how many ``steps`` it took, as a number or as a list with an entry for each, and may say
    on how many ``records``; by itself, or in ``training`` or ``alignment``, where ours say it. Where it does not say on
    how many, they were those of its split: of ``align`` where it has aligned, else of ``train``.
    """
    parts = [(name, part) for name in ("training", "alignment") if isinstance(part := made.record.get(name), Mapping)]
    steps, records, split = None, None, "train"
    for name, part in [("", made.record), *parts]:
        if steps is None and (steps := _count(part.get("steps"))) is not None and name == "alignment":
            split = "align"
        records = _count(part.get("records")) if records is None else records
    samples = dict(made.split_sizes or {})
    learnt = made.transfer_task is not None
    return Budget(
        samples=samples,
        records=samples.get(split) if records is None and steps is not None else records,
        steps=steps,
        seconds=round(sum(made.seconds.values()), 3) if learnt and made.seconds else None,
        peak_bytes=made.peak_memory_bytes if learnt else None,
    )


def _count(value: object) -> int | None:
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def sources(student: Student) -> list[str | None]:
    """What tells its base and its teacher from others."""
    return [(model.digest or model.source) if model else None for model in (student.base, student.teacher)]
