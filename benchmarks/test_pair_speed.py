"""A pair: what loading and evaluating a student cost against plain ``hf``, and what Seeking's extraction takes.

Qwen2.5-Coder 1.5B → 0.5B where PKT_EVAL_MODELS holds it as ``qwen-1.5b`` and ``qwen-0.5b``, and PKT_EVAL_DATA the
records; else nano. Run with ``make bench``. Ratios are printed, never asserted.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pkt_eval import nano

MODELS = Path(os.environ.get("PKT_EVAL_MODELS", "/nonexistent"))
REAL = (MODELS / "qwen-1.5b").is_dir() and bool(os.environ.get("PKT_EVAL_DATA"))
TEACHER, STUDENT = (
    (MODELS / "qwen-1.5b", MODELS / "qwen-0.5b") if REAL else map(nano.model_path, ("teacher", "student"))
)
TASK = "gsm8k" if REAL else "nano_gsm8k"
CPU = dict(device="cpu", batch_size=4)


@pytest.fixture(scope="module")
def words() -> dict:
    """A LoRA student that is made in seconds: loading does not depend on how long it was trained."""
    return dict(
        pretrained=str(STUDENT), method="pissa", transfer_task=TASK, max_steps=1,
        train_samples=2, train_batch_size=2, validation_samples=1, extract_samples=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(words, tmp_path_factory) -> Path:
    """The same student, saved and merged."""
    from pkt_eval.transfer.recipe import make_recipe
    from pkt_eval.transfer.transfer import make_student

    folder = tmp_path_factory.mktemp("student")
    make_student(make_recipe(words)).save(folder, merged=True)
    return folder


def loaders(words: dict, folder: Path) -> dict:
    from lm_eval.models.huggingface import HFLM

    from pkt_eval.model_wrappers.student import PKTStudent

    return {
        "hf on the merged folder": lambda: HFLM(pretrained=str(folder / "merged"), **CPU),
        "pkt_student, student=DIR": lambda: PKTStudent(student=str(folder), **CPU),
        "pkt_student from the store": lambda: PKTStudent(**words, **CPU),
    }


@pytest.mark.benchmark(group="load a student, and one forward pass")
@pytest.mark.parametrize("how", ["hf on the merged folder", "pkt_student, student=DIR", "pkt_student from the store"])
def test_load(benchmark, words, folder, how):
    import torch

    load = loaders(words, folder)[how]

    @torch.no_grad()
    def ready() -> torch.Tensor:
        # A checkpoint is mapped from its file: without a pass over the weights, none of them would have been read.
        return load().model(input_ids=torch.arange(8)[None]).logits

    assert torch.isfinite(benchmark.pedantic(ready, rounds=9, warmup_rounds=1)).all()


@pytest.mark.benchmark(group="evaluate a student: 16 log-likelihoods of 200 tokens")
@pytest.mark.parametrize("how", ["hf on the merged folder", "pkt_student from the store"])
def test_evaluate(benchmark, words, folder, how):
    from lm_eval.api.instance import Instance

    model = loaders(words, folder)[how]()
    requests = [Instance("loglikelihood", {}, ("a b" * 100 + str(i), " c"), i) for i in range(16)]
    scores = benchmark.pedantic(model.loglikelihood, (requests,), {"disable_tqdm": True}, rounds=5, warmup_rounds=1)
    assert len(scores) == 16


@pytest.mark.benchmark(group="generate with a student: 20 GSM8K answers of at most 256 tokens in one batch")
@pytest.mark.parametrize("how", ["hf on the merged folder", "pkt_student from the store"])
def test_generate(benchmark, words, folder, how):
    from lm_eval.api.instance import Instance

    from pkt_eval.data.records import user_turn
    from pkt_eval.data.sources import load_rows

    model = loaders(words, folder)[how]()
    options = {"until": ["<|im_end|>"], "do_sample": False, "max_gen_toks": 256}
    rows = load_rows(TASK, "test")[:20]
    prompts = [model.apply_chat_template([{"role": "user", "content": user_turn(TASK, row)}]) for row in rows]
    requests = [Instance("generate_until", {}, (prompt, options), i) for i, prompt in enumerate(prompts)]
    model.batch_size_per_gpu = len(requests)
    answers = benchmark.pedantic(model.generate_until, (requests,), {"disable_tqdm": True}, rounds=2)
    assert all(answers)


EXTRACT = """
import json, sys
from pkt_eval._util.progress import Progress, peak_memory
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer
transfer, progress = Transfer(make_recipe(json.loads(sys.argv[1]))), Progress()
recipe, pair = transfer.recipe, transfer.pair
data = TransferData(transfer.splits, recipe.chat, recipe.loss_on, recipe.transfer_max_length, recipe.task_splits)
with pair.open_teacher() as teacher:
    dtype = str(teacher.dtype)
    transfer.method.extract(teacher, pair, data, progress)
print(json.dumps({"seconds": progress.seconds, "peak GB": round(peak_memory() / 1e9, 2), "dtype": dtype}))
"""


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_seekings_extraction(dtype, capsys):
    """32 samples, in a process of its own, since peak memory never falls."""
    words = {
        "teacher": str(TEACHER), "pretrained": str(STUDENT), "method": "seeking", "transfer_task": TASK,
        "transfer_dtype": dtype,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", EXTRACT, json.dumps(words)], stdout=subprocess.PIPE, text=True, check=True
    )
    spent = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\nSeeking's extraction, 32 samples, transfer_dtype={dtype}: {spent}")
    assert spent["seconds"]["sensitivity"] > 0
