"""The tasks end to end in lm-eval, with a model that answers from a script: right answers score 1."""

import json
import subprocess
import sys

import lm_eval
import pytest

from pkt_eval.code.levels import choose_level
from pkt_eval.data.code_rows import CODE_ANSWER
from pkt_eval.data.records import assistant_turn, kind, user_turn

REAL = ("mmlu", "gsm8k", "humaneval", "mbpp")
CHAT = {f"pkt_{name}_chat": name for name in REAL} | {f"nano_{name}": f"nano_{name}" for name in REAL}
METRIC = {
    "mmlu": "acc,none",
    "gsm8k": "exact_match,strict-match",
    "humaneval": "pass@1,judged",
    "mbpp": "pass@1,judged",
}


@pytest.fixture
def evaluate(manager, request):
    def run(lm, tasks, *, limit=6, **options):
        metadata = options.pop("metadata", None)
        if metadata is None:
            real = any(not str(task).startswith("nano") for task in tasks)
            metadata = {"data_dir": request.getfixturevalue("benchmarks_dir")} if real else {}
        options = {"confirm_run_unsafe_code": True, "bootstrap_iters": 0} | options
        return lm_eval.simple_evaluate(lm, tasks=tasks, limit=limit, task_manager=manager(**metadata), **options)

    return run


@pytest.mark.parametrize("task", CHAT)
def test_reference_answers_score_one(evaluate, scripted, task):
    lm = scripted(lambda doc, i: assistant_turn(CHAT[task], doc))
    scores = evaluate(lm, [task], apply_chat_template=True)["results"][task]
    values = {key: value for key, value in scores.items() if "," in key and "stderr" not in key}
    assert METRIC[kind(CHAT[task])] in values
    assert set(values.values()) == {1.0}, values


@pytest.mark.parametrize("task", [task for task in CHAT if "mmlu" not in task])  # where one letter wins anyway
def test_empty_and_wrong_answers_score_zero(evaluate, scripted, task):
    answers = iter(["", "So the answer is -987654321.", "def f(): pass", "```python\n```"])
    results = evaluate(scripted(lambda doc, i: next(answers)), [task], limit=4)["results"][task]
    assert results[METRIC[kind(CHAT[task])]] == 0.0


@pytest.mark.parametrize("task", CHAT)
def test_what_is_asked_is_what_is_trained(evaluate, scripted, task):
    """With the chat template, the prompt is the transfer data's user turn, and the assistant's is open."""
    lm = scripted(lambda doc, i: "")
    samples = evaluate(lm, [task], limit=3, apply_chat_template=True)["samples"][task]
    by_prompt = {user_turn(CHAT[task], sample["doc"]): sample["doc"] for sample in samples}
    for context, choice in lm.seen:
        asked, opened = context.removeprefix("<|user|>\n").split("\n\n<|assistant|>\n")
        doc = by_prompt[asked]
        if kind(CHAT[task]) == "mmlu":
            answers = {assistant_turn(CHAT[task], doc | {"answer": i}) for i in range(4)}
            assert opened + choice in answers
        else:
            assert opened == "" and choice["until"] == ["<|user|>"]
            assert choice["max_gen_toks"] <= (96 if task.startswith("nano") else 512)


@pytest.mark.parametrize(
    ("answer", "strict"),
    [
        ("Answer: 3 * 6 = 18. So the answer is 18.", 1),
        ("So the answer is $18", 1),
        ("18 eggs.\n#### 18", 1),
        ("So the answer is 1. No: So the answer is 18.", 1),
        ("#### 18 ", 1),
        ("It is 18.", 0),
        ("So the answer is 18,000.", 0),
    ],
)
def test_strict_answers_of_gsm8k_chat(evaluate, scripted, answer, strict):
    results = evaluate(scripted(lambda doc, i: answer), ["pkt_gsm8k_chat"], limit=1)
    scores = results["results"]["pkt_gsm8k_chat"]
    assert scores["exact_match,strict-match"] == strict
    assert scores["exact_match,flexible-extract"] == float("18,000" not in answer)


CODE_TASKS = {
    "pkt_humaneval": lambda doc: doc["canonical_solution"],
    "pkt_humaneval_instruct": lambda doc: doc["canonical_solution"] + "```\nThis adds up.",
    "pkt_humaneval_chat": lambda doc: f"Sure!\n```python\n{doc['prompt']}{doc['canonical_solution']}```",
    "pkt_mbpp": lambda doc: doc["code"],
    "pkt_mbpp_instruct": lambda doc: doc["code"],  # cut off before the closing fence: upstream loses it
    "pkt_mbpp_chat": lambda doc: CODE_ANSWER + doc["code"],
}


@pytest.mark.parametrize("task", CODE_TASKS)
def test_code_samples_carry_the_verdict(evaluate, scripted, task):
    """The items' reference solutions, but a broken one for the first."""
    first = []

    def answer(doc, i):
        first.append(doc) if not first else None
        return "    raise KeyError('no')\n" if doc == first[0] else CODE_TASKS[task](doc)

    results = evaluate(scripted(answer), [task], limit=4)
    assert results["results"][task]["pass@1,judged"] == 0.75
    samples = results["samples"][task]
    assert [sample["pass@1"] for sample in samples] == [0.0, 1.0, 1.0, 1.0]
    for sample in samples:
        ((verdict,),) = sample["filtered_resps"]
        verdict = json.loads(verdict)
        assert verdict["passed"] == (verdict["status"] == "passed") == (sample["pass@1"] == 1.0)
        assert verdict["passed"] or verdict["message"]
        assert isinstance(verdict["program"], str)
        assert verdict["isolation"] == choose_level() and verdict["verify"] == "split"
    json.dumps(samples)


