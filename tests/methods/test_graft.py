"""Graft: images and gains against automatic differentiation, symmetries, and a student with a damaged layer."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval import nano
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import get_method
from pkt_eval.methods.graft import (
    Layer,
    Neurons,
    centred_map,
    first_order_gains,
    grafted,
    images,
    no_constant_map,
    with_gain,
)
from pkt_eval.models import blocks
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student

SILU = torch.nn.functional.silu
TASK = dict(transfer_task="nano_gsm8k", extract_samples=2, align_samples=12, train_samples=2, validation_samples=8)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(d: int) -> torch.Tensor:
    return torch.linalg.qr(noise(d, d, seed=d))[0]


def teacher(f: int = 9, d: int = 6) -> tuple[torch.Tensor, ...]:
    return noise(f, d, seed=1), noise(f, d, seed=2), noise(d, f, seed=3)


def test_images_compute_in_the_student_what_the_neurons_do_in_the_teacher():
    gate, up, down = teacher()
    A, B = noise(6, 4, seed=4), noise(4, 6, seed=5)
    found, x = images(gate, up, down, A, B), noise(11, 4, seed=6)
    x_T = x @ A.T
    y_T = (SILU(x_T @ gate.T) * (x_T @ up.T)) @ down.T
    torch.testing.assert_close((SILU(x @ found.gate.T) * (x @ found.up.T)) @ found.down, y_T @ B.T)


def test_gains_are_the_derivative_by_each_neurons_scale():
    neurons = Neurons(*(noise(5, 4, seed=i) for i in range(3)))
    x, wanted = noise(20, 4, seed=6), noise(20, 4, seed=7)
    half = torch.arange(20) < 7
    scale = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    y = (SILU(x @ neurons.gate.T) * (x @ neurons.up.T) * scale) @ neurons.down
    for of_half, keep in zip(first_order_gains(neurons, x, -2 * wanted, half, SILU), (half, ~half), strict=True):
        loss = (y - wanted).square().sum(1)[keep].mean()  # ∂loss/∂y = −2·wanted at y = 0
        (slope,) = torch.autograd.grad(loss, scale, retain_graph=True)
        torch.testing.assert_close(of_half, -slope)


def test_only_neurons_with_a_gain_on_both_halves_are_kept_the_best_first():
    gains = torch.tensor([[1.0, 3.0, -1.0, 2.0, 5.0], [1.0, 2.0, 9.0, 2.0, 0.0]])
    assert with_gain(gains).tolist() == [1, 3, 0]


def test_rotating_the_teachers_streams_and_permuting_its_neurons_changes_nothing():
    gate, up, down = teacher()
    x_T, y_T, x_S, y_S = noise(60, 6, seed=7), noise(60, 6, seed=8), noise(60, 4, seed=9), noise(60, 4, seed=10)
    x_S, y_S = x_S + x_T[:, :4] + 3, y_S - y_T[:, 1:5] - 2
    fitted = torch.arange(60) < 45
    Q, order = rotation(6), torch.randperm(9, generator=torch.Generator().manual_seed(0))

    def mapped(x_T, y_T, *weights) -> Neurons:
        return images(*weights, no_constant_map(x_S, x_T, fitted).M, centred_map(y_T, y_S, fitted).M)

    one = mapped(x_T, y_T, gate, up, down)
    two = mapped(x_T @ Q, y_T @ Q, (gate @ Q)[order], (up @ Q)[order], (Q.T @ down)[:, order])
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(b, a[order])


def test_a_map_without_a_constant_is_least_squares_through_the_origin():
    x, fitted = noise(50, 4) + 2, torch.arange(50) < 40
    y = x @ noise(4, 3, seed=1)
    torch.testing.assert_close(no_constant_map(x, y, fitted).M, noise(4, 3, seed=1).T, rtol=1e-4, atol=1e-4)
    shifted = no_constant_map(x, y + 5, fitted)
    assert not shifted.mean_T.any() and not shifted.mean_S.any()


def test_the_edits_put_the_first_neurons_into_their_places(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny("qwen2")[1], dtype=torch.float32)
    neurons = Neurons(*(noise(3, 48, seed=i).float() for i in range(3)))
    none = Neurons(*(torch.zeros(0, 48) for _ in range(3)))
    places = torch.tensor([7, 2, 90])
    found = [Layer(none, places[:0], 0, (0, 0)), Layer(neurons, places, 3, (0, 0))]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    edits = grafted(model, found, 2)
    for edit in edits:
        edit.apply(model.get_parameter(edit.name))
    assert len(edits) == 3
    for block, new in zip(Neurons._fields, neurons, strict=True):
        name = blocks.weight_name(block, 1)
        weight, old = (w.T if block == "down" else w for w in (model.get_parameter(name).detach(), before.pop(name)))
        torch.testing.assert_close(weight[[7, 2]], new[:2], rtol=0, atol=1e-6)
        same = torch.ones(96, dtype=torch.bool)
        same[[7, 2]] = False
        assert torch.equal(weight[same], old[same])
    assert all(torch.equal(model.get_parameter(name), p) for name, p in before.items())


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The nano student without the busier half of its third FFN's neurons."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("damaged")
    whole = nano.model_path("student")
    model = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.float32)
    down = blocks.block(model, "down", 2).weight
    order = torch.sort(down.norm(dim=0), descending=True).indices
    with torch.no_grad():
        down[:, order[: len(order) // 2]] = 0
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(whole).save_pretrained(folder)
    return whole, str(folder)


def test_a_student_that_is_its_teacher_but_for_a_layer_is_mended(damaged):
    """In layers that are whole, a graft doubles a neuron and costs an idle one: the fewer, the better."""
    teacher, base = damaged
    words = {**TASK, "teacher": teacher, "pretrained": base, "method": "graft", "rate": 0.02}
    record = make_student(make_recipe(words)).provenance.record
    (candidate,) = record["choice"]["candidates"]
    assert candidate["validation_loss"] < record["choice"]["base"]["validation_loss"] - 0.005
    assert record["r2_before_ffn"][:3] == [1, 1, 1]  # what was damaged lies behind


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_every_family_has_its_grafts(family, tiny):
    teacher, base = tiny(family)
    words = {**TASK, "teacher": teacher, "pretrained": base, "method": "graft", "align_samples": 4, "rate": 0.05}
    words["transfer_task"] = "nano_mmlu"  # its answers are short
    student = make_student(make_recipe({**words, "validation_samples": 1}))
    record = student.provenance.record
    assert len(record["neurons_with_gain"]) == 3 and record["teacher_layers"] == [0, 2, 3]
    assert student.edits and all(len(edit.indices) <= 4 for edit in student.edits)
    assert all(torch.isfinite(edit.delta).all() for edit in student.edits)


def test_a_rate_that_is_none_is_said():
    with pytest.raises(ConfigError, match="a rate is above 0"):
        get_method("graft").configure({"rate": "0+0.1"})
