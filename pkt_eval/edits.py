"""What can be done to one weight.

An edit is plain data about one named parameter; applying it changes the weight in place, accumulating in fp32.
"""

from dataclasses import dataclass

import torch

from pkt_eval.errors import ConfigError


@dataclass(frozen=True)
class LowRankEdit:
    """``W ← W + B·A``: a LoRA product, its scale already inside ``B``.

    Attributes:
        name: Full parameter name, e.g. ``model.layers.0.mlp.up_proj.weight``.
        B: ``(out, r)`` float32.
        A: ``(r, in)`` float32.
    """

    name: str
    B: torch.Tensor
    A: torch.Tensor

    def __post_init__(self) -> None:
        if self.B.ndim != 2 or self.A.ndim != 2 or self.B.shape[1] != self.A.shape[0]:
            raise ConfigError(f"{self.name}: B {tuple(self.B.shape)} and A {tuple(self.A.shape)} do not multiply")

    @property
    def rank(self) -> int:
        """Number of columns of ``B``; an upper bound on the rank of the edit."""
        return self.A.shape[0]

    @torch.no_grad()
    def apply(self, weight: torch.Tensor) -> None:
        """Add the product to ``weight`` ``(out, in)`` in place; one fp32 copy of this one matrix is held meanwhile.

        Raises:
            ConfigError: The shapes differ.
        """
        if tuple(weight.shape) != (self.B.shape[0], self.A.shape[1]):
            raise ConfigError(
                f"{self.name}: the edit is {(self.B.shape[0], self.A.shape[1])}, the weight {tuple(weight.shape)}; "
                "the student was transferred for another base model"
            )
        B, A = (t.to(weight.device, torch.float32) for t in (self.B, self.A))
        weight.copy_(torch.addmm(weight.float(), B, A))
