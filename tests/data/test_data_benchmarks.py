"""The table is consistent, and its words are those that were published before there was a table."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pkt_eval.data.benchmarks import (
    Embedded,
    Hub,
    benchmark,
    benchmark_of_task,
    benchmarks,
    is_chat_task,
    metric_of_task,
    names,
    place,
)
from pkt_eval.data.records import assistant_turn, user_turn
from pkt_eval.data.splits import SPLIT_NAMES, build_splits, canonical_task
from pkt_eval.errors import DataError
from pkt_eval.nano.benchmarks import MAKERS

TASKS = Path(__file__).resolve().parents[2] / "tasks"


class _Loader(yaml.SafeLoader):
    """Reads ``!function a.b`` as the text ``a.b``."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _task_names() -> set[str]:
    contents = [yaml.load(file.read_text("utf-8"), _Loader) for file in TASKS.rglob("*.yaml")]
    return {content.get("group") or content.get("task") for content in contents}


@pytest.mark.parametrize("row", benchmarks(), ids=names())
def test_each_row_is_consistent(row):
    assert {task.name for task in row.tasks} <= _task_names()
    assert row.task("chat") in {task.name for task in row.tasks if task.protocol == "chat"}
    assert tuple(name for name, _ in row.sizes) == SPLIT_NAMES
    assert all(size > 0 for _, size in row.sizes)
    assert row.splits[0] == "test" and len(set(row.splits)) == len(row.splits)
    assert benchmark(row.kind).kind == row.kind
    other = benchmark(row.contrast)
    assert other is not row and other.family == row.family
    if isinstance(row.source, Hub):
        owner, slash, name = row.source.path.partition("/")
        assert owner and slash and name and row.family == "real"
    else:
        assert isinstance(row.source, Embedded) and row.family == "nano"
        assert {*row.pool.splits, "test"} & {*MAKERS[row.source.name].sizes} >= {"train", "test"}
    if row.pool.lender:
        assert row.pool.convert and benchmark(row.pool.lender).family == row.family


def test_names_stems_and_tasks_are_each_ones_own():
    for values in (
        names(),
        [row.stem for row in benchmarks()],
        [task.name for row in benchmarks() for task in row.tasks],
    ):
        assert len(set(values)) == len(list(values))


@pytest.mark.parametrize(
    ("task", "meant"),
    [
        ("arc", "arc"),
        ("pkt_arc", "arc"),
        ("pkt_arc_chat", "arc"),
        ("arc_challenge", "arc"),
        ("gsm8k_cot", "gsm8k"),
        ("MBPP_instruct ", "mbpp"),
        ("nano_humaneval", "nano_humaneval"),
        ("lambada", None),
    ],
)
def test_which_benchmark_a_task_means(task, meant):
    row = benchmark_of_task(task)
    assert (row.name if row else None) == meant
    if meant:
        assert canonical_task(task) == meant


def test_every_task_means_its_own_benchmark():
    for row in benchmarks():
        assert all(benchmark_of_task(task.name) is row for task in row.tasks)


def test_chat_tasks_metrics_and_places():
    assert [is_chat_task(t) for t in ("pkt_arc_chat", "pkt_arc", "nano_mmlu", "gsm8k", "pkt_gsm8k_chat_mine")] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert metric_of_task("pkt_arc") == "acc_norm,none" and metric_of_task("pkt_mmlu") is None
    columns = ["lambada", "pkt_arc_chat", "nano_mbpp", "pkt_humaneval", "gsm8k (5-shot)", "pkt_mmlu"]
    assert sorted(columns, key=place) == columns[::-1]


def test_an_unknown_benchmark_is_named_with_those_there_are():
    with pytest.raises(DataError, match=r"'gsm9'.*gsm8k.*nano_mbpp"):
        benchmark("gsm9")


# Of the table's predecessors: a change of these is a change of what a transfer learns from.
DIGESTS = {
    "nano_mmlu": "81bc06f761d476dab992f8f85c1518cac3401e29910dc0e99da3c92c2b83b007",
    "nano_gsm8k": "a8e18d3252e3b6271ebdd6db05270faf884a6196d4fb04710f3110bc5f4845ec",
    "nano_humaneval": "21460d12c20e2a3386f3bee900133bb78194e0e392499fd14b6664f2488b9c56",
    "nano_mbpp": "9d4051851e920299f0ddc416a3d9236a4eac027c6f8a92dbe58a9ad3ba416bba",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_the_splits_are_what_they_were(name):
    assert build_splits(name).digest == DIGESTS[name]


ARC = {"id": "a", "question": "What falls?", "answerKey": "B"}


@pytest.mark.parametrize(
    ("labels", "key", "letter"),
    [("ABCD", "B", "B"), ("1234", "4", "D"), ("ABC", "C", "C"), ("ABCDE", "E", "E"), ("123", "1", "A")],
)
def test_arcs_labels_become_letters(labels, key, letter):
    texts = [f"choice {label}" for label in labels]
    row = ARC | {"choices": {"text": texts, "label": list(labels)}, "answerKey": key}
    assert assistant_turn("arc", row) == f"The answer is: {letter}"
    listed = "".join(f"{x}. {text}\n" for x, text in zip("ABCDE", texts, strict=False))
    header = "The following are multiple choice questions (with answers) about science."
    assert user_turn("arc", row) == f"{header}\n\nWhat falls?\n{listed}Answer:"


def test_an_arc_key_that_is_no_label_is_an_error():
    with pytest.raises(DataError, match=r"answerKey.*'E'.*A, B"):
        assistant_turn("arc", ARC | {"choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "E"})


def test_an_answer_may_be_as_long_as_in_its_task():
    """What chooses a student lets it answer as long as what scores it."""
    for row in benchmarks():
        if row.scoring != "choice":
            (file,) = TASKS.rglob(f"{row.task('chat')}.yaml")
            assert f"max_gen_toks: {row.answer_tokens}\n" in file.read_text("utf-8"), row.name


def test_choices_in_columns_of_their_own_need_no_question_column():
    row = replace(benchmark("arc"), test_text=lambda row: row["asks"], asked=None)
    assert row.compared({"asks": "Is 3 odd?"}) == ("Is 3 odd?", "Is 3 odd?")
    real = {"question": "Which?", "choices": {"text": ["this", "that"]}}
    assert benchmark("arc").compared(real) == ("Which?", "Which?\nthis\nthat")
