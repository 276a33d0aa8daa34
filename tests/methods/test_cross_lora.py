"""Cross-LoRA: singular vectors against LAPACK's, and that it is what the published least squares come to."""

import pytest
import torch

from pkt_eval.errors import ConfigError
from pkt_eval.extract.svd import singular_vectors
from pkt_eval.methods.cross_lora import from_basis, in_basis
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9), (7, 7)])
def test_singular_vectors_are_lapacks_with_the_largest_entry_of_each_right_one_positive(shape):
    W = noise(*shape)
    U, V = singular_vectors(W, 5)
    left, sigma, right = torch.linalg.svd(W, full_matrices=False)
    torch.testing.assert_close((U.T @ W @ V).diagonal(), sigma[:5])
    torch.testing.assert_close(U.T @ U, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(V.abs(), right[:5].T.abs())
    torch.testing.assert_close(U.abs(), left[:, :5].abs())
    assert (V.gather(0, V.abs().argmax(0, keepdim=True)) > 0).all()
    with pytest.raises(ConfigError, match="rank 8 does not fit"):
        singular_vectors(W, 8)


def test_a_matrix_of_low_rank_has_no_made_up_directions():
    U, _ = singular_vectors(noise(8, 2) @ noise(2, 5, seed=1), 4)
    assert torch.isfinite(U).all() and not U[:, 2:].any() and U[:, :2].any()


def test_the_carried_product_is_what_the_published_least_squares_give():
    """``P_U = argmin ‖P·U_T − U_S‖`` by lstsq: then ``P_U·ΔW·P_Vᵀ`` is the conformable form of its eq. 7."""
    W_T, W_S = noise(12, 10), noise(7, 6, seed=1)
    B, A = noise(12, 3, seed=2), noise(3, 10, seed=3)
    (U_T, V_T), (U_S, V_S) = singular_vectors(W_T, 5), singular_vectors(W_S, 5)
    P_U, P_V = (torch.linalg.lstsq(t.T, s.T, driver="gelsd").solution.T for t, s in ((U_T, U_S), (V_T, V_S)))
    found_B, found_A = from_basis(in_basis((B, A), U_T, V_T), U_S, V_S)
    torch.testing.assert_close(found_B @ found_A, (P_U @ B @ A @ P_V.T).float(), rtol=1e-4, atol=1e-4)


def test_a_teacher_that_is_the_student_gives_its_own_change_within_the_paired_directions():
    W, B, A = noise(8, 8), noise(8, 3, seed=2), noise(3, 8, seed=3)
    U, V = singular_vectors(W, 8)
    found_B, found_A = from_basis(in_basis((B, A), U, V), U, V)
    torch.testing.assert_close(found_B @ found_A, (B @ A).float(), rtol=1e-4, atol=1e-4)
    U, V = singular_vectors(W, 4)
    found_B, found_A = from_basis(in_basis((B, A), U, V), U, V)
    torch.testing.assert_close(found_B @ found_A, (U @ U.T @ B @ A @ V @ V.T).float(), rtol=1e-4, atol=1e-4)


def test_rotating_both_sides_of_the_teachers_weight_changes_nothing():
    """Singular values tell the vectors apart; their signs are fixed by entries, which a rotation mixes."""
    W_T, W_S = noise(9, 8), noise(6, 5, seed=1)
    P, Q = (torch.linalg.qr(noise(n, n, seed=n))[0] for n in (9, 8))
    B, A = noise(9, 2, seed=2), noise(2, 8, seed=3)
    (U, V), (U2, V2) = singular_vectors(W_T, 5), singular_vectors(P @ W_T @ Q, 5)
    signs = (V2 * (Q.T @ V)).sum(0).sign()
    U_S, V_S = singular_vectors(W_S, 5)
    one = from_basis(in_basis((B, A), U, V), U_S, V_S)
    two = from_basis(in_basis((P @ B, A @ Q), U2, V2), U_S * signs, V_S * signs)
    torch.testing.assert_close(two[0] @ two[1], one[0] @ one[1], rtol=1e-4, atol=1e-4)


def test_the_control_has_the_methods_spectrum_and_shares_its_tuned_teacher(tiny, small):
    teacher, base = tiny("gemma2")
    words = {**small, "teacher": teacher, "pretrained": base, "strength": 1.0}
    words["transfer_task"] = "nano_mmlu"  # its answers are short
    made = [make_student(make_recipe({**words, "method": m})) for m in ("cross_lora", "crosslora_signs")]
    assert [s.provenance.record["training"]["stored"] for s in made] == [False, True]
    for one, other in zip(*(s.edits for s in made), strict=True):
        product, signed = one.B @ one.A, other.B @ other.A
        torch.testing.assert_close(torch.linalg.svdvals(product), torch.linalg.svdvals(signed), rtol=1e-3, atol=1e-6)
        assert (product - signed).norm() > 0.1 * product.norm() and one.rank == 4
    assert set(made[0].provenance.record["delta_over_weight"]) == {"v", "o", "up", "gate", "down"}
