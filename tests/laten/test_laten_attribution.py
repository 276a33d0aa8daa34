"""Attribution against loops that rebuild the computation neuron by neuron, in float64."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.locate import neuron_attribution
from pkt_eval.locate import scoring as room
from pkt_eval.locate.attribution import attribute
from pkt_eval.locate.reading import read_activations
from pkt_eval.locate.scoring import representatives
from pkt_eval.locate.select import Counts, best, neuron_counts
from pkt_eval.models import blocks

IDS, TARGET = torch.tensor([5, 17, 3, 99, 42, 8, 8, 120, 61]), 33


def open_model(folder: str, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def gain(norm) -> torch.Tensor:
    return 1 + norm.weight if "Gemma" in type(norm).__name__ else norm.weight


@torch.no_grad()
def by_hand(folder: str, attribution: str = "exact"):
    """ffn, attention, layer_ffn, layer_attention, by docs/methods.md's formulas alone: one log-softmax a neuron."""
    model = open_model(folder, torch.float64)
    config, decoder, dims = model.config, model.model, blocks.dims(model.config)
    eps, cap = config.rms_norm_eps, getattr(config, "final_logit_softcapping", None)
    T = len(IDS)
    stream = decoder.embed_tokens(IDS[None])
    embedding = model.state_dict()["model.embed_tokens.weight"][IDS][None]
    scaled = config.model_type.startswith("gemma")
    torch.testing.assert_close(stream, embedding * (config.hidden_size**0.5 if scaled else 1))
    places = decoder.rotary_emb(stream, torch.arange(T)[None])
    mask = torch.full((T, T), -torch.inf, dtype=torch.float64).triu(1)[None, None]
    read = []
    for layer in decoder.layers:
        x = stream
        o, layer.self_attn.o_proj = layer.self_attn.o_proj, nn.Identity()
        z, alpha = layer.self_attn(layer.input_layernorm(x), places, mask)
        v = layer.self_attn.v_proj(layer.input_layernorm(x))
        a = o(z)
        sandwich = hasattr(layer, "pre_feedforward_layernorm")
        after_a = after_y = torch.ones(dims.hidden, dtype=torch.float64)
        before = layer.post_attention_layernorm
        if sandwich:
            after_a = gain(layer.post_attention_layernorm) / (a[0, -1].pow(2).mean() + eps).sqrt()
            a, before = layer.post_attention_layernorm(a), layer.pre_feedforward_layernorm
        r = x + a
        n = before(r)
        m = layer.mlp.act_fn(layer.mlp.gate_proj(n)) * layer.mlp.up_proj(n)
        y = layer.mlp.down_proj(m)
        if sandwich:
            after_y = gain(layer.post_feedforward_layernorm) / (y[0, -1].pow(2).mean() + eps).sqrt()
            y = layer.post_feedforward_layernorm(y)
        stream = r + y
        values = z[0, -1]
        if attribution == "published":
            share = []
            for q in range(dims.heads):
                g = q // (dims.heads // dims.kv_heads)
                share.append(alpha[0, q, -1, -1] * v[0, -1, g * dims.head_dim : (g + 1) * dims.head_dim])
            values = torch.cat(share)
        w_o, w_down = o.weight * after_a[:, None], layer.mlp.down_proj.weight * after_y[:, None]
        read.append((x[0, -1], a[0, -1], r[0, -1], y[0, -1], values, m[0, -1], w_o, w_down))

    last = stream[0, -1]
    if attribution == "exact":
        c = 1 / (last.pow(2).mean() + eps).sqrt()
    else:
        c = (torch.sqrt(((last - last.mean()) ** 2).mean() + 1e-5) + 1e-6) ** -0.5

    def logp(v):
        logits = model.lm_head.weight @ (c * v * gain(decoder.norm))
        if cap:
            logits = cap * torch.tanh(logits / cap)
        return logits.log_softmax(-1)[TARGET]

    lifts = [[], [], [], []]
    for x, a, r, y, values, m, w_o, w_down in read:
        lifts[0].append(torch.stack([logp(r + m[i] * w_down[:, i]) - logp(r) for i in range(len(m))]))
        lifts[1].append(torch.stack([logp(x + values[j] * w_o[:, j]) - logp(x) for j in range(len(values))]))
        lifts[2].append(logp(r + y) - logp(r))
        lifts[3].append(logp(x + a) - logp(x))
    return [torch.stack(f) for f in lifts]


