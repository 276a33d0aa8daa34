"""The wording is the published one: measured on the published records, and spelled out on small rows."""

import json

import pytest

from pkt_eval.data.benchmarks import names
from pkt_eval.data.records import assistant_turn, code_tests, entry_point, to_chat, user_turn
from pkt_eval.data.sources import load_rows
from pkt_eval.errors import DataError

MMLU = {"question": " Two?\n", "subject": "high_school_physics", "choices": ["w", "x", "y", "z"], "answer": 2}
GSM8K = {"question": "How many?", "answer": "It is <<1+1=2>>2\nThen 2*5=<<2*5=10>>10\n#### 10"}
MBPP = {
    "text": "Write f.",
    "code": "import re\r\ndef f(x) :\r\n    return g(x)",
    "test_list": ["assert f(1) == 2", "assert f(2) == 3"],
    "test_setup_code": "",
}
HUMANEVAL = {
    "prompt": 'def f(x):\n    """d"""\n',
    "canonical_solution": "    return x\n",
    "test": "def check(candidate):\n    assert candidate(1) == 1",
    "entry_point": "f",
}
ARC = {
    "id": "Mercury_1",
    "question": "Which?",
    "choices": {"text": ["w", "x", "y"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
ROWS = {"mmlu": MMLU, "gsm8k": GSM8K, "mbpp": MBPP, "humaneval": HUMANEVAL, "arc": ARC}


def _published(folder, stem):
    names = [f"{stem}_{split}_split.jsonl" for split in ("extract", "align", "train")]
    lines = [line for name in names for line in (folder / name).read_text("utf-8").split("\n") if line]
    return [json.loads(line)["messages"] for line in lines]


@pytest.mark.parametrize(
    ("name", "stem", "splits", "reproduced", "published"),
    [
        ("gsm8k", "gsm", ["train"], 1100, 1100),
        ("mbpp", "mbpp", ["train"], 372, 372),
        # Of the 1,100 records, 156 come from rows of dev and test; the rest from validation, which the folder
        # lacks. The one that differs has two spaces where the row has one.
        ("mmlu", "mmlu", ["dev", "test"], 155, 1100),
    ],
)
def test_published_records_are_reproduced(benchmarks_dir, paper_splits_dir, name, stem, splits, reproduced, published):
    ours = set()
    for split in splits:
        for row in load_rows(name, split, data_dir=benchmarks_dir):
            ours.add(json.dumps(to_chat(name, row)["messages"]))
    theirs = [json.dumps(messages) for messages in _published(paper_splits_dir, stem)]
    assert len(theirs) == published
    assert sum(record in ours for record in theirs) >= reproduced


def test_mmlu_wording():
    user, assistant = to_chat("mmlu", MMLU)["messages"]
    assert user["content"] == (
        "The following are multiple choice questions (with answers) about high school physics.\n\n"
        " Two?\n\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    )
    assert assistant["content"] == "The answer is: C"
    assert (user["role"], assistant["role"]) == ("user", "assistant")


def test_gsm8k_wording():
    assert user_turn("gsm8k", GSM8K) == "Answer the following question.\n\nQuestion: How many?"
    assert assistant_turn("gsm8k", GSM8K) == "Answer: It is 2 Then 2*5=10. So the answer is 10."


def test_nano_gsm8k_keeps_its_hashes():
    assert user_turn("nano_gsm8k", GSM8K) == user_turn("gsm8k", GSM8K)
    assert assistant_turn("nano_gsm8k", GSM8K) == "Answer: It is 2\nThen 2*5=10\n#### 10"


def test_code_wording():
    assert user_turn("mbpp", MBPP) == ("Complete the following python function.\n\n\nWrite f.\nimport re\r\ndef f(x) ")
    assert assistant_turn("mbpp", MBPP) == f"Here is the completed function:\n\n\n```python\n{MBPP['code']}"
    assert user_turn("humaneval", HUMANEVAL) == f"Complete the following python function.\n\n\n{HUMANEVAL['prompt']}"
    assert assistant_turn("humaneval", HUMANEVAL).endswith('"""d"""\n    return x\n')


def test_code_tests_use_the_setup_first():
    row = MBPP | {"test_setup_code": "y = 1"}
    assert code_tests("mbpp", row) == "y = 1\nassert f(1) == 2\nassert f(2) == 3\n"
    assert code_tests("humaneval", HUMANEVAL).endswith("\ncheck(f)\n")


@pytest.mark.parametrize(
    ("code", "test", "name"),
    [
        ("def f(x): pass", "assert f(1) == 2", "f"),
        ("def g(x): pass\ndef f(x): pass", "assert set(f(1)) == {1}", "f"),
        ("def f(x): pass", "assert math.isclose(f(1), 2)", "f"),
        ("f = lambda x: x", "assert f(1) == 1", None),
    ],
)
def test_entry_point_of_mbpp(code, test, name):
    assert entry_point("mbpp", {"code": code, "test_list": [test]}) == name


def test_every_real_code_row_has_an_entry_point(benchmarks_dir):
    for benchmark in ("mbpp", "humaneval"):
        rows = load_rows(benchmark, "test", data_dir=benchmarks_dir)
        assert all(entry_point(benchmark, row) for row in rows)


@pytest.mark.parametrize("name", names("real"))
def test_a_missing_column_is_named(name):
    for column in set(ROWS[name]) - {"test_list", "test_setup_code", "test", "entry_point", "id"}:
        row = {key: value for key, value in ROWS[name].items() if key != column}
        with pytest.raises(DataError, match=column):
            to_chat(name, row)


def test_unknown_benchmarks_and_answers_without_a_number_are_errors():
    with pytest.raises(DataError, match=r"gsm9.*gsm8k"):
        to_chat("gsm9", GSM8K)
    with pytest.raises(DataError, match="####"):
        to_chat("gsm8k", {"question": "?", "answer": "twelve"})
