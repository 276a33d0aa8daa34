"""What was found, as files: matrices (npz, CSV), a summary (JSON) and a report (Markdown).

The summary is made of the matrices and the report of the summary, so that all three say the same. Nothing here looks at
a model; pictures are in ``figures``.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pkt_eval.diagnose.overlap import Overlap
from pkt_eval.diagnose.parametric import QUANTITIES, Parametric
from pkt_eval.diagnose.stitching import Stitching

Pair = tuple[str, str]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        facts: JSON-able: which models, data and tokens.
        cka: (model, model) → kind → ``(L₁, L₂)``. The models are ``teacher``, ``student`` and the labels of transfers.
        stitching: Of teacher and student.
        overlap: ``teacher`` or ``student`` → kind of neuron → what locations have in common.
        parametric: Label of a transfer → what it did to the weights.
    """

    facts: Mapping[str, Any]
    cka: Mapping[Pair, Mapping[str, torch.Tensor]]
    stitching: Stitching
    overlap: Mapping[str, Mapping[str, Overlap]]
    parametric: Mapping[str, Parametric]


def matrices(found: Diagnosis) -> dict[str, np.ndarray]:
    """Name → array, as in ``matrices.npz``: ``cka/teacher/student/up``, ``stitching/r2``, …"""
    named: dict[str, torch.Tensor] = {}
    for (a, b), of_kinds in found.cka.items():
        named |= {f"cka/{a}/{b}/{kind}": t for kind, t in of_kinds.items()}
    named |= {f"stitching/{name}": t for name, t in vars(found.stitching).items()}
    for role, located in found.overlap.items():
        for kind, overlap in located.items():
            named |= {f"overlap/{role}/{kind}/{name}": getattr(overlap, name) for name in ("samples", "tasks")}
    for label, parametric in found.parametric.items():
        named |= {f"parametric/{label}/{quantity}": t for quantity, t in parametric.values.items()}
        named |= {f"spectra/{label}/{name}": t for name, t in parametric.spectra.items()}
    return {name: t.numpy() for name, t in named.items()}


def summary(found: Diagnosis) -> dict[str, Any]:
    """The numbers that stand for the matrices, as JSON; what is not a number is None."""
    parametric = {
        label: {
            block: {quantity: _number(t[:, i].nanmean()) for quantity, t in p.values.items()}
            for i, block in enumerate(p.blocks)
        }
        for label, p in found.parametric.items()
    }
    overlap = {
        role: {kind: {name: _number(value) for name, value in o.means.items()} for kind, o in of_kinds.items()}
        for role, of_kinds in found.overlap.items()
    }
    return {
        "format": 1,
        **found.facts,
        "cka": {
            f"{a} × {b}": {kind: _of_matrix(t, own=a == b) for kind, t in of_kinds.items()}
            for (a, b), of_kinds in found.cka.items()
        },
        "stitching": _of_matrix(found.stitching.r2),
        "overlap": overlap,
        "parametric": parametric,
    }


def _of_matrix(t: torch.Tensor, *, own: bool = False) -> dict[str, float | None]:
    """Mean and deviation over layer pairs, a layer with itself left out; and the best of a column, a mean over them."""
    t = t.masked_fill(torch.eye(len(t), dtype=torch.bool), torch.nan) if own else t
    known = t[~t.isnan()]
    best = t.nan_to_num(-torch.inf).amax(0)
    return {
        "mean": _number(known.mean()),
        "deviation": _number(known.std(correction=0)),
        "best": _number(best.mean()),
    }


def _number(value: torch.Tensor | float) -> float | None:
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


