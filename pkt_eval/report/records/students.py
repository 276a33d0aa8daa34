"""Who was scored: the student of a record, from the provenance in its results JSON, or a foreign model by its name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pkt_eval._util.digests import combine_digests
from pkt_eval._util.places import short_name
from pkt_eval._util.secrets import hide_secrets, without_secrets
from pkt_eval.errors import DataError, StoreError
from pkt_eval.models.provenance import ACCOUNT, PLACES, Provenance


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
        student_tokens: Tokens that the student was followed back for gradients on, those of a search of rates included.
        teacher_tokens: Tokens that went through the teacher.
        student_flops: Floating-point operations of all passes through the student.
        teacher_flops: Of those through the teacher.
    """

    samples: dict[str, int] = field(default_factory=dict)
    records: int | None = None
    steps: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    student_tokens: int | None = None
    teacher_tokens: int | None = None
    student_flops: int | None = None
    teacher_flops: int | None = None


@dataclass(frozen=True)
class ScoredStudent:
    """The student behind a record.

    Attributes:
        label: What a table calls it: the name that its suite gave it, or its method; and the options in which it
            differs from others of that label.
        method: As registered; None for a model that was not made by us.
        paradigm: PrePKT, PostPKT, baseline or control; "" for a foreign model.
        control_of: The methods whose claim it tests.
        base: The student's base; a foreign model is its own.
        teacher: Where one was used.
        transfer_task: The benchmark that was transferred.
        seed: None where nothing is random.
        options: Everything else that decides it.
        loaded: Arguments of ``hf`` that make another model of it, such as ``peft``; {} for the student as it was made.
        budget: What the transfer took.
        named: The label that its suite gave it, if it gave one.
        title: Of the method, in a line.
        reference: Of the method.
        shots: Worked examples that its own chat template shows before a question.
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
    loaded: Mapping[str, object] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    named: str | None = None
    title: str = ""
    reference: str = ""
    control_of: tuple[str, ...] = ()
    shots: int = 0
    tuned_on: str | None = None
    data: Mapping[str, str] | None = None
    provenance: Mapping[str, object] | None = None

    @property
    def variant(self) -> str:
        """The same for students that differ in transfer task and seed alone."""
        named = [self.named] if self.named else []
        return json.dumps([self.method, *sources(self), self.options, dict(self.loaded), *named], sort_keys=True)

    @property
    def identity(self) -> str:
        """The same for a student that was made, or run, twice; versions of libraries and devices do not count."""
        data = None if self.data is None else dict(self.data)
        return json.dumps([self.variant, self.transfer_task, self.seed, data], sort_keys=True)


_MERGED = "pkt_merged"
"""In ``config``: the provenance of the student whose merged checkpoint was evaluated as a model like any other."""
_CONTROLS = {
    **dict.fromkeys(("laten_random", "laten_shuffled", "laten_zero", "unaligned"), ("laten",)),
    **dict.fromkeys(("seeking_random", "seeking_self", "seeking_wrong_task"), ("seeking",)),
}
"""Of which methods those were controls whose provenance does not say it, being older than its version 3."""


def _made(content: Mapping[str, object]) -> Provenance:
    try:
        made = Provenance.from_json(content)
    except StoreError as error:
        raise DataError(str(error)) from None
    if not made.student:
        raise DataError("a provenance names the student's base; this one does not")
    return made


def shown(student: ScoredStudent) -> dict[str, object]:
    """What a page shows of a provenance: neither places on somebody's disk nor the long account of a transfer."""
    return {k: v for k, v in (student.provenance or {}).items() if k not in PLACES + ACCOUNT}


def placeless(config: Mapping[str, object]) -> dict[str, object]:
    """A results JSON's ``config`` whose provenance and ``hf`` arguments call folders by their names alone."""
    loaded = config.get("pkt_hf")
    without = dict(config)
    for name in ("pkt", _MERGED):
        if isinstance(made := config.get(name), dict):
            without[name] = made | {key: short_name(made[key]) for key in PLACES if made.get(key)}
    if isinstance(loaded, dict):
        without["pkt_hf"] = {key: _short(value) for key, value in loaded.items()}
    return without


def student_of(config: Mapping[str, object]) -> ScoredStudent:
    """The student of a results JSON.

    Args:
        config: Its ``config``.

    Raises:
        DataError: Its provenance cannot be read.
    """
    content, merged = config.get("pkt"), config.get(_MERGED)
    if isinstance(merged, dict) and (not isinstance(content, dict) or content.get("method") == "vanilla"):
        loaded = _loaded(config) if isinstance(content, dict) else _arguments(config)
        return _student(config, merged, {"merged": str(config.get("model")), **loaded})
    if not isinstance(content, dict):
        return _foreign(config)
    student = _student(config, content, _loaded(config))
    if isinstance(merged, dict):  # a transfer on top of another one
        base = replace(student.base, name=f"{student.base.name} ({_made(merged).method})")
        student = replace(student, base=base)
    return student


