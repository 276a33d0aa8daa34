"""What can be done to one weight.

An edit is plain data about one named parameter. It acts in one of two ways: *merged* into the weight, in place and in
fp32, or *beside* it, as a term of the product (see ``beside``): in 16 bits most of a merged edit is rounded away.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError

_CHUNK = 1 << 20  # entries: 4 MB of float32

Term: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Inputs of a linear block ``(tokens, in)`` → what an edit adds to its outputs ``(tokens, out)``."""


@dataclass(frozen=True)
class Edit(ABC):
    """Data about one parameter ``W (out, in)``.

    Attributes:
        name: Full parameter name, e.g. ``model.layers.0.mlp.up_proj.weight``.
    """

    name: str

    @property
    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the edit is made of, by part."""

    @abstractmethod
    def check(self, weight: torch.Tensor) -> None:
        """Check that the edit fits a weight ``(out, in)``.

        Raises:
            ConfigError: It does not; the student was transferred for another base.
        """

    @abstractmethod
    def parts(self, weight: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Rows of the weight in turn, with their change in float32: all rows, unless ``apply`` is the edit's own."""

    @abstractmethod
    def term(self, out: int, dtype: torch.dtype, device: torch.device) -> Term:
        """The edit as a term of a product with ``out`` outputs, its data in a dtype on a device."""

    def factor(self, weight: torch.Tensor) -> torch.Tensor | None:
        """By what each output ``(out,)`` is multiplied once the term is added; None: nothing is."""
        return None

    @torch.no_grad()
    def apply(self, weight: torch.Tensor) -> None:
        """Merge: add the edit to ``weight`` ``(out, in)``, in fp32: the same tensor, with new data.

        Raises:
            ConfigError: The shapes differ.
        """
        self.check(weight)
        # New memory rather than the old in place: a loaded checkpoint is mapped from its file, and writing into it
        # copies it page by page.
        edited, row = torch.empty_like(weight.data), 0
        for view, change in self.parts(weight.data):
            edited[row : row + len(view)] = change.add_(view)
            row += len(view)
        weight.data = edited

    @torch.no_grad()
    def lost(self, weight: torch.Tensor) -> tuple[float, float]:
        """What merging into a weight of this dtype would round away.

        Returns:
            Squared Frobenius norms of what would be lost, and of the edit.
        """
        self.check(weight)
        lost, size = (torch.zeros((), dtype=torch.float64, device=weight.device) for _ in range(2))
        for view, change in self.parts(weight.data):
            before = view.float()
            lost += ((before + change).to(weight.dtype).float() - before - change).double().square().sum()
            size += change.double().square().sum()
        return float(lost), float(size)

    @torch.no_grad()
    def relative(self, weight: torch.Tensor) -> float:
        """``‖Δ‖/‖W‖`` (Frobenius) over all that the edit changes: for some rows or columns, over those alone."""
        self.check(weight)
        change, size = (torch.zeros((), dtype=torch.float64, device=weight.device) for _ in range(2))
        for view, delta in self.parts(weight.data):
            change += delta.double().square().sum()
            size += view.double().square().sum()
        return float((change / size).sqrt()) if size else 0.0

    def _refuse(self, what: str, weight: torch.Tensor) -> ConfigError:
        return ConfigError(
            f"{self.name}: the edit is {what}, the weight {tuple(weight.shape)}; the student was transferred for "
            "another base model"
        )


