"""Truncated SVD by a block Krylov space: the best rank-r product without the other 900 singular vectors."""

from __future__ import annotations

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError

# Stop when so many steps gain less than this share of the squared residual. Gains shrink geometrically, so that what is
# left is smaller still, and the residual itself is off by half of its share.
_GAIN = 1e-4
_CHECK = 3
# Energies of float32 products carry errors of about 1e-7: a squared residual below this share of the whole cannot be
# told from them, and the matrix is decomposed by LAPACK instead. Weights of language models are far from it.
_FLAT = 1e-4


@torch.no_grad()
def truncated_svd(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``B = U_r Σ_r`` and ``A = V_rᵀ``, so that ``B·A`` is the best rank-r approximation.

    The square root of ``Σ_r`` is not split among the two (docs/methods.md, Seeking, step 4).

    Block Lanczos on ``MᵀM`` with full reorthogonalisation, i.e. block Krylov iteration (Musco and Musco, arXiv
    1504.05477): a step costs ``4·m·n·b`` FLOPs, and the projected matrix falls out of the coefficients. It stops when
    the energy that the best rank-r subspace captures stops growing. Deterministic: the start is seeded, signs are
    fixed. A matrix whose smaller side is not much larger than the rank, or that is of low rank itself, is left to
    LAPACK.

    Args:
        matrix: ``(m, n)``. float64 is computed in float64, all else in float32.
        rank: ``1 ≤ rank ≤ min(m, n)``.

    Returns:
        ``B (m, rank)`` and ``A (rank, n)`` with orthonormal rows, largest singular value first. The residual
        ``‖M − BA‖_F`` is within a factor ``1 + 1e-5`` of the optimal one, or of float32 rounding (a few 1e-6·‖M‖).

    Raises:
        ConfigError: The rank does not fit.
        DataError: An entry is NaN or infinite.
    """
    m, n = matrix.shape
    if not 0 < rank <= min(m, n):
        raise ConfigError(f"rank {rank} does not fit a matrix of {m}×{n}: it has at most {min(m, n)}")
    M = matrix if matrix.dtype == torch.float64 else matrix.float()
    if not torch.isfinite(energy := torch.linalg.vector_norm(M).double() ** 2):
        raise DataError(f"a matrix of {m}×{n} holds NaN or infinite entries; it has no SVD")
    block = max(rank, 8)
    tall = M if m >= n else M.T
    V = _krylov(tall, rank, block, energy) if min(m, n) > 8 * block else None
    if V is None:
        U, S, Vh = torch.linalg.svd(M, full_matrices=False)
        B, A = U[:, :rank] * S[:rank], Vh[:rank]
    else:
        # The images U·Σ of V are orthogonal only as far as the iteration converged: a small SVD makes them so.
        Q, R = torch.linalg.qr(tall @ V)
        left, S, right = torch.linalg.svd(R.double())
        U, V = Q @ left.to(M), V @ right.T.to(M)
        B, A = (U * S.to(M), V.T) if m >= n else (V * S.to(M), U.T)
    # An SVD is unique up to signs: make the largest entry of each row of A positive.
    sign = A.gather(1, A.abs().argmax(dim=1, keepdim=True)).sign()
    sign[sign == 0] = 1
    return (B * sign.T).contiguous(), (A * sign).contiguous()


def _krylov(M: torch.Tensor, rank: int, b: int, energy: torch.Tensor) -> torch.Tensor | None:
    """Orthonormal ``V (n, rank)`` whose image under a tall ``M (m, n)`` holds the most energy; None if unresolved."""
    n = M.shape[1]
    start = torch.randn(n, b, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    basis = torch.linalg.qr(start)[0].to(M)  # (n, s·b), orthonormal
    T = torch.zeros(0, 0, dtype=torch.float64, device=M.device)  # basisᵀ·MᵀM·basis
    captured = torch.zeros((), dtype=torch.float64, device=M.device)
    for step in range(1, n // b):
        W = ((M @ basis[:, -b:]).T @ M).T
        coefficients = basis.T @ W
        column = coefficients.double()
        T = torch.cat([torch.cat([T, column[:-b]], 1), column.T], 0)
        if step % _CHECK == 0:
            captured, before = torch.linalg.eigvalsh(T)[-rank:].sum(), captured
            if captured - before <= _GAIN * (energy - captured) or energy - captured < _FLAT * energy:
                break
        W = torch.linalg.qr(W - basis @ coefficients)[0]
        # A second pass of Gram–Schmidt, since the first leaves what it rounded.
        basis = torch.cat([basis, torch.linalg.qr(W - basis @ (basis.T @ W))[0]], dim=1)
    if energy - captured < _FLAT * energy:
        return None
    return basis[:, : T.shape[0]] @ torch.linalg.eigh(T)[1][:, -rank:].flip(1).to(M)


@torch.no_grad()
def singular_vectors(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The leading singular vectors ``U_r`` and ``V_r`` one by one, for what pairs them by their place.

    ``truncated_svd`` finds the best subspace, not each vector of it. This is LAPACK's eigendecomposition of the smaller
    Gram matrix in float64, ``k = min(m, n)``: ``2·m·n·k + 9·k³`` FLOPs, and float64 leaves of a float32 matrix what it
    had. A pair has a sign to choose: the largest entry of each ``V``'s column is positive.

    Args:
        matrix: ``(m, n)``.
        rank: ``1 ≤ rank ≤ min(m, n)``.

    Returns:
        ``U (m, rank)`` and ``V (n, rank)``, float64, orthonormal columns, largest singular value first. Where singular
        values are zero, columns of the larger side are zero.

    Raises:
        ConfigError: The rank does not fit.
    """
    m, n = matrix.shape
    if not 0 < rank <= min(m, n):
        raise ConfigError(f"rank {rank} does not fit a matrix of {m}×{n}: it has at most {min(m, n)}")
    tall = (matrix if m >= n else matrix.T).double()
    values, vectors = torch.linalg.eigh(tall.T @ tall)
    small = vectors[:, -rank:].flip(1)
    image = tall @ small
    sigma = values[-rank:].flip(0).clamp_min(0).sqrt()
    known = sigma > sigma[:1] * max(m, n) * torch.finfo(torch.float64).eps ** 0.5
    large = torch.where(known, image / sigma.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    U, V = (large, small) if m >= n else (small, large)
    sign = V.gather(0, V.abs().argmax(0, keepdim=True)).sign()
    sign[sign == 0] = 1
    return U * sign, V * sign
