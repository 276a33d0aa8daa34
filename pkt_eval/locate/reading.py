"""What LaTen's attribution reads off a model: one forward pass, the last position, every layer.

The scores made of it are in ``attribution``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models import blocks
from pkt_eval.models.activations import LAST_KEY, MIDDLE, RESIDUAL, Look, Tap, tapped_each
from pkt_eval.models.stream import filled, skeleton

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


def read_activations(
    model: Any, input_ids: torch.Tensor, target_id: int, attribution: Attribution = "exact"
) -> Reading:
    """Run the tokens before the target once and keep what the attribution needs (arXiv 2505.14436, §3.2).

    Args:
        model: A decoder of a known family, loaded or streamed; its mode and its attention are left as found.
        input_ids: ``(T,)`` or ``(1, T)`` ids before the target.
        target_id: Id of the target.
        attribution: ``"exact"`` or ``"published"``; they differ in ``z`` and ``scale``.

    Raises:
        ConfigError: Another ``attribution``.
        DataError: No token, more than one sequence, or a target outside the vocabulary.
    """
    (reading,) = read_each(model, [(input_ids, target_id)], attribution)
    return reading


def read_each(
    model: Any, samples: Iterable[tuple[torch.Tensor, int]], attribution: Attribution = "exact"
) -> Iterator[Reading]:
    """``read_activations`` of several samples; of a streamed model in one pass of its layers.

    Args:
        model: As ``read_activations``.
        samples: ``(input_ids, target_id)`` each.
        attribution: As ``read_activations``.

    Raises:
        ConfigError: Another ``attribution``.
        DataError: As ``read_activations``.
    """
    if attribution not in ("exact", "published"):
        raise ConfigError(f"attribution is 'exact' or 'published', not {attribution!r}")
    dims, published = blocks.dims(model.config), attribution == "published"
    count = dims.layers
    taps = {
        "x": [*(Tap(RESIDUAL, k, "input") for k in range(count)), Tap(RESIDUAL, count - 1)],
        "r": [Tap(MIDDLE, k) for k in range(count)],
        "z": [Tap("o", k, "input") for k in range(count)],
        "m": [Tap("down", k, "input") for k in range(count)],
        "o": [Tap("o", k) for k in range(count)],
        "y": [Tap("down", k) for k in range(count)],
    }
    if published:
        taps |= {"v": [Tap("v", k) for k in range(count)], "alpha": [Tap(LAST_KEY, k) for k in range(count)]}
    every = [tap for places in taps.values() for tap in places]
    norms = {name: _norm_gains(model, norm) for name, norm in _NORMS.items()}
    targets: list[int] = []

    def looks() -> Iterator[Look]:
        for input_ids, target in samples:
            targets.append(target)
            yield _last_position(input_ids, target, dims.vocab)

    with _eager(skeleton(model)) if published else nullcontext():
        for number, rows in enumerate(tapped_each(model, looks(), every)):
            values = {key: torch.stack([rows[tap][0].float() for tap in places]) for key, places in taps.items()}
            yield _reading(values, norms, blocks.norm_eps(model), dims, targets[number])


def _last_position(input_ids: torch.Tensor, target: int, vocab: int) -> Look:
    ids = torch.as_tensor(input_ids)
    if ids.numel() != ids.shape[-1] or not ids.numel() or not 0 <= target < vocab:
        raise DataError(
            f"attribution takes one sequence of ids and a target below {vocab}; got ids of shape {tuple(ids.shape)} "
            f"and target {target}"
        )
    ids = ids.reshape(1, -1)
    last = torch.zeros_like(ids, dtype=torch.bool)
    last[0, -1] = True
    return Look(ids, last)


@torch.no_grad()
def _reading(
    values: dict[str, torch.Tensor],
    norms: Mapping[str, torch.Tensor | None],
    eps: float,
    dims: blocks.Dims,
    target: int,
) -> Reading:
    final = values["x"][-1]
    if "alpha" in values:
        spread = final.var(correction=0).add(1e-5).sqrt()
        scale = (spread + 1e-6).rsqrt()
        group = dims.heads // dims.kv_heads
        v = values["v"].reshape(dims.layers, dims.kv_heads, 1, dims.head_dim).expand(-1, -1, group, -1)
        z = (values["alpha"].reshape(dims.layers, dims.kv_heads, group, 1) * v).reshape(dims.layers, -1)
    else:
        scale, z = final.pow(2).mean().add(eps).rsqrt(), values["z"]
    return Reading(
        x=values["x"],
        r=values["r"],
        z=z,
        m=values["m"],
        attention_gain=_gains(norms["attention"], values["o"], eps),
        ffn_gain=_gains(norms["ffn"], values["y"], eps),
        scale=scale,
        target=target,
    )


_NORMS = {"attention": blocks.norm_after_attention, "ffn": blocks.norm_after_ffn}


@torch.no_grad()
def _norm_gains(model: Any, norm_of: Callable[[Any], torch.nn.Module | None]) -> torch.Tensor | None:
    """``γ (L, d)`` of the norms after a kind of block; None where there are none."""
    gains = []
    for layer in blocks.layers(skeleton(model)):
        norm = norm_of(layer)
        if norm is None:
            return None
        with filled(model, norm):
            gains.append(blocks.norm_gain(norm, blocks.norm_eps(model)))
    return torch.stack(gains)


def _gains(norms: torch.Tensor | None, outputs: torch.Tensor, eps: float) -> torch.Tensor:
    """What the norm after a block multiplies the block's output by, each entry by itself: γ over the output's RMS.

    The RMS is a constant, for the reason that ``c`` is one: a neuron's share is what the whole would lose with it.
    """
    if norms is None:
        return torch.ones_like(outputs[:, :1]).expand_as(outputs)
    return norms.to(outputs.device) * outputs.pow(2).mean(-1, keepdim=True).add(eps).rsqrt()


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Fused attention does not tell its weights, so the model attends eagerly in the body."""
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation("eager")
        yield
    finally:
        model.set_attn_implementation(before)
