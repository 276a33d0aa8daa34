"""Splits are disjoint, seeded, sized as asked and identified by their content."""

import ast
import json
import re
from collections import Counter

import pytest

from pkt_eval.data.completion import as_completion
from pkt_eval.data.records import user_turn
from pkt_eval.data.sources import load_rows
from pkt_eval.data.splits import (
    SPLIT_NAMES,
    Splits,
    build_splits,
    canonical_task,
    default_sizes,
    question_text,
    write_splits,
)
from pkt_eval.errors import ConfigError, DataError, MissingDataError

REAL = ("mmlu", "gsm8k", "humaneval", "mbpp")
NANO = tuple(f"nano_{name}" for name in REAL)
IN_FULL = ("gsm8k", *NANO)


def _record(text: str, answer: str = "a") -> dict:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]}


def _gsm8k_folder(tmp_path, questions):
    (tmp_path / "gsm8k").mkdir()
    rows = [{"question": text, "answer": f"It is {i}\n#### {i}"} for i, text in enumerate(questions)]
    (tmp_path / "gsm8k" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


@pytest.mark.parametrize("name", [*REAL, *NANO])
def test_splits_are_disjoint_and_never_larger_than_asked(request, name):
    folder = None if name in NANO else request.getfixturevalue("benchmarks_dir")
    splits = build_splits(name, data_dir=folder)
    questions = Counter(question_text(record) for split in SPLIT_NAMES for record in splits[split])
    assert max(questions.values()) == 1 and splits.overlaps() == {}
    assert all(0 < splits.sizes[split] <= default_sizes(name)[split] for split in SPLIT_NAMES)
    if name in IN_FULL:
        assert splits.sizes == default_sizes(name)


@pytest.mark.parametrize("name", [*REAL, *NANO])
def test_no_split_holds_a_test_question(request, name):
    folder = None if name in NANO else request.getfixturevalue("benchmarks_dir")
    splits = build_splits(name, data_dir=folder)
    tests = {user_turn(name, row) for row in load_rows(name, "test", data_dir=folder)}
    shared = [r for split in SPLIT_NAMES for r in splits[split] if question_text(r) in tests]
    assert shared == []


def test_the_seed_decides(tmp_path):
    folder = _gsm8k_folder(tmp_path, [f"q{i}" for i in range(40)])
    sizes = {"extract": 3, "align": 3, "train": 10, "validation": 4}
    build = lambda seed: build_splits("gsm8k", seed=seed, data_dir=folder, sizes=sizes)  # noqa: E731
    assert build(0).digest == build(0).digest
    assert build(0).digest != build(1).digest
    assert build(0).sizes == sizes


def test_a_small_source_shrinks_in_proportion_and_says_so_once(tmp_path, caplog):
    folder = _gsm8k_folder(tmp_path, [f"q{i}" for i in range(58)])
    for _ in range(2):
        splits = build_splits("gsm8k", data_dir=folder)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and re.search(r"ask for 1160 records.* has 58.*train 50", said[0])
    assert splits.sizes == {"extract": 1, "align": 3, "train": 50, "validation": 3}
    (tmp_path / "two").mkdir()
    with pytest.raises(DataError, match="too few"):
        build_splits("gsm8k", data_dir=_gsm8k_folder(tmp_path / "two", "ab"))


def test_a_question_that_occurs_twice_is_used_once(tmp_path):
    folder = _gsm8k_folder(tmp_path, ["same"] * 5 + ["other", "third", "fourth"])
    sizes = {"extract": 1, "align": 1, "train": 1, "validation": 1}
    splits = build_splits("gsm8k", data_dir=folder, sizes=sizes)
    asked = {question_text(splits[name][0]).split("Question: ")[1] for name in SPLIT_NAMES}
    assert asked == {"same", "other", "third", "fourth"}


def test_digests_see_content_and_order():
    make = lambda train: Splits("gsm8k", [], [], train, [], "")  # noqa: E731
    a, b = _record("a"), _record("b")
    assert make([a, b]).digest == make([_record("a"), _record("b")]).digest
    assert len({make(train).digest for train in ([a, b], [b, a], [a], [a, _record("b", "c")])}) == 4
    assert make([a]).digests["extract"] == make([b]).digests["extract"]
    assert make([a]).digests["train"] != make([b]).digests["train"]


def test_what_is_written_is_read_back(tmp_path):
    train = [_record(f"q{i} \u2028 \r\n ☃ \x85") for i in range(5)]
    splits = Splits("gsm8k", [_record("e")], [_record("l")], train, [_record("v")], "test")
    paths = write_splits(splits, tmp_path / "out")
    assert [path.name for path in paths] == [f"gsm_{name}_split.jsonl" for name in SPLIT_NAMES]
    assert build_splits("pkt_gsm8k_chat", splits_dir=tmp_path / "out").digest == splits.digest


def test_validation_is_carved_out_of_train(tmp_path):
    splits = Splits("mbpp", [_record("e")], [_record("l")], [_record(f"q{i}") for i in range(20)], [], "test")
    for path in write_splits(splits, tmp_path):
        if "validation" in path.name:
            path.unlink()
    carve = lambda seed, n: build_splits("mbpp", splits_dir=tmp_path, seed=seed, sizes={"validation": n})  # noqa: E731
    carved = carve(0, 5)
    assert carved.sizes == {"extract": 1, "align": 1, "train": 15, "validation": 5}
    assert carved.overlaps() == {}
    assert carved.train == [record for record in splits.train if record in carved.train]  # the file's order
    assert carve(0, 5).digest == carved.digest != carve(1, 5).digest
    assert carve(0, 0).train == splits.train
    with pytest.raises(ConfigError, match="use up"):
        carve(0, 20)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mmlu", (20, 80, 1000)),
        ("gsm8k", (20, 80, 1000)),
        ("humaneval", (20, 80, 1000)),
        ("mbpp", (32, 40, 300)),
    ],
)
def test_published_splits_load(paper_splits_dir, name, sizes):
    whole = build_splits(name, splits_dir=paper_splits_dir, sizes={"validation": 0})
    assert tuple(whole.sizes.values()) == (*sizes, 0)
    default = build_splits(name, splits_dir=paper_splits_dir)
    assert len(default.train) == sizes[2] - 64 and len(default.validation) == 64


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="does not exist"):
        build_splits("mbpp", splits_dir=tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match=r"mbpp_extract_split\.jsonl"):
        build_splits("mbpp", splits_dir=tmp_path)
    same = [_record("same")]
    write_splits(Splits("mbpp", same, same, [_record("t")], [_record("v")], ""), tmp_path)
    with pytest.raises(DataError, match=r"extract.*align"):
        build_splits("mbpp", splits_dir=tmp_path)
    (tmp_path / "mbpp_align_split.jsonl").write_text('\n{"messages": [{"role": "user", "content": "q"}]}')
    with pytest.raises(DataError, match="line 2"):
        build_splits("mbpp", splits_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gsm8k", "gsm8k"),
        ("pkt_gsm8k", "gsm8k"),
        ("pkt_gsm8k_chat", "gsm8k"),
        ("pkt_gsm8k_cot", "gsm8k"),
        ("PKT_Humaneval_Instruct", "humaneval"),
        ("nano_gsm8k", "nano_gsm8k"),
    ],
)
def test_names_of_tasks_mean_benchmarks(name, meant):
    assert canonical_task(name) == meant


