"""Debiased CKA against brute force and its invariances; the token sample; the stream."""

import itertools

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.diagnose.activations import KINDS, draw_tokens, keep_residual, layer_batches, on_disk
from pkt_eval.diagnose.cka import centred_gram, cka, hsic, linear_cka, measure, own_matrices, pair_matrices
from pkt_eval.errors import DataError


def features(n: int, d: int, seed: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def related(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    X = features(n, 7, 0)
    return X, X @ features(7, 5, 1) + 0.5 * features(n, 5, 2)


def plain_cka(X: torch.Tensor, Y: torch.Tensor) -> float:
    X, Y = X - X.mean(0), Y - Y.mean(0)
    return ((X.T @ Y).norm() ** 2 / ((X.T @ X).norm() * (Y.T @ Y).norm())).item()


def brute_force(X: torch.Tensor, Y: torch.Tensor) -> float:
    """Song et al. (2012), eq. 4 as the U-statistic that it is: a mean over all 4-tuples of distinct tokens."""
    K, L = (X @ X.T).tolist(), (Y @ Y.T).tolist()
    terms = [K[i][j] * (L[i][j] + L[q][r] - 2 * L[i][q]) for i, j, q, r in itertools.permutations(range(len(X)), 4)]
    return sum(terms) / len(terms)


def closed_form(X: torch.Tensor, Y: torch.Tensor) -> float:
    """Song et al. (2012), eq. 5."""
    n = len(X)
    K, L = X @ X.T, Y @ Y.T
    K.fill_diagonal_(0), L.fill_diagonal_(0)
    one = torch.ones(n, dtype=K.dtype)
    total = (K * L).sum() + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    return (total / (n * (n - 3))).item()


def test_hsic_is_the_mean_over_all_tuples():
    X, Y = related(8)
    mine = hsic(centred_gram(X)[None], centred_gram(Y)[None]).item()
    assert mine == pytest.approx(brute_force(X, Y), rel=1e-10)


def test_hsic_is_the_closed_form():
    X, Y = related()
    mine = hsic(centred_gram(X)[None], centred_gram(Y)[None]).item()
    assert mine == pytest.approx(closed_form(X, Y), rel=1e-10)


def test_invariant_to_rotation_scale_and_shift_and_to_nothing_more():
    X, Y = related()
    Q = torch.linalg.qr(features(7, 7, 3))[0]
    assert linear_cka(X, X @ Q) == pytest.approx(1, abs=1e-12)
    plain = linear_cka(X, Y)
    for changed in (X @ Q, 3e4 * X, X + 1e3 * features(1, 7, 4)):
        assert linear_cka(changed, Y) == pytest.approx(plain, abs=1e-8)
    assert linear_cka(X * torch.tensor([9.0, *[1.0] * 6]), Y) != pytest.approx(plain, abs=1e-3)


def test_a_large_mean_costs_no_digits_in_float32():
    X, Y = related()
    shifted = linear_cka((X + 300).float(), (Y - 300).float())
    assert shifted == pytest.approx(linear_cka(X, Y), abs=1e-4)


@pytest.mark.parametrize("products", ["highest", "medium"])
def test_neither_the_dtype_nor_the_processors_products_matter(products):
    """A HSIC of 2,048 tokens adds up four million products: summed in float32, this one is off by 2e-4."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(2048, 6, generator=generator)
    X, Y = hidden @ torch.randn(6, 20, generator=generator), hidden[:, :2] @ torch.randn(2, 9, generator=generator)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(products)  # "medium" lets AMX and AVX-512 multiply float32 in bfloat16
    try:
        narrow = linear_cka(X, Y)
    finally:
        torch.set_float32_matmul_precision(before)
    centred = [t - t.mean(0) for t in (X.double(), Y.double())]
    xy, xx, yy = (closed_form(a, b) for a, b in [centred, centred[:1] * 2, centred[1:] * 2])
    assert narrow == pytest.approx(xy / (xx * yy) ** 0.5, abs=1e-9)


def test_unrelated_features_are_at_zero_where_the_biased_one_is_not():
    values = [linear_cka(features(50, 100, s), features(50, 80, 1000 + s)) for s in range(200)]
    mean, error = torch.tensor(values).mean(), torch.tensor(values).std() / 200**0.5
    assert abs(mean) < 4 * error < 0.01
    assert plain_cka(features(50, 100, 0), features(50, 80, 1000)) > 0.5


def test_too_few_tokens_and_infinite_activations_are_refused():
    with pytest.raises(DataError, match="4 tokens or more, got 3"):
        centred_gram(features(3, 2, 0))
    with pytest.raises(DataError, match="not finite"):
        centred_gram(torch.full((5, 2), torch.inf))


def batches_of(X: list[torch.Tensor], n: int) -> list[dict[str, list[torch.Tensor]]]:
    return [{kind: [x[i : i + n] for x in X] for kind in KINDS} for i in range(0, len(X[0]), n)]


def test_one_batch_is_the_whole_and_several_agree_with_it(tmp_path):
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(2048, 6, generator=generator)
    first = [hidden @ torch.randn(6, 20, generator=generator) for _ in range(2)]
    second = [hidden[:, : 2 + k] @ torch.randn(2 + k, 9, generator=generator) for k in range(3)]
    whole = torch.tensor([[linear_cka(x, y) for y in second] for x in first], dtype=torch.float64)
    # One batch differs from the whole by the rounding of kept Grams to float32 alone, 6e-8 an entry.
    for n, tolerance in ((2048, 1e-6), (256, 0.02)):
        kept = on_disk(tmp_path / f"grams {n}", (2048 // n, len(KINDS), 2, n, n), torch.float32)
        a = measure(batches_of(first, n), keep=kept)
        b = measure(batches_of(second, n), against=kept)
        pairs = pair_matrices(a, b)
        assert set(pairs) == set(KINDS)
        torch.testing.assert_close(pairs["o"], whole, atol=tolerance, rtol=0)
        own = own_matrices(b)["up"]
        torch.testing.assert_close(own.diagonal(), torch.ones(3, dtype=own.dtype))
        torch.testing.assert_close(own, own.T)


def test_features_that_do_not_vary_have_no_similarity():
    constant, varying = (centred_gram(t)[None] for t in (torch.ones(9, 3).double(), features(9, 3, 0)))
    assert cka(hsic(constant, varying), hsic(constant, constant), hsic(varying, varying)).isnan().all()


TEXTS = {
    "a": [[1, 2, 3, *range(100 * t, 100 * t + 40)] for t in range(1, 9)],
    "b": [[1, 9 + t, 5, 6, 7] for t in range(3)],
}


def test_tokens_come_from_all_tasks_once_and_not_from_their_beginning():
    sample = draw_tokens(TEXTS, 200, seed=0, batch=16)
    texts = [t for w in sample.windows for t in w.texts]
    assert sample.tokens == sample.batches * 16 == len(sample.held_out) == 192
    assert {t.task for t in texts[:2]} == {"a", "b"}
    assert all(t.positions.min() >= 3 for t in texts if t.task == "a")
    for window in sample.windows:
        assert len(window.picks.unique()) == window.picks.numel()
        assert window.picks.max() < sum(len(t.positions) for t in window.texts)
    assert 0 < sample.held_out.sum() < sample.tokens
    again, other = (draw_tokens(TEXTS, 200, seed=s, batch=16) for s in (0, 1))
    assert torch.equal(again.windows[0].picks, sample.windows[0].picks)
    assert not torch.equal(other.windows[0].picks, sample.windows[0].picks)


def test_fewer_tokens_than_asked_for_are_drawn_and_too_few_are_refused():
    assert 200 < draw_tokens(TEXTS, 10**6, seed=0, batch=16).tokens <= 8 * 40 + 3 * 4
    with pytest.raises(DataError, match=r"a 8, b 3.*batch is of 512.*--data"):
        draw_tokens(TEXTS, 10**6, seed=0, batch=512)


def test_the_stream_is_what_the_model_computes(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(nano.model_path("student"), dtype=torch.float32).eval()
    texts = {
        "a": [[5, *torch.randint(2, 900, (30,), generator=torch.Generator().manual_seed(t)).tolist()] for t in range(9)]
    }
    sample = draw_tokens(texts, 96, seed=0, batch=24)
    store = on_disk(tmp_path / "residual", (4, sample.tokens, 144), torch.float32)
    batches = list(keep_residual(layer_batches(model, sample, Progress(False), ""), store))
    assert len(batches) == sample.batches == 4
    assert not any(m._forward_hooks for m in model.modules())
    (window,) = sample.windows
    with torch.no_grad():
        runs = [model(input_ids=t.ids[None], output_hidden_states=True).hidden_states for t in window.texts]
    expected = torch.cat([run[2][0, t.positions] for run, t in zip(runs, window.texts, strict=True)])
    for number, batch in enumerate(batches):
        assert [x.shape for x in batch["up"]] == [(24, 384)] * 4 and batch["v"][0].shape == (24, 64)
        torch.testing.assert_close(batch["residual"][1], expected[window.picks[number]])
        torch.testing.assert_close(store[1, 24 * number : 24 * number + 24], batch["residual"][1])
