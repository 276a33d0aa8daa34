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
    LocatedEdit,
    align,
    inject,
    injected,
    located_edits,
    one_cycle,
)
from pkt_eval.align import loop as room
from pkt_eval.align.hypernetwork import Hypernetwork
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
    vectors = neuron_vectors(model, located)
    for b in MODULES:
        for i, layer in enumerate((2, 0)):
            weight = model.get_parameter(blocks.weight_name(b, layer)).detach()
            for r, index in enumerate(located.indices[b][i]):
                expected = weight[index] if b in ("up", "v") else weight[:, index]
                assert torch.equal(vectors[b][i, r], expected)


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


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_a_student_in_16_bits_computes_with_deltas_in_32(family, tiny):
    """The same bf16 weights in float32, with the deltas merged, are what it should compute: outputs and gradients."""
    half = open_student(tiny, family).bfloat16()
    located = places(half, k=8)
    deltas = {b: d.requires_grad_() for b, d in some_deltas(located, 48).items()}
    ids = torch.arange(1, 30)[None]
    exact = open_student(tiny, family).bfloat16().float()
    with torch.no_grad():
        before = exact(input_ids=ids).logits
        noise = (half(input_ids=ids).logits.float() - before).norm() / before.norm()
    probe = torch.randn(before.shape, generator=torch.Generator().manual_seed(2)) / before.numel() ** 0.5
    with injected(half, located, deltas):
        ours = half(input_ids=ids).logits.float()
        (ours * probe).sum().backward()
    for edit in located_edits(located, deltas):
        edit.apply(exact.get_parameter(edit.name).data)
    theirs = exact(input_ids=ids).logits
    (theirs * probe).sum().backward()
    assert (ours - theirs).norm() < 2 * noise * theirs.norm() < 0.5 * (theirs - before).norm()
    for b in MODULES:
        assert deltas[b].grad.dtype == torch.float32
        dense = [exact.get_parameter(blocks.weight_name(b, layer)).grad for layer in located.layers[b]]
        lines = [(g if b in ("up", "v") else g.T)[i] for g, i in zip(dense, located.indices[b], strict=True)]
        expected = torch.stack(lines)
        assert (deltas[b].grad - expected).norm() < 0.1 * expected.norm()


def test_a_product_with_deltas_is_rounded_once_and_they_arrive_whole():
    """Of a thousandth of a weight; added to a product that is rounded already, a second rounding comes on top."""
    generator = torch.Generator().manual_seed(0)
    weight, x = (torch.randn(*shape, generator=generator).bfloat16() for shape in ((64, 512), (256, 512)))
    delta, indices = torch.randn(64, 512, generator=generator) * 1e-3, torch.arange(64)
    linear = torch.nn.Linear(512, 64, bias=False, dtype=torch.bfloat16)
    linear.weight.data = weight
    with torch.no_grad():
        undo = inject._put(linear, inject._of_rows(indices, delta, 64))
        beside = linear(x).float()
        undo()
        plain, moved = linear(x), x.float() @ delta.T
    assert "forward" not in linear.__dict__
    exact = x.float() @ weight.float().T + moved
    once, twice = exact.bfloat16().float(), (plain + moved.bfloat16()).float()
    assert (beside - exact).norm() < 1.02 * (once - exact).norm() < 0.95 * (twice - exact).norm()
    # What of the change arrives: the slope of the change that was made against that which was meant.
    assert abs(((beside - plain.float()) * moved).sum() / moved.square().sum() - 1) < 0.1


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
    (step,) = run(model, located, vectors, steps=1, samples=3, learning_rate=rate)
    rate, _ = one_cycle(0, 2, rate)  # of two extract samples; the moments of a first step are free of β₁

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
    assert math.isclose(step.lm_loss, sum(lm) / 3, rel_tol=1e-4)
    assert math.isclose(step.penalty, penalty.item(), rel_tol=1e-4)
    for b in MODULES:
        size = expected[b].abs().max()
        assert size > 1e-3
        torch.testing.assert_close(step.deltas[b], expected[b], rtol=2e-2, atol=float(size) * 2e-2)


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


