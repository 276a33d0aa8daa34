"""Cosines, angles, norms and spectra from factors, against the dense matrices."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from pkt_eval._util.progress import Progress
from pkt_eval.diagnose.parametric import LowRank, examine, labels, principal_angles, start_and_final
from pkt_eval.errors import ConfigError
from pkt_eval.extract import truncated_svd
from pkt_eval.models.edits import LocatedEdit, LowRankEdit
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student

NAME = "model.layers.1.mlp.up_proj.weight"


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def look(edit, W: torch.Tensor, rank: int | None = 4) -> dict[str, float]:
    student = Student(ModelSource("base"), (edit,), provenance=Provenance("lora", config={"rank": rank}))
    parametric = examine(student, lambda name: W, 2, Progress(False), "")
    assert parametric.blocks == ("up",)
    assert all(t[0].isnan().all() for t in parametric.values.values())  # layer 0 has no edit
    return {q: t[1, 0].item() for q, t in parametric.values.items()} | {
        s: t[1, 0] for s, t in parametric.spectra.items()
    }


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def fine_tuned(B0, A0, seed=9) -> tuple[LowRankEdit, torch.Tensor, torch.Tensor]:
    """An edit as ``finetune`` writes it, the product at its end, and the whole change."""
    B, A = B0 + 0.3 * random(*B0.shape, seed=seed), A0 + 0.3 * random(*A0.shape, seed=seed + 1)
    edit = LowRankEdit(NAME, torch.cat([B, -B0], 1), torch.cat([A, A0]))
    return edit, (B @ A).double(), (B @ A - B0 @ A0).double()


def test_quantities_are_those_of_the_dense_matrices():
    W = random(40, 30, seed=0)
    B0, A0 = random(40, 4, seed=1), random(4, 30, seed=2)
    edit, final, change = fine_tuned(B0, A0)
    quantities, wide, start = look(edit, W), W.double(), (B0 @ A0).double()
    rest = wide - start
    expected = {
        "delta_norm": change.norm() / wide.norm(),
        "cos_delta_original": cosine(change, wide),
        "cos_start_original": cosine(start, wide),
        "cos_final_original": cosine(final, wide),
        "cos_start_remaining": cosine(start, rest),
        "cos_final_remaining": cosine(final, rest),
    }
    for quantity, value in expected.items():
        assert quantities[quantity] == pytest.approx(float(value), abs=1e-6), quantity
    for name, dense in (("start", start), ("final", final), ("delta", change), ("weight", wide)):
        s = torch.linalg.svdvals(dense)[: 4 if name in ("start", "final") else 8] / wide.norm()
        torch.testing.assert_close(quantities[name][: len(s)], s, atol=1e-6, rtol=1e-5)
        assert quantities[name][len(s) :].isnan().all()


def test_pissa_starts_in_the_weight_and_at_a_right_angle_to_the_rest():
    W = random(40, 30, seed=0)
    B0, A0 = truncated_svd(W, 4)
    quantities = look(LowRankEdit(NAME, torch.cat([B0, -B0], 1), torch.cat([A0, A0])), W)
    s = torch.linalg.svdvals(W.double())
    assert quantities["cos_start_original"] == pytest.approx((s[:4].norm() / s.norm()).item(), abs=1e-6)
    assert quantities["cos_start_remaining"] == pytest.approx(0, abs=1e-6)
    assert quantities["delta_norm"] == pytest.approx(0, abs=1e-6)
    assert quantities["angle_out_start_weight"] == pytest.approx(0, abs=1e-3)
    assert quantities["angle_in_start_final"] == pytest.approx(0, abs=1e-9)


def test_a_product_of_the_weight_itself_has_cosine_one():
    W = random(12, 4, seed=0) @ random(4, 9, seed=1)
    B, A = truncated_svd(W, 4)
    assert look(LowRankEdit(NAME, B, A), W)["cos_final_original"] == pytest.approx(1, abs=1e-6)


def test_lora_has_no_start_and_its_rest_is_the_weight():
    W = random(20, 15, seed=0)
    quantities = look(LowRankEdit(NAME, random(20, 4, seed=1), random(4, 15, seed=2)), W)
    assert math.isnan(quantities["cos_start_original"]) and math.isnan(quantities["angle_in_start_final"])
    assert quantities["cos_final_remaining"] == pytest.approx(quantities["cos_final_original"], abs=1e-12)
    assert quantities["start"].isnan().all()


@pytest.mark.parametrize(("axis", "width"), [("rows", 15), ("columns", 20)])
def test_located_deltas_are_compared_where_they_are(axis, width):
    W, indices, delta = random(20, 15, seed=0), torch.tensor([7, 2, 11]), random(3, width, seed=1)
    quantities = look(LocatedEdit(NAME, axis, indices, delta), W)
    dense = torch.zeros(20, 15)
    (dense if axis == "rows" else dense.T)[indices] = delta
    assert quantities["delta_norm"] == pytest.approx((dense.norm() / W.norm()).item(), abs=1e-6)
    assert quantities["cos_delta_original"] == pytest.approx(cosine(dense, W), abs=1e-6)
    assert math.isnan(quantities["cos_final_original"])


@pytest.mark.parametrize("seed", range(3))
def test_principal_angles_are_scipys(seed):
    P, Q = random(30, 6, seed=seed).double(), random(30, 4, seed=seed + 10).double()
    Q[:, 0] = P[:, 0] + 0.1 * Q[:, 1]
    expected = np.rad2deg(np.sort(scipy.linalg.subspace_angles(P.numpy(), Q.numpy())))
    for a, b in ((P, Q), (Q, P)):
        # scipy's own angle of 0, between a column and itself, is √ε = 1.5e-8 rad times what the processor's products
        # round: 2.1e-6° has been seen, where ours was 1.5e-14°.
        np.testing.assert_allclose(principal_angles(a, b).numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(principal_angles(P, 3 * P @ random(6, 6, seed=99).double()).numpy(), 0, atol=1e-9)


def test_an_angle_that_its_cosine_would_round_to_nothing_is_found():
    P, angle = torch.eye(5, 2, dtype=torch.float64), 1e-9
    Q = torch.stack([P[:, 0], math.cos(angle) * P[:, 1] + math.sin(angle) * torch.eye(5).double()[3]], 1)
    angles = principal_angles(P, Q)
    assert angles[0] == pytest.approx(0, abs=1e-13) and angles[1] == pytest.approx(math.degrees(angle), rel=1e-6)


def test_the_halves_of_an_edit_are_told_by_the_rank():
    edit = LowRankEdit(NAME, random(9, 8, seed=0), random(8, 7, seed=1))
    start, final = start_and_final(edit, 4)
    torch.testing.assert_close((final.B @ final.A - start.B @ start.A).float(), edit.B @ edit.A)
    for rank in (8, None):
        assert start_and_final(edit, rank)[0] is None
    assert LowRank(edit.B.double(), edit.A.double()).singular_values().shape == (7,)


def made(method="seeking", task="gsm8k", fingerprint="0") -> Student:
    return Student(
        ModelSource("base"),
        provenance=Provenance(method, transfer_task=task, fingerprint=fingerprint * 64),
    )


def test_labels_are_short_and_distinct():
    assert labels([made(), made("pissa")]) == ["seeking-gsm8k", "pissa-gsm8k"]
    assert labels([made(), made(fingerprint="a")]) == ["seeking-gsm8k-000000", "seeking-gsm8k-aaaaaa"]
    with pytest.raises(ConfigError, match="one student twice"):
        labels([made(), made()])
