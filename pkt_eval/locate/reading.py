"""What LaTen's attribution reads off a model: one forward pass, the last position, every layer.

The scores made of it are in ``attribution``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models import blocks

Attribution = Literal["exact", "published"]


@dataclass(frozen=True)
class Reading:
    """The values of a forward pass at its last position, float32, layers first.

    Attributes:
        x: ``(L+1, d)`` the input of each layer, and the output of the last.
        r: ``(L, d)`` the residual stream between attention and FFN.
        z: ``(L, h·e)`` the input of ``o``; in the published variant, what it takes for that.
        m: ``(L, f)`` the input of ``down``.
        attention_gain: ``(L, d)`` what a norm after the attention multiplies its output by; ones where there is none.
        ffn_gain: ``(L, d)`` the same after the FFN.
        scale: ``()`` the constant ``c``, taken at the output of the last layer.
        target: Id of the token whose probability is attributed.
    """

    x: torch.Tensor
    r: torch.Tensor
    z: torch.Tensor
    m: torch.Tensor
    attention_gain: torch.Tensor
    ffn_gain: torch.Tensor
    scale: torch.Tensor
    target: int


@torch.no_grad()
def read(model: Any, input_ids: torch.Tensor, target_id: int, attribution: Attribution = "exact") -> Reading:
    """Run the tokens before the target once and keep what the attribution needs (arXiv 2505.14436, §3.2).

    Args:
        model: A decoder of a known family; its mode and its attention implementation are left as found.
        input_ids: ``(T,)`` or ``(1, T)`` ids before the target.
        target_id: Id of the target.
        attribution: ``"exact"`` or ``"published"``; they differ in ``z`` and ``scale``.

    Raises:
        ConfigError: Another ``attribution``.
        DataError: No token, more than one sequence, or a target outside the vocabulary.
    """
    if attribution not in ("exact", "published"):
        raise ConfigError(f"attribution is 'exact' or 'published', not {attribution!r}")
    ids = torch.as_tensor(input_ids)
    dims = blocks.dims(model.config)
    if ids.numel() != ids.shape[-1] or not ids.numel() or not 0 <= target_id < dims.vocab:
        raise DataError(
            f"attribution takes one sequence of ids and a target below {dims.vocab}; got ids of shape "
            f"{tuple(ids.shape)} and target {target_id}"
        )
    kept: dict[str, list[torch.Tensor]] = {key: [] for key in ("x", "r", "z", "m", "o", "y", "v", "alpha")}

    def keep(key: str, value: torch.Tensor) -> None:
        kept[key].append(value[0, -1].to(torch.float32, copy=True))  # a view would keep all positions alive

    published = attribution == "published"
    training = model.training
    handles = []
    try:
        model.eval()
        for k, layer in enumerate(model.model.layers):
            o, down, v = (model.get_submodule(blocks.module_name(b, k)) for b in ("o", "down", "v"))
            handles += [
                layer.register_forward_pre_hook(lambda _, args: keep("x", args[0])),
                _norm_before_ffn(layer).register_forward_pre_hook(lambda _, args: keep("r", args[0])),
                o.register_forward_hook(lambda _, args, out: (keep("z", args[0]), keep("o", out))[0]),
                down.register_forward_hook(lambda _, args, out: (keep("m", args[0]), keep("y", out))[0]),
            ]
            if published:
                handles += [
                    v.register_forward_hook(lambda _, args, out: keep("v", out)),
                    # (1, h, T, T) → the weight of the last key for the last query, (h,)
                    layer.self_attn.register_forward_hook(lambda _, args, out: keep("alpha", out[1][..., -1].mT)),
                ]
        handles.append(model.model.norm.register_forward_pre_hook(lambda _, args: keep("x", args[0])))
        with _eager_attention(model) if published else _as_it_is():
            model.model(input_ids=ids.reshape(1, -1).to(model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    stacked = {key: torch.stack(values) for key, values in kept.items() if values}
    last, eps = stacked["x"][-1], model.config.rms_norm_eps
    if published:
        spread = last.var(correction=0).add(1e-5).sqrt()
        scale = (spread + 1e-6).rsqrt()
        group = dims.heads // dims.kv_heads
        v = stacked["v"].reshape(dims.layers, dims.kv_heads, 1, dims.head_dim).expand(-1, -1, group, -1)
        z = (stacked["alpha"].reshape(dims.layers, dims.kv_heads, group, 1) * v).reshape(dims.layers, -1)
    else:
        scale, z = last.pow(2).mean().add(eps).rsqrt(), stacked["z"]
    return Reading(
        x=stacked["x"],
        r=stacked["r"],
        z=z,
        m=stacked["m"],
        attention_gain=_gains(model, stacked["o"], "post_attention_layernorm"),
        ffn_gain=_gains(model, stacked["y"], "post_feedforward_layernorm"),
        scale=scale,
        target=target_id,
    )


def norm_gain(norm: Any, eps: float) -> torch.Tensor:
    """``γ (d,)`` of an RMSNorm in float32, by asking it: families store γ or γ − 1."""
    ones = torch.ones(norm.weight.shape, dtype=torch.float32, device=norm.weight.device)
    return norm(ones).float() * (1 + eps) ** 0.5


def _norm_before_ffn(layer: Any) -> Any:
    """Llama calls it post_attention_layernorm, a name under which Gemma 2 norms the attention's output instead."""
    return getattr(layer, "pre_feedforward_layernorm", None) or layer.post_attention_layernorm


def _gains(model: Any, outputs: torch.Tensor, norm: str) -> torch.Tensor:
    """What the norm after a block multiplies the block's output by, each entry by itself: γ over the output's RMS.

    The RMS is a constant, for the reason that ``c`` is one: a neuron's share is what the whole would lose with it.
    """
    layers, eps = model.model.layers, model.config.rms_norm_eps
    if not hasattr(layers[0], "post_feedforward_layernorm"):
        return torch.ones_like(outputs[:, :1]).expand_as(outputs)
    gains = torch.stack([norm_gain(getattr(layer, norm), eps).to(outputs.device) for layer in layers])
    return gains * outputs.pow(2).mean(-1, keepdim=True).add(eps).rsqrt()


@contextmanager
def _eager_attention(model: Any) -> Iterator[None]:
    """Fused attention does not tell its weights."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield
