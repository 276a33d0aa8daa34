"""Stitching: how much of a student's residual stream is an affine image of a teacher's.

For each pair of layers a ridge regression from teacher to student is fitted on some texts and judged on others. All
student layers share the decomposition of a teacher layer, and the ridge of each pair is chosen by generalised
cross-validation (Golub, Heath and Wahba 1979), which needs no further fit.
"""

from dataclasses import dataclass

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.errors import DataError

# Ridges that are tried, in units of the features' mean eigenvalue, largest first: of equals the safer one is taken.
_RIDGES = torch.logspace(3, -6, 37, dtype=torch.float64)


@dataclass(frozen=True)
class Stitching:
    """How well student layers can be read off teacher layers.

    Attributes:
        r2: ``(L_T, L_S)`` held-out R²: 1 − Σ residual² / Σ deviation², target dimensions of unit variance each, so that
            the few of large variance do not decide; 0 is what the mean of the fitted tokens would reach.
        ridge: ``(L_T, L_S)`` the chosen ridges, in units of the features' mean eigenvalue.
    """

    r2: torch.Tensor
    ridge: torch.Tensor


@torch.no_grad()
def stitch(teacher: torch.Tensor, student: torch.Tensor, held_out: torch.Tensor, progress: Progress) -> Stitching:
    """Fit and judge the best affine map from every teacher layer to every student layer.

    FLOPs a pair: ``2·n·d_T·d_S + 2·d_T²·d_S``, besides one eigendecomposition a teacher layer. Memory: one layer of
    each model in float32.

    Args:
        teacher: ``(L_T, n, d_T)`` residual streams; may lie on disk.
        student: ``(L_S, n, d_S)`` of the same tokens.
        held_out: ``(n,)`` bool: tokens that judge.
        progress: For the bar.

    Raises:
        DataError: There is nothing to fit on, or nothing to judge by.
    """
    if held_out.all() or not held_out.any():
        raise DataError("stitching needs tokens of four texts of a task or more, so that some can be held out")
    r2, ridge = (torch.empty(len(teacher), len(student), dtype=torch.float64) for _ in range(2))
    for t in progress.bar(range(len(teacher)), "stitching"):
        X, X_test = _standardised(teacher[t], held_out)
        n = len(X)
        wide = X.double()  # what separates a direction from rounding must not be the rounding of a sum over tokens
        s, V = torch.linalg.eigh(wide.T @ wide)
        lambdas = _RIDGES * s.mean()
        known = s > 10 * torch.finfo(X.dtype).eps * s[-1]  # the others are zero but for rounding
        s, V = s[known], V[:, known].to(X)
        F = X_test @ V  # (n_test, rank)
        left = lambdas[:, None] / (s + lambdas[:, None])  # (ridges, rank): share of a direction that is not fitted
        spare = n - 1 - len(s)  # the mean takes a degree of freedom
        free = spare + left.sum(1)
        for k in range(len(student)):
            Y, Y_test = _standardised(student[k], held_out)
            Z = V.T @ (X.T @ Y)  # (rank, d_S)
            fitted = Z.double().pow(2).sum(1) / s
            outside = (Y.double().pow(2).sum() - fitted.sum()).clamp_min(0) if spare else 0.0
            best = int(((outside + left**2 @ fitted) / free**2).argmin())
            residual = Y_test - F @ (Z / (s + lambdas[best]).to(Z)[:, None])
            r2[t, k] = 1 - residual.double().pow(2).sum() / Y_test.double().pow(2).sum()
            ridge[t, k] = _RIDGES[best]
    return Stitching(r2, ridge)


def _standardised(states: torch.Tensor, held_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fitted and held-out rows in float32 (float64 stays), by the mean and deviation of the fitted ones."""
    states = states if states.dtype == torch.float64 else states.float()
    fitted, judged = states[~held_out], states[held_out]
    mean, deviation = fitted.mean(0), fitted.std(0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    return (fitted - mean) / deviation, (judged - mean) / deviation
