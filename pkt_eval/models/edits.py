"""What can be done to one weight.

An edit is plain data about one named parameter; applying it changes the weight in place, accumulating in fp32.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from pkt_eval.errors import ConfigError

_CHUNK = 1 << 20  # entries: 4 MB of float32


@dataclass(frozen=True)
class LowRankEdit:
    """``W ← W + B·A``: a LoRA product, its scale already inside ``B``.

    Attributes:
        name: Full parameter name, e.g. ``model.layers.0.mlp.up_proj.weight``.
        B: ``(out, r)`` float32.
        A: ``(r, in)`` float32.
    """

    name: str
    B: torch.Tensor
    A: torch.Tensor

    def __post_init__(self) -> None:
        if self.B.ndim != 2 or self.A.ndim != 2 or self.B.shape[1] != self.A.shape[0]:
            raise ConfigError(f"{self.name}: B {tuple(self.B.shape)} and A {tuple(self.A.shape)} do not multiply")

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the edit is made of, by part."""
        return {"A": self.A, "B": self.B}

    @property
    def rank(self) -> int:
        """Number of columns of ``B``; an upper bound on the rank of the edit."""
        return self.A.shape[0]

    @torch.no_grad()
    def apply(self, weight: torch.Tensor) -> None:
        """Add the product to ``weight`` ``(out, in)``, in fp32: the same tensor, with new data.

        Raises:
            ConfigError: The shapes differ.
        """
        if tuple(weight.shape) != (self.B.shape[0], self.A.shape[1]):
            raise ConfigError(
                f"{self.name}: the edit is {(self.B.shape[0], self.A.shape[1])}, the weight {tuple(weight.shape)}; "
                "the student was transferred for another base model"
            )
        B, A = (t.to(weight.device, torch.float32) for t in (self.B, self.A))
        # New memory rather than the old in place: a loaded checkpoint is mapped from its file, and writing into it
        # copies it page by page. Some rows at a time, so that the fp32 copies stay in cache.
        edited = torch.empty_like(weight.data)
        step = max(1, _CHUNK // A.shape[1])
        for row in range(0, len(edited), step):
            rows = slice(row, row + step)
            edited[rows] = torch.addmm(weight.data[rows].float(), B[rows], A)
        weight.data = edited


@dataclass(frozen=True)
class LocatedEdit:
    """``W[i] ← W[i] + δ_i`` for some rows, or ``W[:, i] ← W[:, i] + δ_i`` for some columns; nothing else changes.

    Attributes:
        name: Full parameter name, e.g. ``model.layers.0.mlp.down_proj.weight``.
        axis: ``"rows"`` or ``"columns"``.
        indices: ``(k,)`` int64, no row or column twice.
        delta: ``(k, width)`` float32: a vector for each index, ``width`` being the size of the other axis.
    """

    name: str
    axis: Literal["rows", "columns"]
    indices: torch.Tensor
    delta: torch.Tensor

    def __post_init__(self) -> None:
        if self.axis not in ("rows", "columns"):
            raise ConfigError(f"{self.name}: an edit is of rows or columns, not of {self.axis!r}")
        if self.indices.ndim != 1 or self.delta.ndim != 2 or len(self.indices) != len(self.delta):
            raise ConfigError(
                f"{self.name}: indices {tuple(self.indices.shape)} and delta {tuple(self.delta.shape)} do not match"
            )
        if len(self.indices.unique()) != len(self.indices):
            raise ConfigError(f"{self.name}: one of the {self.axis} is edited twice")

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the edit is made of, by part; the indices are named by their axis."""
        return {self.axis: self.indices, "delta": self.delta}

    @torch.no_grad()
    def apply(self, weight: torch.Tensor) -> None:
        """Add the vectors to ``weight`` ``(out, in)`` in place, in fp32; only the edited rows or columns are copied.

        Raises:
            ConfigError: A row or column is not there, or the width differs.
        """
        view = weight if self.axis == "rows" else weight.T
        indices, delta = self.indices.to(weight.device), self.delta.to(weight.device, torch.float32)
        if delta.shape[1] != view.shape[1] or not (indices.min() >= 0 and indices.max() < len(view)):
            raise ConfigError(
                f"{self.name}: the edit is of {len(indices)} {self.axis} of width {delta.shape[1]}, the weight "
                f"{tuple(weight.shape)}; the student was transferred for another base model"
            )
        view[indices] = (view[indices].float() + delta).to(weight.dtype)


Edit = LowRankEdit | LocatedEdit
