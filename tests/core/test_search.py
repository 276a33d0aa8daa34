"""``learning_rate=auto``: what it tries, by what it chooses, and what it never sees."""

from itertools import pairwise

import pytest

from pkt_eval._util.options import rate_grid
from pkt_eval._util.progress import Progress
from pkt_eval.data import decontaminate, sources, splits
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError
from pkt_eval.suite.plan import cells
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer, make_student
from pkt_eval.tune import search
from pkt_eval.tune.selection import Answers, merit


@pytest.fixture
def words(tiny, small) -> dict:
    _, base = tiny()
    return {**small, "pretrained": base, "method": "lora", "transfer_task": "nano_mmlu", "learning_rate": "auto"}


def searched(words, store):
    return make_student(make_recipe(words), store=store, progress=Progress(enabled=False)).provenance.record["training"]


def test_auto_is_recorded_and_never_looks_at_a_test_item(words, tmp_path, monkeypatch):
    transfer = Transfer(make_recipe({**words, "max_steps": 10}), store=Store(tmp_path))
    assert transfer.splits  # which leave out what the test set has, and so have read it

    def never(*_, **__):
        raise AssertionError("rows are read")

    for module in (splits, sources, decontaminate):
        monkeypatch.setattr(module, "load_rows", never)
    training = transfer.make(Progress(enabled=False)).provenance.record["training"]
    monkeypatch.undo()
    curve = training["search"]["curve"]
    rates = [of_rate["learning_rate"] for of_rate in curve]
    assert len(rates) >= 4 and set(rate_grid(3e-4)) <= set(rates)
    assert all(b == pytest.approx(a * 10**0.5, rel=1e-3) for a, b in pairwise(rates))
    # A fifth of ten steps; then all of them, once more from the start, at the best.
    assert {of_rate["steps"] for of_rate in curve} == {2} and training["steps"] == 10
    best = max(curve, key=merit)
    assert training["learning_rate"] == training["search"]["learning_rate"] == best["learning_rate"]
    assert training["select_by"] == "score" and all(0 <= of_rate["answers"]["accuracy"] <= 1 for of_rate in curve)
    plain = searched({**words, "max_steps": 10, "learning_rate": best["learning_rate"]}, Store(tmp_path))
    assert training["tried"] == plain["tried"]


@pytest.mark.parametrize(
    ("scores", "tried", "chosen"),
    [
        ({3e-4: 0.5}, 4, 3e-4),
        ({3e-3: 0.5, 9.487e-3: 0.75, 3e-2: 0.5}, 6, 9.487e-3),  # beyond the last, and one more to be sure
        ({9.487e-5: 0.5, 3e-5: 0.5}, 6, 3e-5),
        ({3e-3: 0.25, 9.487e-3: 0.5, 3e-2: 0.75}, 6, 3e-2),  # two beyond, and no further
    ],
)
def test_the_score_chooses_and_the_search_goes_on_beyond_an_end_that_does_best(
    words, tmp_path, monkeypatch, scores, tried, chosen
):
    at = []
    monkeypatch.setattr(search, "train", lambda model, e, training, *a: at.append(training.learning_rate) or [1.0])
    monkeypatch.setattr(search, "validation_loss", lambda *_: 1.0)

    def answers(*_):
        near = [score for rate, score in scores.items() if at[-1] == pytest.approx(rate, rel=1e-3)]
        return Answers(near[0] if near else 0.1, 1.0, 0.0, 4)

    monkeypatch.setattr(search, "generate_answers", answers)
    found = searched(words, Store(tmp_path))["search"]
    assert found["learning_rate"] == pytest.approx(chosen, rel=1e-3)
    rates = [of_rate["learning_rate"] for of_rate in found["curve"]]
    assert len(rates) <= tried and rates == sorted(rates) and len(at) == len(rates) + 1
    assert found["at_the_edge"] == (chosen == 3e-2)


def test_an_interrupted_search_goes_on(words, tmp_path, monkeypatch):
    expected = searched(words, Store(tmp_path / "a"))
    train, done = search.train, []

    def counted(*arguments):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(search, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        searched(words, Store(tmp_path / "b"))
    assert searched(words, Store(tmp_path / "b")) == expected
    # Two rates were known: the others, and the whole training.
    assert len(done) == 3 + len(expected["search"]["curve"]) - 2 + 1


def test_auto_needs_a_validation_split(words, monkeypatch):
    examples = TransferData.examples
    none = lambda self, tokenizer, split, **k: [] if split == "validation" else examples(self, tokenizer, split, **k)  # noqa: E731
    monkeypatch.setattr(TransferData, "examples", none)
    with pytest.raises(ConfigError, match="need a validation split"):
        searched(words, None)


def test_a_tuned_suite_searches_for_every_method_that_trains():
    rows = ["vanilla", "fewshot", "lora", "full", "seeking", "semalign", "laten", "theseus", "gkd"]
    rows.append({"method": "lora", "name": "mine", "learning_rate": 1e-3})
    suite = Suite(benchmarks=["nano_gsm8k"], methods=rows, tuned=True)
    rates = {c.learner.entry: c.learner.recipe.options.get("learning_rate") for c in cells(suite)}
    assert rates == dict.fromkeys(["vanilla", "fewshot"]) | dict.fromkeys(rows[2:-1], "auto") | {"mine": 1e-3}
    with pytest.raises(ValueError, match="leave it out of options"):
        Suite(benchmarks=["nano_gsm8k"], methods=["lora"], tuned=True, options={"learning_rate": 1e-3})
