"""Where LaTen edits: as many layers as the student has, and neurons in each; by their scores, or at random."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pkt_eval._util.lazy import torch
from pkt_eval.locate.attribution import NeuronScores
from pkt_eval.locate.layers import map_layers
from pkt_eval.locate.select import Counts, Located, best, value_scores
from pkt_eval.models.blocks import Dims


def best_places(scores: NeuronScores, dims: Dims, keep: Counts, layers: int, modules: Sequence[str]) -> Located:
    """The layers of the highest scores, in depth order, and the best neurons of each.

    Args:
        scores: Of a model.
        dims: Its sizes.
        keep: Neurons of a layer.
        layers: Of the student.
        modules: Blocks, of up, down, v and o.
    """
    return _located(
        map_layers(dims.layers, layers, scores.layer_ffn),
        map_layers(dims.layers, layers, scores.layer_attention),
        best(scores.ffn, keep.ffn),
        best(scores.attention, keep.attention),
        best(value_scores(scores.attention, dims), keep.value),
        modules,
    )


def random_places(dims: Dims, keep: Counts, layers: int, modules: Sequence[str], seed: int) -> Located:
    """The same of a model whose scores say nothing."""
    dice, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    ffn_layers, attention_layers = (map_layers(dims.layers, layers, dice) for _ in range(2))
    ffn, attention, value = (
        torch.stack([torch.randperm(n, generator=generator)[:k] for _ in range(dims.layers)])
        for n, k in (
            (dims.ffn, keep.ffn),
            (dims.heads * dims.head_dim, keep.attention),
            (dims.kv_heads * dims.head_dim, keep.value),
        )
    )
    return _located(ffn_layers, attention_layers, ffn, attention, value, modules)


def _located(
    ffn_layers: Sequence[int],
    attention_layers: Sequence[int],
    ffn: torch.Tensor,
    attention: torch.Tensor,
    value: torch.Tensor,
    modules: Sequence[str],
) -> Located:
    """Of indices ``(L, k)`` in all layers of the model, those in the layers that are kept."""
    places = {
        "up": (ffn_layers, ffn),
        "down": (ffn_layers, ffn),
        "v": (attention_layers, value),
        "o": (attention_layers, attention),
    }
    chosen = {block: places[block] for block in modules}
    return Located(
        {block: layers for block, (layers, _) in chosen.items()},
        {block: indices[list(layers)] for block, (layers, indices) in chosen.items()},
    )
