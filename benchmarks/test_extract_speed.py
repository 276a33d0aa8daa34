"""Densest block and truncated SVD at a real pair's sizes, against the stock way, on one core.

Run with ``make bench``. Ratios are printed, never asserted: they are facts of one machine.
"""

import pytest
import torch

from pkt_eval.extract import densest_block, truncated_svd

BIG, SMALL = (8960, 1536), (4864, 896)  # Qwen2.5 1.5B → 0.5B, up_proj


@pytest.fixture(autouse=True)
def _one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plain_prefix_sums(scores: torch.Tensor, shape: tuple[int, int]) -> tuple[int, int]:
    """The obvious vectorised search: one float64 prefix sum of the whole matrix, four corners a block."""
    h, w = shape
    P = torch.zeros(scores.shape[0] + 1, scores.shape[1] + 1, dtype=torch.float64)
    P[1:, 1:] = scores.double().cumsum(0).cumsum(1)
    sums = P[h:, w:] - P[:-h, w:] - P[h:, :-w] + P[:-h, :-w]
    return divmod(int(sums.argmax()), sums.shape[1])


def thin_svd(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """LAPACK's thin SVD, cut."""
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank]


def full_svd(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """LAPACK's full SVD, cut."""
    U, S, Vh = torch.linalg.svd(matrix)
    return U[:, :rank] * S[:rank], Vh[:rank]


@pytest.mark.benchmark(group=f"densest block, {BIG} → {SMALL}")
@pytest.mark.parametrize("search", [plain_prefix_sums, densest_block])
def test_densest_block(benchmark, search):
    scores = torch.rand(BIG, generator=torch.Generator().manual_seed(0)) ** 2
    place = benchmark.pedantic(search, (scores, SMALL), rounds=5, warmup_rounds=1)
    assert place == plain_prefix_sums(scores, SMALL)


@pytest.mark.benchmark(group=f"rank-16 SVD of {SMALL}")
@pytest.mark.parametrize("svd", [full_svd, thin_svd, truncated_svd])
def test_svd(benchmark, svd):
    # Noise has no gap after the 16th singular value, which is the slowest case for an iteration; weights are faster.
    M = torch.randn(SMALL, generator=torch.Generator().manual_seed(0))
    B, A = benchmark.pedantic(svd, (M, 16), rounds=3, warmup_rounds=1)
    optimal = torch.linalg.svdvals(M)[16:].norm()
    assert (M - B @ A).norm() <= optimal * (1 + 1e-5)
