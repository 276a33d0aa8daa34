"""Affine maps from a teacher's activations to a student's at one site, fitted on the same tokens in both models.

One tokenizer serves both, so rows are paired token by token and nothing has to be aligned. One model is in memory at a
time: the teacher's rows are ``collect``-ed at the sites that are wanted, in its own dtype; the student then streams,
and of its rows only sums stay (``paired_moments``). A map is a function of the sums alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.align import contexts
from pkt_eval.data.transfer_data import Example
from pkt_eval.errors import DataError
from pkt_eval.models.activations import Tap, activations

#: Ridges that are tried, in units of the features' mean variance, largest first: of equals the safer one is taken.
RIDGES = tuple(10.0**e for e in range(2, -7, -1))


@dataclass(frozen=True)
class Moments:
    """Sums over paired rows, in float64 on the CPU; they add up over batches.

    Attributes:
        count: Number of rows ``n``.
        sum_T: ``(d_T,)``.
        sum_S: ``(d_S,)``.
        TT: ``H_Tᵀ H_T (d_T, d_T)``, not centred.
        ST: ``H_Sᵀ H_T (d_S, d_T)``.
        SS: ``H_Sᵀ H_S (d_S, d_S)``.
    """

    count: int
    sum_T: torch.Tensor
    sum_S: torch.Tensor
    TT: torch.Tensor
    ST: torch.Tensor
    SS: torch.Tensor

    @classmethod
    def zero(cls, d_T: int, d_S: int) -> Moments:
        """Of no rows."""
        shapes = ((d_T,), (d_S,), (d_T, d_T), (d_S, d_T), (d_S, d_S))
        return cls(0, *(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, h_T: torch.Tensor, h_S: torch.Tensor) -> Moments:
        """With the rows of a batch, ``(n, d_T)`` and ``(n, d_S)``. The sums grow in place: go on with what it returns.

        Raises:
            DataError: The rows are not as many.
        """
        if len(h_T) != len(h_S):
            raise DataError(f"rows are paired token by token: {len(h_T)} of the teacher, {len(h_S)} of the student")
        T, S = (h.to("cpu", torch.float64) for h in (h_T, h_S))
        self.sum_T.add_(T.sum(0))
        self.sum_S.add_(S.sum(0))
        self.TT.addmm_(T.T, T)
        self.ST.addmm_(S.T, T)
        self.SS.addmm_(S.T, S)
        return Moments(self.count + len(T), self.sum_T, self.sum_S, self.TT, self.ST, self.SS)

    def __add__(self, other: Moments) -> Moments:
        mine, theirs = vars(self).values(), vars(other).values()
        return Moments(*(a + b for a, b in zip(mine, theirs, strict=True)))

    @property
    def mean_T(self) -> torch.Tensor:
        """``(d_T,)``."""
        return self.sum_T / max(self.count, 1)

    @property
    def mean_S(self) -> torch.Tensor:
        """``(d_S,)``."""
        return self.sum_S / max(self.count, 1)

    def about(self, m_T: torch.Tensor, m_S: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``TT``, ``ST``, ``SS`` of the rows less ``m_T`` and ``m_S``: with the means, ``n`` times the covariances."""

        def moved(
            square: torch.Tensor, a: torch.Tensor, m_a: torch.Tensor, b: torch.Tensor, m_b: torch.Tensor
        ) -> torch.Tensor:
            return square - torch.outer(a, m_b) - torch.outer(m_a, b) + self.count * torch.outer(m_a, m_b)

        T, S = (self.sum_T, m_T), (self.sum_S, m_S)
        return moved(self.TT, *T, *T), moved(self.ST, *S, *T), moved(self.SS, *S, *S)


@dataclass(frozen=True)
class AffineMap:
    """``h_T ↦ mean_S + M (h_T − mean_T)``, all in float64 on the CPU.

    Attributes:
        mean_T: ``(d_T,)``.
        mean_S: ``(d_S,)``.
        M: ``(d_S, d_T)``.
        ridge: In units of the features' mean variance.
        r2: Held-out R² of the map of that ridge, fitted without the held-out rows: 1 − Σ residual² / Σ deviation², the
            deviation being from the fitted rows' mean.
    """

    mean_T: torch.Tensor
    mean_S: torch.Tensor
    M: torch.Tensor
    ridge: float
    r2: float

    def __call__(self, h: torch.Tensor) -> torch.Tensor:
        """``(…, d_T)`` in any dtype to ``(…, d_S)``."""
        return (h.to(self.M) - self.mean_T) @ self.M.T + self.mean_S


