"""Verdicts in lm-eval's samples: what is written is read, and what says nothing about a program is said."""

import logging

import pytest

import pkt_eval.code
from pkt_eval.code import Verdict
from pkt_eval.lm.task_functions import judge_programs, pass_at_k


@pytest.fixture
def judged(monkeypatch):
    """``judged(*statuses)``: the verdicts of so many answers to one MBPP row, as the filter gives them."""

    def run(*statuses):
        verdicts = [Verdict(status == "passed", status) for status in statuses]
        monkeypatch.setattr(pkt_eval.code, "judge_many", lambda jobs, progress: verdicts)
        row = {"task_id": 1, "text": "?", "code": "", "test_list": ["assert f() == 1"], "test_setup_code": ""}
        return judge_programs.of("nano_mbpp")([["def f(): return 1"] * len(statuses)], [row])

    return run


def test_the_record_of_a_verdict_is_a_verdict_and_its_program(judged):
    ((text, other),) = judged("passed", "failed")
    assert Verdict.from_text(text) == Verdict(True, "passed") and '"program": "def f(): return 1"' in text
    assert pass_at_k({}, [[text, other]]) == {"pass@1": 0.5, "pass@2": 1.0}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("infrastructure", "2 of 4 programs could not be run and count as not passed"),
        ("unsupported", "2 of 4 programs use a value that cannot cross between tests and program and count as not"),
    ],
)
def test_what_says_nothing_about_a_program_is_said(judged, caplog, status, said):
    with caplog.at_level(logging.WARNING, "pkt_eval"):
        judged("passed", status, "failed", status)
    assert [record.getMessage()[: len(said)] for record in caplog.records] == [said]


def test_nothing_is_said_of_ordinary_verdicts(judged, caplog):
    with caplog.at_level(logging.WARNING, "pkt_eval"):
        judged("passed", "failed", "timeout")
    assert caplog.records == []
