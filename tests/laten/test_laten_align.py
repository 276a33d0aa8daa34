"""Selection, injection and alignment, against dense weights and against steps taken by hand."""

import math
import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval._util.progress import Progress
from pkt_eval.align import (
    AlignmentExamples,
    AlignmentOptions,
    Hypernetwork,
    LocatedEdit,
    align,
    injected,
    located_edits,
)
from pkt_eval.align import loop as room
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.extract.neurons import neuron_vectors
from pkt_eval.locate import map_layers
from pkt_eval.locate.select import (
    AXIS,
    Located,
    best,
    channels_of_values,
    near_cut,
    neuron_counts,
    value_scores,
)
from pkt_eval.models import blocks
from pkt_eval.tune.training import validation_loss

MODULES = ("up", "down", "v", "o")
QUIET = Progress(enabled=False)


def open_student(tiny, family="qwen2"):
    return AutoModelForCausalLM.from_pretrained(tiny(family)[1], dtype=torch.float32).eval()


def places(model, *, layers=(0, 1, 2), k=4, seed=0) -> Located:
    dims, generator = blocks.dims(model.config), torch.Generator().manual_seed(seed)
    size = {b: dims.shape(b)[0 if AXIS[b] == "rows" else 1] for b in MODULES}
    chosen = {b: torch.stack([torch.randperm(size[b], generator=generator)[:k] for _ in layers]) for b in MODULES}
    return Located({b: list(layers) for b in MODULES}, chosen)


