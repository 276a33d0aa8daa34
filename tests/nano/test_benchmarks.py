"""The nano benchmarks: fixed for ever, disjoint, in the hub's columns, and right."""

import hashlib
import json
import re

import pytest

from pkt_eval.code import judge_many
from pkt_eval.data.records import code_tests
from pkt_eval.errors import DataError
from pkt_eval.nano.benchmarks import MAKERS, rows, stream

COLUMNS = {
    "mmlu": ["question", "subject", "choices", "answer"],
    "gsm8k": ["question", "answer"],
    "humaneval": ["task_id", "prompt", "entry_point", "canonical_solution", "test"],
    "mbpp": ["task_id", "text", "code", "test_list", "test_setup_code", "challenge_test_list"],
}
DIGESTS = {
    "mmlu": "4f4fd32665841fca",
    "gsm8k": "edc8a8fe6dbd3527",
    "humaneval": "850311ecb7631f9c",
    "mbpp": "3c8ee4a001feef31",
}
SPLITS = [(name, split) for name, benchmark in MAKERS.items() for split in benchmark.sizes]


def solution(name: str, row: dict) -> str:
    return row["prompt"] + row["canonical_solution"] if name == "humaneval" else row["code"]


@pytest.mark.parametrize("name", MAKERS)
def test_rows_are_pinned(name):
    text = json.dumps({split: rows(name, split) for split in MAKERS[name].sizes})
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_columns_and_sizes(name, split):
    made = rows(name, split)
    assert len(made) == MAKERS[name].sizes[split]
    assert all(list(row) == COLUMNS[name] for row in made)


@pytest.mark.parametrize("name", MAKERS)
def test_splits_and_pretraining_share_no_content(name):
    key = MAKERS[name].key
    owner: dict[str, str] = {}
    for split in MAKERS[name].sizes:
        for row in rows(name, split):
            assert key(row) not in owner, (split, owner[key(row)])
            owner[key(row)] = split
    source = stream(name, 0)
    assert not any(key(next(source)) in owner for _ in range(3000))


def test_a_caller_cannot_spoil_the_rows():
    rows("gsm8k", "test")[0]["question"] = "changed"
    assert rows("gsm8k", "test")[0]["question"] != "changed"


def test_task_ids_are_unique():
    for name in ("humaneval", "mbpp"):
        ids = [row["task_id"] for split in MAKERS[name].sizes for row in rows(name, split)]
        assert len(set(ids)) == len(ids)


def test_mmlu_subjects_take_equal_parts_and_choices_differ():
    for split, size in MAKERS["mmlu"].sizes.items():
        made = rows("mmlu", split)
        subjects = [row["subject"] for row in made]
        assert {subjects.count(subject) for subject in set(subjects)} == {size // 5}
        assert all(len(set(row["choices"])) == 4 and 0 <= row["answer"] <= 3 for row in made)


def test_mmlu_answers_agree_with_each_other():
    """A question that asks for a value has one answer, whichever split and choices it comes with."""
    answers: dict[str, str] = {}
    for _, split in (pair for pair in SPLITS if pair[0] == "mmlu"):
        for row in rows("mmlu", split):
            if row["question"].startswith("What is"):
                right = row["choices"][row["answer"]]
                assert answers.setdefault(row["question"], right) == right


def test_gsm8k_steps_are_true_sums_that_end_in_the_answer():
    for row in rows("gsm8k", "test") + rows("gsm8k", "train"):
        *steps, last = row["answer"].split("\n")
        results = []
        for step in steps:
            a, sign, b, c = re.fullmatch(r"(\d+)([-+*/])(\d+)=(\d+)", step).groups()
            value = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) / int(b)}
            assert value[sign] == int(c)
            assert b in re.findall(r"\d+", row["question"])
            results.append(c)
        assert last == f"#### {results[-1]}"


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_canonical_solutions_pass(name):
    # One process for all of them: each is judged in a scope of its own.
    jobs = [(solution(name, row), code_tests(name, row)) for row in rows(name, "test")]
    body = "".join(f"exec({candidate + chr(10) + tests!r}, {{}})\n" for candidate, tests in jobs)
    (verdict,) = judge_many([("", body)])
    assert verdict.passed, verdict.message


def split_body(name: str, row: dict) -> tuple[str, str]:
    head, mark, body = solution(name, row).partition('"""\n' if name == "humaneval" else ":\n")
    return head + mark, body


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_broken_solutions_fail(name):
    """A function that returns nothing always fails; one with another constant fails if it differs at all.

    A few constants cannot matter (the largest x above 7 is the largest above 8 wherever there is a 9), so
    the second demand is nine in ten.
    """
    jobs, changed = [], []
    for row in rows(name, "test")[:40]:
        head, body = split_body(name, row)
        jobs.append((f"{head}    return None\n", code_tests(name, row)))
        constant = re.search(r"\b[3-8]\b", body)
        if constant:
            other = body[: constant.start()] + str(int(constant[0]) + 1) + body[constant.end() :]
            changed.append((head + other, code_tests(name, row)))
    verdicts = judge_many(jobs + changed)
    assert not any(verdict.passed for verdict in verdicts[: len(jobs)])
    assert len(changed) >= 20
    assert sum(verdict.passed for verdict in verdicts[len(jobs) :]) <= 0.1 * len(changed)


def test_unknown_names_are_told_what_exists():
    with pytest.raises(DataError, match="mmlu, gsm8k, humaneval, mbpp"):
        rows("arc", "test")
    with pytest.raises(DataError, match="train, test"):
        rows("gsm8k", "validation")
