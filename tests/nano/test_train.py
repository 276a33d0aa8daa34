"""The recipe: it runs, repeats itself, and never leaves half a family."""

import math
from itertools import islice

import pytest
import torch
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from pkt_eval.nano import ROLES
from pkt_eval.nano_training import corpus, models, score, tokenizer, train
from pkt_eval.nano_training.card import two_proportions


@pytest.fixture(scope="module")
def vocabulary():
    return tokenizer.train_tokenizer((d.prompt + d.answer for d in islice(corpus.documents(0), 500)), 600)


@pytest.fixture
def short(monkeypatch):
    """Less of what takes time in a smoke run and is not what these tests are about."""
    monkeypatch.setattr(train, "TOKENIZER_DOCUMENTS", 1000)
    for name in score.NEW_TOKENS:
        monkeypatch.setitem(score.NEW_TOKENS, name, 4)


def test_smoke_writes_a_family_that_loads(tmp_path, short):
    out = tmp_path / "family"
    (out / "teacher").mkdir(parents=True)
    (out / "teacher" / "old").touch()
    assert train.main(["--smoke", "--threads", "1", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["CARD.md", "student", "teacher"]
    assert not (out / "teacher" / "old").exists()
    for role in ROLES:
        model = AutoModelForCausalLM.from_pretrained(out / role, dtype=torch.float32)
        ids = AutoTokenizer.from_pretrained(out / role)("What is", return_tensors="pt")
        assert model(**ids).logits.isfinite().all()


def test_an_interrupt_leaves_everything_as_it_was(tmp_path, monkeypatch, short):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "old").touch()
    monkeypatch.setattr(train, "score_all", interrupt)  # the draft is already on disk by then
    arguments = ["--smoke", "--threads", "1", "--role", "student", "--out", str(tmp_path)]
    assert train.main(arguments) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert [path.name for path in (tmp_path / "student").iterdir()] == ["old"]


def test_a_wrong_scale_is_a_friendly_error(tmp_path, capsys):
    assert train.main(["--scale", "0", "--out", str(tmp_path / "family")]) == 2
    assert "scale=0.0 is not between" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(vocabulary):
    first, again, other = (next(corpus.batches(vocabulary, seed, 2)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_rows_begin_with_a_document_and_weigh_nothing_on_padding(vocabulary):
    ids, _, weights = next(corpus.batches(vocabulary, 0, 8))
    assert ids.shape == weights.shape == (8, corpus.ROW)
    assert torch.equal(weights == 0, ids == vocabulary.pad_token_id)
    assert (weights > 0).float().mean() > 0.85
    starts = vocabulary.batch_decode(ids[:, :1])
    assert not any(start.startswith((" ", tokenizer.ASSISTANT)) for start in starts)
    assert (weights[ids == vocabulary.eos_token_id] >= 1).all(), "an answer's end weighs as the answer does"


def test_a_fifth_of_the_benchmark_documents_is_plain():
    asked = [d for d in islice(corpus.documents(0), 3000) if d.prompt and d.weight != corpus.POINTING_WEIGHT]
    plain = [d for d in asked if tokenizer.USER not in d.prompt]
    assert 0.16 < len(plain) / len(asked) < 0.24


def test_positions_restart_with_each_document(vocabulary):
    batch = next(corpus.batches(vocabulary, 0, 4))
    for ids, positions in zip(batch.ids, batch.positions, strict=True):
        ends = (ids == vocabulary.eos_token_id).nonzero().flatten()
        assert (positions[ends[ends < corpus.ROW - 1] + 1] == 0).all()
        steps = positions[1:] - positions[:-1]
        assert ((steps == 1) | (positions[1:] == 0)).all() and positions[0] == 0


def test_a_document_is_read_as_if_it_stood_alone(vocabulary):
    model = LlamaForCausalLM(models.config("student", vocabulary)).train()
    batch = next(corpus.batches(vocabulary, 0, 1))
    start, end = (batch.positions[0] == 0).nonzero().flatten()[1:3]
    packed = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits[0, start:end]
    alone = model(input_ids=batch.ids[:, start:end]).logits[0]
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_weights(vocabulary):
    def trained() -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = LlamaForCausalLM(models.config("student", vocabulary))
        recipe = train.TrainingRecipe(3, 0.02, 5e-3)
        with tqdm(disable=True) as progress:
            train.fit(model, corpus.batches(vocabulary, 0, 2), recipe, False, progress)
        return model.state_dict()

    first, again = trained(), trained()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_training_lowers_the_loss(vocabulary):
    torch.manual_seed(0)
    model = LlamaForCausalLM(models.config("student", vocabulary))
    with tqdm(disable=True) as progress:
        loss, tokens = train.fit(
            model, corpus.batches(vocabulary, 0, 2), train.TrainingRecipe(20, 0.02, 5e-3), False, progress
        )
    assert loss < 0.7 * math.log(len(vocabulary))
    assert 0.85 * 20 * 2 * corpus.ROW < tokens <= 20 * 2 * corpus.ROW


def test_mixes_are_shares():
    for mix in corpus.MIXES.values():
        assert len(mix) == len(corpus.SOURCES) and sum(mix) == pytest.approx(1)


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [train.rate_at(step, 200) for step in range(200)]
    assert rates.index(max(rates)) in (9, 10) and max(rates) == 1.0
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_two_proportions_against_a_value_worked_by_hand():
    z, p = two_proportions(150, 100, 200)
    # pooled 0.625: z = 0.25 / sqrt(0.625 * 0.375 * 2 / 200)
    assert z == pytest.approx(5.1640, abs=1e-4) and p == pytest.approx(2.417e-7, rel=1e-3)
    assert two_proportions(0, 0, 200) == (0.0, 1.0)
