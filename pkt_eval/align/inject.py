"""Injection: deltas as extra terms on activations while aligning, and as edits of weights afterwards.

With ``δ`` on rows ``i`` of ``W``, ``(W + δ)x`` is ``Wx`` with ``δx`` added to the outputs ``i``; with ``δ`` on columns,
it is ``Wx + δᵀx_i``. Both cost ``k·d`` a token, and neither makes a copy of ``W``.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from pkt_eval.locate.select import AXIS, Located
from pkt_eval.models import blocks
from pkt_eval.models.edits import LocatedEdit


@contextmanager
def injected(model: Any, located: Located, deltas: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Let the model compute, for the body of a ``with``, as if the deltas had been added to its weights.

    Gradients reach the deltas as they would reach the dense weights; the model's own parameters are left alone.

    Args:
        model: A decoder of a known family.
        located: Where.
        deltas: Block → ``(layers, k, d)``, in the order of ``located``.
    """
    with ExitStack() as stack:
        for block, delta in deltas.items():
            add = _add_to_rows if AXIS[block] == "rows" else _add_to_columns
            for layer, indices, d in zip(located.layers[block], located.indices[block], delta, strict=True):
                linear = blocks.block(model, block, layer)
                hook = linear.register_forward_hook(add(indices.to(linear.weight.device), d))
                stack.callback(hook.remove)
        yield


def _add_to_rows(indices: torch.Tensor, delta: torch.Tensor) -> Any:
    def hook(_: Any, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        return out.index_add(-1, indices, (args[0].float() @ delta.T).to(out.dtype))

    return hook


def _add_to_columns(indices: torch.Tensor, delta: torch.Tensor) -> Any:
    def hook(_: Any, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        return out + (args[0].index_select(-1, indices).float() @ delta).to(out.dtype)

    return hook


def located_edits(located: Located, deltas: Mapping[str, torch.Tensor]) -> tuple[LocatedEdit, ...]:
    """The same deltas as edits of weights, on the CPU: one for each layer of each block."""
    return tuple(
        LocatedEdit(
            blocks.weight_name(block, layer), AXIS[block], indices.cpu(), d.detach().to("cpu", torch.float32).clone()
        )
        for block, delta in deltas.items()
        for layer, indices, d in zip(located.layers[block], located.indices[block], delta, strict=True)
    )