def some_deltas(located: Located, width: int, scale=0.05, seed=1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {b: torch.randn(*i.shape, width, generator=generator) * scale for b, i in located.indices.items()}


def examples(n: int, seed=3) -> list[dict]:
    dice, made = random.Random(seed), []
    for i in range(n):
        ids = [dice.randrange(1500) for _ in range(6 + 2 * i)]
        made.append({"input_ids": ids, "labels": [-100] * 3 + ids[3:]})
    return made


# Selection


def test_counts_are_floors_of_the_rate_as_written():
    dims = blocks.Dims(layers=2, hidden=8, ffn=100, heads=10, kv_heads=5, head_dim=10, vocab=9)
    counts = neuron_counts(dims, 0.29)
    assert vars(counts) == {"ffn": 29, "attention": 29, "value": 14}
    with pytest.raises(ConfigError, match=r"keeps 1 of 100 FFN neurons, 1 of 100 .* and 0 of 50"):
        neuron_counts(dims, 0.01)


def test_best_are_in_order_and_the_lower_index_wins_a_tie():
    scores = torch.tensor([[1.0, 3, 3, 0, 3], [0, 0, 0, 0, 0]])
    assert best(scores, 3).tolist() == [[1, 2, 4], [0, 1, 2]]
    assert map_layers(4, 3, torch.tensor([1.0, 5, 1, 1])) == [0, 1, 2]
    assert near_cut(scores, 2, 5).tolist() == [[2, 4], [1, 2]]
    with pytest.raises(ConfigError, match="3 of 2"):
        map_layers(2, 3, torch.zeros(2))


def test_a_value_rows_score_is_the_sum_over_its_group():
    dims = blocks.Dims(layers=2, hidden=8, ffn=9, heads=6, kv_heads=2, head_dim=4, vocab=9)
    scores = torch.rand(2, 24, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(2, 8)
    for q in range(6):
        for j in range(4):
            expected[:, (q // 3) * 4 + j] += scores[:, q * 4 + j]
    torch.testing.assert_close(value_scores(scores, dims), expected)
    rows = torch.tensor([[5, 0], [7, 3]])
    channels = channels_of_values(rows, dims)
    for row, row_channels in zip(rows, channels, strict=True):
        theirs = [(c // 4 // 3) * 4 + c % 4 for c in row_channels.tolist()]
        assert sorted(theirs) == sorted(row.tolist() * 3) and len(set(row_channels.tolist())) == 6


def test_vectors_are_the_rows_and_columns(tiny):
    model = open_student(tiny)
    located = places(model, layers=(2, 0))
    found = neuron_vectors(model, located)
    for b in MODULES:
        for i, layer in enumerate((2, 0)):
            weight = model.get_parameter(blocks.weight_name(b, layer)).detach()
            for r, index in enumerate(located.indices[b][i]):
                expected = weight[index] if b in ("up", "v") else weight[:, index]
                assert torch.equal(found[b][i, r], expected)


# Injection


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_injection_equals_dense_weights_in_outputs_and_gradients(family, tiny):
    model = open_student(tiny, family)
    located = places(model)
    deltas = {b: d.requires_grad_() for b, d in some_deltas(located, 48).items()}
    ids = torch.arange(1, 30)[None]
    with injected(model, located, deltas):
        ours = model(input_ids=ids).logits
    probe = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    (ours * probe).sum().backward()

    dense = open_student(tiny, family)
    for edit in located_edits(located, deltas):
        edit.apply(dense.get_parameter(edit.name).data)
    theirs = dense(input_ids=ids).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (theirs - model(input_ids=ids).logits).abs().max() > 1e-2  # and afterwards the model is itself again
    assert not any(m._forward_hooks for m in model.modules())
    (theirs * probe).sum().backward()
    for b in MODULES:
        for i, layer in enumerate(located.layers[b]):
            grad = dense.get_parameter(blocks.weight_name(b, layer)).grad
            expected = (grad if b in ("up", "v") else grad.T)[located.indices[b][i]]
            torch.testing.assert_close(deltas[b].grad[i], expected, rtol=1e-3, atol=1e-3)


def test_edits_change_their_rows_and_columns_alone_and_accumulate_in_fp32():
    for axis, shape in (("rows", (5, 7)), ("columns", (7, 5))):
        weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).bfloat16()
        edit = LocatedEdit("w", axis, torch.tensor([3, 1]), torch.randn(2, 7) * 0.01)
        expected = weight.float() if axis == "rows" else weight.float().T
        expected = expected.clone()
        expected[3] += edit.delta[0]
        expected[1] += edit.delta[1]
        edit.apply(weight)
        assert torch.equal(weight, (expected if axis == "rows" else expected.T).bfloat16())


def test_edits_that_cannot_be_are_refused():
    ones = torch.ones(2, 7)
    for words, message in [
        (("diagonal", torch.tensor([1, 2]), ones), "rows or columns"),
        (("rows", torch.tensor([1, 2, 3]), ones), "do not match"),
        (("rows", torch.tensor([1, 1]), ones), "twice"),
    ]:
        with pytest.raises(ConfigError, match=message):
            LocatedEdit("w", *words)
    for shape in ((2, 7), (5, 6)):
        with pytest.raises(ConfigError, match="another base model"):
            LocatedEdit("w", "rows", torch.tensor([1, 2]), ones).apply(torch.zeros(shape))


# Alignment


def test_the_hypernetwork_is_two_bias_free_layers_a_block():
    net = Hypernetwork(MODULES, 64, 48, generator=torch.Generator().manual_seed(0))
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes == {f"{b}.{i}.weight": s for b in MODULES for i, s in ((0, (64, 64)), (2, (48, 64)))}
    for p in net.parameters():
        assert p.dtype == torch.float32 and 0.9e-5 < p.std() < 1.1e-5 and abs(p.mean()) < 1e-6
    t = torch.randn(3, 5, 64)
    up = net({"up": t})["up"]
    assert torch.equal(up, torch.relu(t @ net["up"][0].weight.T) @ net["up"][2].weight.T) and up.any()
    with pytest.raises(ConfigError):
        Hypernetwork(("up", "upp"), 64, 48)


def teacher_vectors(tiny, located) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    return {b: torch.randn(*i.shape, 64, generator=generator) for b, i in located.indices.items()}


def run(model, located, vectors, n=5, **changes):
    options = AlignmentOptions(**{**dict(steps=3, samples=4, learning_rate=1e-2, seed=0), **changes})
    made = examples(n)
    return list(align(model, located, vectors, AlignmentExamples(made[:2], made[2:4], made[4:]), options, QUIET))


def test_one_step_is_adamws_on_the_sum_over_samples(tiny):
    """Dense weights, autograd through everything at once, and AdamW written out."""
    model = open_student(tiny)
    located = places(model)
    vectors = teacher_vectors(tiny, located)
    rate, decay, b1, b2, eps = 1e-2, 0.05, 0.9, 0.95, 1e-8
    (found,) = run(model, located, vectors, steps=1, samples=3, learning_rate=rate)

    net = Hypernetwork(MODULES, 64, 48, generator=torch.Generator().manual_seed(0))
    made = examples(5)
    deltas = net(vectors)
    dense = open_student(tiny).requires_grad_(False)
    weights = {}
    for b in MODULES:
        for i, layer in enumerate(located.layers[b]):
            name = blocks.weight_name(b, layer)
            W = dense.get_parameter(name).detach()
            index = located.indices[b][i]
            weights[name] = (
                W.index_add(0, index, deltas[b][i]) if b in ("up", "v") else W.index_add(1, index, deltas[b][i].T)
            )
    penalty = 1000 * sum((deltas[b] ** 2).mean() for b in MODULES)
    total, lm = 0, []
    for example in (made[0], made[2], made[3]):  # one of extract, two of align
        ids, labels = (torch.tensor(example[key])[None] for key in ("input_ids", "labels"))
        loss = torch.func.functional_call(dense, weights, kwargs=dict(input_ids=ids, labels=labels)).loss
        lm.append(loss.item())
        total = total + loss + penalty
    grads = torch.autograd.grad(total, list(net.parameters()))
    with torch.no_grad():
        for p, g in zip(net.parameters(), grads, strict=True):
            m, v = (1 - b1) * g / (1 - b1), (1 - b2) * g**2 / (1 - b2)
            p.mul_(1 - rate * decay).sub_(rate * m / (v.sqrt() + eps))
        expected = net(vectors)
    assert math.isclose(found.lm_loss, sum(lm) / 3, rel_tol=1e-4)
    assert math.isclose(found.penalty, penalty.item(), rel_tol=1e-4)
    for b in MODULES:
        size = expected[b].abs().max()
        assert size > 1e-3
        torch.testing.assert_close(found.deltas[b], expected[b], rtol=2e-2, atol=float(size) * 2e-2)


def test_only_the_hypernetwork_gets_gradients(tiny):
    model = open_student(tiny)
    flags = [p.requires_grad for p in model.parameters()]
    located = places(model)
    net = Hypernetwork(MODULES, 64, 48, generator=torch.Generator().manual_seed(0))
    room.gradients(model, located, net, teacher_vectors(tiny, located), examples(2))
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()] == flags


def test_the_same_seed_gives_the_same_deltas_and_another_seed_others(tiny):
    model = open_student(tiny)
    located = places(model)
    vectors = teacher_vectors(tiny, located)
    one, same, other = (run(model, located, vectors, seed=s)[-1].deltas for s in (0, 0, 1))
    assert all(torch.equal(one[b], same[b]) for b in MODULES)
    assert not any(torch.equal(one[b], other[b]) for b in MODULES)


def test_alignment_lowers_the_loss_it_is_given(tiny):
    model = open_student(tiny)
    located = places(model, k=8)
    made = examples(2, seed=8)
    vectors = teacher_vectors(tiny, located)
    options = AlignmentOptions(steps=8, samples=3, learning_rate=3e-3, seed=0)
    steps = list(align(model, located, vectors, AlignmentExamples(made, made, made), options, QUIET))
    assert [s.step for s in steps] == list(range(1, 9))
    assert steps[-1].validation_loss < room.mean_loss(model, made) - 0.05
    assert steps[0].penalty < 1e-6 < steps[-1].penalty


def test_losses_are_those_of_the_fine_tuning(tiny):
    model = open_student(tiny)
    made = examples(4)
    assert math.isclose(room.mean_loss(model, made), validation_loss(model, made, 2), rel_tol=1e-5)
    assert math.isnan(room.mean_loss(model, []))


def test_the_schedule_is_torchs_one_cycle_and_survives_ten_steps():
    for steps in (2, 3, 4, 8, 20, 31):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=steps, pct_start=0.1)
        for step in range(steps):
            assert math.isclose(room.one_cycle(step, steps, 0.3), optimizer.param_groups[0]["lr"], rel_tol=1e-6), step
            optimizer.step()
            if step < steps - 1:
                theirs.step()
    assert [round(room.one_cycle(s, 10, 1.0), 2) for s in (0, 9)] == [1.0, 0.0]
    assert room.one_cycle(0, 1, 1.0) == 1.0


def test_what_cannot_be_aligned_is_said(tiny):
    model = open_student(tiny)
    located = places(model)
    vectors = teacher_vectors(tiny, located)
    with pytest.raises(DataError, match="0 extract and 1 align"):
        options = AlignmentOptions(steps=1, samples=2, learning_rate=1, seed=0)
        list(align(model, located, vectors, AlignmentExamples([], examples(1), []), options, QUIET))
    with pytest.raises(DataError, match="no supervised token"):
        room.example_loss(model, {"input_ids": [1, 2], "labels": [-100, -100]})
    with torch.no_grad():
        model.get_parameter(blocks.weight_name("gate", 1))[0, 0] = torch.nan
    with pytest.raises(DataError, match="diverged in step 1 of 3: losses \\[nan"):
        run(model, located, vectors)