def write(found: Diagnosis, figures: Mapping[str, str], folder: Path) -> None:
    """Write everything but the figures.

    Args:
        found: What to write.
        figures: Name of a figure → its caption, in the order of the report.
        folder: A folder that is there.
    """
    arrays: dict[str, Any] = {**matrices(found)}  # numpy's types take a name of ours for its own option
    np.savez_compressed(folder / "matrices.npz", **arrays)
    for name, (header, rows) in _tables(found).items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    numbers = summary(found)
    text = json.dumps({**numbers, "figures": dict(figures)}, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(markdown(numbers, figures), encoding="utf-8")


def _tables(found: Diagnosis) -> dict[str, tuple[tuple[str, ...], Iterable[tuple[object, ...]]]]:
    """CSV name → header and rows, one number a row."""
    cka = (
        (a, b, kind, *place, value)
        for (a, b), of_kinds in found.cka.items()
        for kind, t in of_kinds.items()
        for place, value in np.ndenumerate(t.numpy())
    )
    r2, ridge = found.stitching.r2.numpy(), found.stitching.ridge.numpy()
    overlap = (
        (role, kind, between, *place, value)
        for role, of_kinds in found.overlap.items()
        for kind, o in of_kinds.items()
        for between in ("samples", "tasks")
        for place, value in np.ndenumerate(getattr(o, between).numpy())
    )
    parametric = (
        (label, quantity, p.blocks[i], layer, value)
        for label, p in found.parametric.items()
        for quantity, t in p.values.items()
        for (layer, i), value in np.ndenumerate(t.numpy())
    )
    spectra = (
        (label, name, p.blocks[i], layer, number, value)
        for label, p in found.parametric.items()
        for name, t in p.spectra.items()
        for (layer, i, number), value in np.ndenumerate(t.numpy())
        if not np.isnan(value)
    )
    tables: dict[str, tuple[tuple[str, ...], Iterable[tuple[object, ...]]]] = {
        "cka": (("rows", "columns", "output", "row_layer", "column_layer", "cka"), cka),
        "stitching": (
            ("teacher_layer", "student_layer", "r2", "ridge"),
            ((*place, value, ridge[place]) for place, value in np.ndenumerate(r2)),
        ),
        "overlap": (("model", "neurons", "between", "first", "second", "jaccard"), overlap),
    }
    if found.parametric:
        tables["parametric"] = (("transfer", "quantity", "block", "layer", "value"), parametric)
        tables["spectra"] = (("transfer", "of", "block", "layer", "number", "singular_value"), spectra)
    return tables


def markdown(numbers: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The report, of the summary."""
    parts = [
        "# Why a transfer succeeds or fails",
        f"Teacher: {numbers['teacher']}. Student: {numbers['student']}. Compared on {numbers['tokens']:,} tokens of "
        f"{numbers['texts']} validation texts of {', '.join(numbers['tasks'])}, in batches of {numbers['batch']}; seed "
        f"{numbers['seed']}.",
        "## Representation",
        "Debiased linear CKA of layers, mean ± deviation over all pairs of layers (a layer with itself left out), and "
        "the best of a column, averaged over the columns. 0 is what unrelated outputs give, 1 what equal ones do.",
    ]
    kinds = list(next(iter(numbers["cka"].values())))
    rows = [
        [pair, *(f"{_three(v['mean'])} ± {_three(v['deviation'])}, {_three(v['best'])}" for v in of_kinds.values())]
        for pair, of_kinds in numbers["cka"].items()
    ]
    parts += [_table(["rows × columns", *kinds], rows), *_images(figures, "cka")]
    s = numbers["stitching"]
    parts += [
        "## Stitching",
        "Held-out R² of the best affine map from a teacher layer's residual stream to a student layer's: "
        f"{_two(s['mean'])} ± {_two(s['deviation'])} over all pairs; {_two(s['best'])} from the best teacher layer of "
        "each student layer. 0 is what predicting the mean gives.",
        *_images(figures, "stitching"),
        "## What is located",
        f"Jaccard index of the neurons that LaTen keeps of a layer, {numbers['samples']} samples a task and seed.",
    ]
    rows = [
        [role, kind, *(_two(value) for value in means.values())]
        for role, of_kinds in numbers["overlap"].items()
        for kind, means in of_kinds.items()
    ]
    first = next(iter(next(iter(numbers["overlap"].values())).values()))
    parts += [_table(["model", "neurons", *first], rows), *_images(figures, "overlap")]
    if numbers["parametric"]:
        parts += [
            "## Weights",
            "Means over layers. B₀A₀ is the product that fine-tuning started from, BA the one it ended with, W the "
            "vanilla student's weight, δ the whole change; – is what an edit does not have.",
        ]
        rows = [
            [label, block, *(_digits(v) for v in values.values())]
            for label, of_blocks in numbers["parametric"].items()
            for block, values in of_blocks.items()
        ]
        parts.append(_table(["transfer", "block", *QUANTITIES.values()], rows))
        parts += _images(figures, "weights")
    return "\n\n".join(parts) + "\n"


def _images(figures: Mapping[str, str], section: str) -> list[str]:
    return [
        f"![{name}](figures/{name}.png)\n\n*{caption}*"
        for name, caption in figures.items()
        if name.partition("_")[0] == section
    ]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
