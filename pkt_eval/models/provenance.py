"""Provenance: what decided a student and what happened while it was made, as a versioned type.

It is written into a student's manifest and, under ``config.pkt``, into lm-eval's results JSON. What is on disk is flat
JSON; nobody but this file reads it by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from pkt_eval.errors import StoreError

PROVENANCE_VERSION = 3
"""1 had no version; 2 records revisions and the method's own source; 3 of which methods it is a control."""
PLACES = ("student", "teacher")
"""Fields that may name a folder of somebody's disk."""
ACCOUNT = ("record",)
"""Fields that are as long as a transfer."""


@dataclass(frozen=True)
class Provenance:
    """How a student came to be. What a method has no use for is None.

    Attributes:
        method: As registered.
        title: Of the method, in a line.
        paradigm: PostPKT, PrePKT, baseline or control.
        reference: Of the method, e.g. ``arXiv 2106.09685``.
        control_of: The methods whose claim it tests; None where that was not recorded.
        student: The student's base, as it was named.
        teacher: The teacher, as it was named; None where none was used.
        fingerprint: sha256 of all that decided the student (see ``identity``).
        weights_digest: sha256 of the edits.
        student_digest: Of all that a transfer reads of the base.
        teacher_digest: Of the teacher, likewise.
        student_revision: Of the base on the hub.
        teacher_revision: Of the teacher on the hub.
        trust_remote_code: Whether code that came with a model was run.
        transfer_task: What was transferred.
        seed: Of everything random.
        config: The method's options.
        chat_format: ``paper`` or ``model``.
        enable_thinking: What the chat template was told of thinking.
        chat_template_args: What else it was told.
        template_digest: sha256 of the chat template that wrote the text.
        loss_on: Tokens that the loss was on.
        transfer_max_length: Longest example, in tokens.
        split_digests: Split → sha256 of its records.
        other_split_digests: Task → sha256 of its splits, for controls that look at another task.
        splits_source: Where the records came from, in words.
        split_sizes: Split → number of records.
        decontaminate: Whether records were left out that share something with the test set.
        dropped_records: How many were.
        device: Kind of device of the transfer.
        dtype: Of the transfer.
        versions: Of what computed it.
        code: sha256 of our sources that every transfer runs through.
        method_code: sha256 of the method's own source.
        seconds: Stage → time on the clock.
        peak_memory_bytes: Largest resident memory.
        passes: ``student`` and ``teacher`` → ``tokens`` that went through it, ``trained_tokens`` of them that were
            followed back for gradients, and ``flops``; see ``pkt_eval.models.cost``.
        record: The method's own account: losses, steps, places.
        version: Of this layout.
    """

    method: str
    title: str = ""
    paradigm: str = ""
    reference: str = ""
    control_of: tuple[str, ...] | None = None
    student: str = ""
    teacher: str | None = None
    fingerprint: str | None = None
    weights_digest: str | None = None
    student_digest: str | None = None
    teacher_digest: str | None = None
    student_revision: str | None = None
    teacher_revision: str | None = None
    trust_remote_code: bool | None = None
    transfer_task: str | None = None
    seed: int | None = None
    config: Mapping[str, Any] | None = None
    chat_format: str | None = None
    enable_thinking: bool | None = None
    chat_template_args: Mapping[str, Any] | None = None
    template_digest: str | None = None
    loss_on: str | None = None
    transfer_max_length: int | None = None
    split_digests: Mapping[str, str] | None = None
    other_split_digests: Mapping[str, str] | None = None
    splits_source: str | None = None
    split_sizes: Mapping[str, int] | None = None
    decontaminate: bool | None = None
    dropped_records: int | None = None
    device: str | None = None
    dtype: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    method_code: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    passes: Mapping[str, Mapping[str, float]] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    version: int = PROVENANCE_VERSION

    @property
    def template_arguments(self) -> dict[str, Any]:
        """What the chat template was given, and is given where the student is asked."""
        return template_arguments(self.enable_thinking, self.chat_template_args)

    def to_json(self) -> dict[str, Any]:
        """Flat JSON; a field that is None is left out, but for the teacher, whose absence says something."""
        content = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.control_of is not None:
            content["control_of"] = list(self.control_of)
        return {name: value for name, value in content.items() if value is not None or name == "teacher"}

    @classmethod
    def from_json(cls, content: object) -> "Provenance":
        """Read any version; fields that it does not know are of a later one, and left out.

        Raises:
            StoreError: It is no provenance; says what is wrong with it.
        """
        if not isinstance(content, Mapping):
            raise StoreError(f"a provenance is a JSON object, not {type(content).__name__}")
        # What there is none of was written as null by version 1, and is left out since.
        known = {f.name: content[f.name] for f in fields(cls) if content.get(f.name) is not None}
        known.setdefault("version", 1)
        if not isinstance(known.get("method"), str):
            raise StoreError("a provenance names its method; this one does not")
        for name, value in known.items():
            kind, said = _KINDS[name]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise StoreError(f"the provenance's {name} is {value!r}, not {said}")
        passes = known.get("passes", {})
        if not all(isinstance(of_model, Mapping) for of_model in passes.values()):
            raise StoreError(f"the provenance's passes are {passes!r}, not those of each model")
        for name, of_parts in (
            ("seconds", known.get("seconds", {})),
            ("split_sizes", known.get("split_sizes", {})),
            *(("passes", of_model) for of_model in passes.values()),
        ):
            for part, value in of_parts.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise StoreError(f"the provenance's {name} has {value!r} for {part}, which is no number")
        if "control_of" in known:
            known["control_of"] = tuple(known["control_of"])
            if not all(isinstance(name, str) for name in known["control_of"]):
                raise StoreError(f"the provenance's control_of is {known['control_of']!r}, which names no methods")
        return cls(**known)


_OBJECTS = (
    "versions",
    "seconds",
    "record",
    "config",
    "split_digests",
    "split_sizes",
    "other_split_digests",
    "chat_template_args",
    "passes",
)
_NUMBERS = ("seed", "dropped_records", "transfer_max_length", "peak_memory_bytes", "version")
_KINDS: dict[str, tuple[Any, str]] = {
    **{f.name: (str, "text") for f in fields(Provenance)},
    **dict.fromkeys(_OBJECTS, (Mapping, "a JSON object")),
    **dict.fromkeys(_NUMBERS, ((int, float), "a number")),
    **dict.fromkeys(("trust_remote_code", "enable_thinking", "decontaminate"), (bool, "true or false")),
    "control_of": ((list, tuple), "a JSON list"),
}


def template_arguments(enable_thinking: bool | None, more: Mapping[str, Any] | None) -> dict[str, Any]:
    """Both as one mapping, as lm-eval's ``hf`` joins them."""
    said = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    return {**(more or {}), **said}