@dataclass(frozen=True)
class _Product(Edit):
    """A product ``B·A`` that is added to a weight, and maybe more.

    Attributes:
        B: ``(out, r)`` float32.
        A: ``(r, in)`` float32.
    """

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

    def check(self, weight: torch.Tensor) -> None:
        """See ``Edit.check``."""
        shape = (self.B.shape[0], self.A.shape[1])
        if tuple(weight.shape) != shape:
            raise self._refuse(str(shape), weight)

    def parts(self, weight: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Some rows at a time, so that the fp32 copies stay in cache."""
        B, A = (t.to(weight.device, torch.float32) for t in (self.B, self.A))
        for rows in _chunks(weight):
            yield weight[rows], B[rows] @ A

    @torch.no_grad()
    def term(self, out: int, dtype: torch.dtype, device: torch.device) -> Term:
        """``x ↦ (x·Aᵀ)·Bᵀ`` with balanced factors.

        A PostPKT edit is the small difference ``BA − B₀A₀`` of two large products, which factors that are rounded one
        by one would not give: it is first written as ``U√Σ·√ΣVᵀ`` (QR of both factors and the SVD of a small matrix, in
        float64), whose roundings are relative to the difference itself.
        """
        Q, R = torch.linalg.qr(self.B.double())
        P, S = torch.linalg.qr(self.A.double().T)
        U, sigma, Vh = torch.linalg.svd(R @ S.T)
        rank = max(1, int((sigma > sigma[:1] * torch.finfo(torch.float32).eps).sum()))
        root = sigma[:rank].sqrt()
        B = ((Q @ U[:, :rank]) * root).to(device, dtype)
        A = ((P @ Vh[:rank].T) * root).to(device, dtype)
        return lambda x: (x @ A) @ B.T


@dataclass(frozen=True)
class LowRankEdit(_Product):
    """``W ← W + B·A``: a LoRA product, its scale already inside ``B``; see ``_Product``."""


@dataclass(frozen=True)
class DoraEdit(_Product):
    """``W ← m ∘ (W + B·A)/‖W + B·A‖``, row by row: DoRA's product and magnitudes (arXiv 2402.09353).

    Attributes:
        magnitude: ``m (out,)`` float32.
    """

    magnitude: torch.Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.magnitude.shape != self.B.shape[:1]:
            raise ConfigError(f"{self.name}: {len(self.magnitude)} magnitudes for {len(self.B)} rows")

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the edit is made of, by part."""
        return {**super().tensors, "magnitude": self.magnitude}

    def parts(self, weight: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """``(g − 1)·W + g·BA``, some rows at a time, with the factor ``g`` of ``factor``."""
        g = self.factor(weight)[:, None]
        for rows, (view, product) in zip(_chunks(weight), super().parts(weight), strict=True):
            yield view, product.mul_(g[rows]).add_(view.float() * (g[rows] - 1))

    @torch.no_grad()
    def factor(self, weight: torch.Tensor) -> torch.Tensor:
        """``g = m/‖W + BA‖ (out,)`` float32."""
        norms = [(view.float() + product).norm(dim=1) for view, product in super().parts(weight)]
        return self.magnitude.to(weight.device) / torch.cat(norms).clamp_min(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class LocatedEdit(Edit):
    """``W[i] ← W[i] + δ_i`` for some rows, or ``W[:, i] ← W[:, i] + δ_i`` for some columns; nothing else changes.

    Attributes:
        axis: ``"rows"`` or ``"columns"``.
        indices: ``(k,)`` int64, no row or column twice.
        delta: ``(k, width)`` float32: a vector for each index, ``width`` being the size of the other axis.
    """

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
        if len(torch.unique(self.indices)) != len(self.indices):
            raise ConfigError(f"{self.name}: one of the {self.axis} is edited twice")

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the edit is made of, by part; the indices are named by their axis."""
        return {self.axis: self.indices, "delta": self.delta}

    def _view(self, weight: torch.Tensor) -> torch.Tensor:
        return weight if self.axis == "rows" else weight.T

    def check(self, weight: torch.Tensor) -> None:
        """See ``Edit.check``."""
        view = self._view(weight)
        inside = not len(self.indices) or (self.indices.min() >= 0 and self.indices.max() < len(view))
        if self.delta.shape[1] != view.shape[1] or not inside:
            raise self._refuse(f"of {len(self.indices)} {self.axis} of width {self.delta.shape[1]}", weight)

    def parts(self, weight: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """A copy of the edited rows or columns; see ``apply``."""
        yield (
            self._view(weight)[self.indices.to(weight.device)],
            self.delta.to(weight.device, torch.float32),
        )

    @torch.no_grad()
    def apply(self, weight: torch.Tensor) -> None:
        """Add the vectors to ``weight`` ``(out, in)`` in place, in fp32; only the edited rows or columns are copied.

        Raises:
            ConfigError: A row or column is not there, or the width differs.
        """
        self.check(weight)
        ((old, delta),) = self.parts(weight.data)
        self._view(weight)[self.indices.to(weight.device)] = (old.float() + delta).to(weight.dtype)

    def term(self, out: int, dtype: torch.dtype, device: torch.device) -> Term:
        """``δx`` at the edited outputs and nothing at the others, or ``δᵀx_i`` from the edited inputs."""
        indices, delta = self.indices.to(device), self.delta.to(device, dtype)
        if self.axis == "columns":
            return lambda x: x.index_select(-1, indices) @ delta
        return lambda x: x.new_zeros(len(x), out).index_copy_(-1, indices, x @ delta.T)


@dataclass(frozen=True)
class DenseEdit(Edit):
    """``W ← W + Δ``: a change of any form.

    Beside the weight it costs a second product of the same size, and as much memory again.

    Attributes:
        delta: ``(out, in)`` float32.
    """

    delta: torch.Tensor

    def __post_init__(self) -> None:
        if self.delta.ndim != 2:
            raise ConfigError(f"{self.name}: a dense edit is a matrix, not {tuple(self.delta.shape)}")

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What the edit is made of, by part."""
        return {"dense": self.delta}

    def check(self, weight: torch.Tensor) -> None:
        """See ``Edit.check``."""
        if weight.shape != self.delta.shape:
            raise self._refuse(str(tuple(self.delta.shape)), weight)

    def parts(self, weight: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Some rows at a time, so that the fp32 copies stay in cache."""
        for rows in _chunks(weight):
            yield weight[rows], self.delta[rows].to(weight.device, torch.float32, copy=True)

    def term(self, out: int, dtype: torch.dtype, device: torch.device) -> Term:
        """``Δx``."""
        delta = self.delta.to(device, dtype)
        return lambda x: x @ delta.T


def _chunks(weight: torch.Tensor) -> Iterator[slice]:
    """Some rows at a time, so that the fp32 copies stay in cache."""
    step = max(1, _CHUNK // weight.shape[1])
    return (slice(row, row + step) for row in range(0, len(weight), step))
