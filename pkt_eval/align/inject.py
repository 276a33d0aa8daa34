"""Injection: deltas as extra terms on activations while aligning, and as edits of weights afterwards.

With ``δ`` on rows ``i`` of ``W``, ``(W + δ)x`` is ``Wx`` with ``δx`` added to the outputs ``i``; with ``δ`` on columns,
it is ``Wx + δᵀx_i``. Both cost ``k·d`` a token, and neither makes a copy of ``W``.

The deltas are float32 whatever the model is. Their term is not added to the finished product, in which 16 bits would
round it away: the product is accumulated onto it, in fp32, before anything is rounded (as in ``models.beside``, whose
edits carry no gradient).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.locate.select import AXIS, Located
from pkt_eval.models import blocks
from pkt_eval.models.edits import LocatedEdit, Term


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
            term = _of_rows if AXIS[block] == "rows" else _of_columns
            for layer, indices, d in zip(located.layers[block], located.indices[block], delta, strict=True):
                linear: Any = blocks.block(model, block, layer)
                stack.callback(_put(linear, term(indices.to(linear.weight.device), d, linear.weight.shape[0])))
        yield


def _of_rows(indices: torch.Tensor, delta: torch.Tensor, outputs: int) -> Term:
    def term(x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), outputs).index_copy(-1, indices, (x.float() @ delta.T).to(x.dtype))

    return term


def _of_columns(indices: torch.Tensor, delta: torch.Tensor, outputs: int) -> Term:
    return lambda x: (x.index_select(-1, indices).float() @ delta).to(x.dtype)


def _put(linear: torch.nn.Linear, term: Term) -> Callable[[], None]:
    """Let a linear block compute with a term; returns what ends that."""
    before = linear.__dict__.get("forward")

    def forward(x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out = torch.addmm(term(flat), flat, linear.weight.T)
        if linear.bias is not None:
            out = out + linear.bias
        return out.view(*x.shape[:-1], -1)

    def undo() -> None:
        if before is None:
            del linear.__dict__["forward"]
        else:
            linear.__dict__["forward"] = before

    linear.__dict__["forward"] = forward
    return undo


def located_edits(located: Located, deltas: Mapping[str, torch.Tensor]) -> tuple[LocatedEdit, ...]:
    """The same deltas as edits of weights, on the CPU: one for each layer of each block."""
    return tuple(
        LocatedEdit(
            blocks.weight_name(block, layer), AXIS[block], indices.cpu(), d.detach().to("cpu", torch.float32).clone()
        )
        for block, delta in deltas.items()
        for layer, indices, d in zip(located.layers[block], located.indices[block], delta, strict=True)
    )
