"""Answers that are written in slots, and texts that are judged in parts, are those of one text at a time."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.errors import DataError
from pkt_eval.inference.greedy import Ending, goes_round
from pkt_eval.inference.likelihoods import JudgedText, likelihoods, runs
from pkt_eval.inference.prefixes import Prefix, common
from pkt_eval.inference.slots import Slots, decode

STOP = 7


@pytest.fixture(params=["llama", "qwen2", "gemma"])
def model(request, tiny):
    """A small random decoder of a family, in float32."""
    return AutoModelForCausalLM.from_pretrained(tiny(request.param)[1])


def texts(count, shared=0, seed=0):
    dice = random.Random(seed)
    head = [dice.randrange(8, 60) for _ in range(shared)]
    return [head + [dice.randrange(8, 60) for _ in range(dice.randrange(1, 40))] for _ in range(count)]


def alone(model, prompt, most):
    """The likeliest tokens, the whole text being read again for each."""
    said = []
    while len(said) < most and STOP not in said:
        said.append(int(model(torch.tensor([prompt + said])).logits[0, -1].argmax()))
    return said


def answered(model, prompts, **options):
    return {i: tokens for i, tokens, _ in decode(model, prompts, **options)}


@pytest.mark.parametrize(("slots", "shared"), [(1, 0), (3, 0), (4, 33), (64, 20)])
def test_answers_do_not_depend_on_their_company(model, slots, shared):
    prompts = texts(13, shared)
    with torch.no_grad():
        wanted = {i: alone(model, prompt, 25) for i, prompt in enumerate(prompts)}
    said = answered(model, prompts, slots=slots, most=25, stops={STOP})
    assert said == wanted
    assert len({len(tokens) for tokens in wanted.values()}) > 1 or all(len(t) == 25 for t in wanted.values())


@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_a_window_that_slides_slides_in_slots(tiny, family):
    """Over the tokens of a row, whatever it begins with and whoever writes beside it."""
    model = AutoModelForCausalLM.from_pretrained(tiny(family)[1], sliding_window=8)
    prompts = texts(6, shared=20)
    with torch.no_grad():
        wanted = {i: alone(model, prompt, 20) for i, prompt in enumerate(prompts)}
    assert answered(model, prompts, slots=3, most=20, stops={STOP}) == wanted
    model.config.sliding_window = 512
    assert answered(model, prompts, slots=3, most=20, stops={STOP}) != wanted


def test_it_is_told_how_an_answer_ended(counting):
    """By a token, by a text, or at its limit."""
    met = lambda so_far: [answer[-1] == 150 for answer in so_far]  # noqa: E731
    answers = decode(counting, [[197], [147], [20]], slots=3, most=14, stops={200}, ended=met)
    assert {i: (tokens[-1], ending) for i, tokens, ending in answers} == {
        0: (200, Ending(True, False)),
        1: (150, Ending(True, False)),
        2: (34, Ending(False, False)),
    }
    assert Ending.of([5] * 12, ended=False) == (False, True) and Ending.of([5] * 12, ended=True) == (True, False)


def test_gradients_are_as_they_were_between_two_answers(model):
    for _ in decode(model, [[9], [10]], slots=1, most=1, stops=set()):
        assert torch.is_grad_enabled()


@pytest.fixture
def counting(tiny):
    """A decoder that says n + 1 behind token n: a prompt's last token decides the length of its answer."""
    model = AutoModelForCausalLM.from_pretrained(tiny("llama", tie=False)[1])
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding.copy_(torch.nn.functional.normalize(embedding, dim=1))
        head.copy_(embedding.roll(1, 0))
    return model


def test_a_place_is_taken_as_soon_as_it_is_free(counting, monkeypatch):
    """One answer of 120 tokens and 39 of four, in four places: 30 of the short ones end beside the long one."""
    rows, widths = [], []
    step = Slots.step

    def counted(self):
        rows.append(len(self.which))
        widths.append(self.mask.shape[1])
        return step(self)

    monkeypatch.setattr(Slots, "step", counted)
    monkeypatch.setattr("pkt_eval.inference.slots._COLUMNS", 16)
    stop = 200
    prompts = [[9, 10, stop - 120]] + [[9, stop - 4]] * 39
    said = answered(counting, prompts, slots=4, most=150, stops={stop})
    assert said == {i: list(range(prompt[-1] + 1, stop + 1)) for i, prompt in enumerate(prompts)}
    assert len(rows) == 119, "the long answer's first token is its prompt's pass, and nobody waits for it"
    assert sum(rows) == 119 + 39 * 3
    assert max(widths) == 3 + 118


