"""What was found, as files: matrices (npz, CSV), a summary (JSON) and a report (Markdown).

The summary is made of the matrices and the report of the summary, so that all three say the same. Nothing here looks at
a model; pictures are in ``figures``.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pkt_eval.diagnose.conclusions import THRESHOLDS, conclusions
from pkt_eval.diagnose.findings import Diagnosis, matrices, summary
from pkt_eval.diagnose.parametric import QUANTITIES
from pkt_eval.diagnose.reading import reading
from pkt_eval.diagnose.tables import tables


def write(diagnosis: Diagnosis, figures: Mapping[str, str], folder: Path) -> None:
    """Write everything but the figures.

    Args:
        diagnosis: What to write.
        figures: Name of a figure → its caption, in the order of the report.
        folder: A folder that is there.
    """
    arrays: dict[str, Any] = {**matrices(diagnosis)}  # numpy's types take a name of ours for its own option
    np.savez_compressed(folder / "matrices.npz", **arrays)
    for name, (header, rows) in tables(diagnosis).items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    numbers = summary(diagnosis)
    text = json.dumps({**numbers, "figures": dict(figures)}, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(report_markdown(numbers, figures), encoding="utf-8")


def report_markdown(numbers: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The report, of the summary."""
    parts = [
        "# Why a transfer succeeds or fails",
        f"Teacher: {numbers['teacher']}. Student: {numbers['student']}. Compared on {numbers['tokens']:,} tokens of "
        f"{numbers['texts']} validation texts of {', '.join(numbers['tasks'])}, in batches of {numbers['batch']}; seed "
        f"{numbers['seed']}.",
        "## In words",
        "\n".join(f"- {sentence}" for sentence in conclusions(numbers)),
        THRESHOLDS,
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
        f"![{name}](figures/{name}.png)\n\n*{caption}* **To read it:** {reading(name)}"
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
