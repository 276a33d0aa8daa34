"""Edits and students: applied, saved, opened by the tools people already have."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval.errors import ConfigError, MissingDataError, StoreError
from pkt_eval.models import blocks
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import MANIFEST, Student, check_listed, load_student


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model.eval()(input_ids=torch.arange(1, 25)[None]).logits


def some_student(base: str, *, ranks=(3, 5)) -> Student:
    model = AutoModelForCausalLM.from_pretrained(base)
    generator = torch.Generator().manual_seed(1)
    edits = []
    for (layer, block), rank in zip(((0, "up"), (2, "o")), ranks, strict=True):
        out, into = model.get_parameter(blocks.weight_name(block, layer)).shape
        B, A = (torch.randn(*s, generator=generator) * 0.1 for s in ((out, rank), (rank, into)))
        edits.append(LowRankEdit(blocks.weight_name(block, layer), B, A))
    made = Provenance("made by hand")
    return Student(ModelSource(base), tuple(edits), "{{ messages[0]['content'] }}", provenance=made)


@pytest.fixture(params=blocks.FAMILIES)
def base(request, tiny) -> str:
    return tiny(request.param)[1]


def test_live_adapter_and_merged_students_give_the_same_logits(base, tmp_path):
    student = some_student(base)
    live = AutoModelForCausalLM.from_pretrained(base)
    vanilla = logits(live)
    student.apply(live)
    student.save(tmp_path / "s", merged=True)

    assert (logits(live) - vanilla).abs().max() > 1e-3
    adapter = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "s" / "adapter")
    torch.testing.assert_close(logits(adapter), logits(live), rtol=1e-4, atol=1e-4)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "s" / "merged")
    assert torch.equal(logits(merged), logits(live))
    assert AutoTokenizer.from_pretrained(tmp_path / "s" / "merged").chat_template == student.chat_template


def test_a_merged_student_differs_from_its_base_exactly_where_it_was_edited(tiny, tmp_path):
    base = tiny()[1]
    student = some_student(base)
    student.save(tmp_path / "s", merged=True)
    before = AutoModelForCausalLM.from_pretrained(base).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "s" / "merged").state_dict()
    assert {n for n in before if not torch.equal(before[n], after[n])} == {e.name for e in student.edits}


def test_load_gives_back_what_was_saved(tiny, tmp_path):
    student = some_student(tiny()[1])
    student.save(tmp_path / "s")
    loaded = load_student(tmp_path / "s")
    assert (loaded.base, loaded.chat_template, loaded.provenance) == (
        student.base,
        student.chat_template,
        student.provenance,
    )
    assert loaded.weights_digest() == student.weights_digest()
    assert some_student(tiny()[1], ranks=(3, 4)).weights_digest() != student.weights_digest()


def test_edits_accumulate_in_fp32_whatever_the_weight_is(tiny):
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)).bfloat16()
    edit = LowRankEdit("w", torch.randn(40, 4) * 0.01, torch.randn(4, 30))
    expected = (weight.float() + edit.B @ edit.A).bfloat16()
    edit.apply(weight)
    assert torch.equal(weight, expected)


def test_edits_for_another_base_are_refused(tiny, tmp_path):
    student = some_student(tiny()[1])
    with pytest.raises(ConfigError, match="another base"):
        student.apply(AutoModelForCausalLM.from_pretrained(tiny()[0]))
    shallow = AutoModelForCausalLM.from_pretrained(tiny()[1])
    shallow.model.layers = shallow.model.layers[:1]
    with pytest.raises(StoreError, match=r"no parameter model\.layers\.2"):
        student.apply(shallow)
    with pytest.raises(ConfigError, match="do not multiply"):
        LowRankEdit("w", torch.zeros(3, 2), torch.zeros(3, 3))


@pytest.mark.parametrize("harm", ["truncate", "alter", "remove", "manifest"])
def test_a_harmed_folder_is_noticed(harm, tiny, tmp_path):
    some_student(tiny()[1]).save(tmp_path)
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    if harm == "truncate":
        weights.write_bytes(data[:-1])
    elif harm == "alter":
        data[-1] ^= 1
        weights.write_bytes(data)
    elif harm == "remove":
        weights.unlink()
    else:
        (tmp_path / MANIFEST).write_text(json.dumps({"base": "x"}))
    with pytest.raises(StoreError, match=r"altered|missing|not a student's manifest"):
        load_student(tmp_path)


def test_a_folder_without_a_student_says_how_to_make_one(tmp_path):
    with pytest.raises(MissingDataError, match="pkt-eval transfer"):
        load_student(tmp_path)


def test_an_offloaded_weight_is_refused_rather_than_lost(tiny):
    student = some_student(tiny()[1])
    model = AutoModelForCausalLM.from_pretrained(tiny()[1]).to("meta")
    with pytest.raises(StoreError, match=r"offloaded.*pkt-eval transfer"):
        student.apply(model)


def test_a_student_of_the_first_layout_is_read(tiny, tmp_path):
    """Its manifest named the base by its path alone, and a provenance had no version."""
    student = some_student(tiny()[1])
    student.save(tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / MANIFEST).read_text())
    before = {"method": "lora", "student": "acme/small", "teacher": None, "seconds": None, "record": {"steps": 3}}
    manifest = {key: manifest[key] for key in ("chat_template", "files")} | {"base": "acme/small", "provenance": before}
    (tmp_path / "s" / MANIFEST).write_text(json.dumps(manifest))
    old = load_student(tmp_path / "s")
    assert old.base == ModelSource("acme/small") and old.weights_digest() == student.weights_digest()
    assert (old.provenance.version, old.provenance.method, old.record) == (1, "lora", {"steps": 3})


@pytest.mark.parametrize("field", ["chat_template", "record", "base"])
def test_a_manifest_that_was_altered_is_noticed(field, tiny, tmp_path):
    """A bit of the chat template would ask the student otherwise, and no file that is listed shows it."""
    some_student(tiny()[1]).save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest[field] = {"chat_template": "{{ 1 }}", "record": {"steps": 4}, "base": "acme/other"}[field]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="its checksum is another"):
        load_student(tmp_path)


@pytest.mark.parametrize("target", ["a folder", "a file", "nothing"])
def test_a_link_that_is_not_listed_is_no_part_of_a_student(target, tiny, tmp_path):
    some_student(tiny()[1]).save(tmp_path / "s")
    part = tmp_path / "s" / "adapter"
    check_listed(tmp_path / "s", part)
    there = tmp_path / "elsewhere"
    if target != "nothing":
        there.mkdir() if target == "a folder" else there.write_text("")
    (part / "additional_chat_templates").symlink_to(there)
    with pytest.raises(StoreError, match="additional_chat_templates is no part of this student"):
        check_listed(tmp_path / "s", part)
