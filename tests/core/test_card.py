"""A saved student's model card: the hub reads its metadata, and nothing depends on it."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from pkt_eval import load_student, make_recipe, make_student
from pkt_eval.models.card import CardDifference, CardResult, model_card, save_card


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


EVALUATED = [
    CardResult(
        "gsm8k",
        "GSM8K",
        "openai/gsm8k",
        "main",
        "exact_match",
        0.4215,
        0.37,
        0.47,
        400,
        {"vanilla": CardDifference("vanilla", 0.03, -0.012, 0.071, 400)},
    ),
    CardResult(
        "nano_mmlu",
        "nano MMLU",
        "nano_mmlu",
        None,
        "acc",
        0.5,
        None,
        None,
        20,
        {"control": CardDifference("a|b", -0.0001, -0.2, 0.2, 18)},
    ),
]


def test_its_results_are_what_the_hub_reads(student):
    base = replace(student.base, path="Qwen/Qwen2.5-0.5B")
    card = ModelCard(model_card(base, student.provenance, adapter=True, merged=True, evaluated=EVALUATED))
    assert card.data.base_model_relation == "adapter"
    # As the hub's client builds it, and back.
    index = eval_results_to_model_index(card.data.model_name, card.data.eval_results)
    name, found = model_index_to_eval_results(index)
    assert name == "Qwen/Qwen2.5-0.5B, lora" and found == card.data.eval_results
    assert [(each.dataset_type, each.dataset_config, each.metric_type, each.metric_value) for each in found] == [
        ("openai/gsm8k", "main", "exact_match", 42.15),
        ("nano_mmlu", None, "accuracy", 50.0),
    ]
    assert "| gsm8k | 400 | 42.1 \\[37.0, 47.0\\] | +3.0 \\[−1.2, +7.1\\] | – |" in card.text
    assert "| – | 0.0 \\[−20.0, +20.0\\] to a\\|b on 18 |" in card.text


def test_without_results_there_is_no_index_of_any(student):
    text = model_card(student.base, student.provenance, adapter=True, merged=False)
    assert "model-index" not in text and "## Evaluation" not in text


def test_it_is_written_anew_of_what_lies_in_the_folder(student, tmp_path):
    student.save(tmp_path / "s")
    before = (tmp_path / "s" / "README.md").read_text()
    save_card(tmp_path / "s", student.base, student.provenance)
    assert (tmp_path / "s" / "README.md").read_text() == before and "library_name: peft" in before
    save_card(tmp_path / "s", student.base, student.provenance, EVALUATED)
    assert len(ModelCard.load(tmp_path / "s" / "README.md").data.eval_results) == 2
    assert load_student(tmp_path / "s").weights_digest() == student.weights_digest()
