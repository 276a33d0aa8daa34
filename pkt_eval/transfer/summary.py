"""What a transfer says at its end: what was made, from what, how well, and how to evaluate it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pkt_eval.models.provenance import Provenance


def show(made: Provenance, out: Path, to: Console) -> None:
    """Print it.

    Args:
        made: The student's.
        out: Its folder.
        to: Where.
    """
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in summary_rows(made):
        table.add_row(name, said)
    to.print(table)
    to.print(f"\nWritten to {out}. Evaluate it with either of", soft_wrap=True)
    to.print(f"  lm_eval --model pkt_student --model_args student={out} --tasks …", soft_wrap=True)
    to.print(f"  lm_eval --model hf --model_args {_for_hf(made, f'{out}/merged')} --tasks …", soft_wrap=True)


def summary_rows(made: Provenance) -> Iterator[tuple[str, str]]:
    """Name and value, in words, of what there is to say."""
    yield "method", f"{made.method}: {made.title}"
    if made.transfer_task:
        yield "transferred", f"{made.transfer_task}, seed {made.seed}"
    if made.split_sizes:
        yield "records", ", ".join(f"{name} {size:,}" for name, size in made.split_sizes.items())
    if made.seconds:
        parts = ", ".join(f"{name} {_seconds(took)}" for name, took in made.seconds.items())
        yield "time", f"{_seconds(sum(made.seconds.values()))}: {parts}" if len(made.seconds) > 1 else parts
    if training := made.record.get("training"):
        yield from _training(training)
    if alignment := made.record.get("alignment"):
        yield from _alignment(alignment)
    if answers := made.record.get("answers"):
        right = "" if answers["accuracy"] is None else f"{answers['accuracy']:.1%} right, "
        ends = f"{answers['ended']:.1%} ended by themselves, {answers['looped']:.1%} went round in circles"
        yield "validation answers", right + ends
    for name, digest in (("fingerprint", made.fingerprint), ("weights", made.weights_digest)):
        if digest:
            yield name, f"{digest[:12]} (the first digits; the provenance has all)"


def _training(training: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    chosen = training["learning_rate"]
    for found in (training.get("search") or {}).get("curve", ()):
        taken = ", which was chosen" if found["learning_rate"] == chosen else ""
        yield "search", f"rate {found['learning_rate']:g}: {_found(found)}{taken}"
    for tried in training["tried"]:
        before, after = tried["validation_loss"]
        if after is None:
            yield "validation loss", f"diverged at the rate {tried['learning_rate']:g}"
            continue
        rate = f" at the rate {tried['learning_rate']:g}" if len(training["tried"]) > 1 else ""
        taken = ", which was chosen" if rate and tried["learning_rate"] == chosen else ""
        yield "validation loss", f"{before:.4f} → {after:.4f} in {training['steps']} steps{rate}{taken}"


def _found(found: Mapping[str, Any]) -> str:
    """How a rate did on a share of the budget."""
    if found.get("diverged"):
        return "diverged"
    answers = found.get("answers") or {}
    right = f"{answers['accuracy']:.1%} right, " if answers.get("accuracy") is not None else ""
    return f"{right}validation loss {found['validation_loss']:.4f}"


def _alignment(alignment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    steps = alignment.get("steps")
    after = steps[alignment["chosen_step"] - 1]["validation_loss"] if steps else alignment["validation_loss"]
    chosen = f" at step {alignment['chosen_step']}" if steps else ""
    # Too small a change to be seen is a finding, so all digits are shown.
    yield "validation loss", f"{alignment['validation_loss_of_base']} → {after}{chosen}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _for_hf(made: Provenance, folder: str) -> str:
    """The words by which ``hf``, which reads no provenance, asks a student as it was trained."""
    told = {"enable_thinking": made.enable_thinking, "chat_template_args": made.chat_template_args or None}
    said = {name: value for name, value in told.items() if value is not None}
    return f"'{json.dumps({'pretrained': folder, **said})}'" if said else f"pretrained={folder}"
