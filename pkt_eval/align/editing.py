"""Closed-form edits of ``down``: what a token's FFN adds is changed as is wanted, and generic tokens are left alone.

``down`` is read as a linear memory: of the keys ``k``, its inputs, it makes what is added to the residual stream. An
edit that changes the answers to some keys disturbs others, by how much is told by the second moment of generic keys,
``C = E[k kᵀ] + λI``. All solutions are in float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.data.chat import IGNORE
from pkt_eval.models import blocks
from pkt_eval.models.edits import DenseEdit, Edit, LowRankEdit

_GAIN = 1e-3  # of a gain's mean square: a channel that a norm all but shuts is not to be shifted through it


class SecondMoment:
    """``A = XᵀX + μI`` of rows ``X (n, f)``, factored once; of ``n < f`` rows, an ``(n, n)`` matrix is.

    Args:
        rows: ``(n, f)``.
        mu: Positive.
    """

    def __init__(self, rows: torch.Tensor, mu: float) -> None:
        self._rows, self._mu = rows, mu
        X = rows.double()
        square = X @ X.T if len(X) < X.shape[1] else X.T @ X
        self._factor = torch.linalg.cholesky(square + mu * torch.eye(len(square), dtype=square.dtype))

    def solve(self, B: torch.Tensor) -> torch.Tensor:
        """``A⁻¹B`` ``(f, k)`` of ``B (f, k)``; by Woodbury's identity where the factor is ``(n, n)``."""
        B, X = B.double(), self._rows.double()
        if len(X) >= X.shape[1]:
            return torch.cholesky_solve(B, self._factor)
        return (B - X.T @ torch.cholesky_solve(X @ B, self._factor)) / self._mu


def generic_scale(rows: torch.Tensor) -> float:
    """What ridges of ``C`` are relative to: the median over tokens of the keys' mean square.

    Not the mean: the first token's keys are hundreds of times as large in some layers (arXiv 2402.17762).

    Args:
        rows: ``(n, f)`` keys of generic tokens.
    """
    return max(float(rows.double().square().mean(1).median()), torch.finfo(torch.float32).tiny)


def covariance(rows: torch.Tensor, ridge: float) -> SecondMoment:
    """``C = E[k kᵀ] + λI``, ``λ = ridge ·`` ``generic_scale``, of keys of generic tokens ``(n, f)``."""
    return SecondMoment(rows.double() / len(rows) ** 0.5, ridge * generic_scale(rows))


def rank_one(name: str, shift: torch.Tensor, key: torch.Tensor, C: SecondMoment) -> LowRankEdit:
    """``ΔW = s (C⁻¹k)ᵀ / (kᵀC⁻¹k)``: of all edits with ``ΔW k = s`` the one of least ``tr(ΔW C ΔWᵀ)``.

    Args:
        name: Of the parameter ``(d, f)``.
        shift: ``s (d,)``.
        key: ``k (f,)``.
        C: Of generic keys.
    """
    key = key.double().cpu()
    dual = C.solve(key[:, None])[:, 0]
    return LowRankEdit(name, shift.double().cpu()[:, None].float(), (dual / (key @ dual))[None].float())


def guarded(
    name: str, residual: torch.Tensor, keys: torch.Tensor, generic: torch.Tensor, guard: float, ridge: float
) -> Edit:
    """``ΔW = RᵀK (KᵀK + λ_C C)⁻¹``: least ``‖K ΔWᵀ − R‖² + λ_C tr(ΔW C ΔWᵀ)`` (MEMIT's update, arXiv 2210.07229).

    Args:
        name: Of the parameter ``(d, f)``.
        residual: ``R (n, d)``: what is to be added at each key.
        keys: ``K (n, f)``.
        generic: ``(m, f)`` keys of generic tokens, of which ``C`` is.
        guard: ``λ_C / n``: 1 weighs a generic token like one of the keys.
        ridge: Of ``C``, as of ``covariance``.

    Returns:
        A low-rank edit where its factors, of rank ``n``, are less than half of the matrix; else a dense one.
    """
    n, (d, f) = len(keys), (residual.shape[1], keys.shape[1])
    K, R, weight = keys.double().cpu(), residual.double().cpu(), guard * len(keys)
    stacked = torch.cat([K, generic.double().cpu() * (weight / len(generic)) ** 0.5])
    A = SecondMoment(stacked, weight * ridge * generic_scale(generic))
    if 2 * n * (d + f) <= d * f:
        return LowRankEdit(name, R.T.float().contiguous(), A.solve(K.T).T.float().contiguous())
    return DenseEdit(name, A.solve(K.T @ R).T.float().contiguous())