def test_unknown_names_and_sizes_are_errors():
    with pytest.raises(ConfigError, match="did you mean 'gsm8k'"):
        canonical_task("gsmk8")
    for sizes in ({"test": 3}, {"train": -1}, {"train": "many"}):
        with pytest.raises(ConfigError, match="sizes"):
            build_splits("nano_gsm8k", sizes=sizes)


@pytest.mark.filterwarnings("ignore:.*invalid escape")
def test_every_completion_is_the_function_with_its_task_as_docstring(benchmarks_dir):
    rows = [row for split in ("train", "validation") for row in load_rows("mbpp", split, data_dir=benchmarks_dir)]
    made = [(row, completion) for row in rows if (completion := as_completion(row))]
    assert len(made) >= 0.98 * len(rows)
    for row, completion in made:
        tree = ast.parse(completion["prompt"] + completion["canonical_solution"])
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        function = next(f for f in reversed(functions) if f.name == completion["entry_point"])
        assert ast.get_docstring(function, clean=False) == row["text"].strip()
        del function.body[0]
        assert ast.dump(tree) == ast.dump(ast.parse(row["code"].replace("\r\n", "\n")))


def test_what_cannot_be_completed_is_left_out():
    row = {"text": "t", "test_list": ["assert f(1) == 1"]}
    assert as_completion(row | {"code": "def f(x): return x"}) is None
    assert as_completion(row | {"code": "def f(x):\n    print 1"}) is None
    assert as_completion(row | {"code": "def g(x):\n    return x"}) is None


