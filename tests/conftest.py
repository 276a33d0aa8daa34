"""Tiny random pairs of every supported family, a quick lm-eval, and a store that no test shares with the user."""

import gc
import importlib.util
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

# The models of the fast tests are so small that a second thread only waits for the first; set before torch is imported,
# and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test needs the hub; one that names what is nowhere would wait half a minute for it, without a network.
os.environ["HF_HUB_OFFLINE"] = "1"

# What is written does not depend on the terminal from which the tests are started: tests name their own width.
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PKT_EVAL_DEBUG"):
    os.environ.pop(_name, None)

#: Files that take a minute or more. Workers take whole files, one after the other: with these first, none is left with
#: a long one when the others are done.
LONGEST = (
    "test_suite_run.py",
    "test_suite_ray.py",
    "test_suite_ranks.py",
    "test_install.py",
    "test_results.py",
    "test_code_hostile.py",
    "test_pytest_plugin.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    """A collection of garbage follows each model; without what is imported by now it takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def lean_lm_eval(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for PYTHONPATH: lm-eval with gsm8k alone. A scan of all its 14,000 task files takes a process 6 s."""
    real = Path(importlib.util.find_spec("lm_eval").origin).parent
    folder = tmp_path_factory.mktemp("lean")
    lean = folder / "lm_eval"
    (lean / "tasks").mkdir(parents=True)
    for file in real.iterdir():
        if file.name != "tasks":
            (lean / file.name).symlink_to(file)
    for file in (real / "tasks").iterdir():
        if file.suffix == ".py" or file.name == "__pycache__":
            (lean / "tasks" / file.name).symlink_to(file)
    shutil.copytree(real / "tasks" / "gsm8k", lean / "tasks" / "gsm8k")  # the scan follows no links
    return str(folder)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "store"))


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """Processes that start with everything imported, and run what is in ``forked``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["forked"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        # The first process waits for the imports, which are no part of what the others do.
        first = context.Process(target=time.sleep, args=(0,))
        first.start()
        first.join()
    return context


@pytest.fixture(scope="module")
def short_answers() -> Iterator[None]:
    """Who judges candidates by their answers reads eight tokens of each: tiny random models never end theirs."""
    from pkt_eval.data import benchmarks

    with pytest.MonkeyPatch.context() as patch:
        for name in ("nano_gsm8k", "nano_humaneval", "nano_mbpp"):
            patch.setitem(benchmarks._TABLE, name, replace(benchmarks.benchmark(name), answer_tokens=8))
        yield


#: family → what its configuration needs beyond sizes. GQA everywhere, h·e ≠ d everywhere.
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},  # its q, k and v have biases
    "qwen3": {},  # normalises q and k
    "gemma": {},  # tied, scaled embeddings
    "gemma2": {},  # norms after the blocks, soft-capped logits
}
TEACHER = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2)
STUDENT = dict(hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2)


def random_model(family: str, sizes: dict, folder: Path, *, seed: int, padding: int = 0, tie: bool = True) -> Path:
    """Write a random model of a family with the nano tokenizer; ``padding`` rows are added to its vocabulary."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from pkt_eval import nano

    tokenizer = AutoTokenizer.from_pretrained(nano.model_path("student"))
    config = AutoConfig.for_model(
        family,
        **sizes,
        **FAMILIES[family],
        vocab_size=len(tokenizer) + padding,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=tie,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():  # biases start at zero, which would hide a forgotten one
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """``tiny(family)`` → (teacher folder, student folder): random, unequal padded vocabularies."""
    root = tmp_path_factory.mktemp("tiny")

    def make(family: str = "llama", *, tie: bool = True) -> tuple[str, str]:
        folders = [root / f"{family}-{tie}-{role}" for role in ("teacher", "student")]
        for seed, (folder, sizes) in enumerate(zip(folders, (TEACHER, STUDENT), strict=True)):
            if not folder.exists():
                random_model(family, sizes, folder, seed=seed, padding=8 * (1 - seed), tie=tie)
        return tuple(map(str, folders))

    return make


@pytest.fixture
def small() -> dict:
    """Options that keep a transfer to a second."""
    return dict(
        transfer_task="nano_gsm8k",
        extract_samples=2,
        align_samples=2,
        train_samples=8,
        validation_samples=4,
        rank=4,
        alpha=4,
        max_steps=2,
        train_batch_size=4,
        learning_rate=1e-3,
    )
