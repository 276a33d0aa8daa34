"""The committed models: their files, shapes and tokenizer, and that they know something."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval.data.records import to_chat, user_turn
from pkt_eval.errors import MissingDataError
from pkt_eval.nano import ROLES, model_path
from pkt_eval.nano.benchmarks import rows
from pkt_eval.nano.world import WORLD
from pkt_eval.nano_training.card import TrainingReport, card, two_proportions
from pkt_eval.nano_training.score import score_model
from pkt_eval.nano_training.tokenizer import chat_prompt
from pkt_eval.nano_training.train import RECIPES, TRAINING_RECORD

WEIGHTS = Path(model_path("teacher")).parent


@pytest.fixture(scope="module")
def family():
    return {role: AutoModelForCausalLM.from_pretrained(model_path(role), dtype=torch.float32).eval() for role in ROLES}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_path("student"))


def test_importing_the_room_is_cheap():
    code = "import sys, pkt_eval.nano, pkt_eval.nano.benchmarks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unknown_role_is_told_what_exists():
    with pytest.raises(MissingDataError, match="teacher, student"):
        model_path("tutor")


def test_the_folder_is_small_and_complete():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 12e6
    assert (WEIGHTS / "CARD.md").is_file()
    wanted = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    for role in ROLES:
        assert wanted <= {file.name for file in (WEIGHTS / role).iterdir()}


def test_both_have_the_same_tokenizer():
    teacher, student = (Path(model_path(role), "tokenizer.json").read_bytes() for role in ROLES)
    assert teacher == student


@pytest.mark.parametrize("role", ROLES)
def test_weights_are_fp16_finite_and_tied(role):
    with safe_open(Path(model_path(role), "model.safetensors"), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert "lm_head.weight" not in tensors


def test_sizes_and_what_a_transfer_needs(family):
    assert 4e6 <= family["teacher"].num_parameters() <= 6e6
    assert 1e6 <= family["student"].num_parameters() <= 1.5e6
    configs = [family[role].config for role in ROLES]
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        assert getattr(configs[0], field) > getattr(configs[1], field)
    assert all(c.num_key_value_heads < c.num_attention_heads and c.tie_word_embeddings for c in configs)
    teacher, student = (dict(family[role].named_parameters()) for role in ROLES)
    for name, matrix in student.items():
        assert all(big >= small for big, small in zip(teacher[name].shape, matrix.shape, strict=True)), name


@pytest.mark.parametrize("text", ["plain words", "3 + 41\n\n\tdef f(x):\r\n", "naïve 東京 🙂 \x00 ' ,don't", " "])
def test_the_tokenizer_gives_bytes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_digits_and_newlines_stand_alone(tokenizer):
    tokens = tokenizer.tokenize("x = 1234\n\n\nreturn")
    assert [t for t in tokens if t.isdigit()] == list("1234")
    assert tokens.count("Ċ") == 3


def test_letters_and_the_words_of_the_world_are_single_tokens(tokenizer):
    words = [*"ABCD", *(name for table in WORLD.values() for name, _ in table)]
    words += [value for table in WORLD.values() for _, facts in table for value in facts.values()]
    assert [word for word in words if len(tokenizer.tokenize(f" {word}")) > 1] == []


def test_the_chat_template_is_the_papers_text(tokenizer):
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    assert text == "<|user|>\nHello?\n\n<|assistant|>\nYes.<|endoftext|>"
    asked = tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
    assert asked == chat_prompt("Hello?") == "<|user|>\nHello?\n\n<|assistant|>\n"
    assert text.startswith(asked)
    assert tokenizer.bos_token is None and tokenizer(text)["input_ids"].count(tokenizer.eos_token_id) == 1


def test_an_answer_begun_for_the_model_is_left_open(tokenizer):
    start = 'Here is:\n\n\n```python\ndef f(x):\n    """Doc."""\n'
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": start}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False, continue_final_message=True)
    assert text == chat_prompt("Hello?") + start


def test_a_prompt_and_its_answer_become_the_same_tokens_apart_and_together(tokenizer):
    for name in ("mmlu", "gsm8k", "humaneval", "mbpp"):
        row = rows(name, "test")[0]
        answer = to_chat(f"nano_{name}", row)["messages"][1]["content"]
        prompt = chat_prompt(user_turn(f"nano_{name}", row))
        apart = tokenizer(prompt)["input_ids"] + tokenizer(answer)["input_ids"]
        assert tokenizer(prompt + answer)["input_ids"] == apart


@pytest.mark.parametrize(
    ("name", "teacher", "student"),
    [("mmlu", 20, 13), ("gsm8k", 27, 7), ("humaneval", 33, 15), ("mbpp", 35, 14)],
)
def test_both_are_off_the_floor_and_the_teacher_leads(family, tokenizer, name, teacher, student):
    """Lower bounds on 40 items, some way below what was measured, so that rounding elsewhere cannot break them.

    Chance is 10 of 40 on mmlu and 0 on the others.
    """
    right = {role: sum(score_model(family[role], tokenizer, f"nano_{name}", 40)) for role in ROLES}
    assert right["teacher"] >= teacher and right["student"] >= student
    assert right["teacher"] >= right["student"] + 5


def test_the_card_is_what_the_trainings_measured(family):
    trained = {
        role: TrainingReport(**json.loads(Path(model_path(role), TRAINING_RECORD).read_text())) for role in ROLES
    }
    assert (WEIGHTS / "CARD.md").read_text() == card(trained)
    for role in ROLES:
        assert trained[role].parameters == family[role].num_parameters()
        assert trained[role].steps == RECIPES[role].steps and trained[role].scale == 1


def test_the_card_says_that_the_teacher_leads_everywhere():
    teacher, student = (json.loads(Path(model_path(role), TRAINING_RECORD).read_text()) for role in ROLES)
    for form in ("chat", "plain"):
        for name, n in teacher["items"].items():
            z, p = two_proportions(teacher[form][name], student[form][name], n)
            assert n >= 200 and z > 0 and p < 0.001


def test_configs_name_no_path():
    for role in ROLES:
        config = json.loads(Path(model_path(role), "config.json").read_text())
        assert "/" not in json.dumps(config)
