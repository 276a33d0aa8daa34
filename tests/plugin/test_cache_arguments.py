"""Arguments of ``hf`` that change the model change the key of its answers and its record; a token changes neither."""

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

import pkt_eval.tasks
from pkt_eval import nano
from pkt_eval.model_wrappers import hf_arguments
from pkt_eval.report.records.students import student_of
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student


@pytest.fixture
def adapter(small, tmp_path) -> str:
    """A LoRA of the embedded student, far enough from it to answer otherwise."""
    recipe = make_recipe({"method": "lora", **small, "learning_rate": 1e-2, "max_steps": 8})
    make_student(recipe).save(tmp_path / "lora")
    return str(tmp_path / "lora" / "adapter")


def test_an_adapter_on_vanilla_has_answers_and_a_name_of_its_own(adapter, tmp_path):
    """Both runs have one cache; the second must neither read what the first wrote nor be called as it is."""

    def run(cached, **arguments):
        return lm_eval.simple_evaluate(
            model="pkt_vanilla",
            model_args={"pretrained": nano.model_path("student"), **arguments},
            tasks=["nano_gsm8k"],
            limit=4,
            batch_size=4,
            device="cpu",
            apply_chat_template=True,
            bootstrap_iters=0,
            gen_kwargs="max_gen_toks=12",
            use_cache=str(tmp_path / "answers") if cached else None,
            task_manager=TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False),
        )

    def answers(results):
        return [sample["resps"][0][0] for sample in results["samples"]["nano_gsm8k"]]

    plain, cached, true = run(True), run(True, peft=adapter), run(False, peft=adapter)
    assert answers(cached) == answers(true) != answers(plain)
    assert student_of(plain["config"]).label == "vanilla"
    assert student_of(cached["config"]).label == "vanilla (peft=lora)"
    assert student_of(cached["config"]).identity == student_of(true["config"]).identity


def test_a_token_is_written_nowhere_and_changes_no_key():
    plain = {"peft": "somewhere", "load_in_4bit": True, "eos_token": "<end>"}
    assert hf_arguments.telling({**plain, "token": "abc", "hub_token": "def"}) == plain


def test_a_folder_whose_name_looks_like_a_token_and_a_length_count():
    told = {"peft": "hf_" + "x" * 30, "subfolder": "sk-lora-of-gsm8k-and-mmlu", "max_length": 64, "truncation": True}
    assert hf_arguments.telling(told) == told
