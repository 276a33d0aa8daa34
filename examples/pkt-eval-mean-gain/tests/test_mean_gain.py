"""The contract, and the one thing that the method promises."""

import torch
from transformers import AutoModelForCausalLM

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import build_splits
from pkt_eval.methods import ModelPair, TransferData, get_method
from pkt_eval.methods.testing import SIZES, check
from pkt_eval.models.source import ModelSource


def test_the_contract():
    check("mean_gain", strength=1.0)


def test_an_ffns_mean_output_is_scaled_and_the_rest_is_left():
    splits = build_splits("nano_gsm8k", sizes=dict(SIZES))
    data = TransferData(splits, ChatFormat("paper"), "answer", 512, lambda task: splits)
    pair = ModelPair(*(ModelSource(nano.model_path(role)) for role in ("teacher", "student")))
    method = get_method("mean_gain").configure({"strength": 1.0})
    student = method.transfer(pair, data, Progress(enabled=False))
    model = AutoModelForCausalLM.from_pretrained(student.base.path, dtype=torch.float32)
    _, inputs, outputs = method.measure(model, "student", pair, data, Progress(enabled=False))
    for edit, scale, m, y in zip(student.edits, student.record["scale"], inputs, outputs, strict=True):
        weight = model.get_parameter(edit.name).detach().clone()
        other = torch.randn(len(m), generator=torch.Generator().manual_seed(0))
        other -= m * (other @ m) / (m @ m)
        before = weight @ other
        edit.apply(weight)
        torch.testing.assert_close(weight @ m, scale * y, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(weight @ other, before, rtol=1e-3, atol=1e-4)
    assert any(abs(scale - 1) > 0.05 for scale in student.record["scale"])
