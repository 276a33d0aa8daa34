"""What the parts of ``benchmarks/gpu.sh`` share: steps that are measured and kept one by one, and models without files.

A part writes its JSON after each step, so that whatever ends it loses the running step alone.
"""

import gc
import importlib.metadata
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pkt_eval import plugin

plugin.install()  # the package need not be installed, and then no .pth file has done it

DEVICE = os.environ.get("PKT_GPU_DEVICE", "cuda")
TINY = os.environ.get("PKT_GPU_TINY") == "1"
OUT = Path(os.environ.get("PKT_GPU_OUT", "results/gpu"))
CUDA = DEVICE.startswith("cuda")

#: Hidden size, FFN, layers, heads, key/value heads.
SHAPES = {
    "13B": (5120, 13824, 40, 40, 40),
    "7B": (4096, 11008, 32, 32, 32),
    "1B": (2048, 5632, 22, 32, 4),
}
if TINY:
    SHAPES = {"13B": (192, 512, 4, 6, 6), "7B": (128, 384, 3, 4, 4), "1B": (128, 384, 2, 4, 2)}
VOCABULARY = 512 if TINY else 32000


class Part:
    """One part: named steps and what they found.

    Args:
        name: Of its file in the folder of results.
        title: For the summary.
    """

    def __init__(self, name: str, title: str) -> None:
        self.path = OUT / f"{name}.json"
        self.record: dict[str, Any] = {"title": title, "machine": machine(), "tiny": TINY, "steps": {}}
        self._write()

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Measure the body; it puts what it finds into the dict. An error is recorded and does not end the part."""
        facts: dict[str, Any] = {}
        print(f"{self.path.stem}: {name}", flush=True)
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        start = clock()
        try:
            yield facts
            facts["ok"] = True
        except Exception as error:
            traceback.print_exc()
            facts |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}
        facts["seconds"] = round(clock() - start, 2)
        if CUDA:
            facts["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        print(f"  {json.dumps(facts)}", flush=True)
        self.record["steps"][name] = facts
        self._write()

    def end(self) -> None:
        """Leave the process: by 1 if a step failed."""
        sys.exit(0 if all(step["ok"] for step in self.record["steps"].values()) else 1)

    def _write(self) -> None:
        self.path.write_text(json.dumps(self.record, indent=1) + "\n", "utf-8")


def clock() -> float:
    """Seconds, once the device has done what it was given."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def free() -> None:
    """Give back what is no longer referred to."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()


def machine() -> dict[str, Any]:
    """The device, and the versions of what computes on it."""
    packages = ("torch", "transformers", "tokenizers", "peft", "accelerate", "lm_eval", "datasets", "numpy")
    facts = {
        "device": torch.cuda.get_device_name() if CUDA else platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }
    if CUDA:
        facts |= {"cuda": torch.version.cuda, "memory_gb": round(torch.cuda.mem_get_info()[1] / 1e9, 1)}
    return facts


def configuration(shape: str, **options: Any) -> Any:
    """Of a Llama of one of the ``SHAPES``."""
    from transformers import LlamaConfig

    hidden, ffn, layers, heads, kv_heads = SHAPES[shape]
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        **options,
    )


def random_model(shape: str, dtype: torch.dtype, **options: Any) -> Any:
    """A Llama of normal weights, made where it is used: no file, and no copy of it elsewhere."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = AutoModelForCausalLM.from_config(configuration(shape, **options), dtype=dtype)
    return model.eval()


def random_ids(count: int, length: int) -> torch.Tensor:
    """``(count, length)`` ids, on the CPU; none of the first ones, which are special."""
    return torch.randint(8, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(1))


def bare_product(size: int = 256 if TINY else 8192, rounds: int = 10) -> float:
    """TFLOP/s of a square bf16 matrix product, the median of some."""
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(rounds + 2):
        start = clock()
        a @ b
        seconds.append(clock() - start)
    return round(2 * size**3 / sorted(seconds[2:])[rounds // 2] / 1e12, 3)


def expect(condition: bool, said: str) -> None:
    """Fail the step unless the condition holds (an ``assert`` could be switched off)."""
    if not condition:
        raise AssertionError(said)