def test_columns_that_nobody_needs_are_forgotten(counting, monkeypatch):
    widths = []
    step = Slots.step
    monkeypatch.setattr(Slots, "step", lambda self: widths.append(self.mask.shape[1]) or step(self))
    monkeypatch.setattr("pkt_eval.inference.slots._COLUMNS", 16)
    prompts = [[9, 200 - 3 - i % 5] for i in range(60)]
    said = answered(counting, prompts, slots=3, most=50, stops={200})
    assert said == {i: list(range(prompt[-1] + 1, 201)) for i, prompt in enumerate(prompts)}
    assert max(widths) < 40 < len(widths)


def test_logits_that_are_nan_are_refused(model):
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(DataError, match="NaN"):
        list(decode(model, [[9]], slots=1, most=2, stops=set()))


@pytest.mark.parametrize("shared", [0, 50])
def test_likelihoods_are_those_of_whole_texts(model, shared):
    judged = []
    for i, context in enumerate(texts(11, shared, seed=1)):
        for j in range(1 + i % 4):  # choices of one and of several tokens
            judged.append(JudgedText(tuple(context), tuple(range(20 + j, 21 + j + (i + j) % 3))))
    random.Random(2).shuffle(judged)
    seen = []
    found = likelihoods(model, judged, rows=4, done=seen.append)
    assert sum(seen) == len(judged)
    for text, (value, likeliest) in zip(judged, found, strict=True):
        tokens = torch.tensor([[*text.context, *text.targets]])
        with torch.no_grad():
            log_p = model(tokens[:, :-1]).logits[0, -len(text.targets) :].log_softmax(-1)
        wanted = torch.tensor(text.targets)
        # Sums of float32 in another order.
        assert value == pytest.approx(float(log_p.gather(1, wanted[:, None]).sum()), abs=1e-4)
        assert likeliest == bool((log_p.argmax(-1) == wanted).all())


def test_what_is_shared_is_computed_once(model, monkeypatch):
    """20 questions behind 200 tokens: their own tokens, and 200."""
    done = []
    forward = model.model.forward

    def counted(*args, **kwargs):
        done.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.model, "forward", counted)
    head = tuple(random.Random(3).choices(range(8, 60), k=200))
    likelihoods(model, [JudgedText((*head, 10 + i, 11), (9,)) for i in range(20)], rows=8)
    assert sum(done) == 200 + 20 * 2


def test_runs_end_where_texts_have_less_in_common():
    a, b = tuple(range(100)), tuple(range(200, 300))
    questions = sorted([(*head, i, i + 1) for head in (a, b) for i in range(5)])
    assert [(shared, len(run)) for shared, run in runs(questions)] == [(100, 5), (100, 5)]
    assert [(shared, len(run)) for shared, run in runs([a])] == [(0, 1)]
    assert [text for _, run in runs(questions) for text in run] == questions


def test_a_prefix_is_no_whole_text(model):
    assert common([[1, 2, 3]] * 2) == 2
    assert Prefix.of(model, [[1] * 30]).length == 0
    assert Prefix.of(model, [[1] * 30, [1] * 30]).length == 29


def test_circles_are_three_rounds_and_twelve_tokens():
    assert (
        goes_round([9, 8, *[1, 2, 3, 4] * 3])
        and goes_round([5] * 12)
        and goes_round([7, *range(9), *range(9), *range(9)])
    )
    assert not goes_round([5] * 11) and not goes_round([1, 2, 3, 4] * 2 + [1, 2, 3])
    assert not goes_round([*[1, 2, 3, 4] * 3, 9]) and not goes_round([]) and not goes_round(list(range(50)))
