"""LaTen's attribution of every neuron against the matrix products it consists of, on one core: of SmolLM2-135M where
PKT_EVAL_MODELS holds it as ``smollm2``, else of the nano teacher.

Run with ``make bench``; CPU seconds, since a machine may be shared. Ratios and agreement are printed, never asserted.
"""

import os
import time
from pathlib import Path

import pytest
import torch

from pkt_eval import nano
from pkt_eval.locate import neuron_attribution
from pkt_eval.locate.select import best, neuron_counts, value_scores
from pkt_eval.models import blocks

SMOLLM2 = Path(os.environ.get("PKT_EVAL_MODELS", "/nonexistent")) / "smollm2"
FOLDER = SMOLLM2 if SMOLLM2.is_dir() else nano.model_path("teacher")
PROMPT = (
    "<|user|>\nA baker sells 12 loaves in the morning and twice as many in the afternoon, at 3 dollars each. How much "
    "does she earn in a day?\n\n<|assistant|>\nIn the afternoon she sells 12 * 2 = 24 loaves, so 36 in a day. The "
    "answer is 108"
)
FOUND: dict = {}


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def ids():
    from transformers import AutoTokenizer

    return torch.tensor(AutoTokenizer.from_pretrained(FOLDER).encode(PROMPT))


@torch.no_grad()
def bare_products(model, ids) -> None:
    """``U·down`` and ``U·o`` of all layers in pieces of a good size, into one buffer, and nothing else."""
    U, piece = model.lm_head.weight, 2048
    buffer = torch.empty(piece, max(model.config.intermediate_size, model.config.hidden_size))
    for layer in model.model.layers:
        for weight in (layer.mlp.down_proj.weight, layer.self_attn.o_proj.weight):
            for start in range(0, len(U), piece):
                rows = U[start : start + piece]
                torch.mm(rows, weight, out=buffer.flatten()[: len(rows) * weight.shape[1]].view(len(rows), -1))


def full_scoring(model, ids) -> None:
    FOUND["full"] = neuron_attribution(model, ids[:-1], int(ids[-1]))


def fast_scoring(model, ids) -> None:
    FOUND["fast"] = neuron_attribution(model, ids[:-1], int(ids[-1]), scoring="fast")


@pytest.mark.parametrize("way", [bare_products, full_scoring])
@pytest.mark.benchmark(group="attribution, whole vocabulary", timer=time.process_time)
def test_full(benchmark, model, ids, way):
    benchmark.pedantic(way, (model, ids), rounds=1)


@pytest.mark.parametrize("way", [bare_products, full_scoring, fast_scoring])
@pytest.mark.benchmark(group="attribution, few tokens", timer=time.process_time)
def test_fast(benchmark, model, ids, way):
    benchmark.pedantic(way, (model, ids), rounds=3 if way is fast_scoring else 1, warmup_rounds=way is fast_scoring)
    if way is fast_scoring:
        agreement(model, len(ids))


def agreement(model, tokens: int) -> None:
    """Print how many of the best tenth the fast path finds, and how many at the same rank."""
    dims = blocks.dims(model.config)
    keep = neuron_counts(dims, 0.1)
    kinds = {
        "FFN neurons": (keep.ffn, lambda s: s.ffn),
        "attention channels": (keep.attention, lambda s: s.attention),
        "v rows": (keep.value, lambda s: value_scores(s.attention, dims)),
    }
    for kind, (k, of) in kinds.items():
        ours, exact = (best(of(FOUND[name]), k) for name in ("fast", "full"))
        same = sum(len(set(a.tolist()) & set(b.tolist())) for a, b in zip(ours, exact, strict=True)) / exact.numel()
        ranks = (ours == exact).float().mean()
        print(f"\n{tokens} tokens, best tenth of {kind}: {100 * same:.2f} % the same, {100 * ranks:.1f} % at its rank")