def before_norm(model: Any, layer: int, shift: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """What has to be added to ``down``'s output so that the residual stream is shifted.

    The shift itself, but where a norm stands behind the FFN (Gemma 2). There ``y ↦ γ∘y/rms(y)``, whose own change of
    scale is left aside: ``rms(y)·γ∘s/(γ² + ε)`` gives the shift exactly up to a common factor of the FFN's whole share.

    Args:
        model: The student.
        layer: Of it.
        shift: ``s (…, d)``.
        out: ``y (…, d)``: ``down``'s output at the same tokens.
    """
    norm = blocks.norm_after_ffn(blocks.layers(model)[layer])
    shift = shift.double().cpu()
    if norm is None:
        return shift
    gain = blocks.norm_gain(norm, blocks.norm_eps(model)).double().cpu()
    rms = out.double().cpu().square().mean(-1, keepdim=True).sqrt()
    return rms * shift * gain / (gain.square() + _GAIN * gain.square().mean())


@torch.no_grad()
def edits_in_order(
    model: Any,
    batch: Mapping[str, torch.Tensor],
    layers: Iterable[int],
    make: Callable[[int, torch.Tensor, torch.Tensor], LowRankEdit],
) -> list[LowRankEdit]:
    """Edit ``down`` of some layers, each with the keys that it has under the edits before it, in one forward pass.

    Args:
        model: The student; it is left as it was.
        batch: Texts, all in one: the pass cannot be parted.
        layers: Whose ``down`` is edited.
        make: Layer, keys ``(n, f)`` and outputs ``(n, d)`` at the supervised positions, on the CPU → the edit; in depth
            order.
    """
    rows, columns = (batch["labels"][:, 1:] != IGNORE).nonzero(as_tuple=True)
    places = rows.to(model.device), columns.to(model.device)
    edits: list[LowRankEdit] = []

    def edited(layer: int, _: Any, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        (keys,) = inputs
        edits.append(make(layer, keys[places].cpu(), out[places].cpu()))
        term = edits[-1].term(out.shape[-1], out.dtype, out.device)
        return out + term(keys.reshape(-1, keys.shape[-1])).view(out.shape)

    with ExitStack() as stack:
        for layer in layers:
            hook = blocks.block(model, "down", layer).register_forward_hook(partial(edited, layer))
            stack.callback(hook.remove)
        blocks.decoder(model)(
            input_ids=batch["input_ids"].to(model.device),
            attention_mask=batch["attention_mask"].to(model.device),
            use_cache=False,
        )
    return edits


@torch.no_grad()
def relative_sizes(model: Any, edits: Sequence[Edit]) -> dict[str, float]:
    """Block → mean over its edits of ``‖δ‖/‖w‖``, Frobenius, of the edited rows or columns where those alone are."""
    found: dict[str, list[float]] = {}
    for edit in edits:
        weight = model.get_parameter(edit.name)
        delta = old = torch.zeros((), dtype=torch.float64)
        for view, change in edit.parts(weight):
            delta, old = delta + change.double().square().sum().cpu(), old + view.double().square().sum().cpu()
        block = edit.name.split(".")[-2].removesuffix("_proj")
        found.setdefault(block, []).append(float((delta / old).sqrt()))
    return {block: sum(sizes) / len(sizes) for block, sizes in found.items()}
