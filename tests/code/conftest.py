"""Shared by the tests of pkt_eval.code: the real benchmarks' rows, and verdicts that are computed once."""

import json
import os
from pathlib import Path

import pytest

from pkt_eval.code import judge_many

REPOSITORY = Path(__file__).resolve().parents[2]


def _rows(benchmark: str) -> list[dict]:
    root = Path(os.environ.get("PKT_EVAL_DATA") or REPOSITORY.parent / "shared" / "benchmarks")
    files = sorted((root / benchmark).glob("*.jsonl"))
    if not files:
        pytest.skip(f"no {benchmark} rows in {root}: set PKT_EVAL_DATA to a folder of the benchmarks")
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines() if line.strip()]


@pytest.fixture(scope="session")
def humaneval() -> list[dict]:
    """The 164 problems."""
    return _rows("humaneval")


@pytest.fixture(scope="session")
def mbpp() -> list[dict]:
    """The 974 problems of all splits."""
    return _rows("mbpp")


@pytest.fixture(scope="session")
def verdicts():
    """Judges jobs, or pairs of candidate and tests; one that several tests ask for runs once."""
    known = {}

    def ask(jobs):
        new = [job for job in dict.fromkeys(jobs) if job not in known]
        known.update(zip(new, judge_many(new), strict=True))
        return [known[job] for job in jobs]

    return ask
