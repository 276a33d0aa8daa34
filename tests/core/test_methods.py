"""What must be true of every transfer, and of each method."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval._util.progress import Progress
from pkt_eval.align.carry import CarryConfig
from pkt_eval.methods.base import get_method, methods
from pkt_eval.methods.seeking import next_task
from pkt_eval.models import blocks
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student
from pkt_eval.transfer.words import FIELDS
from pkt_eval.tune.config import TrainingConfig

pytestmark = pytest.mark.usefixtures("short_answers")

QUIET = Progress(enabled=False)
# Those that carry a teacher's product train the teacher: see tests/methods.
TRAINED = [
    m.name
    for m in methods().values()
    if issubclass(m.cls.Config, TrainingConfig) and not issubclass(m.cls.Config, CarryConfig)
]


def student_of(**arguments):
    return make_student(make_recipe(arguments), progress=QUIET)


@torch.no_grad()
def logits(base, student=None) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    if student:
        student.apply(model)
    return model(input_ids=torch.arange(1, 40)[None]).logits


# Of a family the first: its others differ in what the contract and their own tests look at.
FIRST = list({methods()[name].cls: name for name in [*reversed(TRAINED), "lora"]}.values())


def options_of(method: str, words: dict) -> dict:
    """Without those that the method has not: full fine-tuning has no rank."""
    known = {*methods()[method].options(), *FIELDS}
    return {name: value for name, value in words.items() if name in known}


@pytest.mark.parametrize("method", TRAINED)
def test_a_student_starts_as_vanilla(method, tiny, small):
    teacher, base = tiny()
    words = options_of(method, dict(teacher=teacher, pretrained=base, method=method, **small))
    untrained = student_of(**{**words, "max_steps": 0})
    torch.testing.assert_close(logits(base, untrained), logits(base), rtol=0, atol=1e-4)
    assert untrained.edits


@pytest.mark.parametrize("method", FIRST)
def test_a_student_moves_when_trained(method, tiny, small):
    teacher, base = tiny()
    words = options_of(method, dict(teacher=teacher, pretrained=base, method=method, **small))
    trained = student_of(**words)
    assert (logits(base, trained) - logits(base)).abs().max() > 1e-4
    before, after = trained.provenance.record["training"]["tried"][0]["validation_loss"]
    assert after != before


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_seeking_starts_as_vanilla_on_every_family(family, tiny, small):
    teacher, base = tiny(family)
    student = student_of(teacher=teacher, pretrained=base, method="seeking", **{**small, "max_steps": 0})
    torch.testing.assert_close(logits(base, student), logits(base), rtol=0, atol=1e-4)
    assert len(student.edits) == 3 * 4 and all(e.B.any() for e in student.edits)


def test_untied_embeddings_and_all_seven_blocks(tiny, small):
    teacher, base = tiny("qwen2", tie=False)
    student = student_of(
        teacher=teacher,
        pretrained=base,
        method="seeking",
        modules="up+gate+down+q+k+v+o",
        **{**small, "max_steps": 1},
    )
    assert len(student.edits) == 3 * 7
    assert torch.isfinite(logits(base, student)).all()


@pytest.mark.parametrize("method", FIRST)
def test_the_same_seed_gives_the_same_student_and_another_seed_another(method, tiny, small, tmp_path, monkeypatch):
    teacher, base = tiny()
    digests = []
    for run, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / str(run)))
        words = options_of(method, dict(teacher=teacher, pretrained=base, method=method, seed=seed, **small))
        student = student_of(**words)
        digests.append((student.provenance.fingerprint, student.provenance.weights_digest))
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0] and digests[0][1] != digests[2][1]


def test_teacher_equal_to_student_and_full_rank_recover_the_block(tiny, small):
    """The densest block of the whole shape is the whole matrix, and at full rank its SVD is the matrix itself."""
    _, base = tiny()
    words = {**small, "rank": 32, "alpha": 32, "max_steps": 0, "modules": "v"}  # v is 32 × 48
    student = student_of(teacher=base, pretrained=base, method="seeking", **words)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for edit in student.edits:
        frozen = -(edit.B[:, 32:] @ edit.A[32:])  # the start that was subtracted
        torch.testing.assert_close(-frozen, -model.get_parameter(edit.name).detach(), rtol=0, atol=1e-5)
    record = student.provenance.record["blocks"]
    assert record["teacher_layers"] == [0, 1, 2]
    assert set(map(tuple, record["layer_row_column"].values())) == {(0, 0, 0), (1, 0, 0), (2, 0, 0)}


def test_seeking_takes_the_block_it_records(tiny, small):
    teacher, base = tiny("qwen2")
    student = student_of(teacher=teacher, pretrained=base, method="seeking", **{**small, "max_steps": 0})
    theirs = AutoModelForCausalLM.from_pretrained(teacher, dtype=torch.float32)
    places = student.provenance.record["blocks"]["layer_row_column"]
    for edit in student.edits:
        layer, row, column = places[edit.name]
        block = next(b for b in blocks.BLOCKS if f"{b}_proj" in edit.name)
        rows, columns = edit.B.shape[0], edit.A.shape[1]
        cut = theirs.get_parameter(blocks.weight_name(block, layer)).detach()[
            row : row + rows, column : column + columns
        ]
        U, S, Vh = torch.linalg.svd(cut.double(), full_matrices=False)
        best = (U[:, :4] * S[:4]) @ Vh[:4]
        started = -(edit.B[:, 4:] @ edit.A[4:]).double()
        torch.testing.assert_close(-started, -best, rtol=0, atol=2e-4)


def test_self_takes_the_students_own_block_and_random_takes_it_from_elsewhere(tiny, small):
    teacher, base = tiny()
    ours = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    student = student_of(pretrained=base, method="seeking_self", **{**small, "max_steps": 0})
    for edit in student.edits:
        U, S, Vh = torch.linalg.svd(ours.get_parameter(edit.name).detach(), full_matrices=False)
        torch.testing.assert_close(edit.B[:, :4] @ edit.A[:4], (U[:, :4] * S[:4]) @ Vh[:4], rtol=0, atol=2e-4)
    words = dict(teacher=teacher, pretrained=base, **{**small, "max_steps": 0})
    random, sought = (
        student_of(method=m, **words).provenance.record["blocks"]["layer_row_column"]
        for m in ("seeking_random", "seeking")
    )
    assert random.keys() == sought.keys() and random != sought


def test_several_learning_rates_and_validation_chooses(tiny, small):
    _, base = tiny()
    words = {**small, "learning_rate": "1e-6+1e-2"}
    training = student_of(pretrained=base, method="lora", **words).provenance.record["training"]
    best = min(training["tried"], key=lambda t: t["validation_loss"][1])
    assert [t["learning_rate"] for t in training["tried"]] == [1e-6, 1e-2]
    assert training["learning_rate"] == best["learning_rate"]
    single = student_of(pretrained=base, method="lora", **{**small, "learning_rate": training["learning_rate"]})
    both = student_of(pretrained=base, method="lora", **words)
    assert single.provenance.weights_digest == both.provenance.weights_digest


def test_one_optimizer_step_of_lora_is_adamws(tiny, small):
    """With B = 0, AdamW's first step moves every entry of B that has a gradient by the learning rate."""
    _, base = tiny()
    student = student_of(pretrained=base, method="lora", **{**small, "max_steps": 1, "learning_rate": 1e-3})
    for edit in student.edits:
        moved = edit.B.abs()
        assert moved.max() <= 1.001e-3 and (moved > 0.9e-3).float().mean() > 0.9


