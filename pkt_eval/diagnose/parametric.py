"""What a transfer did to the weights, and how that lies to what was there.

A fine-tuned student that started from a product ``B₀A₀`` computes ``(W − B₀A₀) + BA``; its edit is kept as
``[B, −B₀]·[A; A₀]`` (``pkt_eval.tune.adapter``), so that one file holds the start as well as the end. Everything here
is computed from the factors: no product ``BA`` of a weight's size is ever formed. All products are in float64, those
with a weight some rows at a time: what is left of a weight at a right angle to a product is a difference of two large
numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.errors import ConfigError
from pkt_eval.extract.svd import truncated_svd
from pkt_eval.models import blocks
from pkt_eval.models.edits import DenseEdit, DoraEdit, Edit, LocatedEdit, LowRankEdit
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.student import Student

#: Quantity → what it is, in the words of the report. NaN where an edit has no such thing: LaTen has no start, and
#: LoRA's is zero.
QUANTITIES = {
    "delta_norm": "‖δ‖/‖W‖",
    "cos_delta_original": "cos(δ, W)",
    "cos_start_original": "cos(B₀A₀, W)",
    "cos_final_original": "cos(BA, W)",
    "cos_start_remaining": "cos(B₀A₀, W − B₀A₀)",
    "cos_final_remaining": "cos(BA, W − B₀A₀)",
    "angle_out_start_final": "mean angle, column spaces of B₀ and B (°)",
    "angle_in_start_final": "mean angle, row spaces of A₀ and A (°)",
    "angle_out_start_weight": "mean angle, column space of B₀ and principal one of W (°)",
    "angle_in_start_weight": "mean angle, row space of A₀ and principal one of W (°)",
}
#: Spectrum → what it is the singular values of, each over ‖W‖.
SPECTRA = {"weight": "W", "start": "B₀A₀", "final": "BA", "delta": "δ"}

_SPECTRUM = 64  # singular values that are kept
_CHUNK = 1 << 21  # entries of a weight that are in float64 at a time: 16 MB


@dataclass(frozen=True)
class LowRank:
    """A product ``B·A``, and what can be said of it without forming it.

    Attributes:
        B: ``(out, r)`` float64.
        A: ``(r, in)`` float64.
    """

    B: torch.Tensor
    A: torch.Tensor

    def dot(self, other: "LowRank") -> float:
        """Frobenius product of two products."""
        return ((self.B.T @ other.B) * (self.A @ other.A.T)).sum().item()

    def dot_weight(self, W: torch.Tensor) -> float:
        """Frobenius product with a weight ``(out, in)``."""
        rows = max(1, _CHUNK // W.shape[1])
        product = torch.zeros_like(self.A)
        for start in range(0, len(W), rows):
            piece = slice(start, start + rows)
            product += self.B[piece].T @ W[piece].double()
        return (product * self.A).sum().item()

    def singular_values(self) -> torch.Tensor:
        """The singular values that need not be zero, ``min(r, out, in)``, largest first."""
        return torch.linalg.svdvals(torch.linalg.qr(self.B)[1] @ torch.linalg.qr(self.A.T)[1].T)


def start_and_final(edit: Edit, rank: int | None) -> tuple[LowRank | None, LowRank | None]:
    """``B₀A₀`` and ``BA`` of an edit; None for what it has not.

    Args:
        edit: One weight's.
        rank: The rank that the student was fine-tuned with. An edit of twice that rank holds its start.
    """
    if not isinstance(edit, LowRankEdit):
        return None, None
    B, A = edit.B.double(), edit.A.double()
    if edit.rank != 2 * (rank or 0):
        return None, LowRank(B, A)
    return LowRank(-B[:, rank:], A[rank:]), LowRank(B[:, :rank], A[:rank])


def principal_angles(P: torch.Tensor, Q: torch.Tensor) -> torch.Tensor:
    """Angles between the column spaces of ``P (m, a)`` and ``Q (m, b)``, in degrees, ascending, ``min(a, b)``.

    Small angles are taken by their sine, which the cosine would round away (Björck and Golub 1973).
    """
    P, Q = (torch.linalg.qr(t.double())[0] for t in (P, Q))
    if P.shape[1] < Q.shape[1]:
        P, Q = Q, P
    cosines = torch.linalg.svdvals(P.T @ Q).clamp(max=1)
    sines = torch.linalg.svdvals(Q - P @ (P.T @ Q)).clamp(max=1).flip(0)
    return torch.where(cosines**2 > 0.5, sines.asin(), cosines.acos()).rad2deg()


@dataclass(frozen=True)
class Parametric:
    """A transferred student's edits, looked at weight by weight.

    Attributes:
        blocks: Edited blocks, in the order of the last axis but that of ``spectra``.
        values: Quantity → ``(L, blocks)``; see ``QUANTITIES``. NaN where a layer has no edit.
        spectra: Name → ``(L, blocks, k)``, singular values over ‖W‖, NaN behind the last; see ``SPECTRA``.
    """

    blocks: tuple[str, ...]
    values: Mapping[str, torch.Tensor]
    spectra: Mapping[str, torch.Tensor]


@torch.no_grad()
def examine(
    student: Student, weight_of: Callable[[str], torch.Tensor], layers: int, progress: Progress, desc: str
) -> Parametric:
    """Look at every edit of a student.

    Args:
        student: With edits of decoder blocks.
        weight_of: Parameter name → the vanilla student's weight ``(out, in)``.
        layers: Number of the student's layers.
        progress: For the bar.
        desc: Of the bar.
    """
    places = {blocks.weight_name(b, k): (k, b) for k in range(layers) for b in blocks.BLOCKS}
    edits = {places[e.name]: e for e in student.edits if e.name in places}
    names = tuple(b for b in blocks.BLOCKS if any(b == of for _, of in edits))
    made = student.provenance
    rank = (made.config or {}).get("rank") if made else None
    values = {q: torch.full((layers, len(names)), torch.nan, dtype=torch.float64) for q in QUANTITIES}
    spectra = {s: torch.full((layers, len(names), _SPECTRUM), torch.nan, dtype=torch.float64) for s in SPECTRA}
    for (layer, block), edit in progress.bar(edits.items(), desc):
        place = layer, names.index(block)
        quantities, singular = _examine(edit, rank, weight_of(edit.name).float())
        for quantity, value in quantities.items():
            values[quantity][place] = value
        for name, s in singular.items():
            spectra[name][place][: len(s)] = s[:_SPECTRUM].cpu()
    return Parametric(names, values, spectra)


def _examine(edit: Edit, rank: int | None, W: torch.Tensor) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Quantities and spectra of one edit of a weight ``W`` in float32."""
    norm = torch.linalg.vector_norm(W, dtype=torch.float64).item()
    start, final = (p and LowRank(p.B.to(W.device), p.A.to(W.device)) for p in start_and_final(edit, rank))
    if isinstance(edit, LocatedEdit):
        delta = edit.delta.to(W.device, torch.float64)
        at = (W if edit.axis == "rows" else W.T)[edit.indices.to(W.device)]
        delta_norm, dot, delta_singular = delta.norm().item(), (delta * at).sum().item(), torch.linalg.svdvals(delta)
    elif isinstance(edit, DenseEdit | DoraEdit):
        delta = torch.cat([change for _, change in edit.parts(W.float())]).double()
        delta_norm, dot, delta_singular = delta.norm().item(), (delta * W).sum().item(), torch.linalg.svdvals(delta)
    else:
        assert isinstance(edit, LowRankEdit)
        whole = LowRank(edit.B.double().to(W.device), edit.A.double().to(W.device))
        delta_singular = whole.singular_values()
        delta_norm, dot = delta_singular.norm().item(), whole.dot_weight(W)
    quantities = {"delta_norm": delta_norm / norm, "cos_delta_original": _cosine(dot, delta_norm, norm)}
    # As many of the weight's own as of the longest other; its principal subspace is compared with the start's.
    k = min(len(delta_singular), _SPECTRUM, *W.shape)
    B, A = truncated_svd(W, k)
    singular = {"weight": B.norm(dim=0).double(), "delta": delta_singular}
    if final:
        of_start = start.dot_weight(W) if start else 0.0
        remaining_norm = norm
        if start:
            remaining_norm = max(norm**2 - 2 * of_start + start.dot(start), 0.0) ** 0.5
            r = min(start.A.shape[0], k)
            quantities |= {
                "angle_out_start_final": _mean_angle(start.B, final.B),
                "angle_in_start_final": _mean_angle(start.A.T, final.A.T),
                "angle_out_start_weight": _mean_angle(start.B, B[:, :r]),
                "angle_in_start_weight": _mean_angle(start.A.T, A[:r].T),
            }
        for name, product in (("start", start), ("final", final)):
            if product:
                own, of_weight = product.dot(product) ** 0.5, product.dot_weight(W)
                rest = of_weight - (product.dot(start) if start else 0.0)
                quantities[f"cos_{name}_original"] = _cosine(of_weight, own, norm)
                quantities[f"cos_{name}_remaining"] = _cosine(rest, own, remaining_norm)
                singular[name] = product.singular_values()
    return quantities, {name: s / norm for name, s in singular.items()}


def _mean_angle(P: torch.Tensor, Q: torch.Tensor) -> float:
    return principal_angles(P, Q).mean().item()


def _cosine(dot: float, a: float, b: float) -> float:
    """NaN where one of the two is zero: it has no direction."""
    return dot / (a * b) if a and b else float("nan")


def labels(students: Sequence[Student]) -> list[str]:
    """A short name for each student: method and task, and the fingerprint where that is not enough."""
    made = [student.provenance or Provenance(method="student") for student in students]
    plain = ["-".join(filter(None, (one.method, one.transfer_task))) for one in made]
    names = [
        name if plain.count(name) == 1 else f"{name}-{(one.fingerprint or '?')[:6]}"
        for name, one in zip(plain, made, strict=True)
    ]
    if len(set(names)) < len(names):
        raise ConfigError(f"--transferred names one student twice: {', '.join(names)}")
    return names
