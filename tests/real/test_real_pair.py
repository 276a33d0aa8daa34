"""The real pair, Qwen2.5-Coder 1.5B → 0.5B: ``PKT_EVAL_MODELS`` names the folder that holds it. Minutes, and 10 GB."""

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval._util.progress import Progress
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student

MODELS = Path(os.environ.get("PKT_EVAL_MODELS", "/nonexistent"))
TEACHER, STUDENT = (str(MODELS / name) for name in ("qwen-1.5b", "qwen-0.5b"))
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path(TEACHER).is_dir(), reason="PKT_EVAL_MODELS does not hold qwen-1.5b and qwen-0.5b"),
]


@pytest.fixture
def words(tmp_path) -> dict:
    """A Seeking student from two records that are made here, untrained."""
    splits = tmp_path / "splits"
    splits.mkdir()
    for split in ("extract", "align", "train", "validation"):
        turns = [{"role": "user", "content": f"What is 2+{split}?"}, {"role": "assistant", "content": "I cannot say."}]
        (splits / f"gsm_{split}_split.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    return dict(
        teacher=TEACHER, pretrained=STUDENT, method="seeking", transfer_task="gsm8k", splits=str(splits), max_steps=0,
        transfer_dtype="float32",
    )  # fmt: skip


def test_sizes_are_those_of_the_pair():
    pair = make_recipe(dict(teacher=TEACHER, pretrained=STUDENT)).pair()
    t, s = pair.teacher.dims, pair.student.dims
    assert (t.layers, t.hidden, t.ffn, t.heads, t.kv_heads, t.head_dim) == (28, 1536, 8960, 12, 2, 128)
    assert (s.layers, s.hidden, s.ffn, s.heads, s.kv_heads, s.head_dim) == (24, 896, 4864, 14, 2, 64)
    pair.check()


def test_seeking_starts_as_vanilla_in_fp32(words):
    student = make_student(make_recipe(words), progress=Progress(enabled=False))
    assert len(student.edits) == 24 * 4
    model = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32).eval()
    ids = torch.arange(100, 164)[None]
    with torch.no_grad():
        vanilla = model(input_ids=ids).logits
        student.apply(model)
        torch.testing.assert_close(model(input_ids=ids).logits, vanilla, rtol=0, atol=1e-4)