def test_the_schedule_is_torchs_one_cycle_as_the_released_code_calls_it():
    for total in [n for n in range(1, 200) if n != 10]:
        optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=3e-4, betas=(0.9, 0.95))
        theirs = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=3e-4, total_steps=total, pct_start=0.1, final_div_factor=1, anneal_strategy="cos"
        )
        for step in range(total):
            (group,) = optimizer.param_groups
            rate, beta1 = one_cycle(step, total, 3e-4)
            assert math.isclose(rate, group["lr"], rel_tol=1e-12), (step, total)
            assert math.isclose(beta1, group["betas"][0], rel_tol=1e-12), (step, total)
            optimizer.step()
            if step < total - 1:
                theirs.step()


def test_the_schedule_of_twenty_samples_rises_in_one_step_and_that_of_ten_does_not_divide_by_zero():
    assert one_cycle(0, 20, 1.0) == pytest.approx((0.04, 0.95)) and one_cycle(1, 20, 1.0) == pytest.approx((1.0, 0.85))
    assert one_cycle(0, 10, 1.0) == pytest.approx((1.0, 0.85)) and one_cycle(9, 10, 1.0) == pytest.approx((0.04, 0.95))
    for step in (-1, 20):
        with pytest.raises(ConfigError, match="0 to 19"):
            one_cycle(step, 20, 1.0)


def test_the_schedule_spans_the_extract_samples_and_not_the_steps(tiny):
    model = open_student(tiny)
    located = places(model)
    made, vectors = examples(7), teacher_vectors(tiny, located)
    for extract, steps, span in ((made[:4], 3, 4), (made[:2], 3, 3)):
        options = AlignmentOptions(steps=steps, samples=2, learning_rate=1e-3, seed=0)
        taken = list(align(model, located, vectors, AlignmentExamples(extract, made[4:6], []), options, QUIET))
        assert [(c.learning_rate, c.beta1) for c in taken] == [one_cycle(s, span, 1e-3) for s in range(steps)]


def test_several_steps_are_torchs_own_with_its_scheduler_and_places_go_by_step(tiny):
    """Deltas after three steps, β₁ cycling, each step at its own places, against torch on dense weights."""
    model = open_student(tiny)
    both = [places(model, seed=0), places(model, seed=5)]
    generator = torch.Generator().manual_seed(4)
    vectors = [{b: torch.randn(*i.shape, 64, generator=generator) for b, i in p.indices.items()} for p in both]
    made = examples(4)
    options = AlignmentOptions(steps=3, samples=2, learning_rate=1e-2, seed=0)
    # One example to align with: every step has it.
    ours = list(align(model, both, vectors, AlignmentExamples(made[:3], made[3:], []), options, QUIET))

    net = Hypernetwork(MODULES, 64, 48, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=3, pct_start=0.1, final_div_factor=1
    )
    for step, checkpoint in enumerate(ours):
        place, t = both[step % 2], vectors[step % 2]
        assert checkpoint.located is place
        optimizer.zero_grad()
        total = 0
        for example in (made[step], made[3]):
            deltas = net(t)
            dense = open_student(tiny).requires_grad_(False)
            weights = {}
            for b in MODULES:
                for i, layer in enumerate(place.layers[b]):
                    name, index = blocks.weight_name(b, layer), place.indices[b][i]
                    W, d = dense.get_parameter(name).detach(), deltas[b][i]
                    weights[name] = W.index_add(0, index, d) if b in ("up", "v") else W.index_add(1, index, d.T)
            ids, labels = (torch.tensor(example[key])[None] for key in ("input_ids", "labels"))
            loss = torch.func.functional_call(dense, weights, kwargs=dict(input_ids=ids, labels=labels)).loss
            total = total + loss.item()
            (loss + 1000 * sum((d**2).mean() for d in deltas.values())).backward()
        assert math.isclose(checkpoint.lm_loss, total / 2, rel_tol=1e-4)
        optimizer.step()
        if step < 2:
            scheduler.step()
        with torch.no_grad():
            expected = net(t)
        for b in MODULES:
            size = float(expected[b].abs().max())
            assert size > 1e-4
            torch.testing.assert_close(checkpoint.deltas[b], expected[b], rtol=3e-2, atol=size * 3e-2)


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
