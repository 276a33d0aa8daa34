"""Reading records: what was put in comes out, and what is broken is named."""

import hashlib
import json

import pytest

from pkt_eval.errors import DataError, MissingDataError
from pkt_eval.report.records import join, read


def test_a_record_says_who_was_scored_on_what(made, tmp_path):
    made(tmp_path / "a", [1, 0, 1, 1], method="seeking", seed=3, fewshot=2)
    ((record,), notes) = read([tmp_path])
    assert (record.score, record.count, record.metric, record.filter) == (0.75, 4, "exact_match", "strict-match")
    assert (record.fewshot, record.version, record.dtype, record.reason) == (2, "1.0", "float32", "")
    assert [item.score for item in record.items.values()] == [1, 0, 1, 1]
    student = record.student
    assert (student.method, student.seed, student.transfer_task) == ("seeking", 3, "gsm8k")
    assert (student.base.name, student.teacher.name) == ("acme/small", "acme/big")
    assert (student.budget.steps, student.budget.seconds, student.budget.samples["train"]) == (4, 12.5, 64)
    assert notes == []


def test_a_budget_counts_the_records_that_were_optimised_on(made, tmp_path):
    for method in ("vanilla", "lora", "laten"):
        made(tmp_path / method, [1, 0], method=method)
    budgets = {r.student.method: r.student.budget for r in read([tmp_path])[0]}
    assert {m: (b.records, b.steps) for m, b in budgets.items()} == {
        "vanilla": (None, None),
        "lora": (64, 4),
        "laten": (32, 2),
    }


def test_a_foreign_run_is_called_by_its_model(made, tmp_path):
    made(tmp_path, [1, 0], method=None, pretrained="/somewhere/else/my-model")
    ((record,), _) = read([tmp_path])
    assert (record.student.label, record.student.method, record.student.provenance) == ("my-model (hf)", None, None)


def test_students_of_one_method_are_called_by_what_differs(made, tmp_path):
    made(tmp_path / "a", [1], method="lora", seed=0, options={"rank": 8})
    made(tmp_path / "b", [1], method="lora", seed=0)
    made(tmp_path / "c", [1], method="lora", seed=1)
    made(tmp_path / "d", [1], method="seeking", seed=0)
    labels = [r.student.label for r in read([tmp_path])[0]]
    assert labels == ["lora (rank=8)", "lora (rank=16)", "lora (rank=16)", "seeking"]


def test_without_samples_there_is_a_score_and_a_reason(made, tmp_path):
    made(tmp_path, [1, 0], samples=False)
    ((record,), _) = read([tmp_path])
    assert record.score == 0.5 and record.count == 2 and not record.items
    assert "--log_samples" in record.reason


def test_the_newest_run_of_a_student_counts_and_that_is_said(made, tmp_path):
    made(tmp_path / "z", [0, 0], date=1)
    made(tmp_path / "a", [1, 1], date=2)
    ((record,), (note,)) = read([tmp_path])
    assert record.score == 1.0
    assert "more than once" in note


def test_a_file_named_twice_is_read_once(made, tmp_path):
    results = made(tmp_path, [1, 0])
    records, notes = read([tmp_path, results])
    assert len(records) == 1 and notes == []


def test_a_document_that_occurs_twice_is_two_items(made, tmp_path):
    results = made(tmp_path, [1, 0])
    (samples,) = tmp_path.glob("samples_*")
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    lines[1]["doc_hash"] = lines[0]["doc_hash"]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ((record,), _) = read([results])
    assert [item.score for item in record.items.values()] == [1, 0]


@pytest.mark.parametrize("cut", [5, 400])
def test_truncated_samples_are_named(made, tmp_path, cut):
    made(tmp_path, [1, 0, 1])
    (samples,) = tmp_path.glob("samples_*")
    whole = samples.read_text()
    samples.write_text(whole[:-cut])
    with pytest.raises(DataError, match=rf"{samples.name}, line \d") as caught:
        read([tmp_path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [0, 2])
def test_samples_that_lack_a_line_are_named(made, tmp_path, left):
    made(tmp_path, [1, 0, 1])
    (samples,) = tmp_path.glob("samples_*")
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:left]))
    with pytest.raises(DataError, match=rf"{left} items, .* counts 3"):
        read([tmp_path])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"results": {}}'])
def test_broken_results_are_named(made, tmp_path, text):
    results = made(tmp_path, [1])
    results.write_text(text)
    with pytest.raises(DataError, match=results.name):
        read([tmp_path])


