"""The contiguous block of a matrix with the largest sum."""

from __future__ import annotations

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError

# Rows handled at once: 64 rows of a 13824-wide matrix are 7 MB in int64, which stays in cache.
_CHUNK = 64


@torch.no_grad()
def densest_block(scores: torch.Tensor, shape: tuple[int, int]) -> tuple[int, int]:
    """Place of the ``shape`` block of ``scores`` with the largest sum (arXiv 2310.11451, §3.2).

    Sums are exact and do not depend on their order: the scores are first written as int64 multiples of a power of two
    that is as small as lets no sum overflow. An entry moves by at most 2⁻⁶² of the total, far less than a float64
    prefix sum loses on the way, and two blocks with equal entries have equal sums, so that ties are ties.

    Work: with ``(R, C)`` scores and an ``(h, w)`` block there are ``(R-h+1)(C-w+1)`` places. A first window is summed
    and then slides: one reduction over ``w`` columns and ``C-w`` differences a row, and the same down the rows. No
    prefix sum of the whole matrix is built.

    Args:
        scores: ``(R, C)``, any real dtype.
        shape: ``(h, w)`` with ``h ≤ R`` and ``w ≤ C``.

    Returns:
        ``(row, col)`` of the upper left corner; the first in row-major order wins a tie.

    Raises:
        ConfigError: The block does not fit.
        DataError: A score is NaN or infinite.

    Example:
        >>> scores = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 3.0], [0.0, 1.0, 1.0]])
        >>> densest_block(scores, (2, 2))
        (1, 1)
    """
    (h, w), (R, C) = shape, scores.shape
    if not (0 < h <= R and 0 < w <= C):
        raise ConfigError(f"a block of {h}×{w} does not fit into scores of {R}×{C}")
    total = scores.abs().sum(dtype=torch.float64)
    if not torch.isfinite(total):
        raise DataError(f"scores of {R}×{C} hold NaN or infinite entries; no block can be chosen")
    # 2^exponent·total < 2^62; frexp gives total = m·2^e with m < 1.
    exponent = 62 - int(torch.frexp(total).exponent)
    # 2^exponent itself may not be a float64 (subnormal scores), so it is applied in two exact halves.
    halves = (2.0 ** (exponent // 2), 2.0 ** (exponent - exponent // 2))

    strips = torch.empty(R, C - w + 1, dtype=torch.int64, device=scores.device)
    for top in range(0, R, _CHUNK):
        fixed = scores[top : top + _CHUNK].double().mul_(halves[0]).mul_(halves[1]).round_().long()
        _slide(fixed, w, out=strips[top : top + _CHUNK])
    sums = _slide(strips.T, h, out=torch.empty(C - w + 1, R - h + 1, dtype=torch.int64, device=scores.device)).T
    # argmax promises no order among equals: take the smallest flat index that holds the maximum.
    row, col = (sums == sums.max()).nonzero()[0].tolist()
    return row, col


def _slide(x: torch.Tensor, w: int, out: torch.Tensor) -> torch.Tensor:
    """Sums of every window of ``w`` along the last dimension: ``(N, M)`` → ``(N, M-w+1)``."""
    out[:, 0] = x[:, :w].sum(dim=1)
    if out.shape[1] > 1:
        torch.sub(x[:, w:], x[:, :-w], out=out[:, 1:])
        torch.cumsum(out, dim=1, out=out)
    return out
