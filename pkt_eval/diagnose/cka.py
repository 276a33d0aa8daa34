"""Linear CKA, debiased, of every layer of one model against every layer of another, streamed over tokens.

CKA (Kornblith et al., arXiv 1905.00414) is ``HSIC(K, L) / √(HSIC(K, K)·HSIC(L, L))`` of the Gram matrices ``K = XXᵀ``
and ``L = YYᵀ``. The plain HSIC is far from zero for unrelated features when tokens are not many more than features;
here it is the unbiased one (Song et al., JMLR 2012). Its O(n²) form is a dot product of *U-centred* Grams (Székely and
Rizzo, arXiv 1310.2926): ``HSIC₁(K, L) = ⟨K̃, L̃⟩ / (n(n − 3))`` with a zero diagonal and

    K̃ᵢⱼ = Kᵢⱼ − Kᵢ./(n − 2) − K.ⱼ/(n − 2) + K../((n − 1)(n − 2))     (sums without the diagonal).

Streamed, it is the minibatch CKA of Nguyen et al. (arXiv 2010.15327): each HSIC is averaged over batches of 256 tokens
before the ratio is taken. As the estimator is unbiased at every batch size, so is the average, and memory does not
depend on the number of tokens.

Why Grams of batches and not sums of d₁×d₂ cross products: a pair of layers then costs 2n² FLOPs a batch, once each
layer has its Gram (2n²d), while ``XᵀY`` costs ``2n·d₁·d₂`` for each of L₁·L₂ pairs. For the up outputs of Qwen2.5 1.5B
against 0.5B (d = 8960 and 4864, 28×24 pairs), that is 48 GFLOP a batch against 15,000; and 256 KB a Gram against 174 MB
a pair. All pairs of a batch are one product ``(L₁ × n²)(n² × L₂)``.

All sums are in float64. A HSIC adds up n² products, 65,536 of a batch; in float32 the order in which a processor adds
them decides the fifth digit, and a CKA with it (seen: 4e-5 between an AMX processor and one without). In float64 they
cost a small part of what the model's own pass over the tokens does, and no setting of float32 products (TF32, bf16)
touches them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from pkt_eval.diagnose.activations import KINDS
from pkt_eval.errors import DataError


def centred_gram(X: torch.Tensor) -> torch.Tensor:
    """The U-centred Gram matrix ``(n, n)``, float64, of features ``X (n, d)``.

    Raises:
        DataError: Fewer than 4 rows, or an entry that is not finite.
    """
    n = len(X)
    if n < 4:
        raise DataError(f"an unbiased HSIC needs 4 tokens or more, got {n}")
    X = X.double()
    X = X - X.mean(0)  # U-centring takes a shift away in any case; taken away first, it costs no digits
    K = X @ X.T
    if not torch.isfinite(K).all():
        raise DataError("an activation is not finite: run the model in float32")
    K.fill_diagonal_(0)
    rows = K.sum(1)
    K -= (rows[:, None] + rows[None]) / (n - 2) - rows.sum() / ((n - 1) * (n - 2))
    return K.fill_diagonal_(0)


def hsic(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Unbiased HSIC of every pair: ``(P, Q)`` float64, of U-centred Grams ``(P, n, n)`` and ``(Q, n, n)``."""
    n = a.shape[-1]
    return (a.double().flatten(1) @ b.double().flatten(1).T) / (n * (n - 3))


def cka(xy: torch.Tensor, xx: torch.Tensor, yy: torch.Tensor) -> torch.Tensor:
    """CKA ``(P, Q)`` of HSICs (or sums of them over equal batches): across ``(P, Q)``, within ``(P, P)``, ``(Q, Q)``.

    NaN where features do not vary. A debiased CKA may come out slightly below zero.
    """
    within_x, within_y = (torch.where(t > 0, t, torch.nan).sqrt() for t in (xx.diagonal(), yy.diagonal()))
    return xy / (within_x[:, None] * within_y[None])


def linear_cka(X: torch.Tensor, Y: torch.Tensor) -> float:
    """Debiased linear CKA of two sets of features ``(n, d₁)`` and ``(n, d₂)`` of the same tokens."""
    x, y = (centred_gram(t)[None] for t in (X, Y))
    return cka(hsic(x, y), hsic(x, x), hsic(y, y)).item()


@dataclass(frozen=True)
class Measured:
    """HSICs of one model's layers, summed over batches.

    Attributes:
        within: Kind → ``(L, L)``: layers against each other.
        across: Kind → ``(L', L)``: layers of the model before against this one's; empty if there was none.
    """

    within: Mapping[str, torch.Tensor]
    across: Mapping[str, torch.Tensor]


def measure(
    batches: Iterable[Mapping[str, list[torch.Tensor]]],
    *,
    keep: torch.Tensor | None = None,
    against: torch.Tensor | None = None,
) -> Measured:
    """HSICs of all pairs of layers of a model, and with those of a model that was run before.

    Args:
        batches: Kind → ``(n, width)`` a layer, as from ``activations.stream``.
        keep: ``(batches, kinds, L, n, n)`` that receives the Grams, for a later ``against``. Float32 is enough: each
            entry is then rounded once, by 6e-8 of itself, and sums are still in float64.
        against: The Grams that another model left so, of the same tokens.
    """
    within: dict[str, torch.Tensor] = {}
    across: dict[str, torch.Tensor] = {}
    for number, batch in enumerate(batches):
        for place, kind in enumerate(KINDS):
            grams = torch.stack([centred_gram(X) for X in batch[kind]])  # (L, n, n)
            within[kind] = within.get(kind, 0) + hsic(grams, grams).cpu()
            if keep is not None:
                keep[number, place] = grams.cpu()
            if against is not None:
                across[kind] = across.get(kind, 0) + hsic(against[number, place].to(grams), grams).cpu()
    return Measured(within, across)


def pair_matrices(first: Measured, second: Measured) -> dict[str, torch.Tensor]:
    """Kind → CKA ``(L₁, L₂)`` of two models, of which the second was measured ``against`` the first."""
    return {kind: cka(second.across[kind], first.within[kind], second.within[kind]) for kind in second.across}


def own_matrices(model: Measured) -> dict[str, torch.Tensor]:
    """Kind → CKA ``(L, L)`` of a model's layers with each other."""
    return {kind: cka(w, w, w) for kind, w in model.within.items()}
