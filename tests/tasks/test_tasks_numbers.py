"""pkt_gsm8k_chat reads an answer for the number that it gives, and compares it as a number; upstream's tasks do not."""

import json

import pytest

GOLD = {"#### 1,200": 1200, "#### 45": 45, "#### 5": 5, "#### -3": -3, "#### 18": 18}

#: Answer, reference, whether it is announced and right, whether it is right at all.
CASES = [
    ("That makes 1,000 + 200.\n#### 1200", "#### 1,200", 1, 1),
    ("… #### 1,200", "#### 1,200", 1, 1),
    ("… #### 1,200.00 dollars", "#### 1,200", 1, 1),
    ("It costs $1200.00", "#### 1,200", 0, 1),
    ("So the answer is 1.200.", "#### 1,200", 0, 0),
    ("Thus \\boxed{45}.", "#### 45", 1, 1),
    ("\\(\\boxed{45.00}\\), as 90 / 2 = 45. Check with 7.", "#### 45", 1, 1),
    ("\\boxed{\\frac{90}{2}} of 100", "#### 45", 1, 1),
    ("\\boxed{450}.", "#### 45", 0, 0),
    ("The answer is 5. I used 3 apples.", "#### 5", 1, 1),
    ("The answer is 3. I used 5 apples.", "#### 5", 0, 0),
    ("I used 3 apples, so there are 5.", "#### 5", 0, 1),
    ("There are 5, of 3 apples.", "#### 5", 0, 0),
    ("The answer is 4. No: the answer is 5.", "#### 5", 1, 1),
    ("#### −3", "#### -3", 1, 1),
    ("#### 3", "#### -3", 0, 0),
    ("So the answer is 18", "#### 18", 1, 1),
    ("So the answer is 18,000.", "#### 18", 0, 0),
    ("It costs $1\u00a0200.", "#### 1,200", 0, 1),
    ("#### 1 200, of 7", "#### 1,200", 1, 1),
    ("The answer is 1.2 thousand. I used 18.", "#### 1,200", 1, 1),
    ("That makes $1.2k", "#### 1,200", 0, 1),
    ("The answer is –3.", "#### -3", 1, 1),
    ("The answer is 4½, so \\boxed{5}", "#### 5", 1, 1),
    ("no number at all", "#### 18", 0, 0),
    ("", "#### 18", 0, 0),
]


@pytest.fixture
def task(manager, tmp_path):
    """Loads a task on one made-up row for each reference."""
    (tmp_path / "gsm8k").mkdir()
    for split in ("train", "test"):
        rows = [{"question": f"What is {gold}?", "answer": f"It is 7 of 9.\n{gold}"} for gold in GOLD]
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lambda name: manager(data_dir=tmp_path).load([name])["tasks"][name]


def scored(task, answer, reference) -> dict[str, float]:
    """filter → what lm-eval scores an answer."""
    doc = {"question": "?", "answer": f"It is 7 of 9.\n{reference}"}
    scores = {}
    for ensemble in task._filters:
        answers = [[answer]]
        for component in ensemble.filters:
            answers = component().apply(answers, [doc])
        scores[ensemble.name] = task.process_results(doc, list(answers))["exact_match"]
    return scores


@pytest.mark.parametrize(("answer", "reference", "strict", "flexible"), CASES)
def test_the_number_that_an_answer_gives_counts(task, answer, reference, strict, flexible):
    scores = scored(task("pkt_gsm8k_chat"), answer, reference)
    assert scores == {"strict-match": strict, "flexible-extract": flexible}


def test_the_nano_task_is_read_alike(manager):
    task = manager().load(["nano_gsm8k"])["tasks"]["nano_gsm8k"]
    for answer, reference, strict, flexible in CASES:
        assert scored(task, answer, reference) == {"strict-match": strict, "flexible-extract": flexible}, answer


@pytest.mark.parametrize("name", ["pkt_gsm8k", "pkt_gsm8k_cot"])
def test_upstream_s_tasks_stay_as_they_are(task, name):
    """They take the last number as text, so that their scores are those that are published elsewhere."""
    theirs = task(name)
    assert scored(theirs, "The answer is 5. I used 3 apples.", "#### 5")["flexible-extract"] == 0
    assert scored(theirs, "It is 5.00", "#### 5")["flexible-extract"] == 0
    assert theirs.config.metadata["version"] == 1.0


def test_another_way_of_scoring_is_another_version(task):
    """Records of before are not compared with those of now."""
    assert task("pkt_gsm8k_chat").config.metadata["version"] == 3.0
