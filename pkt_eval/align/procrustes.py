"""Gauges between two models: the orthogonal map, or the permutation, under which their activations agree best.

Pure mathematics of cross-covariances; where these come from is no business of this file.
"""

from __future__ import annotations

from typing import NamedTuple

from pkt_eval._util.lazy import torch


class Gauge(NamedTuple):
    """A signed choice of the teacher's neurons, one for each of the student's.

    Attributes:
        neurons: ``(f_S,)`` int64: the teacher's neuron that plays the part of each of the student's; none twice.
        signs: ``(f_S,)`` float64, 1 or −1: whether it does so with its sign changed.
    """

    neurons: torch.Tensor
    signs: torch.Tensor


@torch.no_grad()
def semi_orthogonal(cross: torch.Tensor) -> torch.Tensor:
    """The polar factor ``Θ = U·Vᵀ`` of a cross-covariance ``AᵀB = U·Σ·Vᵀ``: the orthogonal Procrustes solution.

    Of all partial isometries it maximises ``tr(Θᵀ·AᵀB)``; for square matrices it minimises ``‖AΘ − B‖`` over rotations
    (Schönemann 1966). Directions in which nothing was measured, singular values that are zero but for rounding, are
    left out rather than paired by chance, so that ``Θ`` is a function of the data alone.

    Args:
        cross: ``AᵀB (d_T, d_S)``; computed in float64.

    Returns:
        ``Θ (d_T, d_S)`` float64; its singular values are 1, or 0 where nothing was measured.
    """
    U, sigma, Vh = torch.linalg.svd(cross.double(), full_matrices=False)
    measured = sigma > sigma[:1] * max(cross.shape) * torch.finfo(torch.float64).eps
    return (U * measured) @ Vh


@torch.no_grad()
def correlation(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of every column of one matrix with every column of another; 0 for a constant column.

    Args:
        A: ``(n, p)``.
        B: ``(n, q)``, rows paired with those of ``A``.

    Returns:
        ``(p, q)`` in float32, or float64 where the inputs are.
    """
    return standardised(A).T @ standardised(B) / len(A)


@torch.no_grad()
def standardised(A: torch.Tensor) -> torch.Tensor:
    """Columns of mean 0 and variance 1 over ``n``; a constant column is 0.

    Args:
        A: ``(n, p)``; its moments are taken in float64.

    Returns:
        ``(n, p)`` in float32, or float64 where ``A`` is.
    """
    wide = A.double()
    centred = wide - wide.mean(0)
    deviation = centred.square().mean(0).sqrt()
    # Rounding of a mean leaves about eps of its column's size where the column is constant.
    varies = deviation > 1e-12 * wide.abs().amax(0)
    scaled = torch.where(varies, centred / deviation, 0.0)
    return scaled if A.dtype == torch.float64 else scaled.float()


def permutation_gauge(correlations: torch.Tensor) -> Gauge:
    """For each of the student's neurons another neuron of the teacher, such that ``Σ |corr|`` is largest.

    A gated FFN keeps its function when its neurons are permuted, and when ``up`` and ``down`` of a neuron change their
    signs; no rotation of them does. This is the rectangular assignment problem, solved exactly (Crouse 2016): of a
    teacher with more neurons the least alike are left out. 9,000 by 5,000 neurons take about ten seconds.

    Args:
        correlations: ``(f_T, f_S)`` with ``f_S ≤ f_T``.

    Returns:
        The assignment, and the signs of the correlations that it chose.
    """
    from scipy.optimize import linear_sum_assignment

    corr = correlations.double().cpu().T
    _, chosen = linear_sum_assignment(corr.abs().numpy(), maximize=True)  # rows in order: there are fewer of them
    neurons = torch.from_numpy(chosen).long()
    values = corr.gather(1, neurons[:, None])[:, 0]
    return Gauge(neurons, torch.where(values < 0, -1.0, 1.0).double())
