"""What a student forgets: the measure is the plain one, and every evaluation has it, of the student with its edits."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval.lm.generic_text import GenericText, generic_entropy, generic_text
from pkt_eval.model_wrappers.student import PKTStudent
from pkt_eval.models.edits import DenseEdit
from pkt_eval.models.student import Student
from pkt_eval.nano import model_path


@pytest.fixture(scope="module")
def lm():
    return PKTStudent(method="vanilla", batch_size=1)


def test_it_is_the_mean_of_the_tokens_own_log_probabilities():
    model = AutoModelForCausalLM.from_pretrained(model_path("student")).double().train()
    tokenizer = AutoTokenizer.from_pretrained(model_path("student"))
    text = GenericText("", generic_text(model_path("student")).documents[:3])
    values = []
    with torch.no_grad():
        for document in text.documents:
            ids = tokenizer(document)["input_ids"]
            for i in range(1, len(ids)):  # each token by itself, from what stands before it
                values.append(-model(torch.tensor([ids[:i]])).logits[0, -1].log_softmax(-1)[ids[i]].item())
    found = generic_entropy(model, tokenizer, text)
    # Logits are rounded to float32, of which the mean keeps six digits.
    assert found["cross_entropy"] == pytest.approx(sum(values) / len(values), rel=1e-6)
    assert found["tokens"] == len(values) and model.training


def test_an_evaluation_says_it_of_the_student_with_its_edits(lm):
    base = lm.get_model_info()["pkt_generic"]
    assert base == generic_entropy(lm.model, lm.tokenizer, generic_text(lm.source.path))
    assert base["text"] == "nano" and 0 < base["cross_entropy"] < 3
    # Of a model that gives every token the same chance, it is the logarithm of how many there are.
    head = lm.model.get_output_embeddings().weight
    edit = DenseEdit("lm_head.weight", -head.detach().clone())
    before = lm.student
    lm.become(Student(base=lm.source, edits=(edit,)))
    flat = lm.get_model_info()["pkt_generic"]["cross_entropy"]
    lm.become(before)
    assert flat == pytest.approx(torch.tensor(float(len(head))).log().item(), rel=1e-5)
    assert lm.get_model_info()["pkt_generic"] == base


def test_the_english_text_is_as_it_was_committed():
    text = generic_text("somebody/model")
    assert len(text.documents) == 8 and text.name == "english"
    assert text.digest.startswith("71c9cf231ac9646f")
