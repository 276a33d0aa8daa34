"""Which teacher layer feeds which student layer."""

from __future__ import annotations

import random
from typing import Literal, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError

LayerChoice: TypeAlias = "Literal['proportional', 'first', 'last'] | torch.Tensor | random.Random"


def map_layers(teacher_layers: int, student_layers: int, by: LayerChoice = "proportional") -> list[int]:
    """A teacher layer for each student layer, in depth order: the k-th feeds student layer k.

    >>> map_layers(6, 4), map_layers(6, 4, "last")
    ([0, 2, 3, 5], [2, 3, 4, 5])
    >>> map_layers(6, 4, torch.tensor([5.0, 1, 4, 4, 0, 4]))
    [0, 2, 3, 5]

    Args:
        teacher_layers: Number of the teacher's layers.
        student_layers: Number of the student's, no larger.
        by: ``"proportional"``: at the same relative depth, so that first feeds first and last feeds last. ``"first"``
            or ``"last"``: so many in a row. A tensor ``(teacher_layers,)``: those of the largest score, the lower layer
            winning a tie, as Seeking and LaTen choose. A ``random.Random``: drawn from it, for controls.

    Returns:
        ``student_layers`` layer indices, ascending, none twice.

    Raises:
        ConfigError: The teacher has fewer layers, ``by`` is unknown, or the scores are of another number of layers.
    """
    if not 0 < student_layers <= teacher_layers:
        raise ConfigError(f"cannot keep {student_layers} of {teacher_layers} layers")
    if isinstance(by, random.Random):
        return sorted(by.sample(range(teacher_layers), student_layers))
    if isinstance(by, torch.Tensor):
        if by.shape != (teacher_layers,):
            raise ConfigError(f"scores of shape {tuple(by.shape)} cannot choose among {teacher_layers} layers")
        order: list[int] = torch.sort(by, descending=True, stable=True).indices.tolist()
        return sorted(order[:student_layers])
    if by == "proportional":
        # Integers alone: rounding a quotient would not be the same on every machine.
        last, gaps = teacher_layers - 1, max(student_layers - 1, 1)
        return [(2 * k * last + gaps) // (2 * gaps) for k in range(student_layers)]
    if by == "first":
        return list(range(student_layers))
    if by == "last":
        return list(range(teacher_layers - student_layers, teacher_layers))
    raise ConfigError(f"layers are mapped by 'proportional', 'first', 'last', scores or a random.Random, not {by!r}")
