"""A number with its interval, and the checks that every function here makes of what it is given."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pkt_eval.errors import ConfigError, DataError


class Estimate(NamedTuple):
    """A value and the two ends of its interval."""

    value: float
    low: float
    high: float


def checked(scores: ArrayLike, name: str, ndim: int = 1) -> np.ndarray:
    """``scores`` as float64 of ``ndim`` dimensions, or a DataError that says what is wrong with them."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != ndim or scores.size == 0:
        raise DataError(f"{name} must be a non-empty array of {ndim} dimension(s), got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise DataError(f"{name} holds {np.count_nonzero(~np.isfinite(scores))} NaN or infinite scores")
    return scores


def matched(a: ArrayLike, b: ArrayLike, names: tuple[str, str] = ("a", "b")) -> tuple[np.ndarray, np.ndarray]:
    """Both as ``(N,)`` float64 of one length."""
    a, b = checked(a, names[0]), checked(b, names[1])
    if a.shape != b.shape:
        raise DataError(f"{names[0]} has {len(a)} items and {names[1]} has {len(b)}: match them by document first")
    return a, b


def check_probability(value: float, name: str) -> None:
    """Raises ConfigError unless ``0 < value < 1``."""
    if not 0 < value < 1:
        raise ConfigError(f"{name} must lie strictly between 0 and 1, got {value!r}")
