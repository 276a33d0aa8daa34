"""Steering, ridge edits and readouts: what they change, that they follow the teacher and not its basis, and that a
damaged student is mended by the teacher alone."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval import nano
from pkt_eval.align import contexts
from pkt_eval.align.maps import collect
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import build_splits
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError
from pkt_eval.methods import head
from pkt_eval.methods.base import get_method
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.student import load_student

pytestmark = pytest.mark.usefixtures("short_answers")

ONE = {  # one candidate each
    "steer": {"strength": 0.2},
    "ridge": {"strength": 1.0, "depth": 0.5},
    "head": {"ridge": 0.01},
}


@pytest.fixture
def silent(monkeypatch):
    """Candidates answer nothing: that is tested elsewhere, and a random model goes on to the limit."""
    monkeypatch.setattr("pkt_eval.align.candidates.generate_answers", lambda *args: None)


def model_of(folder: str):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def whole(edit) -> torch.Tensor:
    return edit.B @ edit.A if isinstance(edit, LowRankEdit) else edit.delta


def moved(student) -> float:
    """Change of the validation loss."""
    record = student.record
    return record["candidates"][record["chosen"]]["validation_loss"] - record["base"]["validation_loss"]


@pytest.mark.parametrize("family", blocks.FAMILIES)
@pytest.mark.parametrize("method", ONE)
def test_every_family_is_edited_where_it_should_be(method, family, tiny, transferred, silent):
    teacher, base = tiny(family)
    student = transferred(method, teacher, base, **ONE[method])
    names = [edit.name for edit in student.edits]
    if method == "head":
        assert names == ["lm_head.weight"]
    else:
        layers = {"steer": (0, 1, 2), "ridge": (0, 1)}[method]
        assert names == [blocks.weight_name("down", layer) for layer in layers]
    if method == "steer":
        assert all(edit.rank == 1 for edit in student.edits)
    assert all(torch.isfinite(t).all() for edit in student.edits for t in edit.tensors.values())
    assert student.record["delta_over_weight"] and student.record["r2"]


@pytest.mark.parametrize("method", ONE)
def test_the_teachers_basis_does_not_matter(method, tiny, transferred, rotated, silent):
    teacher, base = tiny("llama")
    one, other = (transferred(method, t, base, **ONE[method]) for t in (teacher, rotated(teacher)))
    assert one.record.get("ridge") == other.record.get("ridge")
    for a, b in zip(one.edits, other.edits, strict=True):
        # Float32 activations of two different computations, through an ill-conditioned inverse.
        assert (whole(a) - whole(b)).norm() < 0.02 * whole(a).norm()


def test_a_teacher_that_is_the_student_moves_nothing(tiny, transferred, silent):
    _, base = tiny("qwen2")
    for method in ("ridge", "head"):
        student = transferred(method, base, base, **ONE[method])
        assert max(student.record["delta_over_weight"].values()) < 1e-3, method
    shuffled = transferred("ridge_shuffled", base, base, **ONE["ridge"])
    assert min(shuffled.record["delta_over_weight"].values()) > 0.02


def test_steering_moves_the_stream_by_what_was_asked(tiny, records, transferred, silent):
    """At the mean key of a layer exactly, in the direction that is recorded; the random control as far."""
    teacher, base = tiny("qwen2")
    tokenizer, data = records
    one = {"strength": 0.2, "layers": "middle"}
    steered, random = (transferred(m, teacher, base, **one) for m in ("steer", "steer_random"))
    assert [e.name for e in steered.edits] == [blocks.weight_name("down", 1)]
    pairs = contexts.with_examples(data, tokenizer, ("align", "extract"), contexts.worked_examples(data))
    plain = contexts.within_budget([contexts.prompt_part(data, p) for p, _ in pairs], 2048)
    every = [contexts.prompt_part(data, p) for p, _ in pairs]
    model = model_of(base)
    key, out = Tap("down", 1, "input"), Tap("residual", 1)
    mean = collect(model, contexts.text_batches(plain), [key])[key].mean(0)
    norm = collect(model, contexts.text_batches(every), [out])[out].norm(dim=1).mean()
    for student in (steered, random):
        shift = whole(student.edits[0]) @ mean
        assert float(shift.norm() / norm) == pytest.approx(0.2, rel=1e-3)
    assert abs(float(torch.cosine_similarity(*(whole(s.edits[0]) @ mean for s in (steered, random)), dim=0))) < 0.5
    own = transferred("steer_self", teacher, base, **one)
    assert own.record["cosine_to_own"] == [1.0] * 3 and "teacher_layers" not in own.record


def test_the_contrast_is_of_the_position_that_decides(records):
    tokenizer, data = records
    ((plain, behind), *_) = contexts.with_examples(data, tokenizer, ("align",), contexts.worked_examples(data))
    for example in (plain, behind):
        cut = contexts.prompt_part(data, example)
        assert tokenizer.decode(cut["input_ids"][:-1]).endswith("<|assistant|>\n")
        assert [x != -100 for x in cut["labels"]] == [False] * (len(cut["labels"]) - 1) + [True]
    assert len(behind["input_ids"]) > 2 * len(plain["input_ids"])
    letters = TransferData(build_splits("nano_mmlu", sizes=SIZES), ChatFormat("paper"), "answer", 512, lambda _: None)
    (found, *_) = contexts.texts(letters, tokenizer, ("align",), rows="answer")
    assert tokenizer.decode(contexts.prompt_part(letters, found)["input_ids"][:-1]).endswith("The answer is:")
    ((plain, own), *_) = contexts.with_examples(letters, tokenizer, ("align",), None)
    assert tokenizer.decode(own["input_ids"]).count(tokenizer.decode(plain["input_ids"][:20])) == 2


SIZES = {"extract": 2, "align": 14, "train": 12, "validation": 6}


@pytest.fixture(scope="module")
def trained() -> TransferData:
    return TransferData(build_splits("nano_gsm8k", sizes=SIZES), ChatFormat("paper"), "answer", 512, lambda _: None)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The nano teacher with what the FFN of its fourth layer adds turned round, and twice as much of it."""
    model = model_of(nano.model_path("teacher"))
    folder = tmp_path_factory.mktemp("damaged")
    with torch.no_grad():
        model.get_parameter(blocks.weight_name("down", 3)).mul_(-2)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(nano.model_path("teacher")).save_pretrained(folder)
    return str(folder)


