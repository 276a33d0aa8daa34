"""Closed-form edits of ``down``: against brute force in float64, and in one pass as in many."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.align import contexts, editing
from pkt_eval.align.maps import collect
from pkt_eval.data.chat import collate
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap
from pkt_eval.models.beside import Beside
from pkt_eval.models.edits import DenseEdit, LowRankEdit


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole(edit) -> torch.Tensor:
    return (edit.B @ edit.A if isinstance(edit, LowRankEdit) else edit.delta).double()


@pytest.mark.parametrize("n", [5, 30])  # fewer rows than columns, and more
def test_a_second_moment_is_inverted_by_rows_or_by_columns(n):
    X, B = normal(n, 12), normal(12, 3, seed=1)
    expected = torch.linalg.inv(X.T @ X + 0.3 * torch.eye(12, dtype=X.dtype)) @ B
    torch.testing.assert_close(editing.SecondMoment(X, 0.3).solve(B), expected, rtol=1e-9, atol=1e-9)


def test_a_rank_one_edit_is_exact_at_its_key_and_disturbs_least():
    generic, shift, key = normal(40, 12), normal(6, seed=1), normal(12, seed=2)
    edit = editing.rank_one("w", shift, key, editing.covariance(generic, 1e-2))
    delta = whole(edit)
    assert edit.rank == 1
    torch.testing.assert_close(delta @ key, shift, rtol=1e-5, atol=1e-6)
    scale = generic.square().mean(1).median()
    C = generic.T @ generic / 40 + 1e-2 * scale * torch.eye(12, dtype=key.dtype)
    dual = torch.linalg.solve(C, key)
    torch.testing.assert_close(delta, torch.outer(shift, dual) / (key @ dual), rtol=1e-5, atol=1e-6)
    least = (delta @ C @ delta.T).trace()
    for seed in range(3, 8):  # any other edit that is exact at the key
        other = normal(6, 12, seed=seed) * 0.1
        other = delta + other - torch.outer(other @ key, key) / (key @ key)
        assert (other @ C @ other.T).trace() > least


@pytest.mark.parametrize(("n", "kind"), [(4, LowRankEdit), (40, DenseEdit)])
def test_a_guarded_edit_is_the_least_of_its_objective(n, kind):
    R, K, G = normal(n, 20), normal(n, 30, seed=1), normal(50, 30, seed=2)
    edit = editing.guarded("w", R, K, G, guard=0.5, ridge=1e-2)
    scale = G.square().mean(1).median()
    C = G.T @ G / 50 + 1e-2 * scale * torch.eye(30, dtype=R.dtype)
    expected = R.T @ K @ torch.linalg.inv(K.T @ K + 0.5 * n * C)
    assert type(edit) is kind
    torch.testing.assert_close(whole(edit), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_shift_goes_through_a_norm_behind_the_ffn(tiny):
    """Gemma 2's: what is added to the stream is the old share and the shift, times one common factor."""
    model = AutoModelForCausalLM.from_pretrained(tiny("gemma2")[1], dtype=torch.float32).eval()
    norm = blocks.norm_after_ffn(blocks.layers(model)[1])
    y, shift = normal(5, 48).float(), normal(5, 48, seed=1).float()
    added = editing.before_norm(model, 1, shift, y)
    new, wanted = norm(y + added.float()), norm(y) + shift
    factor = (new * wanted).sum(1) / wanted.square().sum(1)
    torch.testing.assert_close(new, factor[:, None] * wanted, rtol=1e-2, atol=1e-2)  # ε of a gain is a thousandth
    plain = AutoModelForCausalLM.from_pretrained(tiny("llama")[1], dtype=torch.float32)
    torch.testing.assert_close(editing.before_norm(plain, 1, shift, y).float(), shift)


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_one_pass_edits_as_one_pass_a_layer_would(family, tiny, records):
    tokenizer, data = records
    model = AutoModelForCausalLM.from_pretrained(tiny(family)[1], dtype=torch.float32).eval()
    texts = contexts.texts(data, tokenizer, ("align",), rows="answer", budget=400)
    shift = normal(48)

    def make(layer, keys, out):
        assert out.shape == (len(keys), 48)
        name = blocks.weight_name("down", layer)
        return editing.rank_one(name, shift, keys.mean(0), editing.SecondMoment(normal(8, 96), 1.0))

    found = editing.edits_in_order(model, collate(texts, 0), [0, 2], make)
    slow: list[LowRankEdit] = []
    for layer in (0, 2):
        beside = Beside(model, slow)
        tap, out = (Tap("down", layer, side) for side in ("input", "output"))
        rows = collect(model, contexts.text_batches(texts), [tap, out])
        beside.remove()
        slow.append(make(layer, rows[tap], rows[out]))
    for one, other in zip(found, slow, strict=True):
        torch.testing.assert_close(whole(one), whole(other), rtol=1e-3, atol=1e-4)
    assert not any(m._forward_hooks for m in model.modules())


def test_sizes_are_those_of_the_matrices(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny()[1], dtype=torch.float32)
    edits = [LowRankEdit(blocks.weight_name("down", k), normal(48, 2).float(), normal(2, 96).float()) for k in (0, 2)]
    edits.append(DenseEdit(blocks.weight_name("o", 1), 0 * model.get_parameter(blocks.weight_name("o", 1)).detach()))
    sizes = editing.relative_sizes(model, edits)
    expected = sum(float(whole(e).norm() / model.get_parameter(e.name).detach().norm()) for e in edits[:2]) / 2
    assert sizes == {"down": pytest.approx(expected, rel=1e-5), "o": 0}
