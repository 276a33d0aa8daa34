"""What our loops say is what ``hf`` says: likelihoods of texts, and answers with their own prompts."""

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from pkt_eval import nano
from pkt_eval._util.folders import store_root


@pytest.fixture(scope="module")
def both():
    """`hf` and ours on the nano student."""
    return [
        get_model(name)(pretrained=nano.model_path("student"), device="cpu", batch_size=4, dtype="float32", **more)
        for name, more in (("hf", {}), ("pkt_vanilla", {}), ("pkt_vanilla", {"stock_loops": True}))
    ]


def test_texts_are_judged_as_hf_judges_them(both):
    """Few-shot questions with answers of one and of several tokens, a text that is too long, and a rolling one."""
    head = "Mia has 3 apples and buys 4 more . How many apples does Mia have ? The answer is 7 . " * 3
    asked = [
        Instance(
            "loglikelihood", {}, (f"{head}Leo has {i} pens . How many pens does Leo have ? The answer is", choice), 0
        )
        for i in range(6)
        for choice in (f" {i}", " 2", " 3 . Leo has", " many")
    ]
    asked.append(Instance("loglikelihood", {}, (head * 20, " 7"), 0))
    rolling = [Instance("loglikelihood_rolling", {}, (head * 9,), 0)]
    theirs, ours, stock = (lm.loglikelihood(asked, disable_tqdm=True) for lm in both)
    assert stock == theirs
    for (a, likeliest), (b, same) in zip(theirs, ours, strict=True):
        assert a == pytest.approx(b, abs=1e-4) and likeliest == same
    a, b, c = (lm.loglikelihood_rolling(rolling, disable_tqdm=True)[0] for lm in both)
    assert a == c == pytest.approx(b, rel=1e-6)


def test_answers_come_with_their_prompts_whatever_the_order(both):
    """Requests of two options, in one call: each answer is that of its own prompt and options, once in the cache."""
    asked = [
        Instance("generate_until", {}, (f"Mia has {i} apples .", {"until": ["."], "max_gen_toks": 4 + 8 * (i % 2)}), 0)
        for i in range(9)
    ]
    kept = []

    class Hook:
        def add_partial(self, kind, request, answer):
            kept.append((request[0], answer))

    both[1].set_cache_hook(Hook())
    theirs, ours, stock = (lm.generate_until(asked, disable_tqdm=True) for lm in both)
    assert ours == theirs == stock
    assert sorted(kept) == sorted((request.args[0], answer) for request, answer in zip(asked, ours, strict=True))


def test_auto_is_measured_and_changes_no_answer(both, monkeypatch):
    """Of slots and likelihoods; ``hf``'s own loops ask the budget, too."""
    said = {"until": ["."], "max_gen_toks": 9}
    asked = [Instance("generate_until", {}, (f"Mia has {i} apples .", said), 0) for i in range(5)]
    judged = [Instance("loglikelihood", {}, (f"Mia has {i} apples .", " Mia"), 0) for i in range(5)]
    said = {"until": [], "do_sample": True, "temperature": 1.0, "top_k": 1, "max_gen_toks": 3}
    sampled = [Instance("generate_until", {}, ("Mia has", said), 0)]
    lm, wanted = both[1], []
    for size in (4, "auto"):
        monkeypatch.setattr(lm, "batch_size_per_gpu", size)
        answers = [a for a, _ in lm.loglikelihood(judged, disable_tqdm=True)]
        wanted.append((lm.generate_until(asked + sampled, disable_tqdm=True), pytest.approx(answers, abs=1e-4)))
        assert answers == wanted[0][1]
    assert wanted[0][0] == wanted[1][0]
    assert (store_root() / "budgets").is_dir()
    monkeypatch.setattr(both[2], "batch_size_per_gpu", "auto")
    assert [a for a, _ in both[2].loglikelihood(judged, disable_tqdm=True)] == wanted[0][1]
