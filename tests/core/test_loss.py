"""Our loss is transformers' loss, value and gradients, on every family."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.data.chat import collate
from pkt_eval.models import blocks
from pkt_eval.tune import loss, search
from pkt_eval.tune.config import FinetuneConfig
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


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_loss_in_pieces_is_the_loss(family, tiny, monkeypatch):
    """Value and gradients of a frozen head's, with soft-capped logits too; and without gradients."""
    model = AutoModelForCausalLM.from_pretrained(tiny(family)[1])
    model.requires_grad_(False)
    block = model.get_parameter(blocks.weight_name("down", 0)).requires_grad_()
    ids = torch.randint(1, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    batch = collate([{"input_ids": row, "labels": row} for row in (ids[0].tolist(), ids[1, :7].tolist())], 0)
    found, seen = [], []
    logits = blocks.logits
    monkeypatch.setattr(blocks, "logits", lambda model, states: seen.append(len(states)) or logits(model, states))
    for entries in (1 << 25, 5 * model.config.vocab_size):
        monkeypatch.setattr(loss, "_LOGITS", entries)
        total, count = supervised_loss(model, batch)
        (total / count).backward()
        with torch.no_grad():
            found.append((total.detach(), block.grad, supervised_loss(model, batch)[0]))
        block.grad = None
    for whole, pieces in zip(*found, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=1e-6)
    assert seen == [17, 17, *[5, 5, 5, 2] * 2]


def test_padding_is_not_attended_to_wherever_it_is(tiny):
    """Behind a text, where no mask says so, and before it."""
    model = AutoModelForCausalLM.from_pretrained(tiny()[1])
    text = {"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8]}
    alone = supervised_loss(model, collate([text], 0))[0].item()
    behind = collate([text, {"input_ids": [9] * 9, "labels": [-100] * 9}], 0)
    assert supervised_loss(model, behind)[0].item() == pytest.approx(alone, rel=1e-5)
    before = {name: value.flip(1) for name, value in behind.items()}
    before["input_ids"][0, 5:], before["labels"][0, 5:] = behind["input_ids"][0, :4], behind["labels"][0, :4]
    before["position_ids"] = (before["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    assert supervised_loss(model, before)[0].item() == pytest.approx(alone, rel=1e-5)


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


def test_a_pass_on_a_cpu_has_some_hundred_tokens_and_a_step_whole_passes():
    for step, tokens, wanted in ((64, 170, 2), (64, 66, 8), (24, 66, 8), (64, 900, 1), (64, 5, 64), (7, 200, 1)):
        examples = [{"input_ids": [0] * tokens, "labels": [0] * tokens}] * 100
        assert search._micro_batch(FinetuneConfig(train_batch_size=step), examples) == wanted
    assert search._micro_batch(FinetuneConfig(), examples[:3]) == 3
