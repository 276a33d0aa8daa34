"""Theseus and BiCo: gauges against brute force, and what the methods claim of rotations and permutations."""

import itertools

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.align.contexts import text_batches, texts
from pkt_eval.align.gradients import output_gradients
from pkt_eval.align.maps import collect
from pkt_eval.align.procrustes import correlation, permutation_gauge, semi_orthogonal, standardised
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import get_method
from pkt_eval.methods.theseus import Site, carried, needed_sites
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student
from pkt_eval.tune.loss import supervised_loss

CARRIED = ("v", "o", "up", "gate", "down")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(d: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(noise(d, d, seed=seed))[0]


def opened(folder: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def read(model, records, layer: int, gradients: bool = False) -> dict[Site, torch.Tensor]:
    """One layer at all sites, over the align records."""
    tokenizer, data = records
    rows = texts(data, tokenizer, ["align"], rows="all")
    sites = needed_sites(CARRIED)
    taps = [Tap(s.block, layer, s.side) for s in sites]
    found = collect(model, text_batches(rows), taps)
    if gradients:
        losses = texts(data, tokenizer, ["align"], rows="answer")
        both = ({**b, "rows": a["labels"]} for a, b in zip(text_batches(rows), text_batches(losses), strict=True))
        found |= output_gradients(model, both, [t for t in taps if t.side == "output"])
    return {site: found[tap] for site, tap in zip(sites, taps, strict=True)}


def random_tau(dims: blocks.Dims, rank: int = 3) -> dict:
    return {
        block: (noise(dims.shape(block)[0], rank, seed=i), noise(rank, dims.shape(block)[1], seed=50 + i))
        for i, block in enumerate(CARRIED)
    }


def products(factors: dict) -> dict:
    return {block: B.double() @ A.double() for block, (B, A) in factors.items()}


def test_the_semi_orthogonal_map_is_the_best_of_all_rotations():
    A, B = noise(40, 3), noise(40, 3, seed=1)
    best = semi_orthogonal(A.T @ B)
    torch.testing.assert_close(best.T @ best, torch.eye(3, dtype=torch.float64))
    least = (A @ best - B).norm()
    for seed in range(500):
        Q = rotation(3, seed)
        assert (A @ Q - B).norm() > least - 1e-12
        near = best @ torch.matrix_exp(1e-3 * (Q - Q.T))
        assert (A @ near - B).norm() > least - 1e-12
    wide = semi_orthogonal(noise(9, 4))
    torch.testing.assert_close(wide.T @ wide, torch.eye(4, dtype=torch.float64))


def test_directions_that_were_not_measured_are_left_out_and_a_rotation_of_the_teacher_is_undone():
    A, B, Q = noise(5, 9), noise(5, 7, seed=1), rotation(9)
    sigma = torch.linalg.svdvals(semi_orthogonal(A.T @ B))
    torch.testing.assert_close(sigma, torch.tensor([1.0] * 5 + [0.0] * 2, dtype=torch.float64))
    torch.testing.assert_close(Q @ semi_orthogonal((A @ Q).T @ B), semi_orthogonal(A.T @ B))


@pytest.mark.parametrize("f_T, f_S", [(5, 5), (6, 4)])
def test_the_gauge_is_the_best_of_all_assignments(f_T, f_S):
    corr = torch.tanh(noise(f_T, f_S))
    gauge = permutation_gauge(corr)
    found = corr[gauge.neurons, torch.arange(f_S)]
    best = max(sum(abs(float(corr[t, s])) for s, t in enumerate(p)) for p in itertools.permutations(range(f_T), f_S))
    assert float(found.abs().sum()) == pytest.approx(best, abs=1e-12)
    assert (found * gauge.signs > 0).all() and len(set(gauge.neurons.tolist())) == f_S


def test_correlation_is_pearsons_and_zero_for_a_constant():
    A, B = noise(30, 4) + 100, noise(30, 3, seed=1)
    A[:, 2] = 1 / 3
    wanted = torch.corrcoef(torch.cat([A, B], 1).T)[:4, 4:].nan_to_num(0)
    torch.testing.assert_close(correlation(A, B)[[0, 1, 3]], wanted[[0, 1, 3]])
    assert not correlation(A, B)[2].any() and not standardised(A)[:, 2].any()


def test_gradients_at_outputs_are_finite_differences(tiny, records):
    """A change ε of one output moves the loss by ε times the gradient."""
    tokenizer, data = records
    model = opened(tiny("gemma2")[1])
    (batch,) = list(text_batches(texts(data, tokenizer, ["align"], rows="answer"), 99))[:1]
    wanted = batch["labels"].clone()
    wanted[:, 3:9] = 5  # rows before the answer, too
    flags = [p.requires_grad for p in model.parameters()]
    for tap in (Tap("v", 0), Tap("o", 1), Tap("down", 2)):
        found = output_gradients(model, [{**batch, "rows": wanted}], [tap])[tap]
        row, position = (wanted[:, 1:] != -100).nonzero()[4].tolist()
        losses = []
        for step in (-1e-5, 1e-5):

            def nudge(_, __, out, step=step, row=row, position=position):
                out = out.clone()
                out[row, position, 2] += step
                return out

            handle = blocks.block(model, tap.name, tap.layer).register_forward_hook(nudge)
            with torch.no_grad():
                losses.append(float(supervised_loss(model, dict(batch))[0]))
            handle.remove()
        # The sum over the batch is rounded at about 1e-4 in the float32 of the loss.
        assert float(found[4, 2]) == pytest.approx((losses[1] - losses[0]) / 2e-5, rel=0.05, abs=10)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2"])
def test_a_teacher_that_is_the_student_gives_its_own_change(family, gradients, tiny, records):
    model = opened(tiny(family)[1])
    rows = read(model, records, 1, gradients)
    tau = random_tau(blocks.dims(model.config))
    moved = products(carried(tau, rows, rows))
    for block, wanted in products(tau).items():
        torch.testing.assert_close(moved[block], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gradients", [False, True])
def test_rotating_the_teachers_stream_and_permuting_and_flipping_its_neurons_changes_nothing(gradients, tiny, records):
    folder, base = tiny("llama")
    plain, other, student = opened(folder), opened(folder), opened(base)
    dims = blocks.dims(plain.config)
    Q, order = rotation(dims.hidden), torch.randperm(dims.ffn, generator=torch.Generator().manual_seed(0))
    signs = torch.where(noise(dims.ffn) > 0, 1.0, -1.0).double()
    tau = random_tau(dims)
    turned = {b: (B.clone(), A.clone()) for b, (B, A) in tau.items()}
    with torch.no_grad():
        untie(other)
        for weight in (other.get_input_embeddings().weight, other.get_output_embeddings().weight):
            weight.copy_(weight @ Q)
        for layer in range(dims.layers):
            for block in ("q", "k", "v", "up", "gate"):  # gains are 1, so that norms commute with a rotation
                weight = other.get_parameter(blocks.weight_name(block, layer))
                weight.copy_(weight @ Q)
            for block in ("o", "down"):
                weight = other.get_parameter(blocks.weight_name(block, layer))
                weight.copy_(Q.T @ weight)
            up, gate, down = (blocks.block(other, b, layer).weight for b in ("up", "gate", "down"))
            up.copy_((up * signs[:, None])[order])
            gate.copy_(gate[order])
            down.copy_((down * signs)[:, order])
    for block, (B, A) in turned.items():
        A = (A * signs)[:, order] if block == "down" else A if block == "o" else A @ Q
        if block in ("up", "gate"):
            B = (B * signs[:, None] if block == "up" else B)[order]
        turned[block] = (B if block in ("v", "up", "gate") else Q.T @ B, A)
    ids = torch.arange(1, 40)[None]
    # Norms compute in float32, whatever the model.
    torch.testing.assert_close(other(ids).logits, plain(ids).logits, rtol=1e-4, atol=1e-4)
    ours = read(student, records, 1, gradients)
    one = products(carried(tau, read(plain, records, 1, gradients), ours))
    two = products(carried(turned, read(other, records, 1, gradients), ours))
    for block in CARRIED:
        assert (two[block] - one[block]).norm() < 1e-3 * one[block].norm()


def untie(model) -> None:
    model.config.tie_word_embeddings = False
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())


def test_products_keep_their_rank_and_do_not_grow(tiny, records):
    teacher, student = (opened(f) for f in tiny("qwen2"))
    tau = random_tau(blocks.dims(teacher.config))
    moved = products(carried(tau, read(teacher, records, 2), read(student, records, 1)))
    for block, wanted in products(tau).items():
        assert moved[block].shape == blocks.dims(student.config).shape(block)
        assert torch.linalg.matrix_rank(moved[block], rtol=1e-5) == 3
        assert moved[block].norm() <= wanted.norm() * (1 + 1e-6)


@pytest.mark.parametrize("name", ["theseus", "bico"])
def test_a_transfer_says_what_it_did(name, tiny, small):
    teacher, base = tiny("gemma2")
    words = {**small, "teacher": teacher, "pretrained": base, "method": name, "tokens": 200, "strength": "1+2"}
    words["transfer_task"] = "nano_mmlu"  # its answers are short
    student = make_student(make_recipe(words))
    record = student.provenance.record
    assert len(student.edits) == 3 * 5 and {edit.rank for edit in student.edits} == {4}
    assert record["teacher_layers"] == [0, 2, 3] and record["training"]["of"] == "teacher"
    assert [c["strength"] for c in record["choice"]["candidates"]] == [1, 2]
    assert all(0 < size < 1 for size in record["delta_over_weight"].values())


@pytest.mark.parametrize("name", ["theseus", "bico"])
def test_a_student_with_itself_for_a_teacher_becomes_the_tuned_one(name, tiny, small):
    _, base = tiny("qwen2")
    words = {**small, "teacher": base, "pretrained": base, "method": name, "strength": 1.0, "learning_rate": 1e-2}
    words |= {"transfer_task": "nano_mmlu", "align_samples": 8, "loss_on": "all"}
    record = make_student(make_recipe(words)).provenance.record
    before, tuned = record["training"]["tried"][0]["validation_loss"]
    (carried,) = record["choice"]["candidates"]
    assert tuned < before - 0.1
    assert carried["validation_loss"] == pytest.approx(tuned, abs=2e-3 * (before - tuned))


def test_options_that_cannot_be_are_named():
    with pytest.raises(ConfigError, match="can be carried, not q"):
        get_method("theseus").configure({"modules": "q+v"})
    with pytest.raises(ConfigError, match="a strength is above 0"):
        get_method("bico").configure({"strength": "0+1"})
