"""What it costs to evaluate a student whose edits act beside the weights, against one with merged weights.

Random weights of Qwen2.5-0.5B's shape in bfloat16, edits of the two methods' usual sizes. Run with ``make bench``;
ratios are printed, never asserted.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from pkt_eval.models import blocks
from pkt_eval.models.beside import Beside
from pkt_eval.models.edits import Edit, LocatedEdit, LowRankEdit

BLOCKS = ("up", "down", "v", "o")


@pytest.fixture(scope="module")
def model():
    config = Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


def low_rank(name: str, out: int, into: int) -> Edit:
    """A fine-tuned product of rank 16 and its start: 32 together."""
    return LowRankEdit(name, torch.randn(out, 32) * 1e-4, torch.randn(32, into))


def located(name: str, out: int, into: int) -> Edit:
    """A tenth of the rows, as LaTen edits ``up`` and ``v``, or of the columns, as ``down`` and ``o``."""
    rows = "up_proj" in name or "v_proj" in name
    lines, width = (out, into) if rows else (into, out)
    return LocatedEdit(name, "rows" if rows else "columns", torch.randperm(lines)[: lines // 10], torch.randn(lines // 10, width) * 1e-5)  # fmt: skip  # noqa: E501


def edits(model, make) -> list[Edit]:
    names = [blocks.weight_name(block, layer) for layer in range(24) for block in BLOCKS]
    return [make(name, *model.get_parameter(name).shape) for name in names]


@torch.no_grad()
def prefill(model) -> None:
    model(torch.arange(4 * 256).view(4, 256), logits_to_keep=1)


@torch.no_grad()
def decode(model) -> None:
    model.generate(
        torch.arange(16 * 64).view(16, 64), attention_mask=torch.ones(16, 64), max_new_tokens=12, min_new_tokens=12,
        do_sample=False, pad_token_id=0,
    )  # fmt: skip


@pytest.mark.parametrize("work", [prefill, decode])
@pytest.mark.parametrize("make", [low_rank, located])
@pytest.mark.parametrize("way", ["merged", "beside"])
def test_a_student(benchmark, model, work, make, way):
    """``merged`` is the base itself: a merged weight costs what any weight does."""
    benchmark.group = f"{work.__name__}, {make.__name__} edits"
    beside = Beside(model, edits(model, make) if way == "beside" else [])
    try:
        benchmark.pedantic(work, (model,), rounds=5, warmup_rounds=1)
    finally:
        beside.remove()