LATEN, TUNED = ("extract", "align", "validation"), ("extract", "train", "validation")


def test_a_split_that_is_not_used_keeps_its_place_in_a_large_pool(tmp_path):
    """So methods with different splits have the same records in those that they share."""
    folder = _gsm8k_folder(tmp_path, [f"q{i}" for i in range(40)])
    sizes = {"extract": 3, "align": 3, "train": 10, "validation": 4}
    whole = build_splits("gsm8k", data_dir=folder, sizes=sizes)
    for names in (LATEN, TUNED):
        part = build_splits("gsm8k", data_dir=folder, sizes=sizes, names=names)
        assert part.digests == {name: whole.digests[name] for name in names}
        assert part.sizes == {name: sizes[name] for name in names}
        (missing,) = {*SPLIT_NAMES} - {*names}
        with pytest.raises(ConfigError, match=f"the {missing} split is not there"):
            part[missing]


def test_in_a_small_pool_only_splits_that_are_used_take_records(tmp_path, caplog):
    folder = _gsm8k_folder(tmp_path, [f"q{i}" for i in range(200)])
    laten = build_splits("gsm8k", data_dir=folder, names=LATEN)
    assert laten.sizes == {"extract": 32, "align": 64, "validation": 64} and not caplog.records
    assert laten.overlaps() == {}
    tuned = build_splits("gsm8k", data_dir=folder, names=TUNED)
    assert sum(tuned.sizes.values()) <= 200 and set(tuned.sizes) == {*TUNED} and tuned.overlaps() == {}
    assert laten.extract[: len(tuned.extract)] == tuned.extract  # of one shuffled pool


@pytest.mark.parametrize("name", ["mmlu", "humaneval"])
def test_laten_has_its_published_numbers_of_records_in_the_real_pools(benchmarks_dir, name):
    splits = build_splits(name, data_dir=benchmarks_dir, names=LATEN)
    assert splits.sizes == {split: default_sizes(name)[split] for split in LATEN}


def test_controls_have_the_splits_of_their_method():
    from pkt_eval.methods.base import methods

    found = {name: method.cls.splits for name, method in methods().items() if "data" in method.uses}
    assert {found[name] for name in found if name.startswith("laten") or name == "unaligned"} == {LATEN}
    assert {found[name] for name in found if name.startswith("seeking") or name in ("lora", "pissa")} == {TUNED}


def test_files_that_are_not_used_need_not_be_there(tmp_path):
    splits = Splits("mbpp", [_record("e")], [_record("l")], [_record("t")], [_record("v")], "test")
    write_splits(splits, tmp_path)
    (tmp_path / "mbpp_train_split.jsonl").unlink()
    assert build_splits("mbpp", splits_dir=tmp_path, names=LATEN).digests == {
        name: splits.digests[name] for name in LATEN
    }