def contradicted(made, folder, metric):
    results = made(folder, [1, 0], metric=metric)
    content = json.loads(results.read_text())
    content["results"]["pkt_gsm8k_chat"][metric] = 0.9
    results.write_text(json.dumps(content))
    return results


def test_a_score_that_its_items_contradict_has_no_items(made, tmp_path):
    """Somebody's metric may be no mean over items."""
    contradicted(made, tmp_path, "f1,none")
    ((record,), _) = read([tmp_path])
    assert not record.items and "0.5000" in record.reason


def test_a_mean_that_its_items_contradict_was_changed_and_is_refused(made, tmp_path):
    results = contradicted(made, tmp_path, "exact_match,strict-match")
    with pytest.raises(DataError, match=rf"{results.name}.* 0\.9000, .*samples_.* 0\.5000"):
        read([tmp_path])


@pytest.mark.parametrize("changed", ["results", "samples"])
def test_a_file_of_a_cell_that_was_changed_is_refused(made, tmp_path, changed):
    made(tmp_path, [1, 0])
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    (tmp_path / "cell.json").write_text(json.dumps({"files": files}))
    assert len(read([tmp_path])[0]) == 1
    (path,) = tmp_path.glob(f"{changed}_*")
    path.write_text(path.read_text().replace("acme/small", "acme/other").replace("an answer", "no answer"))
    with pytest.raises(DataError, match=f"{path.name} was changed"):
        read([tmp_path])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}'])
def test_a_cell_that_cannot_be_read_is_named(made, tmp_path, text):
    made(tmp_path, [1, 0])
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(DataError, match=r"cell\.json cannot be read"):
        read([tmp_path])


def test_nothing_there_says_what_to_do(tmp_path):
    with pytest.raises(MissingDataError, match="results_"):
        read([tmp_path])
    with pytest.raises(MissingDataError, match="not there"):
        read([tmp_path / "nowhere"])


def test_subjects_of_a_group_are_one_benchmark_with_clusters(made, tmp_path):
    """lm-eval writes one results file for a group, with samples for each of its tasks."""
    whole = None
    for subject, scores in (("anatomy", [1, 0, 1]), ("virology", [0])):
        results = made(tmp_path / "one", scores, task=f"mmlu_{subject}", metric="acc,none", method=None)
        content = json.loads(results.read_text())
        if whole is None:
            whole = content
        else:
            for key in ("results", "configs", "versions", "n-shot", "n-samples"):
                whole[key] |= content[key]
    whole["group_subtasks"] = {"all": ["mmlu"], "mmlu": ["mmlu_stem"], "mmlu_stem": ["mmlu_anatomy", "mmlu_virology"]}
    for group in ("mmlu", "mmlu_stem"):
        whole["results"][group] = {"acc,none": 0.5}
    whole["results"]["all"] = {"alias": "all"}
    results.write_text(json.dumps(whole))

    leaves, _ = read([tmp_path])
    assert [(r.task, r.benchmark) for r in leaves] == [("mmlu_anatomy", "mmlu"), ("mmlu_virology", "mmlu")]
    (record,) = join(leaves)
    assert (record.task, record.score, record.count, len(record.samples)) == ("mmlu", 0.5, 4, 2)
    # d0 is in both tasks: four items all the same.
    assert [item.cluster for item in record.items.values()] == ["mmlu_anatomy"] * 3 + ["mmlu_virology"]


def test_sizes_that_tasks_have_of_their_own_make_no_variant(made, tmp_path):
    """A method with each task's own number of records is one row; with two numbers on one task it is two."""
    for task, size in (("gsm8k", 1000), ("mbpp", 300)):
        made(tmp_path / task, [1], task=f"pkt_{task}_chat", method="lora", seed=0, train=size)
    assert {r.student.label for r in read([tmp_path])[0]} == {"lora"}
    made(tmp_path / "fast", [1], task="pkt_mbpp_chat", method="lora", seed=0, train=64, options={"rank": 8})
    assert {r.student.label for r in read([tmp_path])[0]} == {"lora (rank=16)", "lora (rank=8)"}
    made(tmp_path / "less", [1], task="pkt_mbpp_chat", method="lora", seed=0, train=100)
    labels = [r.student.label for r in read([tmp_path])[0] if "rank=16" in r.student.label]
    assert labels == [f"lora (rank=16, train_samples={n})" for n in (1000, 100, 300)]
