"""Records made up in lm-eval's shape, so that what a report says can be checked against what was put in."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

TEACHER, STUDENT = "acme/big", "acme/small"
LEARNT = {"lora": "baseline", "pissa": "baseline", "seeking": "PostPKT", "laten": "PrePKT"}


def digest(text: str) -> str:
    """sha256, as lm-eval's hashes."""
    return hashlib.sha256(text.encode()).hexdigest()


def provenance(method: str, task: str | None, seed: int | None, train: int = 64, **options: object) -> dict:
    """``config.pkt`` of a student of ours."""
    made_by = {
        "method": method,
        "paradigm": LEARNT.get(method, "baseline"),
        "title": f"the {method}",
        "reference": "arXiv 0000.00000",
        "student": STUDENT,
        "student_digest": digest(STUDENT),
        "teacher": TEACHER if method in ("teacher", "seeking", "laten") else None,
        "chat_format": "paper",
        "versions": {"torch": "2.9"},
        "fingerprint": digest(repr((method, task, seed, options))),
        "seconds": {},
        "peak_memory_bytes": 10**9,
        "record": {},
    }
    if made_by["teacher"]:
        made_by["teacher_digest"] = digest(TEACHER)
    if method in LEARNT:
        made_by |= {
            "config": {"rank": 16, **options},
            "transfer_task": task,
            "seed": seed,
            "split_digests": {"train": digest(f"{task} {seed} {train}")},
            "split_sizes": {"train": train, "validation": 8},
            "seconds": {"finetune": 12.5},
            "record": {"training": {"steps": 4}},
        }
    if method == "laten":
        made_by["split_sizes"]["align"] = 32
        made_by["record"] = {"alignment": {"steps": [{"loss": 2.0}, {"loss": 1.5}]}}
    return made_by


def write_record(
    folder: Path,
    scores: Mapping[str, float] | Sequence[float],
    *,
    task: str = "pkt_gsm8k_chat",
    method: str | None = "vanilla",
    seed: int | None = None,
    subject: Callable[[str], str] | None = None,
    samples: bool = True,
    date: float = 1.0,
    metric: str = "exact_match,strict-match",
    answer: str = "an answer",
    question: str = "What is {}?",
    fewshot: int = 0,
    version: float = 1.0,
    template: str | None = "t" * 64,
    generation: dict | None = None,
    transfer_task: str | None = None,
    pretrained: str = STUDENT,
    options: Mapping[str, object] | None = None,
    train: int = 64,
    dtype: str = "float32",
) -> Path:
    """Write ``results_….json`` and ``samples_….jsonl`` of one student on one task; returns the results file.

    Args:
        folder: Of this record alone, or of several with different dates.
        scores: Document → score; or scores of documents d0, d1, ….
        method: None for a foreign ``hf`` run of ``pretrained``.
    """
    if not isinstance(scores, Mapping):
        scores = {f"d{i}": score for i, score in enumerate(scores)}
    name, _, filter_name = metric.partition(",")
    config = {"model": "hf" if method is None else "pkt_student", "model_args": {"pretrained": pretrained}}
    config |= {"model_dtype": f"torch.{dtype}", "batch_size": 8, "limit": None}
    if method:
        own = task.removeprefix("pkt_").removesuffix("_chat")
        config["pkt"] = provenance(method, transfer_task or own, seed, train, **(options or {}))
    content = {
        "results": {
            task: {"alias": task, metric: sum(scores.values()) / len(scores), f"{name}_stderr,{filter_name}": 0}
        },
        "configs": {task: {"task": task, "generation_kwargs": generation or {"do_sample": False}}},
        "config": config,
        "versions": {task: version},
        "n-shot": {task: fewshot},
        "n-samples": {task: {"original": len(scores), "effective": len(scores)}},
        "chat_template_sha": template,
        "date": date,
        "group_subtasks": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"2026-01-01T00-00-{date:09.3f}"
    results = folder / f"results_{stamp}.json"
    results.write_text(json.dumps(content), "utf-8")
    if samples:
        lines = []
        for i, (doc, score) in enumerate(scores.items()):
            prompt = question.format(doc)
            lines.append(
                {
                    "doc_id": i,
                    "doc": {"question": doc, **({"subject": subject(doc)} if subject else {})},
                    "target": f"target of {doc}",
                    "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}},
                    "resps": [[answer]],
                    "filtered_resps": [answer],
                    "filter": filter_name,
                    "metrics": [name],
                    "doc_hash": digest(doc),
                    "prompt_hash": digest(prompt),
                    "target_hash": digest(f"target of {doc}"),
                    name: score,
                }
            )
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"samples_{task}_{stamp}.jsonl").write_text(text, "utf-8")
    return results


@pytest.fixture(scope="session")
def made() -> Callable[..., Path]:
    """``write_record``."""
    return write_record
