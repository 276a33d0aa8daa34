"""Our loss is transformers' loss, value and gradients, on every family."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.data.chat import collate
from pkt_eval.models import blocks
from pkt_eval.tune.loss import supervised_loss
from pkt_eval.tune.training import StepSampler


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_equals_transformers_loss_and_gradients(family, tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny(family)[1])
    generator = torch.Generator().manual_seed(0)
    examples = []
    for length in (5, 9, 14):
        ids = torch.randint(1, 200, (length,), generator=generator).tolist()
        examples.append({"input_ids": ids, "labels": [-100] * 2 + ids[2:]})
    batch = collate(examples, 0)

    theirs = model(**batch).loss
    theirs.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    total, count = supervised_loss(model, batch)
    (total / count).backward()

    assert count == 3 + 7 + 12
    torch.testing.assert_close(total / count, theirs, rtol=1e-5, atol=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)
    assert model(**batch).logits.shape[:2] == (3, 14), "the hook is gone"


def test_nothing_supervised_is_zero(tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny()[1])
    total, count = supervised_loss(model, collate([{"input_ids": [1, 2, 3], "labels": [-100] * 3}], 0))
    assert (float(total), count) == (0.0, 0)


def test_a_steps_examples_come_by_length_and_every_epoch_has_each_once_in_another_order():
    lengths = [(7 * i) % 23 for i in range(50)]
    sampler = StepSampler(lengths, 16, seed=3)
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(50))
    assert epochs[0] == list(StepSampler(lengths, 16, seed=3)) != epochs[1]
    for start in range(0, 50, 16):
        step = [lengths[i] for i in epochs[0][start : start + 16]]
        assert step == sorted(step, reverse=True)
    assert set(epochs[0][:16]) != set(epochs[1][:16]), "steps are drawn at random"
