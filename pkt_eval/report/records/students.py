"""Who was scored: the student of a record, from the provenance in its results JSON, or a foreign model by its name."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any


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
        provenance: ``config.pkt`` as it is in the results JSON.
    """

    label: str
    method: str | None
    paradigm: str
    base: Model
    teacher: Model | None = None
    transfer_task: str | None = None
    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    provenance: dict[str, Any] | None = None

    @property
    def variant(self) -> str:
        """The same for students that differ in transfer task and seed alone."""
        return json.dumps([self.method, *_sources(self), self.options], sort_keys=True)

    @property
    def identity(self) -> str:
        """The same for a student that was made, or run, twice; versions of libraries and devices do not count."""
        data = (self.provenance or {}).get("split_digests")
        return json.dumps([self.variant, self.transfer_task, self.seed, data], sort_keys=True)


def student_of(config: dict[str, Any]) -> Student:
    """The student of a results JSON.

    Args:
        config: Its ``config``.
    """
    found = config.get("pkt")
    if not isinstance(found, dict):
        return _foreign(config)
    options = dict(found.get("config") or {}) | _evaluation(config)
    options |= {key: found[key] for key in ("chat_format", "loss_on", "transfer_max_length", "dtype") if key in found}
    options |= {f"{split}_samples": n for split, n in (found.get("split_sizes") or {}).items()}
    if str(found.get("splits_source", "")).startswith("files of"):  # not the benchmark's own
        options["splits"] = found["splits_source"]
    return Student(
        label=found["method"],
        method=found["method"],
        paradigm=found.get("paradigm", ""),
        base=_model(found["student"], found.get("student_digest")),
        teacher=_model(found["teacher"], found.get("teacher_digest")) if found.get("teacher") else None,
        transfer_task=found.get("transfer_task"),
        seed=found.get("seed"),
        options=options,
        budget=_budget(found),
        provenance=found,
    )


def _foreign(config: dict[str, Any]) -> Student:
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(pair.split("=", 1) for pair in arguments.split(",") if "=" in pair)
    source = str(arguments.get("pretrained") or arguments.get("model") or config.get("model") or "unnamed model")
    # `hf` can put an adapter on a base: that is another model.
    extra = {key: arguments[key] for key in ("peft", "delta", "revision", "gguf_file") if arguments.get(key)}
    model = _model(source, None)
    name = "+".join([model.name, *(short_name(str(value)) for value in extra.values())])
    kind = str(config.get("model"))
    options = {**extra, "model": kind, **_evaluation(config)}
    return Student(f"{name} ({kind})", method=None, paradigm="", base=model, options=options)


def _evaluation(config: dict[str, Any]) -> dict[str, str]:
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


def _budget(found: dict[str, Any]) -> Budget:
    record = found.get("record") or {}
    training, alignment = record.get("training") or {}, record.get("alignment") or {}
    seconds = found.get("seconds") or {}
    learnt = found.get("transfer_task") is not None
    steps = training.get("steps", len(alignment["steps"]) if isinstance(alignment.get("steps"), list) else None)
    samples = dict(found.get("split_sizes") or {})
    return Budget(
        samples=samples,
        records=samples.get("align" if alignment else "train") if steps is not None else None,
        steps=steps,
        seconds=round(sum(seconds.values()), 3) if learnt and seconds else None,
        peak_bytes=found.get("peak_memory_bytes") if learnt else None,
    )


def labelled(students: Iterable[Student]) -> dict[str, str]:
    """variant → label: the method, and the options in which students of one method and pair differ.

    How many records there are is a task's own affair, so it is said only where that alone makes the difference on one
    and the same task.
    """
    found: dict[str, str] = {}
    for group in _grouped(students, lambda s: (s.label, *_sources(s))):
        for alike in _grouped(group, lambda s, group=group: _said(s, _varying(group, samples=False))):
            sized = _grouped(alike, lambda s: s.transfer_task)
            keys = _varying(group, samples=False) + sorted({key for of in sized for key in _varying(of, samples=True)})
            for student in alike:
                said = _said(student, keys)
                found[student.variant] = f"{student.label} ({said})" if said else student.label
    return found


def _grouped(students: Iterable[Student], key: Callable[[Student], Any]) -> list[list[Student]]:
    groups: dict[Any, list[Student]] = defaultdict(list)
    for student in students:
        groups[key(student)].append(student)
    return list(groups.values())


def _varying(students: list[Student], samples: bool) -> list[str]:
    """Options that are not the same for all that know them: numbers of records, or all others.

    A record of before an option was there says nothing of it.
    """
    keys = {key for student in students for key in student.options if key.endswith("_samples") == samples}
    return sorted(key for key in keys if len({repr(s.options[key]) for s in students if key in s.options}) > 1)


def _said(student: Student, keys: Iterable[str]) -> str:
    return ", ".join(f"{key}={_value(student.options[key])}" for key in keys if key in student.options)


def _sources(student: Student) -> list[str | None]:
    return [(model.digest or model.source) if model else None for model in (student.base, student.teacher)]


def relabel(student: Student, label: str) -> Student:
    """The same student under another label."""
    return student if student.label == label else replace(student, label=label)


def _value(value: Any) -> str:
    if value in (None, []):
        return "default"
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
