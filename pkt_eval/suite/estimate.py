"""What a suite will take, by what the like of it has taken before; nothing is guessed.

Seconds of cells lie in the store, a line each, under what decides them most: task, base, device and machine. Seconds of
transfers are in the stored students themselves.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pkt_eval._util.folders import store_root
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import MANIFEST
from pkt_eval.suite.plan import Cell, Learner
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.recipe import Recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer


def remember(task: str, base: ModelSource, device: str, counts: dict[str, dict[str, int]], seconds: float) -> None:
    """Keep what a cell took; a store that cannot be written is no reason for a cell to fail.

    Args:
        task: Of the cell.
        base: Of the student.
        device: Where it was evaluated.
        counts: lm-eval's ``n-samples``: for each task of a group, ``original`` and ``effective`` items.
        seconds: From the first request to the last file.
    """
    line = {**_key(task, base, device), "counts": counts, "seconds": seconds}
    try:
        _times().parent.mkdir(parents=True, exist_ok=True)
        with _times().open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        pass


def evaluation(cell: Cell, device: str, limit: int | None) -> float | None:
    """Seconds of a cell, None if the like of it was never done here."""
    key, rates, items = _key(cell.task, cell.learner.base, device), [], 0
    for line in _lines(_times()):
        if all(line.get(name) == value for name, value in key.items()):
            counts = line["counts"].values()
            rates.append(line["seconds"] / max(1, sum(count["effective"] for count in counts)))
            items = sum(min(limit or count["original"], count["original"]) for count in counts)
    return median(rates) * items if rates else None


def transfer_seconds(recipe: Recipe, device: str) -> float | None:
    """Seconds of the slowest stored transfer that differs in nothing but seed and versions; None if there is none."""
    wanted = Transfer(recipe, device)
    alike = ("method", "transfer_task", "student_digest", "teacher_digest", "config", "device")
    like = {name: wanted.identity[name] for name in alike if name in wanted.identity}
    like["split_sizes"] = wanted.splits.sizes if wanted.splits else None
    seconds = []
    for path in (Store().root / "students").glob(f"*/{MANIFEST}"):
        try:
            made = json.loads(path.read_text("utf-8"))["provenance"]
            if all(made.get(name) == value for name, value in like.items()):
                seconds.append(sum(made["seconds"].values()))
        except (OSError, ValueError, KeyError):
            continue
    return max(seconds, default=None)


def estimate(suite: Suite, cells: Sequence[Cell], to_make: Sequence[Learner], device: str) -> str:
    """One line on the work that is left.

    Args:
        suite: What is compared.
        cells: Those that are not finished.
        to_make: The students that are not stored.
        device: Where.
    """
    transfers = [transfer_seconds(student.recipe, device) for student in to_make]
    evaluations = [evaluation(cell, device, suite.items(cell.benchmark)) for cell in cells]
    parts = []
    for what, estimates in (("transfers", transfers), ("evaluation", evaluations)):
        if known := [seconds for seconds in estimates if seconds is not None]:
            parts.append(f"{sum(known) / 60:.1f} min of {what}")
    unknown = [
        f"{n} {what}" for n, what in ((transfers.count(None), "transfers"), (evaluations.count(None), "cells")) if n
    ]
    said = f"Work: {' and '.join(parts)}, by what the like took here before" if parts else ""
    if unknown:
        said += (
            f"{'; ' if said else 'Work: '}unknown for {' and '.join(unknown)}, the like of which was never done here"
        )
    return said or "Nothing is left to do"


def _key(task: str, base: ModelSource, device: str) -> dict[str, str]:
    kind = device.split(":")[0]
    return {"task": task, "base": base.digest, "device": kind, "machine": platform.node()}


def _times() -> Path:
    return store_root() / "times.jsonl"


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for line in path.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:  # torn by the end of a process
            continue
    return lines
