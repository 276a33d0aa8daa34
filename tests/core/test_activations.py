"""What is read off a model is what it computes, on every family, and the model is left as it was."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.data.chat import collate
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap, activations, tapped

LAYERS = range(4)


def examples(n: int = 3) -> list[dict]:
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(1, 200, (6 + 3 * i,), generator=generator).tolist() for i in range(n)]
    return [{"input_ids": ids, "labels": [-100] * 3 + ids[3:]} for ids in rows]


def open_model(folder: str):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("family", blocks.FAMILIES)
@torch.no_grad()
def test_streams_and_blocks_are_what_the_model_computes(family, tiny):
    model = open_model(tiny(family)[0])
    taps = [Tap("residual", k, side) for k in LAYERS for side in ("input", "output")]
    taps += [Tap(b, k, side) for k in LAYERS for b in blocks.BLOCKS for side in ("input", "output")]
    taps += [Tap("middle", k) for k in LAYERS]
    (seen,) = activations(model, [collate(examples(1), 0)], taps, positions="all")
    assert set(seen) == set(taps)
    ids = torch.tensor([examples(1)[0]["input_ids"]])
    # The last of these has the final norm behind it.
    hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
    for k in LAYERS:
        assert torch.equal(seen[Tap("residual", k, "input")], hidden[k][0])
        if k + 1 in LAYERS:
            assert torch.equal(seen[Tap("residual", k)], hidden[k + 1][0])
        for b in blocks.BLOCKS:
            linear = blocks.block(model, b, k)
            torch.testing.assert_close(linear(seen[Tap(b, k, "input")]), seen[Tap(b, k)], rtol=1e-4, atol=1e-5)
        # Attention and FFN are what lies between the streams, once the norms behind them have been passed.
        layer, middle = blocks.layers(model)[k], seen[Tap("middle", k)]
        ffn, attention = seen[Tap("down", k)], seen[Tap("o", k)]
        ffn = norm(ffn) if (norm := blocks.norm_after_ffn(layer)) else ffn
        attention = norm(attention) if (norm := blocks.norm_after_attention(layer)) else attention
        torch.testing.assert_close(seen[Tap("residual", k, "input")] + attention, middle, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(middle + ffn, seen[Tap("residual", k)], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            blocks.norm_before_ffn(layer)(middle), seen[Tap("up", k, "input")], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("family", blocks.FAMILIES)
@torch.no_grad()
def test_the_way_to_the_logits(family, tiny):
    model = open_model(tiny(family)[0])
    ids = torch.arange(1, 20)[None]
    every = torch.ones_like(ids, dtype=torch.bool)
    stream = tapped(model, ids, [Tap("residual", 3)], every)[Tap("residual", 3)]
    gain = blocks.norm_gain(blocks.final_norm(model), blocks.norm_eps(model))
    rms = stream.square().mean(-1, keepdim=True).add(blocks.norm_eps(model)).sqrt()
    logits = (stream / rms * gain) @ blocks.unembedding(model).T
    cap = blocks.logit_cap(model)
    assert (cap is not None) == (family == "gemma2")
    logits = cap * torch.tanh(logits / cap) if cap else logits
    torch.testing.assert_close(logits, model(input_ids=ids).logits[0], rtol=1e-3, atol=1e-3)
    assert blocks.attention(blocks.layers(model)[0]) is model.get_submodule("model.layers.0.self_attn")
    assert blocks.decoder(model)(input_ids=ids).last_hidden_state.shape == (1, 19, 64)


def test_supervised_positions_predict_and_padding_is_never_there(tiny):
    model = open_model(tiny()[0])
    tap, made = Tap("down", 2), examples()
    (together,) = activations(model, [collate(made, 0)], [tap])
    alone = [rows[tap] for rows in activations(model, (collate([e], 0) for e in made), [tap])]
    assert [len(rows) for rows in alone] == [3, 6, 9]  # as many as labels
    torch.testing.assert_close(together[tap], torch.cat(alone), rtol=1e-4, atol=1e-5)
    for example, rows in zip(made, alone, strict=True):
        (every,) = activations(model, [collate([example], 0)], [tap], positions="all")
        assert torch.equal(every[tap][2:-1], rows)
    (every,) = activations(model, [collate(made, 0)], [tap], positions="all")
    assert len(every[tap]) == sum(len(e["input_ids"]) for e in made)


def test_a_users_hooks_go_on_and_none_of_ours_is_left(tiny):
    model = open_model(tiny()[0]).train()
    seen = []
    linear = blocks.block(model, "down", 1)
    linear.register_forward_hook(lambda _, args, out: seen.append(1) or 2 * out)
    taps = [Tap("down", 1), Tap("residual", 1), Tap("middle", 1), Tap("up", 0, "input")]
    stream = activations(model, (collate([e], 0) for e in examples()), taps)
    first = next(stream)  # and the stream is left here
    assert len(seen) == 1 and model.training
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules() if m is not linear].count(0) == (
        len(list(model.modules())) - 1
    )
    assert len(linear._forward_hooks) == 1
    linear._forward_hooks.clear()
    (plain,) = activations(model, [collate(examples(1), 0)], taps)
    torch.testing.assert_close(first[Tap("down", 1)], 2 * plain[Tap("down", 1)])


def test_hooks_are_gone_after_an_error_as_well(tiny):
    model = open_model(tiny()[0])

    def fails(*_):
        raise RuntimeError("a user's")

    blocks.layers(model)[2].register_forward_hook(fails)
    with pytest.raises(RuntimeError, match="a user's"):
        list(activations(model, [collate(examples(1), 0)], [Tap("down", 0)]))
    assert not blocks.block(model, "down", 0)._forward_hooks


def test_places_that_are_not_there_are_said(tiny):
    model, batch = open_model(tiny()[0]), collate(examples(1), 0)
    for tap, message in [
        (Tap("down", 4), "layers 0 to 3"),
        (Tap("downn", 0), "distinct names"),
        (Tap("down", 0, "inside"), "an 'input' and an 'output'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            list(activations(model, [batch], [tap]))
    with pytest.raises(ConfigError, match="not 'last'"):
        list(activations(model, [batch], [], positions="last"))
    with pytest.raises(DataError, match="need the labels"):
        list(activations(model, [{"input_ids": batch["input_ids"]}], [Tap("down", 0)]))
