"""Edits beside the weights: what merging in 16 bits would lose is kept, and the base stays what it was."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.models import blocks
from pkt_eval.models.beside import Beside
from pkt_eval.models.edits import DenseEdit, Edit, LocatedEdit, LowRankEdit
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import LOST, Student, load_student, read_manifest

TOKENS = torch.arange(1, 25)[None]


def edit_of(kind: str, name: str, shape: tuple[int, int], size: float) -> Edit:
    """An edit of some kind whose entries are about ``size``."""
    generator = torch.Generator().manual_seed(7)
    out, into = shape
    draw = lambda *s: torch.randn(*s, generator=generator)  # noqa: E731
    if kind == "low-rank":
        return LowRankEdit(name, draw(out, 3) * size, draw(3, into) / 3**0.5)
    if kind == "difference":  # of two large products, as a PostPKT edit is
        B, A = draw(out, 3), draw(3, into)
        return LowRankEdit(name, torch.cat([B + draw(out, 3) * size, -B], 1), torch.cat([A, A]))
    if kind == "dense":
        return DenseEdit(name, draw(out, into) * size)
    lines, width = (out, into) if kind == "rows" else (into, out)
    indices = torch.randperm(lines, generator=generator)[: lines // 3]
    return LocatedEdit(name, kind, indices, draw(len(indices), width) * size)


KINDS = ("low-rank", "difference", "rows", "columns", "dense")


@pytest.mark.parametrize("kind", KINDS)
def test_beside_equals_merged_in_float32(kind):
    linear = nn.Linear(30, 40)
    edit = edit_of(kind, "0.weight", (40, 30), 0.1)
    x = torch.randn(2, 5, 30)
    model = nn.Sequential(linear)
    base = model(x)
    beside = Beside(model, [edit])
    got = model(x)
    beside.remove()
    assert torch.equal(model(x), base)
    edit.apply(linear.weight)
    torch.testing.assert_close(got, model(x), rtol=1e-5, atol=1e-5)
    assert (got - base).abs().max() > 0.1


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_far_below_the_dtypes_grain_acts_as_a_whole(kind, bias):
    """On average: each output is rounded to the grain, but as often up as down."""
    torch.manual_seed(0)
    linear = nn.Linear(256, 512, bias=bias, dtype=torch.bfloat16)
    edit = edit_of(kind, "0.weight", (512, 256), 2e-5)
    x = torch.randn(512, 256).bfloat16()
    base = linear(x).float()
    lost, size = edit.lost(linear.weight)
    assert (lost / size) ** 0.5 > 0.5, "merging would lose it"
    exact = nn.Linear(256, 512, bias=False)
    exact.weight.data.zero_()
    edit.apply(exact.weight)
    wanted = exact(x.float())
    Beside(nn.Sequential(linear), [edit])
    moved = linear(x).float() - base
    share = float((moved * wanted).sum() / wanted.square().sum())
    # Half a million roundings: the share's standard error is below 0.02.
    assert share == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_merging_loses_is_measured(kind):
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).bfloat16()
    edit = edit_of(kind, "w", (40, 30), 1e-3)
    dense = torch.zeros(40, 30)
    edit.apply(dense)
    merged = weight.clone()
    edit.apply(merged)
    lost, size = edit.lost(weight)
    assert lost == pytest.approx(float((merged.double() - weight.double() - dense.double()).square().sum()), rel=1e-4)
    assert size == pytest.approx(float(dense.double().square().sum()), rel=1e-4)
    assert edit.lost(weight.double().float())[0] < 1e-8 * size


@pytest.mark.parametrize("kind", KINDS)
def test_the_relative_size_of_an_edit_is_over_what_it_changes(kind):
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(0))
    edit = edit_of(kind, "w", (40, 30), 1e-3)
    dense = torch.zeros(40, 30)
    edit.apply(dense)
    changed = dense != 0
    of_rows, of_columns = changed.any(1, keepdim=True), changed.any(0, keepdim=True)
    wanted = dense.norm() / weight[of_rows & of_columns].norm()
    assert edit.relative(weight) == pytest.approx(float(wanted), rel=1e-5)


def student_on(base: str, size: float) -> Student:
    model = AutoModelForCausalLM.from_pretrained(base)
    places = {
        "low-rank": (0, "up"),
        "rows": (1, "v"),
        "columns": (1, "down"),
        "dense": (2, "o"),
        "difference": (2, "q"),
    }
    edits = tuple(
        edit_of(kind, name, tuple(model.get_parameter(name).shape), size)
        for kind, (layer, block) in places.items()
        for name in [blocks.weight_name(block, layer)]
    )
    return Student(ModelSource(base), edits)


@pytest.fixture(params=blocks.FAMILIES)
def base(request, tiny, tmp_path) -> str:
    """A tiny model of each family, in bfloat16."""
    folder = tmp_path / "bf16"
    source = ModelSource(tiny(request.param)[1])
    model = source.model(torch.float32)
    model.bfloat16().save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(TOKENS).logits.float()


def test_logits_are_those_of_the_float32_merge_within_the_dtypes_own_noise(base):
    student = student_on(base, 0.1)
    live = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    wide = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    vanilla, vanilla_wide = logits(live), logits(wide)
    beside = student.attach(live)
    student.apply(wide)
    noise = (vanilla - vanilla_wide).norm()
    assert (logits(live) - logits(wide)).norm() < 1.5 * noise
    assert (logits(wide) - vanilla_wide).norm() > 3 * noise
    beside.remove()
    assert torch.equal(logits(live), vanilla)


def test_a_merged_checkpoint_says_what_it_holds_and_is_float32_where_its_dtype_would_lose_it(base, tmp_path):
    for size in (1e-4, 30.0):  # all but lost in bfloat16, and so large that the base does not matter
        student = student_on(base, size)
        lost = student.lost(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16))
        folder = tmp_path / str(size)
        student.save(folder, merged=True)
        merged = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype="auto")
        said = read_manifest(folder)["merged"]
        assert said["dtype"] == str(merged.dtype).removeprefix("torch.")
        assert merged.dtype == (torch.float32 if lost > LOST else torch.bfloat16)
        assert said["edit_held"] >= 1 - LOST
        assert load_student(folder).weights_digest() == student.weights_digest()
    assert merged.dtype == torch.bfloat16


def test_a_file_that_the_manifest_does_not_list_is_not_read(tiny, tmp_path):
    student = student_on(tiny()[1], 0.1)
    plain = Student(student.base, tuple(e for e in student.edits if isinstance(e, LowRankEdit)))
    student.save(tmp_path / "whole")
    plain.save(tmp_path / "plain")
    (tmp_path / "whole" / "located").rename(tmp_path / "plain" / "located")
    assert load_student(tmp_path / "plain").weights_digest() == plain.weights_digest()


def test_edits_for_another_base_are_refused_and_leave_nothing(tiny):
    student = student_on(tiny()[1], 0.1)
    other = AutoModelForCausalLM.from_pretrained(tiny()[0])
    before = logits(other)
    with pytest.raises(ConfigError, match="another base"):
        student.attach(other)
    assert torch.equal(logits(other), before)
    shallow = AutoModelForCausalLM.from_pretrained(tiny()[1])
    shallow.model.layers = shallow.model.layers[:1]
    with pytest.raises(StoreError, match="no parameter"):
        student.attach(shallow)


def test_offloaded_layers_take_edits_beside_them(tiny):
    from accelerate import cpu_offload

    student = student_on(tiny()[1], 0.1)
    live = AutoModelForCausalLM.from_pretrained(tiny()[1])
    student.attach(live)
    offloaded = AutoModelForCausalLM.from_pretrained(tiny()[1])
    cpu_offload(offloaded, execution_device="cpu")
    assert any(p.is_meta for p in offloaded.parameters())
    student.attach(offloaded)
    torch.testing.assert_close(logits(offloaded), logits(live))
