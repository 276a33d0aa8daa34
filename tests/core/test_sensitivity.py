"""Sensitivity against a plain loop over autograd, and the choice of layers."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.data.chat import collate
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.locate import parameter_sensitivity, select_layers
from pkt_eval.models import blocks

MODULES = ("up", "down", "v", "o")


def examples(n: int = 3, vocab: int = 200) -> list[dict]:
    generator = torch.Generator().manual_seed(5)
    made = []
    for i in range(n):
        ids = torch.randint(0, vocab, (6 + 3 * i,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [-100] * 3 + ids[3:]})
    return made


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_equals_autograd_summed_sample_by_sample(family, tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny(family)[0])
    scores = parameter_sensitivity(model, [collate([e], 0) for e in examples()], MODULES)

    names = [blocks.weight_name(b, k) for k in range(4) for b in MODULES]
    assert list(scores) == names
    expected = {n: torch.zeros_like(model.get_parameter(n)) for n in names}
    for example in examples():
        ids, labels = (torch.tensor([example[k]]) for k in ("input_ids", "labels"))
        logits = model(input_ids=ids).logits.float()
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=-100)
        for name, grad in zip(names, torch.autograd.grad(loss, [model.get_parameter(n) for n in names]), strict=True):
            expected[name] += (model.get_parameter(name).detach() * grad).abs()
    for name in names:
        assert scores[name].dtype == torch.float32
        torch.testing.assert_close(scores[name], expected[name], rtol=1e-4, atol=1e-7)


def test_does_not_depend_on_how_samples_are_batched(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny()[0])
    one_by_one = parameter_sensitivity(model, [collate([e], 0) for e in examples()], MODULES)
    together = parameter_sensitivity(model, [collate(examples(), 0)], MODULES)
    for name in one_by_one:
        torch.testing.assert_close(one_by_one[name], together[name], rtol=1e-5, atol=1e-8)


def test_leaves_the_model_as_it_was(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny()[0]).train()
    frozen = model.get_parameter("model.layers.0.mlp.up_proj.weight").requires_grad_(False)
    kept = model.get_parameter("model.layers.1.mlp.up_proj.weight")
    kept.grad = torch.ones_like(kept)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    parameter_sensitivity(model, [collate(examples(1), 0)], MODULES)
    assert model.training and not frozen.requires_grad
    assert torch.equal(kept.grad, torch.ones_like(kept))
    assert all(p.grad is None for p in model.parameters() if p is not kept)
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


def test_gradients_are_freed_as_they_appear(tiny):
    """At most one targeted gradient is alive at any time, whatever the number of targets."""
    model = AutoModelForCausalLM.from_pretrained(tiny()[0])
    targets = [model.get_parameter(blocks.weight_name(b, k)) for k in range(4) for b in MODULES]
    alive = []
    for p in targets:
        p.register_post_accumulate_grad_hook(lambda _: alive.append(sum(q.grad is not None for q in targets)))
    parameter_sensitivity(model, [collate(examples(1), 0)], MODULES)
    assert len(alive) == len(targets)
    assert max(alive) <= 1


def test_no_sample_no_supervised_token_and_nan_are_errors(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny()[0])
    with pytest.raises(DataError, match="no sample"):
        parameter_sensitivity(model, [], MODULES)
    with pytest.raises(DataError, match="no supervised token"):
        parameter_sensitivity(model, [collate([{"input_ids": [1, 2], "labels": [-100, -100]}], 0)], MODULES)
    with torch.no_grad():
        model.get_parameter("model.layers.0.mlp.up_proj.weight")[0, 0] = float("nan")
    with pytest.raises(DataError, match="loss is nan"):
        parameter_sensitivity(model, [collate(examples(1), 0)], MODULES)
    assert all(p.grad is None for p in model.parameters())


def scores(per_layer: list[float]) -> dict[str, torch.Tensor]:
    return {blocks.weight_name("up", k): torch.full((2, 2), v) for k, v in enumerate(per_layer)}


def test_layers_are_the_best_in_depth_order_and_the_lower_wins_a_tie():
    assert select_layers(scores([1, 5, 2, 4]), 2) == [1, 3]
    assert select_layers(scores([3, 1, 3, 3]), 2) == [0, 2]
    assert select_layers(scores([1, 2]), 2) == [0, 1]
    both = {**scores([1, 5]), blocks.weight_name("down", 0): torch.full((3, 3), 9.0)}
    assert select_layers(both, 1) == [0]
    with pytest.raises(ConfigError, match="3 of 2"):
        select_layers(scores([1, 2]), 3)
