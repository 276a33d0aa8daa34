"""Upstream's protocol: on the same rows, our requests are upstream's, string by string, and so are the
scores.

Upstream's tasks are built from lm-eval's own YAMLs, with the hub replaced by the local files, read by code of
this test.
"""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import datasets
import lm_eval.api.task
import lm_eval.tasks
import pytest
from lm_eval.tasks import TaskManager

UPSTREAM = Path(lm_eval.tasks.__file__).parent
FOLDERS = ("gsm8k", "humaneval", "mbpp", "mmlu/default")
SUBJECTS = ("abstract_algebra", "high_school_us_history", "moral_scenarios", "us_foreign_policy")


def _read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def upstream(benchmarks_dir):
    """Upstream's task manager, offline."""
    files: dict[Path, list[dict]] = {}

    def load_dataset(path, name=None, **_):
        folder = benchmarks_dir / path.split("/")[-1].removeprefix("openai_")
        splits = {}
        for file in sorted(folder.glob("*.jsonl")):
            rows = files.setdefault(file, _read(file))
            if path == "cais/mmlu":
                rows = [row for row in rows if row["subject"] == name]
            splits[file.stem] = datasets.Dataset.from_list(rows)
        return datasets.DatasetDict(splits)

    evaluate = ModuleType("evaluate")
    evaluate.load = lambda name: type("Metric", (), {"compute": lambda self, **_: [{"pass@1": 0.0}, {}]})()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lm_eval.api.task.datasets, "load_dataset", load_dataset)
        patch.setitem(sys.modules, "evaluate", evaluate)
        yield TaskManager(include_path=[str(UPSTREAM / folder) for folder in FOLDERS], include_defaults=False)
        for name in [
            name for name in sys.modules if name.startswith(("lm_eval.tasks.humaneval", "lm_eval.tasks.mbpp"))
        ]:
            del sys.modules[name]  # they hold the stub


def _chat_template(history, add_generation_prompt=True):
    text = "".join(f"[{turn['role']}]{turn['content']}[/]" for turn in history)
    return text + "[assistant]" if add_generation_prompt else text.removesuffix("[/]")


def _requests(task, limit, shots, chat, multiturn):
    if shots is not None:
        task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(1234)
    task.build_all_requests(
        limit=limit,
        rank=0,
        world_size=1,
        apply_chat_template=chat,
        fewshot_as_multiturn=multiturn,
        chat_template=_chat_template if chat else None,
        tokenizer_name="none" if chat else "",
    )
    return [(instance.request_type, instance.doc_id, instance.idx, instance.args) for instance in task.instances]


def _pairs(upstream, ours, names):
    theirs = upstream.load(list(names))["tasks"]
    mine = ours.load([f"pkt_{name}" for name in names])["tasks"]
    assert {f"pkt_{name}" for name in theirs} == set(mine)
    return [(task, mine[f"pkt_{name}"]) for name, task in theirs.items()]


@pytest.mark.parametrize("chat", [None, "singleturn", "multiturn"])
@pytest.mark.parametrize(
    ("name", "shots"),
    [
        ("gsm8k", None),
        ("gsm8k", 2),
        ("gsm8k_cot", None),
        ("humaneval", None),
        ("humaneval_instruct", None),
        ("mbpp", None),
        ("mbpp", 0),
        ("mbpp_instruct", None),
    ],
)
def test_generation_requests_are_upstreams(upstream, manager, benchmarks_dir, name, shots, chat):
    ((theirs, ours),) = _pairs(upstream, manager(data_dir=benchmarks_dir), [name])
    flags = (chat is not None, chat == "multiturn")
    expected = _requests(theirs, 50, shots, *flags)
    assert len(expected) == 50
    assert _requests(ours, 50, shots, *flags) == expected


def test_mmlu_is_upstreams(upstream, manager, benchmarks_dir):
    """Groups, and the first items of all 57 subjects, zero-shot and 5-shot; loading them is the slow part."""
    theirs, ours = upstream.load("mmlu"), manager(data_dir=benchmarks_dir).load("pkt_mmlu")
    assert {f"pkt_{name}" for name in theirs["groups"]} == set(ours["groups"])
    for name, group in theirs["groups"].items():
        mine = ours["groups"][f"pkt_{name}"]
        assert {f"pkt_{child}" for child in group.child_names} == set(mine.child_names)
        assert mine.aggregate_metric_list == group.aggregate_metric_list
        assert (mine.alias or mine.name).removeprefix("pkt_") == (group.alias or group.name)
    assert len(theirs["tasks"]) == 57
    assert {f"pkt_{name}" for name in theirs["tasks"]} == set(ours["tasks"])
    for name, task in theirs["tasks"].items():
        mine = ours["tasks"][f"pkt_{name}"]
        assert mine.config.task_alias == task.config.task_alias
        assert len(mine.eval_docs) == len(task.eval_docs)
        for shots in (None, 5):
            assert _requests(mine, 3, shots, False, False) == _requests(task, 3, shots, False, False)


@pytest.mark.parametrize("multiturn", [False, True])
def test_subjects_with_a_chat_template_are_upstreams(upstream, manager, benchmarks_dir, multiturn):
    for theirs, ours in _pairs(upstream, manager(data_dir=benchmarks_dir), [f"mmlu_{s}" for s in SUBJECTS]):
        assert _requests(ours, 20, 5, True, multiturn) == _requests(theirs, 20, 5, True, multiturn)


ENDINGS = [
    "The sum is 4 + 14 = 18.\n#### 18",
    "So she pays $1,234.50.\n#### 1,234.50",
    "#### -3\n\nand then some 7",
    "The answer is 18.",
    "The answer is $18.",
    "The answer is -1,000.00.",
    "Well, 3.5 apples",
    "no number at all",
    "",
]


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_cot"])
def test_gsm8k_scores_are_upstreams(upstream, manager, benchmarks_dir, name):
    ((theirs, ours),) = _pairs(upstream, manager(data_dir=benchmarks_dir), [name])
    for gold in ("18", "1,234.50", "-3", "-1000.00", "3.5", "7"):
        doc = {"question": "?", "answer": f"Because.\n#### {gold}"}
        for ending in ENDINGS:
            assert _scores(ours, doc, ending) == _scores(theirs, doc, ending), (gold, ending)


def test_the_digit_that_upstream_drops_is_kept(upstream, manager, benchmarks_dir):
    """The deliberate difference of pkt_gsm8k_cot: an answer that ends in its number, without a full stop."""
    ((theirs, ours),) = _pairs(upstream, manager(data_dir=benchmarks_dir), ["gsm8k_cot"])
    doc = {"question": "?", "answer": "#### 18"}
    assert _scores(ours, doc, "The answer is 18")["strict-match"] == 1
    assert _scores(theirs, doc, "The answer is 18")["strict-match"] == 0
    assert _scores(theirs, doc | {"answer": "#### 1"}, "The answer is 18")["strict-match"] == 1


def _scores(task, doc, answer):
    scores = {}
    for ensemble in task._filters:
        responses = [[answer]]
        for component in ensemble.filters:
            responses = component().apply(responses, [doc])
        scores[ensemble.name] = task.process_results(doc, list(responses))["exact_match"]
    return scores


def test_upstreams_extractor_of_instruct_answers_loses_code(upstream):
    """Why pkt_mbpp_instruct has another: it eats the first word, or all without a closing fence."""
    upstream.load("mbpp_instruct")
    extract = importlib.import_module("lm_eval.tasks.mbpp.utils").extract_code_blocks
    assert extract("def f(x):\n    return x\n```") == " f(x):\n    return x"
    assert extract("def f(x):\n    return x") == ""
