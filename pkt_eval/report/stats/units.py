"""Resampling units: items, or whole clusters of items, that are drawn together.

A mean over items depends on a unit only by the sum of its scores and its number of items. Units with equal sums and
sizes are interchangeable, so that a bootstrap resample is one multinomial draw over the *distinct* units. That is the
same distribution as drawing N indices, and small: for right-or-wrong items of two students there are three distinct
differences, whatever N is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pkt_eval.errors import ConfigError, DataError

# Entries of a block of draws held at once: 16 MB in int64.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Units:
    """Distinct units: ``sums (R, K)`` of R rows of scores, ``sizes (K,)`` in items, ``counts (K,)`` of such units."""

    sums: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, clusters: ArrayLike | None) -> "Units":
        """Units of ``rows (R, N)``: the N items, or the clusters that ``clusters (N,)`` names them into."""
        sums, sizes = rows, np.ones(rows.shape[1])
        if clusters is not None:
            names, member = np.unique(np.asarray(clusters), return_inverse=True)
            if member.shape != (rows.shape[1],):
                raise DataError(f"{rows.shape[1]} items need as many cluster names, got {np.shape(clusters)}")
            sums = np.stack([np.bincount(member, weights=row, minlength=len(names)) for row in rows])
            sizes = np.bincount(member).astype(np.float64)
        distinct, counts = np.unique(np.vstack([sums, sizes]), axis=1, return_counts=True)
        return cls(distinct[:-1], distinct[-1], counts)

    @property
    def number(self) -> int:
        """How many units there are."""
        return int(self.counts.sum())

    @property
    def items(self) -> float:
        """How many items there are."""
        return float(self.counts @ self.sizes)

    @property
    def means(self) -> np.ndarray:
        """``(R,)``: the mean of each row over the items."""
        return self.sums @ self.counts / self.items

    def covariance(self) -> np.ndarray:
        """``(R, R)``: covariance of the rows' means, with the units as the sample.

        ``G/(G-1) · Σ_g r_g r_gᵀ / N²`` with ``r_g = sum_g - size_g·mean``: the cluster-robust (linearised) variance of
        a ratio, Cochran 1977, Sampling Techniques, chapter 6; for evals Miller 2024 (arXiv 2411.00640).
        """
        residuals = self.sums - np.outer(self.means, self.sizes)
        return self.number / (self.number - 1) * (residuals * self.counts) @ residuals.T / self.items**2

    def resampled(self, rng: np.random.Generator, resamples: int) -> np.ndarray:
        """``(resamples, R)``: means of the rows in resamples of as many units as there are."""
        means = []
        for size in blocks(resamples, len(self.counts)):
            drawn = rng.multinomial(self.number, self.counts / self.number, size=size)  # (size, K)
            means.append((drawn @ self.sums.T) / (drawn @ self.sizes)[:, None])
        return np.concatenate(means)


def blocks(resamples: int, width: int) -> Iterator[int]:
    """Cuts ``resamples`` draws of ``width`` numbers each into blocks of bounded memory."""
    if resamples < 1:
        raise ConfigError(f"resamples must be at least 1, got {resamples}")
    rows = max(1, _BLOCK // width)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)
