"""Six nano students on four tasks: one suite against six ``lm_eval`` processes; wall and CPU time, and peak memory.

And what a dry run takes, as a multiple of what any process takes that imports the methods.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time

OPTIONS = {"train_samples": 64, "epochs": 1, "validation_samples": 16, "extract_samples": 8, "align_samples": 16}
METHODS = ("vanilla", "teacher", "lora", "pissa", "seeking", "laten")
TASKS = ("nano_mmlu", "nano_gsm8k", "nano_humaneval", "nano_mbpp")
LIMIT = 40


def measured(command, env):
    """Wall and CPU seconds of a process and those that it has waited for."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_one_suite_against_a_process_a_student(tmp_path, capsys):
    """24 cells each: the suite has a student of each method for each task, a process one student for all tasks."""
    suite = {
        "benchmarks": list(TASKS),
        "methods": list(METHODS),
        "options": OPTIONS,
        "limit": LIMIT,
        "batch_size": 8,
        "confirm_run_unsafe_code": True,
        "dtype": "float32",
        "device": "cpu",
    }
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite))  # JSON is YAML
    env = {**os.environ, "PKT_EVAL_STORE": str(tmp_path / "store")}
    program = [sys.executable, "-m", "pkt_eval", "run", str(path)]
    made, _ = measured([*program, "--out", str(tmp_path / "warm")], env)  # all students are in the store after it
    ours, our_cpu = measured([*program, "--out", str(tmp_path / "out")], env)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # with the transfers
    theirs = their_cpu = 0.0
    for method in METHODS:
        learns = method not in ("vanilla", "teacher")
        known = {k: v for k, v in OPTIONS.items() if method != "laten" or k != "epochs"}
        arguments = {"method": method, "dtype": "float32"} | ({"transfer_task": TASKS[1], **known} if learns else {})
        command = [sys.executable, "-m", "lm_eval", "--model", "pkt_student", "--tasks", ",".join(TASKS)]
        command += ["--model_args", ",".join(f"{k}={v}" for k, v in arguments.items()), "--apply_chat_template"]
        command += ["--limit", str(LIMIT), "--batch_size", "8", "--device", "cpu", "--confirm_run_unsafe_code"]
        command += ["--output_path", str(tmp_path / "separate"), "--log_samples"]
        wall, cpu = measured(command, env)
        theirs, their_cpu = theirs + wall, their_cpu + cpu
    more = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # the largest so far
    with capsys.disabled():
        print("\n6 methods x 4 tasks, the students in the store:")
        print(f"wall: one suite {ours:.0f} s, six lm_eval {theirs:.0f} s: {theirs / ours:.1f} x faster")
        print(f"CPU: one suite {our_cpu:.0f} s, six lm_eval {their_cpu:.0f} s: {their_cpu / our_cpu:.1f} x less")
        print(f"with all transfers, the suite took {made:.0f} s")
        print(f"peak memory: suite {memory / 1e6:.2f} GB, all {more / 1e6:.2f} GB")


def test_a_dry_run(tmp_path, capsys):
    """24 cells in a store that knows nothing, again, 3,000 cells, and 24 cells beside 2,000 copies of a student."""
    small = {"benchmarks": list(TASKS), "methods": list(METHODS), "options": OPTIONS, "limit": LIMIT, "device": "cpu"}
    grid = {"method": "lora", "grid": {"rank": list(range(1, 16)), "alpha": list(range(1, 6))}}
    large = {"benchmarks": list(TASKS), "methods": [grid], "seeds": list(range(10)), "limit": LIMIT, "device": "cpu"}
    environment = {**os.environ, "PKT_EVAL_STORE": str(tmp_path / "full")}
    transfer = [sys.executable, "-m", "pkt_eval", "transfer", "method=lora", "transfer_task=nano_gsm8k"]
    transfer += ["train_samples=4", "max_steps=1", "rank=1", "--device", "cpu", "--out", str(tmp_path / "student")]
    measured(transfer, environment)
    students = tmp_path / "full" / "students"
    (made,) = (folder for folder in students.iterdir() if folder.is_dir())
    for number in range(2000):
        shutil.copytree(made, students / f"{number:064x}")
    imports = "import pkt_eval.methods.base as base; base.methods(); import pkt_eval.suite.cli, pkt_eval.suite.schema"
    floor = measured([sys.executable, "-c", imports], environment)
    said = []
    for what, suite, store in (
        ("24 cells, a fresh store", small, "store"),
        ("24 cells, again", small, "store"),
        ("3,000 cells, for the first time", large, "store"),
        ("24 cells beside 2,000 students, for the first time", small, "full"),
        ("24 cells beside 2,000 students, again", small, "full"),
    ):
        path = tmp_path / "dry.yaml"
        path.write_text(json.dumps(suite))
        command = [sys.executable, "-m", "pkt_eval", "run", str(path), "--dry-run", "--out", str(tmp_path / "none")]
        wall, cpu = measured(command, {**environment, "PKT_EVAL_STORE": str(tmp_path / store)})
        said.append(f"{what}: {wall:.1f} s, {cpu:.1f} s of CPU, {cpu / floor[1]:.1f} x the imports")
    with capsys.disabled():
        print(f"\nimports alone: {floor[0]:.1f} s, {floor[1]:.1f} s of CPU", *said, sep="\n")
