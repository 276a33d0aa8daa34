"""How answers ended: from the tokens of a batch, through lm-eval and a journal, to the metrics of a task."""

import json
import pickle

import lm_eval
import pytest
from lm_eval.tasks import TaskManager

import pkt_eval.tasks
from pkt_eval import nano
from pkt_eval.inference.greedy import Ending
from pkt_eval.lm.answers import METRICS, Answer, answer_from_json, answer_to_json, is_kept, metrics_of
from pkt_eval.model_wrappers.generate import Endings, endings
from pkt_eval.model_wrappers.student import PKTVanilla
from pkt_eval.suite.journal import Journal, JournalledLM

END, PAD, STOP = 1, 0, 9


def test_how_each_answer_of_a_batch_ended():
    rows = [
        [5, 6, END, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD],  # by its token
        [5, 6, STOP, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD, PAD],  # left the batch at a stop sequence
        [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, STOP],  # met it with its last token
        [2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14],  # at its limit
        [5, 6, 7, 8, 5, 6, 7, 8, 5, 6, 7, 8],  # at its limit, in circles
        [END, *[PAD] * 11],  # nothing was said
    ]
    found = endings(rows, {END}, PAD, lambda row: STOP in row)
    assert found == [Ending(True, False)] * 3 + [Ending(False, False), Ending(False, True), Ending(True, False)]
    # Where the padding is the end itself, too.
    assert endings([[5, END, END]], {END}, END, lambda row: False) == [Ending(True, False)]


class Hook:
    def __init__(self):
        self.calls = []

    def add_partial(self, *call):
        self.calls.append(call)


class Request:
    def __init__(self, *args):
        self.args = args


def test_endings_find_their_requests_in_whatever_order_these_were_answered():
    plain, kwargs = Hook(), {"until": ["x"]}
    hook = Endings(plain)
    hook.begin([Ending(False, True), Ending(True, False)])
    hook.add_partial("generate_until", ("long", kwargs), "aa")
    hook.add_partial("generate_until", ("short", kwargs), "b")
    hook.begin([Ending(True, False)])
    hook.add_partial("generate_until", ("long", kwargs), "aaa")
    assert [call[2] for call in plain.calls] == ["aa", "b", "aaa"]
    requests = [Request("short", kwargs), Request("long", dict(kwargs)), Request("long", kwargs)]
    answers = hook.answers(requests, ["b", "aa", "aaa"], len)
    assert answers == ["b", "aa", "aaa"]  # texts as before
    assert [(a.ended, a.looped, a.tokens) for a in answers] == [(True, False, 1), (False, True, 2), (True, False, 3)]


def test_an_answer_is_text_wherever_it_goes():
    answer = Answer("4 apples", True, False, 3)
    assert answer == "4 apples" and json.dumps([answer]) == '["4 apples"]'
    assert type(pickle.loads(pickle.dumps(answer))) is str  # lm-eval's cache names no class of ours
    kept = json.loads(json.dumps(answer_to_json(answer)))
    back = answer_from_json(kept)
    assert (back, back.ended, back.looped, back.tokens) == ("4 apples", True, False, 3)
    assert answer_from_json(answer_to_json("from elsewhere")) == "from elsewhere"
    assert is_kept(kept) and is_kept("text")
    assert not any(map(is_kept, (["text", 1, False, 3], ["text", True, False], [1.0, True], None)))


def test_metrics_are_of_all_answers_or_none():
    class Instance:
        def __init__(self, doc_id, *resps):
            self.doc_id, self.resps = doc_id, resps

    good, bad = Answer("a", True, False, 2), Answer("bb", False, True, 4)
    assert metrics_of([Instance(0, good, bad), Instance(7, good)]) == {
        0: {"ended": 0.5, "looped": 0.5, "answer_tokens": 3.0},
        7: {"ended": 1.0, "looped": 0.0, "answer_tokens": 2.0},
    }
    assert metrics_of([Instance(0, good), Instance(1, "cached")]) == {}


@pytest.fixture(scope="module")
def lm():
    return PKTVanilla(pretrained=nano.model_path("student"), batch_size=4)


def evaluated(lm, limit=6):
    manager = TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False)
    return lm_eval.simple_evaluate(
        lm, tasks=["nano_gsm8k"], limit=limit, apply_chat_template=True, task_manager=manager, bootstrap_iters=0
    )


def test_the_results_of_a_task_say_it_and_a_journal_keeps_it(lm, tmp_path):
    results = evaluated(lm)
    scores, samples = results["results"]["nano_gsm8k"], results["samples"]["nano_gsm8k"]
    for name in METRICS:
        for filter_name in ("strict-match", "flexible-extract"):
            values = [s[name] for s in samples if s["filter"] == filter_name]
            assert len(values) == 6 and scores[f"{name},{filter_name}"] == pytest.approx(sum(values) / 6)
    # An answer that ended is shorter than the limit.
    limit = 96
    assert all(s["answer_tokens"] < limit or not s["ended"] for s in samples)
    assert all(s["answer_tokens"] == len(lm.tok_encode(s["resps"][0][0], add_special_tokens=False)) for s in samples)

    path = tmp_path / "journal.jsonl"
    for _ in range(2):  # asked, and then read
        journal = Journal(path, {})
        again = evaluated(JournalledLM(lm, journal, batch_size=4))["results"]["nano_gsm8k"]
        journal.close()
        assert {k: v for k, v in again.items() if k.split(",")[0] in METRICS} == {
            k: v for k, v in scores.items() if k.split(",")[0] in METRICS
        }
