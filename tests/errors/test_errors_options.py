"""Options of a recipe and its method: from Python, by the command and by the wrapper."""

from pathlib import Path

import pytest
from bounded import refused

from pkt_eval.transfer.recipe import make_recipe

LORA = {"method": "lora", "transfer_task": "nano_gsm8k"}
OPTIONS = {
    "rank": ["0", "-1", "1e300", "x", "nan", "1000000000", "4096"],
    "alpha": ["0", "nan", "inf", "-1"],
    "learning_rate": ["nan", "inf", "0", "-1e-3", "1e-4+nan", "fast", "1e300", ""],
    "epochs": ["inf", "1e300", "nan", "-1", "many"],
    "max_steps": ["-2", "1e30", "half"],
    "seed": ["-1", "x", "1e30", "1.5", "99999999999999999999"],
    "train_batch_size": ["0", "-1", "1e10"],
    "micro_batch_size": ["0", "1000000000000"],
    "warmup_ratio": ["1", "nan", "-0.1"],
    "modules": ["", "up+up", "all", "up+"],
    "transfer_dtype": ["float13", "float16"],
    "transfer_max_length": ["7", "1e30", "inf"],
    "chat_format": ["html"],
    "loss_on": ["question"],
    "train_samples": ["0", "-5", "²", "inf"],
    "method": ["lorra", "", "../lora", "☃"],
    "transfer_task": ["gsm9k", "", "☃"],
    "trust_remote_code": ["perhaps"],
    "splits": ["nowhere"],
    "revision": [""],
    "lerning_rate": ["1e-4"],
}
WRONG_OPTIONS = [(name, value) for name, values in OPTIONS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS)
def test_a_wrong_option_of_the_command(name, value, refuses):
    words = [f"{k}={v}" for k, v in {**LORA, name: value}.items()]
    refuses(["transfer", *words, "--out", "out"], name.replace("lerning", "learning"))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("name", "value"), [w for w in WRONG_OPTIONS if w not in {("rank", "4096"), ("splits", "nowhere")}]
)
def test_a_wrong_option_from_python(name, value):
    refused(lambda: make_recipe({**LORA, name: value}), name if name != "lerning_rate" else "learning_rate")


@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS)
def test_a_wrong_option_of_the_wrapper(name, value):
    from pkt_eval.model_wrappers.student import PKTStudent

    refused(lambda: PKTStudent(**{**LORA, name: value, "device": "cpu"}), name.replace("lerning", "learning"))
