"""Neurons taken out of a model: one vector each."""

from __future__ import annotations

from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.locate.select import AXIS, Located
from pkt_eval.models import blocks


@torch.no_grad()
def neuron_vectors(model: Any, located: Located) -> dict[str, torch.Tensor]:
    """Rows of up and v, columns of down and o: the vectors that a neuron reads from or writes to the residual stream.

    Args:
        model: A decoder of a known family.
        located: Which neurons.

    Returns:
        Block → ``(layers, k, d)`` float32, on the model's device, in the order of ``located``.
    """
    vectors = {}
    for block, indices in located.indices.items():
        weights = [model.get_parameter(blocks.weight_name(block, k)).detach() for k in located.layers[block]]
        rows = [w if AXIS[block] == "rows" else w.T for w in weights]
        vectors[block] = torch.stack([w[i].float() for w, i in zip(rows, indices.to(model.device), strict=True)])
    return vectors
