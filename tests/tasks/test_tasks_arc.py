"""ARC-Challenge on rows of our own in the hub's columns: as upstream asks it, as the papers would, and learnt from."""

import json
from pathlib import Path

import datasets
import lm_eval
import lm_eval.api.task
import lm_eval.tasks
import pytest
from lm_eval.tasks import TaskManager

from pkt_eval.data.records import assistant_turn
from pkt_eval.data.splits import build_splits

UPSTREAM = Path(lm_eval.tasks.__file__).parent / "arc"
LABELS = ("ABCD", "1234", "ABC", "ABCDE")


def _row(split: str, i: int) -> dict:
    labels = LABELS[i % len(LABELS)]
    texts = [f"thing {i} {'ab' * j}" for j in range(len(labels))]
    return {
        "id": f"{split}_{i}",
        "question": f"Which thing of {split} is the {i}th?",
        "choices": {"text": texts, "label": list(labels)},
        "answerKey": labels[i % len(labels)],
    }


ROWS = {split: [_row(split, i) for i in range(n)] for split, n in (("train", 24), ("validation", 8), ("test", 8))}


@pytest.fixture
def arc_dir(tmp_path):
    (tmp_path / "arc").mkdir()
    for split, rows in ROWS.items():
        (tmp_path / "arc" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return tmp_path


def _requests(task, shots):
    task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(1234)
    task.build_all_requests(limit=None, rank=0, world_size=1)
    return [(i.request_type, i.doc_id, i.idx, i.args) for i in task.instances]


@pytest.mark.parametrize("shots", [0, 3])
def test_requests_are_upstreams(manager, arc_dir, monkeypatch, shots):
    asked = []

    def load_dataset(path, name=None, **_):
        asked.append((path, name))
        return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in ROWS.items()})

    monkeypatch.setattr(lm_eval.api.task.datasets, "load_dataset", load_dataset)
    upstream = TaskManager(include_path=[str(UPSTREAM)], include_defaults=False)
    theirs = upstream.load(["arc_challenge"])["tasks"]["arc_challenge"]
    ours = manager(data_dir=arc_dir).load(["pkt_arc"])["tasks"]["pkt_arc"]
    expected = _requests(theirs, shots)
    assert len(expected) == sum(len(row["choices"]["text"]) for row in ROWS["test"])
    assert _requests(ours, shots) == expected
    from pkt_eval.data.benchmarks import Hub, benchmark

    assert [Hub(*where) for where in asked] == [benchmark("arc").source]


@pytest.mark.parametrize("right", [True, False])
def test_reference_answers_score_one_and_others_zero(manager, scripted, arc_dir, right):
    def answer(doc, i):
        return assistant_turn("arc", doc) if right else "none of them"

    def text(doc, i):
        # A choice is asked for with a space before it.
        return f" {doc['choices']['text'][doc['choices']['label'].index(doc['answerKey'])]}" if right else "none"

    for task, say in (("pkt_arc_chat", answer), ("pkt_arc", text)):
        lm = scripted(say)
        chat = task.endswith("chat")
        done = lm_eval.simple_evaluate(
            lm, tasks=[task], task_manager=manager(data_dir=arc_dir), bootstrap_iters=0, apply_chat_template=chat
        )
        scores = done["results"][task]
        # Where none is preferred, the first choice is: that is right for the rows whose key is the first.
        first = sum(row["answerKey"] == row["choices"]["label"][0] for row in ROWS["test"]) / len(ROWS["test"])
        assert scores["acc,none"] == (1.0 if right else first)
        if chat:
            assert {len(c.partition("\n\n<|assistant|>\n")[2]) for c, _ in lm.seen} == {len("The answer is:")}


def test_the_nano_model_answers_both_tasks(manager, arc_dir):
    done = lm_eval.simple_evaluate(
        "pkt_vanilla",
        tasks=["pkt_arc", "pkt_arc_chat"],
        limit=4,
        task_manager=manager(data_dir=arc_dir),
        bootstrap_iters=0,
        device="cpu",
        apply_chat_template=True,
    )
    assert {name: count["effective"] for name, count in done["n-samples"].items()} == {"pkt_arc": 4, "pkt_arc_chat": 4}
    assert set(done["results"]["pkt_arc"]) >= {"acc,none", "acc_norm,none"}
    numbers = [len(sample["arguments"]) for sample in done["samples"]["pkt_arc_chat"]]
    assert numbers == [len(labels) for labels in LABELS]


def test_it_is_learnt_from_train_and_validation(arc_dir):
    splits = build_splits("pkt_arc_chat", data_dir=arc_dir, sizes=dict.fromkeys(("extract", "align", "validation"), 4))
    assert splits.benchmark == "arc" and splits.source.startswith("arc train+validation")
    assert sum(splits.sizes.values()) <= 32 and not splits.overlaps()
    record = splits.train[0]["messages"]
    assert record[0]["content"].endswith("Answer:") and record[1]["content"].startswith("The answer is: ")
