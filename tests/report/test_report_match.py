"""Matching: by document, on what both have, and not at all where the question was another."""

import json
from types import SimpleNamespace

import pytest

from pkt_eval.report.records import NotComparableError, read, side_by_side


def pair(a, b):
    both = side_by_side([a, b])
    only_a, only_b = both.left_out
    scores = {"a": both.scores[0], "b": both.scores[1]}
    return SimpleNamespace(
        **scores, keys=both.keys, clusters=both.clusters, only_a=only_a, only_b=only_b, notes=both.notes
    )


def one(made, folder, scores, **settings):
    made(folder, scores, **settings)
    return read([folder])[0][0]


def test_items_are_matched_by_document_whatever_the_order(made, tmp_path):
    a = one(made, tmp_path / "a", {"x": 1, "y": 0, "z": 1})
    b = one(made, tmp_path / "b", {"z": 0, "x": 1, "y": 1}, method="lora", seed=0)
    both = pair(a, b)
    assert (both.a.tolist(), both.b.tolist()) == ([1, 0, 1], [1, 1, 0])
    assert (both.only_a, both.only_b, both.notes) == (0, 0, ())


def test_subsets_are_compared_on_what_they_share_and_that_is_said(made, tmp_path):
    a = one(made, tmp_path / "a", {"x": 1, "y": 0})
    b = one(made, tmp_path / "b", {"w": 1, "y": 1, "x": 0}, method="lora", seed=0)
    both = pair(a, b)
    assert (both.a.tolist(), both.b.tolist(), both.only_a, both.only_b) == ([1, 0], [0, 1], 0, 1)
    assert "2 documents in common" in both.notes[0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (dict(version=2.0), "versions of the task"),
        (dict(fewshot=5), "examples in the prompt"),
        (dict(template=None), "chat templates"),
        (dict(generation={"do_sample": True}), "generation settings"),
        (dict(metric="exact_match,flexible-extract"), "filters"),
        (dict(metric="acc,none"), "metrics"),
        (dict(task="pkt_gsm8k"), "tasks"),
        (dict(question="Say: {}"), "prompts of document 0"),
        (dict(samples=False), "log_samples"),
    ],
)
def test_another_question_is_refused(made, tmp_path, changed, reason):
    a = one(made, tmp_path / "a", [1, 0])
    b = one(made, tmp_path / "b", [1, 0], method="lora", seed=0, **changed)
    with pytest.raises(NotComparableError, match=reason):
        pair(a, b)
    with pytest.raises(NotComparableError, match=reason):
        pair(b, a)


def test_nothing_in_common_is_refused(made, tmp_path):
    a, b = one(made, tmp_path / "a", {"x": 1}), one(made, tmp_path / "b", {"y": 1}, method="lora", seed=0)
    with pytest.raises(NotComparableError, match="in common"):
        pair(a, b)


def test_many_records_share_the_documents_of_all(made, tmp_path):
    sets = [{"x": 1, "y": 0, "z": 1}, {"y": 1, "z": 0}, {"z": 1, "y": 1, "w": 0}]
    matched = side_by_side(
        [one(made, tmp_path / str(i), scores, method="lora", seed=i) for i, scores in enumerate(sets)]
    )
    assert matched.scores.tolist() == [[0, 1], [1, 0], [1, 1]]
    assert matched.left_out == (1, 0, 1)


def test_clusters_are_the_subjects_of_the_documents(made, tmp_path):
    a = one(made, tmp_path / "a", {"x": 1, "y": 0}, subject=lambda doc: f"of {doc}")
    assert pair(a, a).clusters.tolist() == ["of x", "of y"]
    assert pair(one(made, tmp_path / "b", [1]), one(made, tmp_path / "b", [1])).clusters is None


def test_a_student_behind_worked_examples_is_matched_by_document_and_said_to_be_one(made, tmp_path):
    """Its prompts and its template are what it is; what is right is still the same."""
    a = one(made, tmp_path / "a", [1, 0])
    shown = dict(question="An example. {}", template="u" * 64, method="lora", seed=0)
    results = made(tmp_path / "b", [0, 1], **shown)
    content = json.loads(results.read_text())
    content["config"]["pkt"] |= {"method": "fewshot", "record": {"shots": 4}}
    results.write_text(json.dumps(content))
    b = read([tmp_path / "b"])[0][0]
    assert pair(a, b).a.tolist() == pair(b, a).b.tolist() == [1, 0]
    assert "0 and 4 worked examples" in pair(a, b).notes[0]
    with pytest.raises(NotComparableError, match=r"prompts|templates"):
        pair(a, one(made, tmp_path / "c", [0, 1], **shown))
