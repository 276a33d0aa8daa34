"""What a transfer says at its end: words, not dicts, and no wider than a terminal."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from pkt_eval._util.console import console
from pkt_eval.models.provenance import Provenance
from pkt_eval.transfer.summary import show, summary_rows

MADE = Provenance(
    method="lora",
    title="LoRA fine-tuning",
    transfer_task="gsm8k",
    seed=3,
    fingerprint="ab" * 32,
    weights_digest="cd" * 32,
    split_sizes={"extract": 32, "train": 1000},
    seconds={"finetune": 120.0, "validation": 6.25},
    record={
        "training": {
            "learning_rate": 3e-4,
            "steps": 80,
            "tried": [
                {"learning_rate": 3e-5, "validation_loss": [1.5, 1.25], "train_loss": []},
                {"learning_rate": 3e-4, "validation_loss": [1.5, 1.0], "train_loss": []},
            ],
        }
    },
)


def test_it_is_said_in_words():
    said = dict(summary_rows(MADE))
    assert said["records"] == "extract 32, train 1,000" and said["transferred"] == "gsm8k, seed 3"
    assert said["time"] == "2 min: finetune 2 min, validation 6.2 s"
    losses = [value for name, value in summary_rows(MADE) if name == "validation loss"]
    assert losses == [
        "1.5000 → 1.2500 in 80 steps at the rate 3e-05",
        "1.5000 → 1.0000 in 80 steps at the rate 0.0003, which was chosen",
    ]
    assert not any("{" in value for _, value in summary_rows(MADE))


def test_a_search_of_rates_is_said():
    curve = [
        {"learning_rate": 1e-4, "validation_loss": 1.5, "answers": {"accuracy": 0.25}},
        {"learning_rate": 3e-4, "validation_loss": 1.25},
        {"learning_rate": 1e-3, "validation_loss": None, "diverged": True},
    ]
    training = {**MADE.record["training"], "search": {"curve": curve}}
    said = [value for name, value in summary_rows(replace(MADE, record={"training": training})) if name == "search"]
    assert said == [
        "rate 0.0001: 25.0% right, validation loss 1.5000",
        "rate 0.0003: validation loss 1.2500, which was chosen",
        "rate 0.001: diverged",
    ]


def test_what_learns_nothing_says_its_name():
    assert list(summary_rows(Provenance(method="vanilla", title="Student base"))) == [
        ("method", "vanilla: Student base")
    ]


@pytest.mark.parametrize("out", ["out", "a/" * 60])
def test_it_fits_a_terminal_and_a_path_is_not_cut(out):
    file = StringIO()
    show(MADE, Path(out), console(file, width=80))
    table, _, told = file.getvalue().partition("\nWritten to")
    assert max(map(len, table.splitlines())) <= 80
    assert f"student={Path(out)} --tasks" in told and f"pretrained={Path(out)}/merged --tasks" in told
