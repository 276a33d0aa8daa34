"""Answers that leave their batch when they have ended are those that ``hf`` writes, at less work."""

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from pkt_eval import nano
from pkt_eval.data.records import user_turn
from pkt_eval.data.sources import load_rows
from pkt_eval.errors import ConfigError
from pkt_eval.model_wrappers.generate import applies
from pkt_eval.model_wrappers.student import PKTStudent


def requests(lm, stop=(), most=64, **options):
    """Prompts of very different length, whose answers are so, too."""
    rows = [
        (task, row) for task in ("nano_gsm8k", "nano_mbpp", "nano_humaneval") for row in load_rows(task, "test")[:7]
    ]
    prompts = [lm.apply_chat_template([{"role": "user", "content": user_turn(task, row)}]) for task, row in rows]
    asked = {"until": list(stop), "max_gen_toks": most, "do_sample": False, **options}
    return [
        Instance("generate_until", {}, (prompt, dict(asked)), 0, task_name="t", doc_id=i, repeats=1)
        for i, prompt in enumerate(prompts)
    ]


@pytest.fixture(scope="module")
def both():
    """``hf`` and ours on the nano student."""
    made = [
        cls(pretrained=nano.model_path("student"), device="cpu", batch_size=8, dtype="float32")
        for cls in (HFLM, PKTStudent)
    ]
    made[0].tokenizer.chat_template = made[1].tokenizer.chat_template
    return made


@pytest.fixture
def work(both, monkeypatch):
    """Tokens that each of both models computed, prompts included."""
    done = [0, 0]

    def counted(i, forward):
        def call(*args, **kwargs):
            done[i] += kwargs["input_ids"].numel()
            return forward(*args, **kwargs)

        call.__signature__ = __import__("inspect").signature(forward)
        return call

    for i, lm in enumerate(both):
        monkeypatch.setattr(lm.model, "forward", counted(i, lm.model.forward))
    return done


@pytest.mark.parametrize("stop", [(), ("\n",), (" is", "return", "zzz")])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_answers_are_those_of_hf(both, work, monkeypatch, stop, penalty):
    for lm in both:
        monkeypatch.setattr(lm.model.generation_config, "repetition_penalty", penalty)
    theirs, ours = (lm.generate_until(requests(lm, stop), disable_tqdm=True) for lm in both)
    assert ours == theirs
    assert len(set(map(len, ours))) > 3
    assert work[1] < work[0]


def test_prompts_of_one_length_have_no_mask(both, work):
    theirs, ours = (lm.generate_until(requests(lm)[:1] * 3, disable_tqdm=True) for lm in both)
    assert ours == theirs and len(set(ours)) == 1


def test_a_batch_costs_what_is_written(both, work):
    """Every step computes the rows that are still being written, and no other."""
    _, lm = both
    asked = requests(lm, most=40)[:8]
    answers = lm.generate_until(asked, disable_tqdm=True)
    lengths = [min(40, len(lm.tok_encode(answer, add_special_tokens=False)) + 1) for answer in answers]
    prompts = max(len(lm.tok_encode(request.args[0])) for request in asked)
    assert abs(work[1] - (8 * prompts + sum(lengths) - 8)) <= 8  # encoding a text again may take another token


def test_sampling_is_left_to_transformers(both, work):
    answers = []
    for lm in both:
        torch.manual_seed(0)
        asked = requests(lm, do_sample=True, temperature=1.0)
        answers.append(lm.generate_until(asked, disable_tqdm=True))
    assert answers[0] == answers[1] and work[0] == work[1]


@pytest.mark.parametrize("name", ["num_beams", "num_return_sequences"])
def test_a_checkpoint_that_asks_for_beams_is_left_to_transformers(both, monkeypatch, name):
    model = both[1].model
    assert applies(model, {"do_sample": False})
    monkeypatch.setattr(model.generation_config, name, 4)
    assert not applies(model, {"do_sample": False})
    assert applies(model, {"do_sample": False, name: 1})  # what is asked for goes before what the checkpoint says


def test_a_checkpoints_own_length_counts_as_with_hf(both, monkeypatch):
    for lm in both:
        monkeypatch.setattr(lm.model.generation_config, "max_new_tokens", 3)
    theirs, ours = (lm.generate_until(requests(lm)[:5], disable_tqdm=True) for lm in both)
    assert ours == theirs
    assert max(len(both[1].tok_encode(answer)) for answer in ours) <= 3


@pytest.mark.parametrize(
    "config",
    [
        {"num_beams": 4, "num_return_sequences": 2},
        {"num_return_sequences": 3},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
        {"stop_strings": ["1"]},
        {"num_beams": "two"},
    ],
    ids=lambda config: next(iter(config)),
)
def test_what_hf_cannot_generate_is_one_line(both, monkeypatch, config):
    for name, value in config.items():
        monkeypatch.setattr(both[1].model.generation_config, name, value)
    with pytest.raises(ConfigError, match=r"generation_config\.json"):
        both[1].generate_until(requests(both[1], most=4)[:2], disable_tqdm=True)
