"""Fine-tuning of whole weights: all that a low-rank product leaves out.

The weights of the named blocks are trained, in float32: with AdamW's moments that is 16 bytes a weight, and a float32
edit beside a frozen 16-bit base would be 18. Embeddings, norms and biases stay as they are, so that the edit, like
every other, acts beside the weights of one base that all students share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.models.edits import DenseEdit


class WholeWeights:
    """Some weights of a loaded model.

    Args:
        model: In float32; it is changed.
        names: Of the parameters that are trained.
    """

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        self.model = model
        parameters = dict(model.named_parameters())
        self._parameters = {name: parameters[name] for name in names}
        self._base = {name: p.detach().cpu().clone() for name, p in self._parameters.items()}
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in self._parameters)

    @torch.no_grad()
    def reset(self) -> None:
        """See ``Trained``."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self._base[name])

    def edits(self) -> tuple[DenseEdit, ...]:
        """See ``Trained``."""
        return tuple(DenseEdit(name, p.detach().cpu() - self._base[name]) for name, p in self._parameters.items())

    def optimizer(self, rate: float) -> None:
        """See ``Trained``."""
