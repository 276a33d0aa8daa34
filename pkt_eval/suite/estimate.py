"""What a suite will take, by what the like of it has taken before; nothing is guessed.

Seconds of cells lie in the store, a line each, under what decides them most: task, base, device and machine. Seconds of
transfers are in the stored students themselves, and, where a part was measured, in such a line.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pkt_eval._util.folders import store_root
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import MANIFEST
from pkt_eval.suite.identity import Identities
from pkt_eval.suite.plan import Cell, Learner
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer

Extent = Literal["whole", "part"]
"""Whether a cell was done, or a few items of it were measured: what was done outweighs that."""


def remember(
    task: str,
    base: ModelSource,
    device: str,
    counts: dict[str, dict[str, int]],
    seconds: float,
    extent: Extent = "whole",
) -> None:
    """Keep what a cell took; a store that cannot be written is no reason for a cell to fail.

    Args:
        task: Of the cell.
        base: Of the student.
        device: Where it was evaluated.
        counts: lm-eval's ``n-samples``: for each task of a group, ``original`` and ``effective`` items.
        seconds: From the first request to the last file.
        extent: How much of it was done.
    """
    _keep({**_key(task, base, device), "counts": counts, "seconds": seconds, "extent": extent})


def remember_transfer(wanted: Transfer, seconds: float) -> None:
    """Keep what a transfer would take, by the part of it that was measured."""
    _keep({"transfer": transfer_kind(wanted), "machine": platform.node(), "seconds": seconds})


def _keep(line: Mapping[str, object]) -> None:
    try:
        _times().parent.mkdir(parents=True, exist_ok=True)
        with _times().open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        pass


class History:
    """What the like has taken on this machine, read once.

    Attributes:
        parts: How many answers rest on a part that was measured.
    """

    def __init__(self) -> None:
        self.parts = 0

    @cached_property
    def _lines(self) -> list[dict[str, Any]]:
        return _lines(_times())

    @cached_property
    def _cells(self) -> dict[str, list[dict[str, Any]]]:
        kept: dict[str, list[dict[str, Any]]] = {}
        for line in self._lines:
            if "task" in line:
                kept.setdefault(_written({name: line.get(name) for name in _DECIDE}), []).append(line)
        return kept

    @cached_property
    def _measured(self) -> dict[str, float]:
        """Seconds that a part of a transfer of each kind said it would take, here."""
        return {
            line["transfer"]: line["seconds"]
            for line in self._lines
            if "transfer" in line and line.get("machine") == platform.node()
        }

    @cached_property
    def _transfers(self) -> dict[str, float]:
        """Seconds of the slowest stored transfer of each kind."""
        slowest: dict[str, float] = {}
        for path in (Store().root / "students").glob(f"*/{MANIFEST}"):
            try:
                made = json.loads(path.read_text("utf-8"))["provenance"]
                key, seconds = _written({name: made.get(name) for name in _ALIKE}), sum(made["seconds"].values())
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            slowest[key] = max(seconds, slowest.get(key, 0.0))
        return slowest

    def evaluation(self, task: str, base: ModelSource, device: str, limit: int | None) -> float | None:
        """Seconds of a cell, None if the like of it was never done here."""
        rates, items = [], 0
        lines = self._cells.get(_written(_key(task, base, device)), [])
        whole = [line for line in lines if line.get("extent") != "part"]
        self.parts += bool(lines) and not whole
        for line in whole or lines:
            counts = line["counts"].values()
            rates.append(line["seconds"] / max(1, sum(count["effective"] for count in counts)))
            items = sum(min(limit or count["original"], count["original"]) for count in counts)
        return median(rates) * items if rates else None

    def transfer(self, wanted: Transfer) -> float | None:
        """Seconds of the slowest stored transfer that differs in seed and versions alone, or of one that was measured
        in part; None if there is none.
        """
        kind = transfer_kind(wanted)
        if kind not in self._transfers:
            self.parts += kind in self._measured
        return self._transfers.get(kind, self._measured.get(kind))


def estimate(
    left: Sequence[Cell], to_make: Sequence[Learner], identities: Identities, *, measured: bool = False
) -> str:
    """What the work that is left will take, in a line or two.

    Args:
        left: Cells that are not finished.
        to_make: Students that are not stored.
        identities: Of the cells.
        measured: Whether what could be measured was.
    """
    history, device = History(), identities.device
    transfers = [history.transfer(identities.transfer(student)) for student in to_make]
    evaluations = [
        history.evaluation(cell.task, identities.base(cell.learner), device, identities.suite.items(cell.benchmark))
        for cell in left
    ]
    parts = []
    for what, estimates in (("transfers", transfers), ("evaluation", evaluations)):
        if known := [seconds for seconds in estimates if seconds is not None]:
            parts.append(f"{sum(known) / 60:.1f} min of {what}")
    counts = ((transfers.count(None), "transfer"), (evaluations.count(None), "cell"))
    unknown = [f"{n} {what}{'s' * (n > 1)}" for n, what in counts if n]
    by = f", {history.parts} of them by a measured part" if history.parts else ""
    said = f"Work: {' and '.join(parts)}, by what the like took here before{by}" if parts else ""
    if unknown:
        said += (
            f"{'; ' if said else 'Work: '}unknown for {' and '.join(unknown)}, the like of which was never done here. "
            f"One cell of a kind makes its kind known: {_first_unknown(left, to_make, transfers, evaluations)}"
            + ("" if measured else ", or --dry-run --measure does a part of each")
        )
    return said or "Nothing is left to do"


def _first_unknown(
    left: Sequence[Cell],
    to_make: Sequence[Learner],
    transfers: Sequence[float | None],
    evaluations: Sequence[float | None],
) -> str:
    """The choice of a run that does one cell of which least is known."""
    student = next((s for s, known in zip(to_make, transfers, strict=True) if known is None), None)
    cell = next((c for c, known in zip(left, evaluations, strict=True) if known is None), None)
    return f"--only {student.name if student else cell.name if cell else ''}"


_DECIDE = ("task", "base", "device", "machine")
_ALIKE = ("method", "transfer_task", "student_digest", "teacher_digest", "config", "device", "split_sizes")


def transfer_kind(wanted: Transfer) -> str:
    """What transfers have in common that take equally long."""
    sizes = {"split_sizes": wanted.splits.sizes if wanted.splits else None}
    return _written({name: (wanted.identity | sizes).get(name) for name in _ALIKE})


def _written(parts: Mapping[str, object]) -> str:
    return json.dumps(parts, sort_keys=True)


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
