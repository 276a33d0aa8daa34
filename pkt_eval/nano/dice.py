"""Random draws that are the same on every Python version.

Python promises that ``random.Random(seed).random()`` reproduces its sequence, and promises nothing about
``choice``, ``sample`` or ``shuffle``; so everything here is built on ``random()`` alone. ``fold`` puts a
piece of content in a split by its checksum: a row's split is then a property of the row, and two splits
cannot share one, however the rows are drawn.
"""

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A seeded source of draws.

    Args:
        seed: any integer or string; strings are hashed by ``random`` itself (SHA-512, stable).
    """

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def roll(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One item, each equally likely."""
        return items[int(self._random() * len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` items from different places, in random order."""
        pool = list(items)
        return [pool.pop(int(self._random() * len(pool))) for _ in range(count)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in random order."""
        return self.sample(items, len(items))


FOLDS = 16


def fold(content: str) -> int:
    """The fold, 0 … 15, that a piece of content belongs to."""
    return zlib.crc32(content.encode()) % FOLDS
