"""Neurons taken out of a model: one vector each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.locate.select import AXIS, Located
from pkt_eval.models import blocks


def neuron_vectors(model: Any, located: Located) -> dict[str, torch.Tensor]:
    """Rows of up and v, columns of down and o: the vectors that a neuron reads from or writes to the residual stream.

    Args:
        model: A decoder of a known family, loaded or streamed.
        located: Which neurons.

    Returns:
        Block → ``(layers, k, d)`` float32, on the model's device, in the order of ``located``.
    """
    (vectors,) = neuron_vectors_of(model, [located])
    return {block: t.to(model.device).float() for block, t in vectors.items()}


@torch.no_grad()
def neuron_vectors_of(model: Any, places: Sequence[Located]) -> list[dict[str, torch.Tensor]]:
    """``neuron_vectors`` of several locations, in the model's dtype and on the CPU; each matrix is looked at once."""
    kept: list[dict[str, dict[int, torch.Tensor]]] = [{block: {} for block in place.indices} for place in places]
    for block in dict.fromkeys(block for place in places for block in place.indices):
        for layer in sorted({layer for place in places for layer in place.layers.get(block, ())}):
            weight = model.get_parameter(blocks.weight_name(block, layer)).detach()
            rows = weight if AXIS[block] == "rows" else weight.T
            for place, of_place in zip(places, kept, strict=True):
                for i, own in enumerate(place.layers.get(block, ())):
                    if own == layer:
                        of_place[block][i] = rows[place.indices[block][i].to(rows.device)].cpu()
    return [
        {block: torch.stack([found[i] for i in range(len(found))]) for block, found in of_place.items()}
        for of_place in kept
    ]
