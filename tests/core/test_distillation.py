"""Divergences of next tokens against what they are defined as."""

import pytest
import torch
from torch.nn.functional import kl_div

from pkt_eval.tune.distillation import generalised_jsd, kept_divergence
from pkt_eval.tune.training import Training, until


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(5, 11, generator=torch.Generator().manual_seed(seed))


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """``KL(P‖Q)`` by torch, of probabilities."""
    return kl_div(q.log(), p.log(), reduction="sum", log_target=True)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_generalised_jsd_is_its_definition_and_has_its_limits(beta):
    teacher, student = logits(0), logits(1)
    p, q = teacher.softmax(-1), student.softmax(-1)
    m = beta * p + (1 - beta) * q
    expected = beta * divergence(p, m) + (1 - beta) * divergence(q, m)
    if beta in (0, 1):
        expected = divergence(p, q) if beta == 0 else divergence(q, p)
    torch.testing.assert_close(generalised_jsd(teacher, student, beta), expected)
    assert generalised_jsd(teacher, teacher + 1, beta).abs() < 1e-5  # a softmax knows no constant
    if beta in (0.1, 0.9):  # near its end it is the divergence times what is left
        end = divergence(p, q) if beta == 0.1 else divergence(q, p)
        near = generalised_jsd(teacher, student, 1e-4 if beta == 0.1 else 1 - 1e-4)
        torch.testing.assert_close(near * 1e4, end, rtol=0.05, atol=0)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_what_is_kept_of_the_teacher_bounds_the_divergence_from_below(direction):
    teacher, student = logits(0), logits(1)
    p, q = teacher.softmax(-1), student.softmax(-1)
    whole = divergence(p, q) if direction == "forward" else divergence(q, p)
    found = []
    for k in (1, 3, 8, 10):
        top = teacher.log_softmax(-1).topk(k)
        found.append(float(kept_divergence(top.indices, top.values, student, direction)))
        assert kept_divergence(top.indices, top.values, teacher, direction).abs() < 1e-5
    assert 0 < found[0] < found[1] < found[2] < found[3] and found[3] == pytest.approx(float(whole), rel=1e-4)


def test_a_schedule_has_so_many_tokens_and_the_passes_of_the_trainer():
    examples = [{"input_ids": [i] * (3 + i), "labels": [i] * (3 + i)} for i in range(7)]
    lengths = [len(e["input_ids"]) for e in examples]
    for tokens in (1, 5, sum(lengths), 3 * sum(lengths) + 4):
        cut = until(examples, tokens, seed=0)
        assert sum(len(e["input_ids"]) for e in cut) == tokens == sum(len(e["labels"]) for e in cut)
    training = Training(2.5, -1, 3, 2, 0.0, 0, "cpu")  # steps of two: a forward pass has no more
    steps = training.steps(lengths)
    assert [len(step) for step in steps] == [2, 2, 2, 1] * 2 + [2, 2] and sorted(
        i for step in steps[:4] for i in step
    ) == [*range(7)]
    assert training.part(0.2).epochs == 0.5 and training.part(0.2).steps(lengths) == steps[:2]