def test_vanilla_and_teacher_edit_nothing(tiny):
    teacher, base = tiny()
    vanilla = student_of(teacher=teacher, pretrained=base, method="vanilla")
    itself = student_of(teacher=teacher, pretrained=base, method="teacher")
    assert (vanilla.base.path, itself.base.path) == (base, teacher)
    assert not vanilla.edits and not itself.edits


def test_the_wrong_task_is_another_of_the_same_family():
    assert [next_task(t) for t in ("mmlu", "mbpp", "nano_mmlu", "nano_mbpp")] == [
        "gsm8k",
        "mmlu",
        "nano_gsm8k",
        "nano_mmlu",
    ]


def test_a_benchmark_without_a_published_budget_gets_the_common_one(tiny, small, monkeypatch):
    monkeypatch.setattr("pkt_eval.data.transfer_data.kind", lambda benchmark: "arc")
    teacher, base = tiny()
    words = {**small, "max_steps": -1, "learning_rate": None}
    training = student_of(pretrained=base, method="lora", **words).provenance.record["training"]
    assert training["learning_rate"] == 3e-4 and training["steps"] == 5 * 8 / 4
    words = dict(transfer_task="nano_mmlu", extract_samples=1, align_samples=2, validation_samples=1)
    record = student_of(teacher=teacher, pretrained=base, method="laten", **words).provenance.record
    assert len(record["alignment"]["steps"]) == 4


def test_a_method_is_one_class_under_one_name(tmp_path):
    from pkt_eval.errors import ConfigError
    from pkt_eval.methods.base import TransferMethod, register

    class Other(TransferMethod):
        def transfer(self, pair, data, progress): ...

    with pytest.raises(ConfigError, match="registered by"):
        register("seeking", title="t", reference="r", paradigm="control")(Other)
    assert get_method("seeking").cls.__name__ == "Seeking"