CASES = [(f, True) for f in blocks.FAMILIES] + [("qwen2", False), ("llama", False)]


@pytest.mark.parametrize("attribution", ["exact", "published"])
@pytest.mark.parametrize(("family", "tied"), CASES)
def test_equals_a_loop_over_neurons(family, tied, attribution, tiny):
    folder = tiny(family, tie=tied)[0]
    scores = neuron_attribution(open_model(folder), IDS, TARGET, attribution=attribution)
    for name, expected in zip(vars(scores), by_hand(folder, attribution), strict=True):
        ours = getattr(scores, name)
        assert ours.dtype == torch.float32 and ours.shape == expected.shape
        assert expected.abs().max() > 1e-2  # the loop says something
        torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-5)


def all_places(model) -> room.Places:
    layers = range(model.config.num_hidden_layers)
    writes = {"ffn": "down", "attention": "o"}
    weights = {kind: [blocks.block(model, b, k).weight.detach() for k in layers] for kind, b in writes.items()}
    return room.Places(
        room.ToLogits(model), weights, layers, [read_activations(model, IDS, TARGET)], layers, len(layers)
    )


@torch.no_grad()
def test_layer_scores_end_at_the_models_own_prediction(tiny):
    """With the exact ``c``, the stream behind the last layer gives what the model says."""
    for family in blocks.FAMILIES:
        model = open_model(tiny(family)[0])
        sample = all_places(model)
        own = model(input_ids=IDS[None]).logits[0, -1].log_softmax(-1)[TARGET]
        ours = sample.logp["ffn"][-1, TARGET] + sample.layer_ffn[-1]
        torch.testing.assert_close(ours, own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_leaves_the_model_as_it_was(family, tiny):
    model = AutoModelForCausalLM.from_pretrained(tiny(family)[0]).train()
    before, implementation = model.state_dict(), model.config._attn_implementation
    before = {k: v.clone() for k, v in before.items()}
    for attribution in ("exact", "published"):
        neuron_attribution(model, IDS, TARGET, attribution=attribution)
    assert model.training and model.config._attn_implementation == implementation
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_memory_is_bounded_by_pieces_and_pieces_change_nothing(tiny, monkeypatch):
    model = open_model(tiny("qwen2")[0])
    whole = neuron_attribution(model, IDS, TARGET)
    monkeypatch.setattr(room, "_ROWS", 100)
    monkeypatch.setattr(room, "_COLUMNS", 24)
    largest, mm = [], torch.mm

    def watch(*args, **kwargs):
        made = mm(*args, **kwargs)
        largest.append(made.numel())
        return made

    monkeypatch.setattr(torch, "mm", watch)
    pieces = neuron_attribution(model, IDS, TARGET)
    assert max(largest) <= max(100 * 24, 160)  # the other bound is the target's row over a whole layer
    for name in vars(whole):
        torch.testing.assert_close(getattr(pieces, name), getattr(whole, name), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["qwen2", "gemma", "gemma2"])
def test_the_fast_path_keeps_its_bound_and_the_neurons(family, tiny, monkeypatch):
    monkeypatch.setattr(room, "_TOP", 16)
    monkeypatch.setattr(room, "_REST", 16)
    model = open_model(tiny(family)[0])
    keep = Counts(ffn=16, attention=12, value=3)
    full, fast = (attribute(model, [(IDS, TARGET)], keep=keep, scoring=s) for s in ("full", "fast"))
    for name in ("layer_ffn", "layer_attention"):
        assert torch.equal(getattr(full, name), getattr(fast, name))
    for name, k in (("ffn", 16), ("attention", 12)):
        ours, exact = best(getattr(fast, name), k), best(getattr(full, name), k)
        same = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(ours, exact, strict=True))
        assert same >= 0.9 * exact.numel()  # of a random model, whose tail is half of all probability
    if family == "gemma2":
        return  # the bound is stated without soft-capping
    sample = all_places(model)
    for kind in ("ffn", "attention"):
        for k in range(len(sample.targets)):
            p = sample.p[kind][k]
            rest = torch.ones_like(p).index_fill(0, representatives(p, 16, 16, TARGET)[0][:16], 0).bool()
            columns = sample._columns(kind, slice(k, k + 1), slice(None), None)
            R = columns.norm(dim=0) * (sample.readout.U[rest] - sample.u[kind][k]).norm(dim=1).max()
            bound = p[rest].sum() * (R.expm1() - R)
            off = (getattr(fast, kind)[k] - getattr(full, kind)[k]).abs()
            assert (off <= bound * 1.001 + 1e-6).all()


