"""Six nano students on four tasks: one suite against a separate `lm_eval` each; wall time and peak memory."""

import json
import os
import resource
import subprocess
import sys
import time

OPTIONS = {"train_samples": 64, "epochs": 1, "validation_samples": 16, "extract_samples": 8, "align_samples": 16}
METHODS = ("vanilla", "teacher", "lora", "pissa", "seeking", "laten")
TASKS = ("nano_mmlu", "nano_gsm8k", "nano_humaneval", "nano_mbpp")
LIMIT = 40


def measured(command, env):
    start = time.monotonic()
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return time.monotonic() - start


def test_one_suite_against_a_process_a_student_and_task(tmp_path, capsys):
    """The separate way is one process a student: each task has a student of its own, made by then and stored."""
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
    program = [sys.executable, "-m", "pkt_eval.cli", "run", str(path)]
    made = measured([*program, "--out", str(tmp_path / "warm")], env)  # all students are in the store after it
    took = {"suite": measured([*program, "--out", str(tmp_path / "out")], env), "lm_eval": 0.0}
    memory = {"suite": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}
    for method in METHODS:
        learns = method not in ("vanilla", "teacher")
        known = {k: v for k, v in OPTIONS.items() if method != "laten" or k != "epochs"}
        for tasks in [[task] for task in TASKS] if learns else [list(TASKS)]:
            arguments = {"method": method, "dtype": "float32"} | (
                {"transfer_task": tasks[0], **known} if learns else {}
            )
            command = [sys.executable, "-m", "lm_eval", "--model", "pkt_student", "--tasks", ",".join(tasks)]
            command += ["--model_args", ",".join(f"{k}={v}" for k, v in arguments.items()), "--apply_chat_template"]
            command += ["--limit", str(LIMIT), "--batch_size", "8", "--device", "cpu", "--confirm_run_unsafe_code"]
            command += ["--output_path", str(tmp_path / "separate"), "--log_samples"]
            took["lm_eval"] += measured(command, env)
    memory["lm_eval"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # the largest so far
    with capsys.disabled():
        print("\n6 students x 4 tasks, the students in the store:")
        ratio = took["lm_eval"] / took["suite"]
        print(f"one suite {took['suite']:.0f} s, separate lm_eval {took['lm_eval']:.0f} s: {ratio:.1f} x faster")
        print(f"with all transfers, the suite took {made:.0f} s")
        print(f"peak memory {memory['suite'] / 1e6:.2f} GB against {memory['lm_eval'] / 1e6:.2f} GB")