def _student(
    config: Mapping[str, object], content: Mapping[str, object], loaded: Mapping[str, object]
) -> ScoredStudent:
    """The student of a provenance, evaluated as ``config`` says."""
    made = _made(content)
    named = _named(config)
    name = named or made.method
    said = ", ".join(f"{key}={_short(value)}" for key, value in loaded.items() if key != CONTENT)
    options = dict(made.config or {}) | _evaluation(config)
    settings = ("chat_format", "loss_on", "transfer_max_length", "dtype")
    options |= {key: value for key in settings if (value := getattr(made, key)) is not None}
    # A template that was told nothing is another's, too, and so is said.
    options |= {"enable_thinking": made.enable_thinking, "chat_template_args": made.chat_template_args or None}
    options |= {f"{split}_samples": n for split, n in (made.split_sizes or {}).items()}
    if made.decontaminate:  # a record of before there was a choice is of the other one
        options["decontaminate"] = True
    if made.splits_source and made.splits_source.startswith("files of"):  # not the benchmark's own
        options["splits"] = made.splits_source
    # A student that was not fine-tuned has the split and saw none of it.
    tuned = bool(made.record.get("training"))
    return ScoredStudent(
        label=f"{name} ({said})" if said else name,
        named=named,
        method=made.method,
        paradigm=made.paradigm,
        base=_model(made.student, made.student_digest),
        teacher=_model(made.teacher, made.teacher_digest) if made.teacher else None,
        transfer_task=made.transfer_task,
        seed=made.seed,
        options=options,
        loaded=loaded,
        budget=budget_of(made),
        title=made.title,
        reference=made.reference,
        control_of=_CONTROLS.get(made.method, ()) if made.control_of is None else made.control_of,
        shots=_count(made.record.get("shots")) or 0,
        tuned_on=(made.split_digests or {}).get("train") if tuned else None,
        data=made.split_digests,
        provenance=content,
    )


def _named(config: Mapping[str, object]) -> str | None:
    """The name that a suite gave its student.

    Raises:
        DataError: It is no text.
    """
    name = config.get("pkt_label")
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise DataError(f"its pkt_label, what a suite calls the student, is {name!r}, not text")
    return name


def _said(config: Mapping[str, object]) -> Mapping[str, object]:
    """The arguments of the model, however lm-eval was given them."""
    said = config.get("model_args") or {}
    if isinstance(said, str):
        said = dict(pair.split("=", 1) for pair in said.split(",") if "=" in pair)
    return said if isinstance(said, dict) else {}


def _arguments(config: Mapping[str, object]) -> dict[str, object]:
    """Those that make another model of a foreign one: ``hf`` can put an adapter on a base, or quantise it."""
    said = without_secrets(_said(config))
    assert isinstance(said, dict)
    return {k: v for k, v in said.items() if v not in (None, "") and k not in _HARMLESS}


def _foreign(config: Mapping[str, object]) -> ScoredStudent:
    arguments, extra = _said(config), _arguments(config)
    named = arguments.get("pretrained") or arguments.get("model") or config.get("model") or "unnamed model"
    source = hide_secrets(str(named))
    model = _model(source, None)
    said = (short_name(str(v)) if k in _PARTS else f"{k}={_short(v)}" for k, v in extra.items())
    name = "+".join([model.name, *said])
    kind = str(config.get("model"))
    options: dict[str, object] = {**extra, "model": kind, **_evaluation(config)}
    return ScoredStudent(f"{name} ({kind})", method=None, paradigm="", base=model, options=options, loaded=extra)


_PARTS = ("peft", "delta", "revision", "gguf_file")
"""Arguments of a foreign model whose value says enough by itself."""
_HARMLESS = frozenset(
    "pretrained model dtype device batch_size max_batch_size trust_remote_code parallelize "
    "device_map max_memory_per_gpu max_cpu_memory offload_folder gpus tensor_parallel_size data_parallel_size "
    "gpu_memory_utilization swap_space base_url num_concurrent max_retries timeout logits_cache header seed".split()
)
"""Arguments that make no other model of a foreign one: where and how fast it runs, and what a record says elsewhere."""


def _evaluation(config: Mapping[str, object]) -> dict[str, str]:
    """The dtype that a model was run in moves some of its answers, and so does who ran it: it is another student then.

    So one that vLLM answered for is compared with vanilla of vLLM's where that is there.
    """
    dtype = str(config.get("model_dtype") or "").removeprefix("torch.")
    backend = str(config.get("pkt_backend") or "").split(" ")[0]
    return {k: v for k, v in (("evaluation_dtype", dtype), ("evaluation_backend", backend)) if v}


CONTENT = "content"
"""In ``Student.loaded``: digest of the arguments by what the files that they name hold, wherever these lie."""


def _loaded(config: Mapping[str, object]) -> dict[str, object]:
    """What ``pkt_student`` says of ``hf`` arguments that made another model of the student.

    Raises:
        DataError: It is no JSON object.
    """
    loaded, digest = config.get("pkt_hf"), config.get("pkt_hf_digest")
    if not loaded:
        return {}
    if not isinstance(loaded, dict):
        raise DataError(f"its pkt_hf, the arguments of hf, is {loaded!r}, not a JSON object")
    content = digest if isinstance(digest, str) else combine_digests(loaded)
    public = without_secrets({key: _short(value) for key, value in sorted(loaded.items())})
    assert isinstance(public, dict)
    return public | {CONTENT: content[:8]}


def _short(value: object) -> object:
    return short_name(value) if isinstance(value, str) else value


def _model(source: str, digest: str | None) -> Model:
    return Model(short_name(source), digest, source)


def budget_of(made: Provenance) -> Budget:
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
        student_tokens=_passed(made, "student", "trained_tokens"),
        teacher_tokens=_passed(made, "teacher", "tokens"),
        student_flops=_passed(made, "student", "flops"),
        teacher_flops=_passed(made, "teacher", "flops"),
    )


def _passed(made: Provenance, role: str, amount: str) -> int | None:
    """What passed through a model; None where that was not counted, or nothing did."""
    return int((made.passes or {}).get(role, {}).get(amount, 0)) or None


def _count(value: object) -> int | None:
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def sources(student: ScoredStudent) -> list[str | None]:
    """What tells its base and its teacher from others."""
    return [(model.digest or model.source) if model else None for model in (student.base, student.teacher)]
