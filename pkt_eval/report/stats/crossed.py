"""How sure a mean is over seeds *and* items, where every seed answered every item.

A right answer is chance four times: which seed, which item, how the two go together, and the student itself. With the
effects of seeds and of items random and crossed (Searle, Casella & McCulloch 1992, Variance Components, chapter 4),

    ``Var(mean over S seeds and n items) = σ²_seed/S + σ²_item/n + σ²_crossing/(S·n)``

and two mean squares that are independent of each other estimate it without bias, as ``items + seeds``:

- *items*, ``σ²_item/n``: the mean covariance of two *different* seeds over the items;
- *seeds*, ``σ²_seed/S + σ²_crossing/(S·n)``: the variance between the seeds' means, over S.

For a difference they are those of the differences; with seeds of their own each side has its own *seeds*. A side that
is made once because chance has no part in it, such as vanilla, has none.

The second is known from S - 1 degrees of freedom, which at two or three seeds is nearly nothing, and the quantile must
say so. Satterthwaite's (1946, doi:10.2307/3002019), t with ``1/Σ(w²/ν)`` degrees of freedom for shares w of the
variance, takes them from the very estimate that happens to be low where the interval misses: it covers 87 % over two
seeds and 92 % over three, and far out, where the tests of a whole table are decided, it is wrong by factors. Hence

- *intervals* have t with ``1/Σ(w/ν)``, each share's own instead of its square: 94 to 96.5 % from three seeds on. With
  two, no smooth rule has both ends; they have Cochran & Cox's quantile, which covers 93 to 98 %;
- *p-values* have Cochran & Cox's throughout, the mean of the components' t-quantiles weighted by their shares (Cochran
  1964, doi:10.2307/2527926), and are not below the t-test over the seeds alone, which is right where seeds are all.

``benchmarks/seeds.py`` measures both; the tests a part of it. Not where the sd between seeds is near the score or
near its distance to 1: such seeds are skewed. At a score of 10 and an sd of 5.5 points 91 to 97 % are covered, of 10
points 85 to 95 %, and p <= 0.05 is up to 14 % of equal students; with two seeds, 93 to 98 % elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from pkt_eval.errors import DataError

Floats = NDArray[np.float64]

ZERO = 1e-9
"""Scores, and sums of them, that differ by less are equal: the mean of three seeds is a third only nearly."""


@dataclass(frozen=True)
class Crossed:
    """A mean, or a difference of two, and the parts of its variance. Each may have leading dimensions, of many tables.

    Attributes:
        value: ``(...)``, the mean.
        fixed: ``(...)``, its variance over items alone, for these very seeds.
        items: ``(...)``, its variance by items.
        units: Items, or clusters of them.
        seeds: ``(...)``, its variance by seeds; 0 where no side has several.
        seeds_freedom: ``(...)``, degrees of freedom of that.
        fewest: Seeds of the side with the fewest, of those with several; 1 where none has.
        rounding: Upper bound of the variance by which the seeds' means may look alike because each is a multiple of
            1/n: two of two seeds do so too often for the far tail.
    """

    value: Floats
    fixed: Floats
    items: Floats
    units: int
    seeds: Floats
    seeds_freedom: Floats
    fewest: int
    rounding: float

    @classmethod
    def of(cls, rows: Floats, groups: Sequence[int], clusters: ArrayLike | None = None) -> "Crossed":
        """The sum of the groups' means.

        Args:
            rows: ``(..., R, N)``, seeds × items.
            groups: How many of the R rows are of each group; for a difference the second one's are negated.
            clusters: ``(N,)`` names of groups of items that count as one draw.

        Raises:
            DataError: There are not as many cluster names as items.
        """
        sums, sizes = _drawn(rows, clusters)
        number = len(sizes)
        means = rows.mean(axis=-1)
        # The linearised covariance of the rows' means, as ``Units.covariance``.
        residuals = sums - means[..., None] * sizes
        covariance = residuals @ np.swapaxes(residuals, -1, -2) / rows.shape[-1] ** 2
        covariance *= number / max(number - 1, 1)
        weights = np.repeat([1 / size for size in groups], groups)
        fixed = (covariance @ weights) @ weights
        items, seeds, lost, start = fixed, np.zeros_like(fixed), np.zeros_like(fixed), 0
        for size in groups:
            here = slice(start, start := start + size)
            if size > 1:
                block = covariance[..., here, here]
                own = np.trace(block, axis1=-2, axis2=-1) / size
                shared = (block.sum(axis=(-2, -1)) - size * own) / (size * (size - 1))
                items = items - (own - shared) / size
                between = means[..., here].var(axis=-1, ddof=1) / size
                seeds, lost = seeds + between, lost + between**2 / (size - 1)
        value = means @ weights
        several = [size for size in groups if size > 1]
        least = max(sum(several) - len(several), 1)
        return cls(
            value=np.where(np.abs(value) < ZERO, 0.0, value),
            fixed=fixed,
            items=np.maximum(items, 0.0),
            units=number,
            seeds=seeds,
            seeds_freedom=np.divide(seeds**2, lost, out=np.full_like(seeds, least), where=lost > 0),
            fewest=min(several, default=1),
            rounding=sum(0.25 / size for size in several) / rows.shape[-1] ** 2,
        )

    @property
    def freedom(self) -> int:
        """Degrees of freedom of ``items``."""
        return max(self.units - 1, 1)

    @property
    def variance(self) -> Floats:
        """``(...)``: of the mean."""
        return np.asarray(self.items + self.seeds)

    def with_seeds(self, seeds: Floats) -> "Crossed":
        """The same with another variance by seeds."""
        return replace(self, seeds=seeds, seeds_freedom=np.broadcast_to(self.seeds_freedom, seeds.shape))

    def half_width(self, level: float) -> Floats:
        """``(...)``: of the interval."""
        tail = (1 - level) / 2
        if self.fewest <= 2:
            return self._cochran(tail)
        share = self._share()
        freedom = 1 / ((1 - share) / self.freedom + share / self.seeds_freedom)
        return np.asarray(student_t.isf(tail, freedom) * np.sqrt(self.variance))

    def p_value(self) -> Floats:
        """``(...)``: two-sided, of "the mean is zero"; 1 where it is."""
        size = np.abs(self.value)
        # The threshold falls as p rises: the p at which it meets the mean lies between, on a scale of logarithms.
        low, high = np.full(size.shape, -300.0), np.zeros(size.shape)
        for _ in range(40):
            middle = (low + high) / 2
            beyond = size > self.threshold(10**middle)
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.where(size < ZERO, 1.0, 10**high)

    def threshold(self, alpha: Floats | float) -> Floats:
        """``(...)``: how far from zero a mean must be for ``p_value() <= alpha``."""
        tail = np.asarray(alpha) / 2
        items_alone = student_t.isf(tail, self.freedom) * np.sqrt(self.fixed)
        seeds_alone = student_t.isf(tail, self.seeds_freedom) * np.sqrt(self.seeds + self.rounding)
        return np.maximum(self._cochran(tail), np.maximum(items_alone, seeds_alone))

    def _cochran(self, tail: Floats | float) -> Floats:
        share = self._share()
        quantile = (1 - share) * student_t.isf(tail, self.freedom) + share * student_t.isf(tail, self.seeds_freedom)
        return np.asarray(quantile * np.sqrt(self.variance))

    def _share(self) -> Floats:
        """``(...)``: of the seeds in the variance."""
        return np.asarray(self.seeds / np.maximum(self.variance, np.finfo(float).tiny))


def _drawn(rows: Floats, clusters: ArrayLike | None) -> tuple[Floats, Floats]:
    """``(..., R, G)`` sums and ``(G,)`` sizes of what is drawn: items, or whole clusters of them."""
    if clusters is None:
        return rows, np.ones(rows.shape[-1])
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    if member.shape != rows.shape[-1:]:
        raise DataError(f"{rows.shape[-1]} items need as many cluster names, got {np.shape(clusters)}")
    of = (member[:, None] == np.arange(len(names))).astype(np.float64)
    return rows @ of, of.sum(axis=0)
