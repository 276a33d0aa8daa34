"""The overlap report equals brute force, and finds what is known of the published data."""

import random

import pytest

from pkt_eval.data import decontaminate
from pkt_eval.data.contamination import PHRASING, ngrams, record_ngrams, words
from pkt_eval.data.decontaminate import overlap_report
from pkt_eval.data.sources import load_rows
from pkt_eval.data.splits import Splits, build_splits


def _splits(**parts) -> Splits:
    lists = {name: [] for name in ("extract", "align", "train", "validation")}
    for name, texts in parts.items():
        lists[name] = [
            {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]} for text in texts
        ]
    return Splits(benchmark="gsm8k", source="test", **lists)


def _tests(monkeypatch, texts):
    monkeypatch.setattr(decontaminate, "load_rows", lambda *_, **__: [{"question": text} for text in texts])


def test_words_ignore_case_and_punctuation():
    assert words("It's 3.5km, SAID_he\n(twice)!") == ["it", "s", "3", "5km", "said", "he", "twice"]
    assert ngrams("a b, A b", 2) == {("a", "b"), ("b", "a")}
    assert ngrams("too short", 3) == set()


def test_equals_brute_force(monkeypatch):
    rng = random.Random(0)
    text = lambda: " ".join(rng.choices("abcdef", k=12))  # noqa: E731
    tests, train = [text() for _ in range(60)], [text() for _ in range(40)]
    _tests(monkeypatch, tests)
    report = overlap_report(_splits(train=train), ["gsm8k"], ns=[5])
    runs = lambda t: [" ".join(t.split()[i : i + 5]) for i in range(8)]  # noqa: E731
    common = {run for t in tests for run in runs(t) if sum(run in other for other in tests) > PHRASING}
    brute = sum(any(run in other for run in runs(t) if run not in common for other in train) for t in tests)
    assert 0 < brute < 60
    assert {o.split: o.shared for o in report} == {
        "extract": 0, "align": 0, "train": brute, "validation": 0, "all": brute,
    }  # fmt: skip


def test_phrasing_of_the_test_set_does_not_count(monkeypatch):
    phrase = "which of the following is the"
    rare = "one two three four"
    _tests(monkeypatch, [f"{phrase} item{i}" for i in range(PHRASING + 1)] + [rare])
    report = overlap_report(_splits(train=[phrase, rare]), ["gsm8k"], ns=[4])
    train = next(o for o in report if o.split == "train")
    assert (train.shared, train.total, train.example) == (1, PHRASING + 2, rare)


def test_no_ngram_spans_two_turns():
    record = {"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c d"}]}
    assert record_ngrams([record], 2) == {("a", "b"), ("c", "d")}


def test_what_is_known_of_the_published_humaneval_splits(benchmarks_dir, paper_splits_dir):
    splits = build_splits("humaneval", splits_dir=paper_splits_dir)
    report = overlap_report(splits, ["humaneval"], data_dir=benchmarks_dir)
    assert {o.n: (o.shared, o.total) for o in report if o.split == "all"} == {8: (24, 164), 13: (0, 164)}


def test_a_test_item_in_a_split_is_found(benchmarks_dir):
    rows = [row for row in load_rows("gsm8k", "test", data_dir=benchmarks_dir) if len(words(row["question"])) > 30]
    splits = _splits(align=[rows[7]["question"].upper()])
    report = overlap_report(splits, ["gsm8k", "mbpp"], data_dir=benchmarks_dir)
    shared = {(o.split, o.benchmark, o.n): o.shared for o in report}
    assert shared["align", "gsm8k", 13] == shared["all", "gsm8k", 13] == 1
    assert shared["train", "gsm8k", 13] == 0
    assert {o.benchmark: o.total for o in report} == {"gsm8k": 1_319, "mbpp": 500}


def test_nano_splits_are_compared_with_the_nano_tests():
    report = overlap_report(build_splits("nano_gsm8k", sizes={"train": 20}), ns=[13])
    assert {o.benchmark for o in report} == {"nano_mmlu", "nano_gsm8k", "nano_humaneval", "nano_mbpp"}
    assert all(o.shared <= o.total and o.total >= 200 for o in report)


@pytest.mark.parametrize("ns", [[8], [8, 13]])
def test_longer_ngrams_are_shared_less(ns, benchmarks_dir):
    splits = build_splits("gsm8k", data_dir=benchmarks_dir, sizes={"train": 200})
    report = overlap_report(splits, ["gsm8k"], ns=ns, data_dir=benchmarks_dir)
    shared = [o.shared for o in report if o.split == "all"]
    assert shared == sorted(shared, reverse=True) and len(shared) == len(ns)
