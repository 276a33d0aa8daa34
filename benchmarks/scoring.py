"""Scoring by ``hf``, by ours and, where it is installed, by vLLM: the same requests, one process each, side by side.

    python benchmarks/scoring.py                                           # the embedded nano student
    python benchmarks/scoring.py --models nano DIR --data BENCHMARKS       # and a real one, on the real benchmarks
    python benchmarks/scoring.py … --out results/speed                       # keeps a JSON a model, and one table

For each workload: seconds, tokens of prompts and answers a second, GFLOP/s of the products that *all* their tokens
amount to against a bare matrix product's (more than it where a shared prefix is computed once), and peak memory of the
process. Answers are compared: generated texts must be equal, log-likelihoods within the difference that is printed.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

WORKLOADS = {
    # name: (tasks of a real model, tasks of nano, examples in the prompt)
    "MMLU 5-shot": (("pkt_mmlu_anatomy", "pkt_mmlu_astronomy", "pkt_mmlu_computer_security"), ("nano_mmlu",), 5),
    "MMLU 0-shot": (("pkt_mmlu_anatomy", "pkt_mmlu_astronomy", "pkt_mmlu_computer_security"), ("nano_mmlu",), 0),
    "GSM8K 5-shot": (("pkt_gsm8k",), ("nano_gsm8k",), 5),
    "HumanEval": (("pkt_humaneval",), ("nano_humaneval",), 0),
}
WRAPPERS = ("hf", "pkt_vanilla", "vllm")
NANO = "nano"


def bare_product(device: str, dtype: Any) -> float:
    """GFLOP/s of a product of the shapes of a feed-forward block."""
    import torch

    a, b = (torch.randn(n, 1024, device=device).to(dtype) for n in (2048, 4096))
    best = 0.0
    for _ in range(5):
        start = _clock(device)
        for _ in range(4):
            a @ b.T
        best = max(best, 4 * 2 * 2048 * 1024 * 4096 / (_clock(device) - start) / 1e9)
    return best


def _clock(device: str) -> float:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def requests_of(tasks: tuple[str, ...], shots: int, limit: int) -> list[Any]:
    """lm-eval's requests to a task's first items."""
    from lm_eval.tasks import TaskManager, get_task_dict

    made = []
    for task in get_task_dict(list(tasks), TaskManager()).values():
        task.set_config("num_fewshot", shots)
        task.set_fewshot_seed(0)
        task.build_all_requests(limit=max(1, limit // len(tasks)), rank=0, world_size=1)
        made.extend(task.instances)
    return made


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """One wrapper on one workload, in this process."""
    import torch
    from lm_eval.api.registry import get_model

    real, nano_tasks, shots = WORKLOADS[asked.workload]
    (model,) = asked.models
    requests = requests_of(nano_tasks if model == NANO else real, shots, asked.items)
    if asked.wrapper == "vllm":
        arguments = {"dtype": asked.dtype, "max_model_len": 4096}
    else:
        arguments = {"dtype": asked.dtype, "device": asked.device, "batch_size": asked.batch_size}
    lm = get_model(asked.wrapper)(pretrained=_nano() if model == NANO else model, **arguments)
    kind = requests[0].request_type
    start = _clock(asked.device)
    answers = getattr(lm, kind)(requests, disable_tqdm=True)
    seconds = _clock(asked.device) - start
    texts = [r.args[0] + (r.args[1] if kind == "loglikelihood" else a) for r, a in zip(requests, answers, strict=True)]
    tokens = sum(len(lm.tok_encode(text)) for text in texts)
    found = {"seconds": seconds, "tokens": tokens, "answers": answers, "kind": kind, "requests": len(requests)}
    if asked.device.startswith("cuda"):
        found["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    else:
        found["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if asked.wrapper != "vllm":
        per_token = 2 * sum(p.numel() for p in lm.model.parameters())
        bare = bare_product(asked.device, lm.model.dtype)
        found |= {"gflops": tokens * per_token / seconds / 1e9, "bare_gflops": bare, "dtype": str(lm.model.dtype)}
    return found


def _nano() -> str:
    from pkt_eval import nano

    return str(nano.model_path("student"))


def run(asked: argparse.Namespace, model: str) -> list[dict[str, Any]]:
    """Every wrapper on every workload, each in a process of its own."""
    rows: list[dict[str, Any]] = []
    for workload in asked.only or WORKLOADS:
        for wrapper in asked.wrappers:
            command = [sys.executable, __file__, *sys.argv[1:], "--models", model]
            command += ["--workload", workload, "--wrapper", wrapper]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                print(f"{workload}: {wrapper} ended with exit code {done.returncode}", file=sys.stderr)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            rows.append({"workload": workload, "wrapper": wrapper, **found})
            print(_line(rows), flush=True)
    return rows


def _line(rows: list[dict[str, Any]]) -> str:
    """The last row, against the first of its workload."""
    row = rows[-1]
    first = next(r for r in rows if r["workload"] == row["workload"])
    row["times_first"], row["agreement"] = first["seconds"] / row["seconds"], _agreement(first, row)
    return "  ".join(text.ljust(width) for text, width in zip(_cells(row), (14, 12, 9, 8, 16, 24, 8, 30), strict=True))


def _cells(row: dict[str, Any]) -> list[str]:
    flops = f"{row['gflops']:,.0f} of {row['bare_gflops']:,.0f}" if "gflops" in row else "–"
    return [
        row["workload"],
        row["wrapper"],
        f"{row['seconds']:.1f} s",
        f"{row['times_first']:.2f} ×",
        f"{row['tokens'] / row['seconds']:,.0f} tokens/s",
        f"{flops} GFLOP/s",
        f"{row['memory_gb']:.2f} GB",
        row["agreement"],
    ]


def _agreement(first: dict[str, Any], row: dict[str, Any]) -> str:
    if first is row:
        return ""
    pairs = list(zip(first["answers"], row["answers"], strict=True))
    if row["kind"] == "loglikelihood":
        return f"log-likelihoods within {max(abs(a[0] - b[0]) for a, b in pairs):.1e}"
    return f"{sum(a == b for a, b in pairs)} of {len(pairs)} answers equal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[NANO], help="folders or names; nano: the embedded student")
    parser.add_argument("--data", help="folder of the real benchmarks (PKT_EVAL_DATA)")
    parser.add_argument("--items", type=int, default=48, help="items of a workload")
    parser.add_argument("--batch-size", default="16", help="a number, or auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--only", action="append", choices=list(WORKLOADS))
    parser.add_argument("--wrappers", nargs="+", choices=WRAPPERS, default=["hf", "pkt_vanilla"])
    parser.add_argument("--out", type=Path, help="folder for a JSON a model, and summary.md of all that it holds")
    parser.add_argument("--workload", help=argparse.SUPPRESS)
    parser.add_argument("--wrapper", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.data:
        os.environ["PKT_EVAL_DATA"] = str(Path(asked.data).resolve())
    if asked.wrapper:
        print(json.dumps(measure(asked)))
        return
    for model in asked.models:
        name = Path(model).name
        print(f"\n{name}, {asked.device}, batch size {asked.batch_size}", flush=True)
        rows = run(asked, model)
        if asked.out:
            asked.out.mkdir(parents=True, exist_ok=True)
            (asked.out / f"{name}.json").write_text(
                json.dumps({"about": {"model": name, **about(asked)}, "rows": [kept(row) for row in rows]}, indent=1)
                + "\n",
                "utf-8",
            )
            (asked.out / "summary.md").write_text(summary(asked.out), "utf-8")


def about(asked: argparse.Namespace) -> dict[str, Any]:
    """On what it was measured."""
    import torch

    return {
        "device": torch.cuda.get_device_name(asked.device) if asked.device.startswith("cuda") else _processor(),
        "threads": torch.get_num_threads(),
        "batch_size": asked.batch_size,
        "items": asked.items,
        **{package: version(package) for package in ("torch", "transformers", "lm_eval")},
    }


def kept(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what was answered."""
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k != "answers"}


def summary(folder: Path) -> str:
    """All that a folder holds, as Markdown."""
    parts = [
        "# Scoring: `hf` against ours",
        "",
        "Written by benchmarks/scoring.py, which says what the columns are.",
        "",
    ]
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        said = dict(found["about"])
        parts += [f"## {said.pop('model')}", "", ", ".join(f"{k} {v}" for k, v in said.items()), ""]
        head = ["workload", "model", "time", "against hf", "speed", "products", "peak", "answers"]
        table = [head, ["---"] * len(head), *(_cells(row) for row in found["rows"])]
        parts += [*(f"| {' | '.join(cells)} |" for cells in table), ""]
    return "\n".join(parts)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
