"""Edits that act beside the weights: ``W x + B A x`` instead of ``(W + BA) x``.

A weight in 16 bits has eight or eleven bits of its own: an edit of a thousandth of it is gone once it is merged. Beside
the weight it is kept whole, and one base serves all students of a comparison. The term is not added to the finished
product, where it would be rounded away just the same: it is what the product is accumulated *onto*, in fp32, before
anything is rounded (``addmm``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.models.edits import DoraEdit, Edit, Term


class Beside:
    """Edits in force on a loaded model whose weights stay as they are.

    Args:
        model: A transformers model, on any devices; offloaded layers, too.
        edits: At most one a parameter, each of a linear block.

    Raises:
        StoreError: The model lacks a parameter that is to be edited.
        ConfigError: An edit does not fit its parameter.
    """

    def __init__(self, model: Any, edits: Sequence[Edit]) -> None:
        self._undo: list[Callable[[], None]] = []
        parameters = dict(model.named_parameters(remove_duplicate=False))  # a tied head has its name, too
        for edit in edits:
            if edit.name not in parameters:
                raise StoreError(f"the base has no parameter {edit.name}; this student is not for it")
            edit.check(parameters[edit.name])
        for edit in edits:
            self._undo.append(_put(model.get_submodule(edit.name.rpartition(".")[0]), edit))

    def remove(self) -> None:
        """Let the model be its base again."""
        for undo in self._undo:
            undo()
        self._undo.clear()


def _put(module: torch.nn.Module, edit: Edit) -> Callable[[], None]:
    """Let a module compute with an edit; returns what ends that."""
    terms: dict[tuple[torch.dtype, torch.device], Term] = {}

    def term(x: torch.Tensor) -> torch.Tensor:
        """Of inputs ``(tokens, in)``; where they are is known only now, if layers are offloaded or split."""
        key = (x.dtype, x.device)
        if key not in terms:
            terms[key] = edit.term(module.weight.shape[0], *key)  # type: ignore[arg-type, index]
        return terms[key](x)

    factors: dict[torch.device, torch.Tensor | None] = {}

    def scaled(out: torch.Tensor) -> torch.Tensor:
        """Outputs ``(tokens, out)`` times what the edit multiplies them by."""
        if out.device not in factors:
            factors[out.device] = edit.factor(module.weight.data)  # type: ignore[arg-type]  # as above
        g = factors[out.device]
        return out if g is None else (out.float() * g).to(out.dtype)

    if type(module) is not torch.nn.Linear and isinstance(edit, DoraEdit):
        raise ConfigError(
            f"{edit.name} is no ordinary linear layer (quantised?), beside which a DoRA cannot be put: load it in 16 "
            "or 32 bits, or evaluate the merged checkpoint of `pkt-eval transfer … --out DIR`"
        )
    if type(module) is not torch.nn.Linear:  # quantised, or a layer of somebody's own: its product is its own affair
        hook = module.register_forward_hook(
            lambda _, inputs, out: out + term(inputs[0].reshape(-1, inputs[0].shape[-1])).view(out.shape)
        )
        return hook.remove

    def forward(x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out = term(flat).addmm_(flat, module.weight.T)  # in place: a copy of the outputs costs a twentieth
        out = scaled(out)
        if module.bias is not None:
            out = out + module.bias
        return out.view(*x.shape[:-1], -1)

    # accelerate moves offloaded weights in a `forward` of its own, from which it calls the one that it found.
    slot = "_old_forward" if hasattr(module, "_old_forward") else "forward"
    before = module.__dict__.get(slot)
    setattr(module, slot, forward)

    def undo() -> None:
        if before is None:
            delattr(module, slot)
        else:
            setattr(module, slot, before)

    return undo
