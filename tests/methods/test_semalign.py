"""SemAlign: the map between vocabularies, the pairing of layers, the loss, and the student."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import collate
from pkt_eval.methods import semalign
from pkt_eval.methods.semalign import (
    added_by,
    fractional_depth,
    layer_attribution,
    paired_layer,
    semantic_loss,
    semantic_map,
)
from pkt_eval.methods.testing import check
from pkt_eval.models import blocks
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student
from pkt_eval.tune.loss import supervised_loss

FINETUNE = dict(rank=4, alpha=4, max_steps=2, train_batch_size=4, learning_rate=1e-3)
BATCH = collate(
    [
        {"input_ids": list(range(5, 25)), "labels": [-100] * 12 + list(range(17, 25))},
        {"input_ids": list(range(30, 42)), "labels": [-100] * 9 + list(range(39, 42))},
    ],
    0,
)

pytestmark = pytest.mark.usefixtures("short_answers")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loaded(folder: str):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def student_of(tiny, family="qwen2", method="semalign", **changes):
    teacher, base = tiny(family)
    words = {
        "transfer_task": "nano_gsm8k",
        "extract_samples": 2,
        "train_samples": 8,
        "validation_samples": 4,
        **FINETUNE,
    }
    words |= {"teacher": teacher, "pretrained": base, "method": method, **changes}
    return make_student(make_recipe(words), progress=Progress(enabled=False))


@pytest.mark.parametrize("rows", [7, 1 << 13])
def test_the_map_is_that_of_the_pseudo_inverses(rows, monkeypatch):
    monkeypatch.setattr(semalign, "_ROWS", rows)
    ours, theirs = random(50, 6), random(50, 9, seed=1)
    bases = []
    for head in (ours, theirs):
        inverse = np.linalg.pinv(head.numpy())  # (d, V)
        bases.append(inverse / np.linalg.norm(inverse, axis=0))
    np.testing.assert_allclose(semantic_map(ours, theirs).numpy(), bases[0] @ bases[1].T, rtol=0, atol=1e-10)


def test_turning_either_stream_turns_the_map_with_it():
    """So the translated states of a teacher whose stream is written in another basis are the same."""
    ours, theirs, state = random(50, 6), random(50, 9, seed=1), random(9, seed=2)
    turn, other = (torch.linalg.qr(random(n, n, seed=n)).Q for n in (9, 6))
    plain = semantic_map(ours, theirs)
    torch.testing.assert_close(semantic_map(ours, theirs @ turn.T) @ (turn @ state), plain @ state)
    torch.testing.assert_close(semantic_map(ours @ other.T, theirs), other @ plain)


def test_a_teacher_like_the_student_keeps_a_direction_roughly_and_with_an_even_vocabulary_exactly():
    """``M = BBᵀ`` is symmetric and positive, so that no state is turned by a right angle; it is no multiple of one."""
    head, states = random(50, 6), random(20, 6, seed=3)
    own = semantic_map(head, head)
    torch.testing.assert_close(own, own.T)
    assert torch.linalg.eigvalsh(own).min() > 0
    assert (torch.nn.functional.cosine_similarity(states @ own.T, states) > 0).all()
    even = torch.cat([turn := torch.linalg.qr(random(6, 6, seed=4)).Q, -turn])
    torch.testing.assert_close(semantic_map(even, even), 2 * torch.eye(6).double())


def test_layers_are_paired_as_published():
    for teacher, student in [(6, 4), (40, 32), (28, 24), (4, 4), (5, 1)]:
        first = {}
        for k in range(student, 0, -1):
            first[max(1, teacher * k // student)] = k
        for critical in range(1, teacher + 1):
            hit = first.get(critical) or min((k for t, k in first.items() if t >= critical), default=student)
            assert paired_layer(critical - 1, teacher, student) == hit - 1
        for k in range(student):
            low, high, share = fractional_depth(k, teacher, student)
            assert 0 <= low <= high < teacher and 0 <= share <= 1
            if teacher > 1:
                assert low + 1 + share == pytest.approx(min(max(teacher * (k + 1) / student, 1), teacher))


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_what_is_added_is_the_difference_of_the_stream(family, tiny):
    model = loaded(tiny(family)[1])
    streams, middles = [], []
    for layer in blocks.layers(model):
        layer.register_forward_pre_hook(lambda _, args: streams.append(args[0]))
        blocks.norm_before_ffn(layer).register_forward_pre_hook(lambda _, args: middles.append(args[0]))
    blocks.final_norm(model).register_forward_pre_hook(lambda _, args: streams.append(args[0]))
    with torch.no_grad(), added_by(model, range(3), "block_delta") as both, added_by(model, range(3), "mlp") as mlp:
        model(input_ids=BATCH["input_ids"])
    for k in range(3):
        torch.testing.assert_close(sum(both[k]), streams[k + 1] - streams[k], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sum(mlp[k]), streams[k + 1] - middles[k], rtol=1e-4, atol=1e-4)


def test_attribution_is_the_slope_of_the_loss_as_a_layer_s_output_grows(tiny):
    model = loaded(tiny("qwen2")[0]).double()
    sample = {k: v[:1] for k, v in BATCH.items()}
    scores = layer_attribution(model, [sample])
    step = 1e-3
    for k, layer in enumerate(blocks.layers(model)):
        losses = []
        for factor in (1 + step, 1 - step):
            handle = layer.register_forward_hook(lambda _, __, out, factor=factor: out * factor)
            with torch.no_grad():
                total, count = supervised_loss(model, sample)
            handle.remove()
            losses.append(float(total / count))
        # The loss itself is float32, rounded at some 2e-7, and the quotient is off by the step squared.
        assert float(scores[k]) == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=0.01, abs=1e-3)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_the_loss_is_two_means_of_cosines_and_a_target_met_costs_nothing(tiny):
    model = loaded(tiny("qwen2")[1])
    keep = BATCH["labels"][:, 1:] != -100
    with torch.no_grad(), added_by(model, [1], "mlp") as added:
        logits = model(**{k: v for k, v in BATCH.items() if k != "labels"}).logits[:, :-1][keep]
    met = torch.nn.functional.normalize(added[1][0][:, :-1][keep], dim=-1)
    labels = torch.nn.functional.one_hot(BATCH["labels"][:, 1:][keep], logits.shape[1]).float()
    expected = (1 - torch.nn.functional.cosine_similarity(logits, labels)).sum()
    ids = [tuple(range(5, 25)), tuple(range(30, 42))]

    def loss(goal):
        targets = {} if goal is None else {1: dict(zip(ids, goal.half().split([8, 3]), strict=True))}
        return semantic_loss(model, BATCH, decoder=model, targets=targets, site="mlp")

    total, count = loss(None)
    assert count == 11 and float(total.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss(met)[0].detach()) == pytest.approx(float(expected), rel=2e-3)  # targets are float16
    assert float(loss(-met)[0].detach()) == pytest.approx(float(expected) + 2 * 11, rel=2e-3)


def test_the_control_is_semalign_whose_layer_term_weighs_nothing(tiny, monkeypatch, tmp_path):
    control = student_of(tiny, method="semalign_label_only")
    plain = semantic_loss

    def weightless(model, batch, *, targets, **more):
        assert targets
        return plain(model, batch, targets={}, **more)

    full = student_of(tiny)
    monkeypatch.setattr(semalign, "semantic_loss", weightless)
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "another"))
    without = student_of(tiny)
    assert without.weights_digest() == control.weights_digest() != full.weights_digest()
    assert control.provenance.control_of == ("semalign",)


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_it_moves_the_paired_layer_alone_on_every_family(family, tiny):
    student = student_of(tiny, family, site="block_delta" if family != "gemma" else "mlp")
    record = student.provenance.record["teacher"]
    (layer,) = record["student_layers"]
    assert {blocks.layer_of(edit.name) for edit in student.edits} == {layer} and len(student.edits) == 4
    assert layer == paired_layer(record["critical_teacher_layers"][0], 4, 3)
    scores = [abs(score) for score in record["attribution"]]
    assert record["critical_teacher_layers"] == [scores.index(max(scores))]
    assert all(edit.B.abs().max() > 0 for edit in student.edits)


def test_without_training_it_is_vanilla_and_several_layers_may_be_critical(tiny):
    student = student_of(tiny, max_steps=0, critical_layers=3)
    assert len(student.provenance.record["teacher"]["critical_teacher_layers"]) == 3
    assert not any(edit.B.any() for edit in student.edits)


@pytest.mark.parametrize("method", ["semalign", "semalign_label_only"])
def test_it_keeps_the_contract(method, tiny):
    teacher, student = tiny("qwen2")
    check(method, teacher=teacher, student=student, interruptions=3, **FINETUNE)