def test_pass_at_k_with_repeats(evaluate, scripted, tasks_dir, tmp_path):
    """10 answers, 3 of them right: pass@1 = 0.3, pass@2 = 1 - (7·6)/(10·9), pass@8 = 1."""
    (tmp_path / "ten.yaml").write_text(f"include: {tasks_dir}/humaneval/pkt_humaneval.yaml\ntask: ten\nrepeats: 10\n")
    lm = scripted(lambda doc, i: doc["canonical_solution"] if i in (2, 5, 7) else "    return None\n")
    results = evaluate(lm, [str(tmp_path / "ten.yaml")], limit=1)["results"]["ten"]
    scores = {
        key.split(",")[0]: value for key, value in results.items() if key.startswith("pass@") and "stderr" not in key
    }
    assert scores == {
        "pass@1": pytest.approx(0.3),
        "pass@2": pytest.approx(1 - 42 / 90),
        "pass@4": pytest.approx(1 - 35 / 210),
        "pass@5": pytest.approx(1 - 21 / 252),
        "pass@8": 1.0,
        "pass@10": 1.0,
    }


@pytest.mark.parametrize("task", [*CODE_TASKS, "nano_humaneval", "nano_mbpp"])
def test_code_is_not_run_without_consent(evaluate, scripted, task):
    lm = scripted(lambda doc, i: "")
    with pytest.raises(ValueError, match="confirm_run_unsafe_code"):
        evaluate(lm, [task], confirm_run_unsafe_code=False)
    assert lm.seen == []


def test_setup_code_of_mbpp_counts(evaluate, scripted, benchmarks_dir):
    """Of the 500 test items, one has setup code; upstream drops it, and then the reference solution fails."""
    rows = [json.loads(line) for line in (benchmarks_dir / "mbpp" / "test.jsonl").open(encoding="utf-8")]
    (index,) = [i for i, row in enumerate(rows) if row["test_setup_code"]]
    lm = scripted(lambda doc, i: doc["code"])
    results = evaluate(lm, ["pkt_mbpp"], limit=None, samples={"pkt_mbpp": [index]})
    assert results["results"]["pkt_mbpp"]["pass@1,judged"] == 1.0


def test_model_arguments_in_the_metadata_are_no_business_of_tasks(evaluate, scripted, benchmarks_dir):
    metadata = {"data_dir": benchmarks_dir, "pretrained": "x", "subject": "y", "benchmark": "z", "split": "w"}
    results = evaluate(scripted(lambda doc, i: ""), ["pkt_mmlu_virology"], limit=2, metadata=metadata)
    assert results["n-samples"]["pkt_mmlu_virology"] == {"original": 166, "effective": 2}


def test_the_environment_names_the_folder_too(manager, benchmarks_dir, monkeypatch):
    tasks = manager()
    monkeypatch.setenv("PKT_EVAL_DATA", str(benchmarks_dir))
    counts = {name: len(task.eval_docs) for name, task in tasks.load("pkt_chat")["tasks"].items()}
    assert list(counts.values()) == [14_042, 1_319, 164, 500]


def test_generated_files_are_what_generate_makes(tasks_dir):
    namespace: dict = {"__name__": "generate", "__file__": str(tasks_dir / "mmlu" / "generate.py")}
    exec(compile((tasks_dir / "mmlu" / "generate.py").read_text(), "generate.py", "exec"), namespace)
    made = namespace["files"]()
    assert len(made) == 57 + 4
    for name, content in made.items():
        assert (tasks_dir / "mmlu" / name).read_text() == content, f"{name}: run generate.py"


def test_listing_tasks_imports_nothing_heavy(manager, tasks_dir):
    program = (
        "import sys; from lm_eval.tasks import TaskManager; before = set(sys.modules);"
        f"manager = TaskManager(include_path={str(tasks_dir)!r}, include_defaults=False);"
        "print(manager.list_all_tasks());"
        "heavy = ('torch', 'pkt_eval', 'datasets');"
        "print('IMPORTED', *[m for m in set(sys.modules) - before if m.split('.')[0] in heavy])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "IMPORTED"
    for name in (
        "pkt_all",
        "pkt_chat",
        "pkt_nano",
        "pkt_mmlu_stem",
        "pkt_mmlu_virology",
        "pkt_gsm8k_cot",
        *CHAT,
        *CODE_TASKS,
    ):
        assert f"|{name} " in run.stdout.replace("| ", "|"), name


def test_readme_names_every_task(tasks_dir):
    import yaml

    readme = (tasks_dir / "README.md").read_text()
    for file in tasks_dir.rglob("*.yaml"):
        content = yaml.load(file.read_text().replace("!function ", ""), yaml.SafeLoader)
        name = content.get("group") or content.get("task")
        if name and "dataset_name" not in content and "group_alias" not in content:
            assert f"`{name}`" in readme, name


def test_the_first_items_of_mmlu_chat_are_of_all_subjects(manager, benchmarks_dir):
    task = manager(data_dir=benchmarks_dir).load(["pkt_mmlu_chat"])["tasks"]["pkt_mmlu_chat"]
    subjects = list(task.test_docs()["subject"])
    assert len(set(subjects)) == len(set(subjects[:57])) == len(set(subjects[57:114])) == 57
    questions = [json.loads(line)["question"] for line in (benchmarks_dir / "mmlu" / "test.jsonl").open()]
    assert sorted(task.test_docs()["question"]) == sorted(questions)
