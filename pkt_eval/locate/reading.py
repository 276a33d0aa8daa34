"""What LaTen's attribution reads off a model: one forward pass, the last position, every layer.

The scores made of it are in ``attribution``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models import blocks
from pkt_eval.models.activations import MIDDLE, RESIDUAL, Tap, tapped

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
def read_activations(
    model: Any, input_ids: torch.Tensor, target_id: int, attribution: Attribution = "exact"
) -> Reading:
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
    count = dims.layers
    taps = {
        "x": [*(Tap(RESIDUAL, k, "input") for k in range(count)), Tap(RESIDUAL, count - 1)],
        "r": [Tap(MIDDLE, k) for k in range(count)],
        "z": [Tap("o", k, "input") for k in range(count)],
        "m": [Tap("down", k, "input") for k in range(count)],
        "o": [Tap("o", k) for k in range(count)],
        "y": [Tap("down", k) for k in range(count)],
    }
    published = attribution == "published"
    if published:
        taps["v"] = [Tap("v", k) for k in range(count)]
    ids = ids.reshape(1, -1)
    last = torch.zeros_like(ids, dtype=torch.bool)
    last[0, -1] = True
    with ExitStack() as stack:
        alphas = stack.enter_context(_attention_weights(model)) if published else []
        rows = tapped(model, ids, [tap for places in taps.values() for tap in places], last)
    values = {key: torch.stack([rows[tap][0].float() for tap in places]) for key, places in taps.items()}
    final, eps = values["x"][-1], blocks.norm_eps(model)
    if published:
        spread = final.var(correction=0).add(1e-5).sqrt()
        scale = (spread + 1e-6).rsqrt()
        group = dims.heads // dims.kv_heads
        v = values["v"].reshape(count, dims.kv_heads, 1, dims.head_dim).expand(-1, -1, group, -1)
        z = (torch.stack(alphas).reshape(count, dims.kv_heads, group, 1) * v).reshape(count, -1)
    else:
        scale, z = final.pow(2).mean().add(eps).rsqrt(), values["z"]
    layers = blocks.layers(model)
    return Reading(
        x=values["x"],
        r=values["r"],
        z=z,
        m=values["m"],
        attention_gain=_gains([blocks.norm_after_attention(layer) for layer in layers], values["o"], eps),
        ffn_gain=_gains([blocks.norm_after_ffn(layer) for layer in layers], values["y"], eps),
        scale=scale,
        target=target_id,
    )


def _gains(norms: Sequence[torch.nn.Module | None], outputs: torch.Tensor, eps: float) -> torch.Tensor:
    """What the norm after a block multiplies the block's output by, each entry by itself: γ over the output's RMS.

    The RMS is a constant, for the reason that ``c`` is one: a neuron's share is what the whole would lose with it.
    """
    if None in norms:
        return torch.ones_like(outputs[:, :1]).expand_as(outputs)
    gains = torch.stack([blocks.norm_gain(norm, eps).to(outputs.device) for norm in norms])
    return gains * outputs.pow(2).mean(-1, keepdim=True).add(eps).rsqrt()


@contextmanager
def _attention_weights(model: Any) -> Iterator[list[torch.Tensor]]:
    """For each layer of a pass in the body, the weight of the last key for the last query, ``(h,)`` float32.

    Fused attention does not tell its weights, so the model attends eagerly meanwhile.
    """
    weights: list[torch.Tensor] = []

    def keep(_: Any, args: Any, out: Any) -> None:
        weights.append(out[1][0, :, -1, -1].to(torch.float32, copy=True))  # a view would keep all positions alive

    before = model.config._attn_implementation
    with ExitStack() as stack:
        for layer in blocks.layers(model):
            stack.callback(blocks.attention(layer).register_forward_hook(keep).remove)
        stack.callback(model.set_attn_implementation, before)
        model.set_attn_implementation("eager")
        yield weights
