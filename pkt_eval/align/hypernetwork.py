"""LaTen's hypernetwork: teacher vectors to student deltas, one small net a block (arXiv 2505.14436, §3.3).

Its class is one of torch's, so that this file is imported where a net is made, and not before.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from pkt_eval.models import blocks as families

INIT_STD = 1e-5  # float32 throughout: in float16 these weights underflow to zeros


class Hypernetwork(nn.ModuleDict):
    """A bias-free ``Linear(d_T, d_T) → ReLU → Linear(d_T, d_S)`` for each block, shared by the block's layers.

    Args:
        blocks: Block names, e.g. ``("up", "down", "v", "o")``; they are the names of the nets.
        d_teacher: Hidden size of the teacher.
        d_student: Hidden size of the student.
        generator: Draws the weights, N(0, 1e-5²).

    Raises:
        ConfigError: An unknown block.
    """

    def __init__(
        self, blocks: Iterable[str], d_teacher: int, d_student: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        for block in families.check_blocks(blocks):
            sizes = ((d_teacher, d_teacher), (d_teacher, d_student))
            first, second = (nn.Linear(*size, bias=False, dtype=torch.float32) for size in sizes)
            for linear in (first, second):
                nn.init.normal_(linear.weight, std=INIT_STD, generator=generator)
            self[block] = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, vectors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Block → teacher vectors ``(…, d_T)`` to block → student deltas ``(…, d_S)``."""
        return {block: self[block](t) for block, t in vectors.items()}
