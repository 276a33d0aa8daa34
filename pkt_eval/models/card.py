"""The model card of a student: what it is, of what, how it was made, and how it is opened; with the hub's metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkt_eval._util.places import short_name
from pkt_eval._util.text import in_markdown
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource

FILE = "README.md"
"""Of a saved student. It decides nothing, so that its reader may change it."""


@dataclass(frozen=True)
class CardDifference:
    """A student against another one on the same items: a difference of shares, with its 95 % interval."""

    against: str
    value: float
    low: float
    high: float
    items: int


@dataclass(frozen=True)
class CardResult:
    """A student on a benchmark, as a card says it.

    Attributes:
        benchmark: As a table calls it.
        title: As people call it.
        dataset: On the hub; a benchmark that is not there has its own name here.
        dataset_config: Of that.
        metric: As lm-eval calls it.
        score: In [0, 1].
        low: End of its 95 % interval.
        high: End of it.
        items: How many were asked.
        compared: ``vanilla`` and ``control``, where they were evaluated on the same items.
    """

    benchmark: str
    title: str
    dataset: str
    dataset_config: str | None
    metric: str
    score: float
    low: float | None
    high: float | None
    items: int
    compared: Mapping[str, CardDifference] = field(default_factory=dict)


def save_card(folder: Path, base: ModelSource, made: Provenance | None, evaluated: Sequence[CardResult] = ()) -> None:
    """Write the card of a student that lies in a folder."""
    adapter = (folder / "adapter").is_dir() and not any((folder / room).is_dir() for room in ("located", "dense"))
    text = model_card(base, made, adapter=adapter, merged=(folder / "merged").is_dir(), evaluated=evaluated)
    (folder / FILE).write_text(text, "utf-8")


def model_card(
    base: ModelSource,
    made: Provenance | None,
    *,
    adapter: bool,
    merged: bool,
    evaluated: Sequence[CardResult] = (),
) -> str:
    """Markdown with YAML metadata, as the hub reads it.

    Args:
        base: Of the student.
        made: How the student came to be.
        adapter: Whether all its edits are an adapter of peft.
        merged: Whether the whole edited checkpoint lies beside the edits.
        evaluated: How it did; without, the metadata have no ``model-index``, which is one of results.
    """
    from huggingface_hub import ModelCardData

    method = made.method if made else "student"
    data = ModelCardData(
        base_model=base.path if _on_hub(base.path) else None,
        base_model_relation=("adapter" if adapter else "finetune") if _on_hub(base.path) else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["pkt-eval", "parametric-knowledge-transfer", method],
        model_name=f"{_name(base.path)}, {method}" if evaluated else None,
        eval_results=_index(evaluated) if evaluated else None,
    )
    lines = ["---", data.to_yaml(), "---"]
    lines += [f"# {in_markdown(f'{_name(base.path)}, {method}')}", "", in_markdown(_what(base, made)), ""]
    lines += [
        "| | |",
        "|---|---|",
        *(f"| {in_markdown(name)} | {in_markdown(str(value))} |" for name, value in _rows(base, made)),
        "",
    ]
    if evaluated:
        lines += _evaluation_lines(evaluated, made)
    lines += ["## Use", "", "```", "lm_eval --model pkt_student --model_args student=FOLDER --tasks …", "```", ""]
    if adapter:
        lines += ["`adapter/` opens with `peft.PeftModel.from_pretrained(base, …)`.", ""]
    if merged:
        lines += ["`merged/` opens with `transformers.AutoModelForCausalLM.from_pretrained`.", ""]
    return "\n".join(lines)


def _index(evaluated: Sequence[CardResult]) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=one.dataset,
            dataset_name=one.title,
            dataset_config=one.dataset_config,
            dataset_split="test",
            metric_type=_METRICS.get(one.metric, one.metric),
            metric_name=f"{one.metric}, per cent, {one.items} items",
            metric_value=round(100 * one.score, 2),
        )
        for one in evaluated
    ]


_METRICS = {"acc": "accuracy", "pass_at_1": "pass@1"}
"""Of lm-eval → as the hub calls it."""


def _evaluation_lines(evaluated: Sequence[CardResult], made: Provenance | None) -> list[str]:
    def against(of: CardDifference | None, items: int, named: bool) -> str:
        if of is None:
            return "–"
        text = f"{_points(of.value)} [{_points(of.low)}, {_points(of.high)}]"
        return text + (f" to {of.against}" if named else "") + (f" on {of.items}" if of.items != items else "")

    rows = [
        (
            one.benchmark,
            str(one.items),
            f"{100 * one.score:.1f}"
            + (f" [{100 * one.low:.1f}, {100 * one.high:.1f}]" if one.low is not None and one.high is not None else ""),
            against(one.compared.get("vanilla"), one.items, False),
            against(one.compared.get("control"), one.items, True),
        )
        for one in evaluated
    ]
    seed = f" (seed {made.seed})" if made and made.seed is not None else ""
    return [
        "## Evaluation",
        "",
        f"By lm-eval with PKT-Eval's tasks, of this student alone{seed}. Scores in per cent; differences to the "
        "unadapted base (vanilla) and to the control of the method that scores best, in points on the same items, with "
        "paired 95 % intervals, which are not corrected for how many there are.",
        "",
        "| benchmark | items | score | to vanilla | to the best control |",
        "|---|---:|---:|---:|---:|",
        *(f"| {' | '.join(map(in_markdown, row))} |" for row in rows),
        "",
    ]


def _points(value: float) -> str:
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def _what(base: ModelSource, made: Provenance | None) -> str:
    if made is None:
        return "Edits of a base model, by PKT-Eval."
    of = f" of {_name(made.teacher)}" if made.teacher else ""
    task = f", on {made.transfer_task}" if made.transfer_task else ""
    source = f" ({made.reference})" if made.reference else ""
    return f"{made.title}{source}: {made.paradigm}{of} into {_name(made.student or base.path)}{task}."


def _rows(base: ModelSource, made: Provenance | None) -> list[tuple[str, Any]]:
    if made is None:
        return [("base", _name(base.path))]
    told = {
        "base": _name(made.student),
        "revision": made.student_revision,
        "teacher": _name(made.teacher) if made.teacher else None,
        "method": made.method,
        "options": json.dumps(dict(made.config), sort_keys=True) if made.config else None,
        "seed": made.seed,
        "records": json.dumps(dict(made.split_sizes)) if made.split_sizes else None,
        "from": made.splits_source,
        "dtype of the transfer": made.dtype,
        "seconds": round(sum(made.seconds.values()), 1) if made.seconds else None,
        "fingerprint": made.fingerprint,
        "made with": ", ".join(f"{name} {version}" for name, version in made.versions.items()) or None,
    }
    return [(name, value) for name, value in told.items() if value is not None]


def _name(path: str | None) -> str:
    """A model as its reader may know it."""
    return short_name(path or "?")


def _on_hub(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()
