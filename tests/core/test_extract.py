"""The densest block against brute force, and the truncated SVD against LAPACK."""

import pytest
import torch

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.extract import densest_block, truncated_svd


def brute_force(scores: torch.Tensor, shape: tuple[int, int]) -> tuple[int, int]:
    """Every block summed in float64, the first maximum in row-major order."""
    windows = scores.double().unfold(0, shape[0], 1).unfold(1, shape[1], 1).sum((-1, -2))
    best = (windows == windows.max()).nonzero()[0]
    return tuple(best.tolist())


@pytest.mark.parametrize("seed", range(8))
def test_equals_brute_force_on_random_scores(seed):
    generator = torch.Generator().manual_seed(seed)
    R, C = torch.randint(1, 40, (2,), generator=generator).tolist()
    h = int(torch.randint(1, R + 1, (1,), generator=generator))
    w = int(torch.randint(1, C + 1, (1,), generator=generator))
    scores = torch.rand(R, C, generator=generator)
    assert densest_block(scores, (h, w)) == brute_force(scores, (h, w))


@pytest.mark.parametrize("seed", range(8))
def test_equals_brute_force_on_ties(seed):
    """Small integers tie all the time, and their sums are exact in the brute force too."""
    scores = torch.randint(0, 3, (30, 25), generator=torch.Generator().manual_seed(seed)).float()
    assert densest_block(scores, (4, 3)) == brute_force(scores, (4, 3))


def test_the_first_of_equal_blocks_wins_though_their_sums_round_apart_in_floating_point():
    tile = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) ** 4
    assert densest_block(tile.repeat(20, 20), (7, 5)) == (0, 0)
    assert densest_block(torch.full((300, 200), 0.1), (77, 33)) == (0, 0)
    assert densest_block(torch.zeros(6, 6), (2, 2)) == (0, 0)


def test_finds_an_advantage_of_a_thousandth_among_ten_million_entries():
    scores = torch.rand(4000, 2500, generator=torch.Generator().manual_seed(0))
    h, w = 1500, 900
    base = scores.clone()
    # Make two distant blocks equal, then lift one entry of the later by 1e-3 and see the choice move.
    base[:] = 0
    base[:h, :w] = scores[:h, :w]
    base[-h:, -w:] = scores[:h, :w]
    assert densest_block(base, (h, w)) == (0, 0)
    base[-1, -1] += 1e-3
    assert densest_block(base, (h, w)) == (4000 - h, 2500 - w)


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1.0, 1e20, 1e30])
def test_scale_does_not_matter(scale):
    scores = torch.rand(50, 60, generator=torch.Generator().manual_seed(3))
    assert densest_block(scores.double() * scale, (20, 10)) == densest_block(scores, (20, 10))


def test_negative_scores_other_dtypes_and_views():
    scores = torch.randn(40, 30, generator=torch.Generator().manual_seed(1))
    assert densest_block(scores, (9, 8)) == brute_force(scores, (9, 8))
    assert densest_block(scores.bfloat16(), (9, 8)) == brute_force(scores.bfloat16(), (9, 8))
    assert densest_block(scores.T, (9, 8)) == brute_force(scores.T, (9, 8))


def test_what_does_not_fit_and_what_is_no_number():
    with pytest.raises(ConfigError, match=r"3×9 does not fit into scores of 4×5"):
        densest_block(torch.zeros(4, 5), (3, 9))
    with pytest.raises(DataError, match="NaN"):
        densest_block(torch.tensor([[1.0, float("nan")]]), (1, 1))


def spectra() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def with_spectrum(m: int, n: int, s: torch.Tensor) -> torch.Tensor:
        U = torch.linalg.qr(torch.randn(m, len(s), generator=generator, dtype=torch.float64))[0]
        V = torch.linalg.qr(torch.randn(n, len(s), generator=generator, dtype=torch.float64))[0]
        return (U * s) @ V.T

    steps = torch.arange(300, dtype=torch.float64)
    return {
        "noise": torch.randn(700, 300, generator=generator),
        "wide": torch.randn(300, 700, generator=generator),
        "decay": with_spectrum(700, 300, 0.97**steps).float(),
        "steep": with_spectrum(700, 300, 0.5**steps).float(),
        "cluster": with_spectrum(700, 300, torch.where(steps < 40, 1.0, 0.3)).float(),
        "low rank": with_spectrum(700, 300, torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)).float(),
        "small": torch.randn(40, 30, generator=generator),
        "float64": torch.randn(500, 400, generator=generator, dtype=torch.float64),
        "bfloat16": torch.randn(500, 400, generator=generator).bfloat16(),
        "zero": torch.zeros(400, 300),
    }


@pytest.mark.parametrize("name", spectra())
@pytest.mark.parametrize("rank", [1, 16])
def test_residual_is_the_optimal_one(name, rank):
    """Eckart–Young: the optimum is what the singular values beyond r leave."""
    M = spectra()[name]
    B, A = truncated_svd(M, rank)
    assert B.shape == (M.shape[0], rank) and A.shape == (rank, M.shape[1])
    exact = M.double()
    optimal = torch.linalg.svdvals(exact)[rank:].norm()
    residual = (exact - B.double() @ A.double()).norm()
    # Where nothing is left, float32 factors still round: a few 1e-6 of the matrix.
    assert residual <= optimal * (1 + 1e-5) + 5e-6 * exact.norm()
    if name not in ("zero", "low rank"):
        gram = A.double() @ A.double().T
        torch.testing.assert_close(gram, torch.eye(rank, dtype=torch.float64), rtol=0, atol=1e-5)
        assert (B.norm(dim=0).diff() <= 1e-4 * B.norm(dim=0).max()).all(), "largest singular value first"


def test_full_rank_recovers_the_matrix():
    M = torch.randn(96, 48, generator=torch.Generator().manual_seed(0))
    B, A = truncated_svd(M, 48)
    torch.testing.assert_close(B @ A, M, rtol=0, atol=1e-5)


def test_svd_is_deterministic_and_signs_are_fixed():
    M = torch.randn(700, 300, generator=torch.Generator().manual_seed(0))
    (B, A), (B2, A2) = truncated_svd(M, 8), truncated_svd(M.clone(), 8)
    assert torch.equal(A, A2) and torch.equal(B, B2)
    assert (A.gather(1, A.abs().argmax(1, keepdim=True)) > 0).all()


def test_svd_refuses_a_rank_that_does_not_fit_and_nan():
    with pytest.raises(ConfigError, match=r"rank 5 .* 4×9"):
        truncated_svd(torch.zeros(4, 9), 5)
    with pytest.raises(DataError, match="NaN"):
        truncated_svd(torch.full((4, 4), float("inf")), 1)