def test_the_fast_path_on_a_whole_small_vocabulary_is_the_full_one(tiny, monkeypatch):
    monkeypatch.setattr(room, "_TOP", 10**4)
    model = open_model(tiny("gemma2")[0])
    full, fast = (neuron_attribution(model, IDS, TARGET, scoring=s) for s in ("full", "fast"))
    for name in vars(full):
        torch.testing.assert_close(getattr(fast, name), getattr(full, name), rtol=1e-3, atol=1e-5)


def test_representatives_stand_for_the_whole():
    p = torch.rand(3000, generator=torch.Generator().manual_seed(0)).pow(8).softmax(0)
    target = int(p.argmin())
    tokens, weights = representatives(p, 100, 50, target)
    assert len(tokens) == 150 and abs(weights.sum() - 1) < 1e-5
    assert set(tokens[:100].tolist()) == {target, *p.topk(99).indices.tolist()}
    assert torch.equal(weights[:100], p[tokens[:100]])
    assert not set(tokens[100:].tolist()) & set(tokens[:100].tolist())
    again = representatives(p, 100, 50, target)
    assert torch.equal(again[0], tokens) and torch.equal(again[1], weights)


@pytest.mark.parametrize("factor", [30, 300, 3000])
def test_a_neuron_too_strong_for_float32_is_still_scored(factor, tiny):
    model = open_model(tiny("llama")[0])
    with torch.no_grad():
        model.model.layers[3].mlp.down_proj.weight[:, 5] *= factor
    for scoring in ("fast", "full"):
        ffn = neuron_attribution(model, IDS, TARGET, scoring=scoring).ffn
        assert torch.isfinite(ffn).all()
    reading = read_activations(model, IDS, TARGET)
    v = reading.r[3].double()
    n = (reading.m[3, 5] * model.model.layers[3].mlp.down_proj.weight[:, 5]).double()

    def logp(v):
        logits = model.lm_head.weight.double() @ (reading.scale.double() * v * model.model.norm.weight.double())
        return logits.log_softmax(-1)[TARGET]

    expected = (logp(v + n) - logp(v)).detach()
    assert abs(n).max() > factor / 100
    torch.testing.assert_close(ffn[3, 5].double(), expected, rtol=1e-3, atol=1e-5 * factor)


def test_sums_over_samples_are_sums(tiny):
    model = open_model(tiny()[0])
    keep = neuron_counts(blocks.dims(model.config), 0.1)
    one, two = ((IDS, TARGET), (IDS[:4], 7))
    together = attribute(model, [one, two], keep=keep)
    apart = neuron_attribution(model, *one) + neuron_attribution(model, *two)
    for name in vars(together):
        assert torch.equal(getattr(together, name), getattr(apart, name))


def test_mistakes_are_said(tiny):
    model = open_model(tiny()[0])
    with pytest.raises(ConfigError, match="'exact' or 'published'"):
        neuron_attribution(model, IDS, TARGET, attribution="rounded")
    with pytest.raises(ConfigError, match="'full' or 'fast'"):
        neuron_attribution(model, IDS, TARGET, scoring="slow")
    with pytest.raises(DataError, match="one sequence"):
        neuron_attribution(model, IDS[:0], TARGET)
    with pytest.raises(DataError, match="one sequence"):
        neuron_attribution(model, IDS, 10**6)
    with pytest.raises(DataError, match="no sample"):
        attribute(model, [], keep=Counts(1, 1, 1))
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        neuron_attribution(model, IDS, TARGET)


def test_fast_scoring_without_a_cut_scores_nothing_again(tiny):
    model = open_model(tiny("qwen2")[0])
    sample = (IDS, TARGET)
    plain = attribute(model, [sample], scoring="fast")
    full = attribute(model, [sample], scoring="full")
    again = attribute(model, [sample], scoring="fast", keep=neuron_counts(blocks.dims(model.config), 0.1))
    assert torch.equal(plain.layer_ffn, full.layer_ffn)
    for kind in ("ffn", "attention"):
        fast, cut = getattr(plain, kind), getattr(again, kind)
        assert 0 < (fast != cut).sum() < 0.2 * fast.numel()
        torch.testing.assert_close(fast, getattr(full, kind), rtol=0.05, atol=5e-3)
