"""Records of the nano family with their tokenizer, and the nano student."""

import pytest


@pytest.fixture(scope="session")
def records():
    """``(tokenizer, TransferData)`` of nano_gsm8k."""
    from transformers import AutoTokenizer

    from pkt_eval import nano
    from pkt_eval.data.chat import ChatFormat
    from pkt_eval.data.splits import build_splits
    from pkt_eval.data.transfer_data import TransferData

    sizes = {"extract": 4, "align": 8, "train": 8, "validation": 6}
    data = TransferData(build_splits("nano_gsm8k", sizes=sizes), ChatFormat("paper"), "answer", 512, lambda _: None)
    return AutoTokenizer.from_pretrained(nano.model_path("student")), data
