"""Which neurons are kept, given LaTen's scores, and the rows and columns that they stand for.

Ties break by index everywhere, so that the same scores always keep the same neurons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError
from pkt_eval.models.blocks import Dims

#: Blocks that LaTen can edit → the axis along which their neurons lie.
AXIS: Mapping[str, Literal["rows", "columns"]] = {"up": "rows", "down": "columns", "v": "rows", "o": "columns"}


@dataclass(frozen=True)
class Counts:
    """How many neurons of a layer are kept.

    Attributes:
        ffn: Rows of up and columns of down.
        attention: Columns of o.
        value: Rows of v.
    """

    ffn: int
    attention: int
    value: int


@dataclass(frozen=True)
class Located:
    """Places in a model, best first.

    Attributes:
        layers: Block → the layer of each entry of ``indices``.
        indices: Block → ``(len(layers), k)`` int64: rows of up and v, columns of down and o.
    """

    layers: Mapping[str, Sequence[int]]
    indices: Mapping[str, torch.Tensor]


def neuron_counts(dims: Dims, rate: float) -> Counts:
    """``⌊ρ·f⌋``, ``⌊ρ·h·e⌋`` and ``⌊ρ·g·e⌋`` of the *student's* sizes; both models keep as many.

    Raises:
        ConfigError: The rate keeps nothing of some block.
    """
    # 0.29 × 100 is 28.999… in binary: the floor is taken of the number that was written.
    share = Fraction(str(rate))
    sizes = (dims.ffn, dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim)
    counts = Counts(*(int(share * size) for size in sizes))
    if not 0 < share <= 1 or min(counts.ffn, counts.attention, counts.value) < 1:
        raise ConfigError(
            f"rate={rate} keeps {counts.ffn} of {sizes[0]} FFN neurons, {counts.attention} of {sizes[1]} attention "
            f"channels and {counts.value} of {sizes[2]} value rows of a layer: choose a rate in (0, 1] that keeps some "
            "of each"
        )
    return counts


def best(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Indices ``(…, k)`` of the ``k`` largest scores along the last axis, best first; the lower index wins a tie."""
    return torch.sort(scores, dim=-1, descending=True, stable=True).indices[..., :k]


def value_scores(attention: torch.Tensor, dims: Dims) -> torch.Tensor:
    """Scores of v rows ``(L, g·e)``: the sum over the o channels ``(L, h·e)`` that a row feeds.

    Channel (head q, dim j) reads row ``(q // (h/g))·e + j``.
    """
    grouped = attention.reshape(-1, dims.kv_heads, dims.heads // dims.kv_heads, dims.head_dim)
    return grouped.sum(2).reshape(-1, dims.kv_heads * dims.head_dim)


def channels_of_values(rows: torch.Tensor, dims: Dims) -> torch.Tensor:
    """The o channels ``(L, n·h/g)`` that v rows ``(L, n)`` feed."""
    group, e = dims.heads // dims.kv_heads, dims.head_dim
    head = (rows // e)[..., None] * group + torch.arange(group, device=rows.device)
    return (head * e + (rows % e)[..., None]).flatten(1)


def near_cut(scores: torch.Tensor, k: int, one_in: int) -> torch.Tensor:
    """Indices of the last kept and the first left-out neurons of each layer ``(L, n)``: ``n / one_in`` of each."""
    window = max(1, scores.shape[1] // one_in)
    return best(scores, k + window)[..., max(0, k - window) :]
