"""The model card of a student: what it is, of what, how it was made, and how it is opened; with the hub's metadata."""

import json
from pathlib import Path
from typing import Any

from pkt_eval._util.text import in_markdown
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource

FILE = "README.md"
"""Of a saved student. It decides nothing, so that its reader may change it."""


def model_card(base: ModelSource, made: Provenance | None, *, adapter: bool, merged: bool) -> str:
    """Markdown with YAML metadata, as the hub reads it.

    Args:
        base: Of the student.
        made: How the student came to be.
        adapter: Whether all its edits are an adapter of peft.
        merged: Whether the whole edited checkpoint lies beside the edits.
    """
    from huggingface_hub import ModelCardData

    method = made.method if made else "student"
    data = ModelCardData(
        base_model=base.path if _on_hub(base.path) else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["pkt-eval", "parametric-knowledge-transfer", method],
    )
    lines = ["---", data.to_yaml(), "---"]
    lines += [f"# {in_markdown(f'{_name(base.path)}, {method}')}", "", in_markdown(_what(base, made)), ""]
    lines += [
        "| | |",
        "|---|---|",
        *(f"| {in_markdown(name)} | {in_markdown(str(value))} |" for name, value in _rows(base, made)),
        "",
    ]
    lines += ["## Use", "", "```", "lm_eval --model pkt_student --model_args student=FOLDER --tasks …", "```", ""]
    if adapter:
        lines += ["`adapter/` opens with `peft.PeftModel.from_pretrained(base, …)`.", ""]
    if merged:
        lines += ["`merged/` opens with `transformers.AutoModelForCausalLM.from_pretrained`.", ""]
    return "\n".join(lines)


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
    """A model as its reader may know it: a hub's name whole, of a folder the last part."""
    path = str(path or "?")
    return path if _on_hub(path) else path.rstrip("/").rsplit("/", 1)[-1]


def _on_hub(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).exists()