def test_a_damaged_layer_is_mended_by_the_teacher_alone(damaged, trained, transferred, rotated, silent):
    teacher = rotated(nano.model_path("teacher"))  # so that its states are of no use as they are
    words = dict(data=trained, strength=1.0, depth=0.6, span=1, guard=0.1, select_by="loss")
    found = {
        name: moved(transferred(name, teacher, damaged, **words))
        for name in ("ridge", "ridge_shuffled", "ridge_unmapped", "ridge_fewshot")
    }
    # Not all: the map is fitted on the student as it is, and gives back what of the fault is linear in the teacher.
    assert found.pop("ridge") < -0.15 * damage(damaged, trained) and min(found.values()) > 0


def damage(folder: str, data: TransferData) -> float:
    """Validation loss of a model less the nano teacher's."""
    from pkt_eval.align.loop import mean_loss

    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = data.examples(tokenizer, "validation")
    return mean_loss(model_of(folder), examples) - mean_loss(model_of(nano.model_path("teacher")), examples)


def test_a_damaged_head_is_mended_by_the_teacher_and_not_by_a_prior(trained, transferred, tmp_path, silent):
    model = model_of(nano.model_path("teacher"))
    blocks.untie(model)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        weight = model.get_output_embeddings().weight
        weight.add_(torch.randn(weight.shape, generator=generator) * 0.5 * weight.std())
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(nano.model_path("teacher")).save_pretrained(tmp_path)
    whole = damage(str(tmp_path), trained)
    found = {
        name: moved(transferred(name, nano.model_path("teacher"), str(tmp_path), data=trained, select_by="loss"))
        for name in ("head", "prior")
    }
    assert found["head"] < -0.4 * whole and found["prior"] > 0.5 * found["head"]


def test_a_tied_embedding_is_untied_and_left_alone(tiny, transferred, tmp_path, silent):
    teacher, base = tiny("qwen2")
    student = transferred("head", teacher, base, ridge=0.01)
    live, before = model_of(base), model_of(base)
    assert live.get_output_embeddings().weight is live.get_input_embeddings().weight
    beside = student.attach(live)
    ids = torch.arange(5, 30)[None]
    with torch.no_grad():
        attached = live(ids).logits
        beside.remove()
        assert torch.equal(live(ids).logits, before(ids).logits)
        student.apply(live)
        merged = live(ids).logits
    assert torch.equal(live.get_input_embeddings().weight, before.get_input_embeddings().weight)
    torch.testing.assert_close(attached, merged, rtol=1e-4, atol=1e-4)
    edited = (live.get_output_embeddings().weight != before.get_output_embeddings().weight).any(1)
    assert edited.nonzero()[:, 0].tolist() == student.edits[0].indices.tolist()
    student.save(tmp_path / "s", merged=True)
    assert load_student(tmp_path / "s").weights_digest() == student.weights_digest()
    with torch.no_grad():
        torch.testing.assert_close(model_of(tmp_path / "s" / "merged")(ids).logits, merged, rtol=1e-4, atol=1e-4)


def test_a_readout_is_least_squares_and_biases_match_the_labels():
    generator = torch.Generator().manual_seed(0)
    H, Y = (torch.randn(30, d, generator=generator, dtype=torch.float64) for d in (8, 3))
    weight = (0.1 * H.square().sum() / 8) ** 0.5
    stacked = torch.cat([H, weight * torch.eye(8, dtype=H.dtype)])
    expected = torch.linalg.lstsq(stacked, torch.cat([Y, torch.zeros(8, 3, dtype=H.dtype)]), driver="gelsd").solution.T
    torch.testing.assert_close(head.readout(H, Y, 0.1), expected, rtol=1e-9, atol=1e-9)
    p = torch.randn(400, 5, generator=generator, dtype=torch.float64).softmax(1)[:, :4]
    counts = torch.tensor([40.0, 100, 20, 150], dtype=torch.float64)
    biases = head.fit_biases(p, counts)
    weighted = p * biases.exp()
    share = weighted / (1 - p.sum(1) + weighted.sum(1))[:, None]
    torch.testing.assert_close(share.sum(0), counts, rtol=1e-3, atol=1e-2)


def test_a_prior_is_a_constant_as_nearly_as_a_head_can_have_one(tiny, transferred, silent):
    _, base = tiny("llama")
    student = transferred("prior", "", base, ridge=1e-3)
    (edit,), (projection,) = student.edits, student.record["projection"]
    assert torch.linalg.matrix_rank(edit.delta, rtol=1e-4) == 1
    assert projection["mean"] == pytest.approx(1, abs=0.1) and projection["deviation"] < 0.5


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("steer", {"strength": "0.1+0"}, "strengths are positive"),
        ("steer", {"layers": "some"}, "layers"),
        ("ridge", {"depth": 1.5}, "a depth lies between 0"),
        ("ridge", {"guard": 0}, "guards are positive"),
        ("head", {"ridge": -1}, "ridges are positive"),
    ],
)
def test_wrong_options_are_named(method, options, message):
    with pytest.raises(ConfigError, match=message):
        get_method(method).configure(options)