def fit_map(fitted: Moments, held_out: Moments, ridges: Sequence[float] = RIDGES) -> AffineMap:
    """The ridge map of the largest held-out R², fitted once more on all rows.

    ``M = ST (TT + λI)⁻¹`` of centred sums, ``λ = ridge · tr(TT)/d_T``; equivariant to any rotation of the teacher's
    rows. FLOPs a ridge: ``d_T³/3 + 4·d_T²·d_S``.

    Args:
        fitted: Of the rows that are fitted.
        held_out: Of those that choose the ridge; of other texts.
        ridges: Tried in this order; the first of equals is taken.

    Raises:
        DataError: There are too few rows, or they do not vary.
    """
    if fitted.count < 2 or not held_out.count:
        raise DataError(
            f"a map needs rows to fit and rows to hold out, and has {fitted.count} and {held_out.count}: give more "
            "align records (align_samples=)"
        )
    TT, ST, SS = held_out.about(fitted.mean_T, fitted.mean_S)
    best: tuple[float, float] | None = None
    for ridge, M in zip(ridges, _solutions(fitted, ridges), strict=True):
        residual = SS.trace() - 2 * (M * ST).sum() + ((M @ TT) * M).sum()
        r2 = float(1 - residual / SS.trace())
        if best is None or r2 > best[0]:
            best = r2, ridge
    if best is None:
        raise DataError("a map needs a ridge to try")
    r2, ridge = best
    whole = fitted + held_out
    return AffineMap(whole.mean_T, whole.mean_S, _solutions(whole, [ridge])[0], ridge, r2)


def _solutions(moments: Moments, ridges: Iterable[float]) -> list[torch.Tensor]:
    TT, ST, _ = moments.about(moments.mean_T, moments.mean_S)
    unit = TT.trace() / len(TT)
    if not unit > 0:
        raise DataError(f"the teacher's {moments.count} rows do not vary: there is nothing to map from")
    solutions = []
    for ridge in ridges:
        factor = torch.linalg.cholesky(TT + ridge * unit * torch.eye(len(TT), dtype=TT.dtype))
        solutions.append(torch.cholesky_solve(ST.T, factor).T)
    return solutions


def collect(
    model: Any,
    batches: Iterable[Mapping[str, torch.Tensor]],
    taps: Sequence[Tap],
    *,
    positions: Literal["supervised", "all"] = "supervised",
) -> dict[Tap, torch.Tensor]:
    """The rows at some sites of all texts, ``(n, width)`` on the CPU in the model's dtype; as of ``activations``.

    Memory: ``n · Σ widths``; so give few texts (``contexts.texts`` has a budget of tokens) and the sites alone that are
    needed.
    """
    parts: dict[Tap, list[torch.Tensor]] = {tap: [] for tap in taps}
    for found in activations(model, batches, taps, positions=positions):
        for tap, rows in found.items():
            parts[tap].append(rows.cpu())
    return {tap: torch.cat(rows) if rows else torch.empty(0) for tap, rows in parts.items()}


def paired_moments(
    model: Any, batches: Iterable[Mapping[str, torch.Tensor]], teacher: Mapping[Tap, torch.Tensor]
) -> dict[Tap, Moments]:
    """Run the student over the texts that the teacher's rows are of, and sum.

    Args:
        model: The student.
        batches: The same texts, in the same order, as the teacher saw; labels say which positions.
        teacher: Site of the *student* → the teacher's rows ``(n, d_T)`` that are paired with it.

    Raises:
        DataError: The teacher's rows are of other texts.
    """
    moments: dict[Tap, Moments] = {}
    begun = 0
    for found in activations(model, batches, list(teacher)):
        count = 0
        for tap, rows in found.items():
            count = len(rows)
            before = moments.get(tap) or Moments.zero(teacher[tap].shape[1], rows.shape[1])
            moments[tap] = before.add(teacher[tap][begun : begun + count], rows)
        begun += count
    if wrong := {len(rows) for rows in teacher.values()} - {begun}:
        raise DataError(f"the student has {begun} rows of these texts, the teacher {wrong.pop()}")
    return moments


@dataclass(frozen=True)
class TeacherRows:
    """What maps need of a teacher, kept while the student is open.

    Attributes:
        texts: Fitted and held-out texts.
        rows: Of the two: site of the student → the teacher's rows ``(n, d_T)`` that are paired with it.
    """

    texts: tuple[Sequence[Example], Sequence[Example]]
    rows: tuple[Mapping[Tap, torch.Tensor], Mapping[Tap, torch.Tensor]]

    @classmethod
    def of(
        cls, teacher: Any, examples: Sequence[Example], sites: Mapping[Tap, Tap], progress: Progress, desc: str
    ) -> TeacherRows:
        """Run the teacher over texts.

        Args:
            teacher: Loaded.
            examples: Of ``contexts.texts``; every fourth is held out.
            sites: Site of the student → the teacher's that it is paired with.
            progress: Bars.
            desc: Of the bar.
        """
        fitted, held_out = contexts.fitted_and_held_out(examples)
        taps = list(dict.fromkeys(sites.values()))
        kept = []
        for of, number in ((fitted, 1), (held_out, 2)):
            found = collect(teacher, progress.bar(list(contexts.text_batches(of)), f"{desc} {number}"), taps)
            kept.append({mine: found[tap] for mine, tap in sites.items()})
        return cls((fitted, held_out), (kept[0], kept[1]))

    def maps(self, model: Any, progress: Progress, desc: str) -> dict[Tap, AffineMap]:
        """Run the student over the same texts, and fit a map for each of its sites."""
        fitted, held_out = (
            paired_moments(model, contexts.text_batches(of), rows)
            for of, rows in zip(self.texts, self.rows, strict=True)
        )
        return {tap: fit_map(fitted[tap], held_out[tap]) for tap in progress.bar(list(fitted), desc)}
