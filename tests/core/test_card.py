"""A saved student's model card: the hub reads its metadata, and nothing depends on it."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from pkt_eval import load_student, make_recipe, make_student
from pkt_eval.models.card import model_card


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PKT_EVAL_STORE", str(store))
        options = dict(train_samples=4, extract_samples=2, align_samples=2, validation_samples=2, max_steps=1)
        return make_student(make_recipe(dict(method="lora", transfer_task="nano_gsm8k", **options)))


def test_the_hub_reads_it(student):
    made = replace(student.provenance, student="Qwen/Qwen2.5-0.5B")
    base = replace(student.base, path="Qwen/Qwen2.5-0.5B")
    card = ModelCard(model_card(base, made, adapter=True, merged=True))
    assert card.data.base_model == "Qwen/Qwen2.5-0.5B" and card.data.library_name == "peft"
    assert {"pkt-eval", "lora"} <= set(card.data.tags)
    assert made.fingerprint in card.text and "merged/" in card.text and "PeftModel" in card.text


def test_a_folder_of_somebodys_disk_is_not_named(student):
    text = model_card(student.base, student.provenance, adapter=True, merged=False)
    assert student.base.path not in text and ModelCard(text).data.base_model is None


def test_a_cell_cannot_break_out_of_its_table(student):
    made = replace(student.provenance, teacher="a|b<script>\nx", title="[x](http://a) \x1b[31m\r# y \u202e \ud800")
    text = model_card(student.base, made, adapter=False, merged=False)
    assert "| a\\|b\\<script\\> x |" in text
    assert "\n\\[x\\](http://a) \\[31m \\# y  ? (" in text
    assert text.encode("utf-8").isascii() or not set(text) & set("\x1b\r\u202e\ud800")


def test_its_reader_may_change_it(student, tmp_path):
    student.save(tmp_path / "s")
    card = tmp_path / "s" / "README.md"
    assert card.read_text().startswith("---\n")
    card.write_text("mine")
    assert load_student(tmp_path / "s").weights_digest() == student.weights_digest()
