"""Optimal transport with an entropic penalty, uniform on both sides: which of these goes to which of those, softly."""

from __future__ import annotations

import math

from pkt_eval._util.lazy import torch


@torch.no_grad()
def sinkhorn(
    cost: torch.Tensor, *, epsilon: float = 0.1, iterations: int = 200, tolerance: float = 1e-6
) -> torch.Tensor:
    """The plan ``Q ≥ 0`` of least ``⟨C, Q⟩ − ε·entropy(Q)`` whose rows and columns share a mass of 1 evenly.

    Sinkhorn's iteration (Cuturi, arXiv 1306.0895) in the log domain: potentials ``u`` and ``v`` with
    ``Q = exp((u + v − C)/ε)``, each in turn solved for its own marginal. The row marginals are exact at the end.

    The potentials are what is kept, in log; the sums are two matrix–vector products with the kernel
    ``K = exp((min C − C)/ε)``, which cannot underflow to a row of zeros while costs span less than ``600·ε`` in float64
    or ``80·ε`` in float32. Beyond that each sum is a log-sum-exp, which is some ten times slower.

    Args:
        cost: ``(…, m, n)``, finite; leading dimensions are problems of their own.
        epsilon: Weight of the entropy, in the unit of the costs.
        iterations: At most so many.
        tolerance: Stop once the mass of every column is right to this share of it.

    Returns:
        ``(…, m, n)`` in the dtype of the costs.
    """
    m, n = cost.shape[-2:]
    floor = cost.amin((-2, -1), keepdim=True)
    logK = (floor - cost) / epsilon  # ≤ 0
    wide = float(-logK.min()) > (600 if cost.dtype == torch.float64 else 80)
    K = None if wide else logK.exp()

    def summed(potential: torch.Tensor, axis: int) -> torch.Tensor:
        """``log Σ K·exp(potential)`` over the rows (axis −2) or columns (−1)."""
        if K is None:
            return torch.logsumexp(logK + potential.unsqueeze(-1 if axis == -2 else -2), axis)
        top = potential.amax(-1, keepdim=True)
        weights = (potential - top).exp().unsqueeze(-1)
        return ((K.mT if axis == -2 else K) @ weights).squeeze(-1).log() + top

    f, g = cost.new_zeros(cost.shape[:-1]), cost.new_zeros((*cost.shape[:-2], n))
    for _ in range(iterations):
        f = -math.log(m) - summed(g, -1)
        reached = summed(f, -2) + g + math.log(n)  # log of each column's mass, relative to what it should be
        if float(reached.abs().max()) <= tolerance:
            break
        g = g - reached
    else:
        f = -math.log(m) - summed(g, -1)
    return (logK + f.unsqueeze(-1) + g.unsqueeze(-2)).exp()
