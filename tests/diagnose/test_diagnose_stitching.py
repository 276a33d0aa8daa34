"""The affine map: exact where there is one, nothing where there is none, and equal to a plain ridge."""

import pytest
import torch

from pkt_eval._util.progress import Progress
from pkt_eval.diagnose.stitching import _RIDGES, stitch
from pkt_eval.errors import DataError

QUIET = Progress(False)


def data(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def held(n: int) -> torch.Tensor:
    return torch.arange(n) % 4 == 3


def test_an_affine_image_is_found_and_noise_is_not():
    X = data(400, 12, 0) * torch.logspace(-2, 2, 12) + 5
    image, noise = X @ data(12, 8, 1) - 3, data(400, 8, 2)
    fit = stitch(X[None], torch.stack([image, noise]), held(400), QUIET)
    assert fit.r2[0, 0] == pytest.approx(1, abs=1e-9)
    assert -0.1 < fit.r2[0, 1] < 0.05
    assert fit.ridge[0, 0] < fit.ridge[0, 1]


def test_it_is_in_float32_what_it_is_in_float64():
    X = data(200, 30, 0)
    Y = X @ data(30, 10, 1) + 3 * data(200, 10, 2)
    wide, narrow = (stitch(X[None].to(t), Y[None].to(t), held(200), QUIET).r2 for t in (torch.float64, torch.float32))
    torch.testing.assert_close(narrow, wide, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [60, 24])  # more fitted tokens than features, and fewer
def test_it_is_the_plain_ridge_of_the_lowest_gcv(n):
    d, mask = 20, held(n)
    X = data(n, d, 0)
    Y = torch.tanh(X @ data(d, 3, 1)) + data(n, 3, 2)
    fit = stitch(X[None], Y[None], mask, QUIET)

    def scaled(t):
        return (t - t[~mask].mean(0)) / t[~mask].std(0, correction=0)

    X, Y = scaled(X), scaled(Y)
    A, B, m = X[~mask], Y[~mask], int((~mask).sum())
    unit = torch.linalg.eigvalsh(A.T @ A).clamp_min(0).mean()
    best = None
    for ridge in _RIDGES:
        inverse = torch.linalg.inv(A.T @ A + ridge * unit * torch.eye(d, dtype=A.dtype))
        hat = A @ inverse @ A.T + 1 / m  # the mean is fitted as well
        gcv = ((B - hat @ B) ** 2).sum() / (m - hat.trace()) ** 2
        weights = inverse @ A.T @ B
        r2 = 1 - ((Y[mask] - X[mask] @ weights) ** 2).sum() / (Y[mask] ** 2).sum()
        if best is None or gcv < best[0]:
            best = gcv, ridge, r2
    assert fit.r2.item() == pytest.approx(best[2].item(), abs=1e-6 if n == 60 else 1e-3)
    if n == 60:  # with fewer tokens than features the score is flat at small ridges
        assert fit.ridge.item() == pytest.approx(best[1].item())


def test_a_target_that_does_not_vary_does_no_harm():
    X = data(80, 5, 0)
    Y = torch.cat([X[:, :2], torch.ones(80, 1, dtype=X.dtype)], 1)
    assert stitch(X[None], Y[None], held(80), QUIET).r2.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("all_held_out", [True, False])
def test_without_two_kinds_of_texts_it_says_so(all_held_out):
    with pytest.raises(DataError, match="four texts of a task"):
        stitch(data(8, 2, 0)[None], data(8, 2, 1)[None], torch.full((8,), all_held_out), QUIET)
