"""What was found, as numbers: matrices by name, and a summary that is made of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pkt_eval.diagnose.overlap import Overlap
from pkt_eval.diagnose.parametric import Parametric
from pkt_eval.diagnose.stitching import Stitching

Pair = tuple[str, str]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was diagnosis.

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


def matrices(diagnosis: Diagnosis) -> dict[str, np.ndarray]:
    """Name → array, as in ``matrices.npz``: ``cka/teacher/student/up``, ``stitching/r2``, …"""
    named: dict[str, torch.Tensor] = {}
    for (a, b), of_kinds in diagnosis.cka.items():
        named |= {f"cka/{a}/{b}/{kind}": t for kind, t in of_kinds.items()}
    named |= {f"stitching/{name}": t for name, t in vars(diagnosis.stitching).items()}
    for role, located in diagnosis.overlap.items():
        for kind, overlap in located.items():
            named |= {f"overlap/{role}/{kind}/{name}": getattr(overlap, name) for name in ("samples", "tasks")}
    for label, parametric in diagnosis.parametric.items():
        named |= {f"parametric/{label}/{quantity}": t for quantity, t in parametric.values.items()}
        named |= {f"spectra/{label}/{name}": t for name, t in parametric.spectra.items()}
    return {name: t.numpy() for name, t in named.items()}


def summary(diagnosis: Diagnosis) -> dict[str, Any]:
    """The numbers that stand for the matrices, as JSON; what is not a number is None."""
    parametric = {
        label: {
            block: {quantity: _number(t[:, i].nanmean()) for quantity, t in p.values.items()}
            for i, block in enumerate(p.blocks)
        }
        for label, p in diagnosis.parametric.items()
    }
    overlap = {
        role: {kind: {name: _number(value) for name, value in o.means.items()} for kind, o in of_kinds.items()}
        for role, of_kinds in diagnosis.overlap.items()
    }
    return {
        "format": 1,
        **diagnosis.facts,
        "cka": {
            f"{a} × {b}": {kind: _of_matrix(t, own=a == b) for kind, t in of_kinds.items()}
            for (a, b), of_kinds in diagnosis.cka.items()
        },
        "stitching": _of_matrix(diagnosis.stitching.r2),
        "overlap": overlap,
        "parametric": parametric,
    }


def _of_matrix(t: torch.Tensor, *, own: bool = False) -> dict[str, float | None]:
    """Mean and deviation over layer pairs, a layer with itself left out; the best of a column, a mean over them; and of
    two models the mean of the pairs of equal relative depth."""
    rows, columns = t.shape
    at = torch.linspace(0, rows - 1, columns).round().long()
    depth = None if own else _number(t[at, torch.arange(columns)].nanmean())
    t = t.masked_fill(torch.eye(len(t), dtype=torch.bool), torch.nan) if own else t
    known = t[~t.isnan()]
    best = t.nan_to_num(-torch.inf).amax(0)
    return {
        "mean": _number(known.mean()),
        "deviation": _number(known.std(correction=0)),
        "best": _number(best.mean()),
        "depth": depth,
    }


def _number(value: torch.Tensor | float) -> float | None:
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None
