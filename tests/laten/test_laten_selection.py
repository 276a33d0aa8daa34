"""What candidates answer: greedy generation, the scorers, and what is said of ends and circles; on the nano pair."""

import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval import nano
from pkt_eval.data.benchmarks import benchmarks
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import build_splits
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.inference.greedy import ending_tokens
from pkt_eval.inference.slots import decode
from pkt_eval.models import blocks
from pkt_eval.tune.selection import criterion, generate_answers, validation_items

SIZES = {"extract": 4, "align": 4, "train": 16, "validation": 24}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(nano.model_path("student"))


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(nano.model_path("teacher"), dtype=torch.float32).eval()


def data_of(task: str, chat="paper", max_length=512) -> TransferData:
    return TransferData(build_splits(task, sizes=SIZES), ChatFormat(chat), "answer", max_length, lambda _: None)


@pytest.fixture(scope="module")
def items(tokenizer):
    return validation_items(data_of("nano_gsm8k"), tokenizer)


def test_questions_are_those_of_the_records_and_leave_room_for_the_answer(items, tokenizer):
    data = data_of("nano_gsm8k")
    assert len(items) == 24 and len(validation_items(data, tokenizer, 5)) == 5
    for item, record in zip(items, data.splits.validation, strict=True):
        question, answer = (m["content"] for m in record["messages"])
        assert tokenizer.decode(item.prompt) == f"<|user|>\n{question}\n\n<|assistant|>\n"
        assert item.number == answer.rpartition("#### ")[2]
        assert item.limit == 96, "the task's: an answer in more words than the reference's is not wrong for that"
        assert not item.choices
    assert validation_items(data_of("nano_gsm8k", max_length=8), tokenizer) == []


def test_generation_is_that_of_transformers_and_batches_do_not_matter(model, items, tokenizer):
    """Against ``generate``, one at a time, without padding."""
    stop = ending_tokens(model, tokenizer.eos_token_id)
    limits = [item.limit for item in items[:8]]
    answers = decode(model, [item.prompt for item in items[:8]], slots=5, most=limits, stops=stop)
    together = {answer.prompt: answer.tokens for answer in answers}
    for i, item in enumerate(items[:8]):
        said = together[i]
        theirs = model.generate(
            torch.tensor([item.prompt]),
            attention_mask=torch.ones(1, len(item.prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=item.limit,
            eos_token_id=sorted(stop),
            pad_token_id=0,
        )
        assert said == theirs[0, len(item.prompt) :].tolist()


def test_a_good_model_is_right_and_ends_and_a_broken_one_does_neither(model, items, tokenizer):
    good = generate_answers(model, tokenizer, items)
    assert good.items == 24 and good.accuracy > 0.4 and good.ended > 0.9 and good.looped == 0
    head = model.get_output_embeddings()
    row = tokenizer.eos_token_id

    def silenced(_, __, out):
        out[..., row] = -torch.inf
        return out

    hook = head.register_forward_hook(silenced)
    try:
        endless = generate_answers(model, tokenizer, items)
    finally:
        hook.remove()
    assert endless.ended == 0
    broken = AutoModelForCausalLM.from_pretrained(nano.model_path("teacher"), dtype=torch.float32).eval()
    with torch.no_grad():
        for layer in range(blocks.dims(broken.config).layers):
            broken.get_parameter(blocks.weight_name("o", layer)).zero_()
    bad = generate_answers(broken, tokenizer, items)
    assert bad.accuracy < good.accuracy / 2 and (bad.ended < 1 or bad.accuracy == 0)
    assert generate_answers(model, tokenizer, []) is None


def test_letters_are_compared_by_likelihood(model, tokenizer):
    data = data_of("nano_mmlu")
    items = validation_items(data, tokenizer)
    told = generate_answers(model, tokenizer, items)
    right, records = 0, data.splits.validation
    for item, record in zip(items, records, strict=True):
        reference = record["messages"][-1]["content"]
        assert {tokenizer.decode([c]).strip() for c in item.choices} == set("ABCD")
        assert reference.endswith(tokenizer.decode([item.choices[0]]).strip())
        with torch.no_grad():
            logits = model(torch.tensor([item.stem])).logits[0, -1]
        best = max("ABCD", key=lambda letter: logits[tokenizer.encode(f" {letter}", add_special_tokens=False)[-1]])
        right += reference.endswith(best)
    assert told.accuracy == right / len(items) > 0.25


def test_programs_are_not_run_and_their_ends_are_told(model, tokenizer, monkeypatch):
    monkeypatch.setattr("pkt_eval.code.judge_many", lambda *a, **k: pytest.fail("a program was run"), raising=False)
    told = generate_answers(model, tokenizer, validation_items(data_of("nano_mbpp"), tokenizer, 4))
    assert told.accuracy is None and 0 <= told.ended <= 1 and told.items == 4


def test_what_chooses_is_the_score_where_a_number_is_the_answer():
    by = {row.name: criterion(row.name, None)[0] for row in benchmarks()}
    assert by["gsm8k"] == by["nano_gsm8k"] == "score" and by["mmlu"] == by["mbpp"] == by["nano_humaneval"] == "loss"
    assert criterion("mmlu", "score") == ("score", "") and criterion("gsm8k", "loss") == ("loss", "")
    chosen, why = criterion("mbpp", "score")
    assert chosen == "loss" and "programs" in why and criterion("mbpp", "loss") == ("loss", "")


def test_answers_are_plain_data(model, items, tokenizer):
    assert set(dataclasses.asdict(generate_answers(model, tokenizer, items[:2]))) == {
        "accuracy",
        "ended",
        "looped",
        "items",
    }
