"""How many texts are computed at a time where nobody says."""

import itertools
import json
import logging
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval import nano
from pkt_eval._util.folders import store_root
from pkt_eval.inference import budget
from pkt_eval.inference.budget import RowBudget, bytes_of_token, free_memory, row_budget


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(nano.model_path("student"), dtype=torch.float32).eval()


@pytest.fixture
def steps(monkeypatch):
    """Rows → seconds of a step on a machine whose arithmetic is the limit from 40 rows on; and what was tried."""
    tried = []

    def step(model, rows):
        tried.append(rows)
        return max(1.0, rows / 40)

    monkeypatch.setattr(budget, "_step", step)
    monkeypatch.setattr(budget.time, "perf_counter", itertools.count(step=0.1).__next__)
    return tried


def test_rows_are_as_many_as_gain_speed(model, steps):
    assert row_budget(model).rows == 64, "twice as many take twice the time"
    assert max(steps) == 128


def test_what_memory_does_not_hold_is_not_tried(model, steps, monkeypatch):
    held = 20 * 64 * bytes_of_token(model)
    monkeypatch.setattr(budget, "free_memory", lambda device: 2 * held)
    assert row_budget(model) == RowBudget(16, held) and max(steps) == 16


def test_a_slow_model_is_not_measured_for_long(model, steps, monkeypatch):
    monkeypatch.setattr(budget.time, "perf_counter", itertools.count(step=10).__next__)
    assert row_budget(model).rows == 8


def test_it_is_remembered_and_measured_anew_where_it_is_damaged(model, steps, caplog):
    first = row_budget(model)
    del steps[:]
    assert row_budget(model) == first and not steps
    (path,) = (store_root() / "budgets").iterdir()
    assert json.loads(path.read_text())["threads"] == torch.get_num_threads()
    path.write_text("{")
    with caplog.at_level(logging.WARNING):
        row_budget(model)  # of what it is this time: other work on the machine counts
    assert steps and row_budget(model).rows >= 1
    assert "damaged" in caplog.text


def test_longer_texts_are_fewer():
    assert [RowBudget(64, 10_000).of_texts(tokens, 10) for tokens in (1, 20, 100, 5000)] == [64, 50, 10, 1]


def test_a_cache_takes_so_many_bytes(model):
    found = model(torch.zeros(1, 10, dtype=torch.long), use_cache=True).past_key_values
    bytes_of_ten = sum(t.numel() * t.itemsize for layer in found.layers for t in (layer.keys, layer.values))
    assert 10 * bytes_of_token(model) == 2 * bytes_of_ten


def test_memory_is_what_the_machine_says():
    physical = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert 0 < free_memory(torch.device("cpu")) < int(physical.split()[1]) * 1024
