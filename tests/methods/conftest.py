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


@pytest.fixture(scope="session")
def transferred(records):
    """``transferred(method, teacher, student, data=…, seed=0, **options)`` → the student, without a store or bars."""
    from pkt_eval._util.progress import Progress
    from pkt_eval.methods.base import get_method
    from pkt_eval.models.pair import ModelPair
    from pkt_eval.models.source import ModelSource

    def make(name, teacher, student, *, data=records[1], seed=0, **options):
        entry = get_method(name)
        theirs = ModelSource(teacher) if "teacher" in entry.uses else None
        pair = ModelPair(theirs, ModelSource(student), dtype="float32")
        return entry.configure(options, seed).transfer(pair, data, Progress(enabled=False))

    return make


@pytest.fixture(scope="session")
def rotated(tmp_path_factory: pytest.TempPathFactory):
    """``rotated(folder)`` → a folder of the same function whose residual stream is turned by a random rotation.

    Norms are rotated through only where their gains are one, so these are first folded into what reads them.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pkt_eval.models import blocks

    @torch.no_grad()
    def rotate(folder: str) -> str:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        blocks.untie(model)
        d = model.config.hidden_size
        Q = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q

        def read(weight, gain=None):  # columns read the stream, behind a norm
            old = weight.double() if gain is None else weight.double() * gain.weight.double()
            weight.copy_((old @ Q.T).float())

        read(model.get_input_embeddings().weight)
        read(model.get_output_embeddings().weight, model.model.norm)
        norms = [model.model.norm]
        for number, layer in enumerate(model.model.layers):
            first, second = layer.input_layernorm, layer.post_attention_layernorm
            for name in ("q", "k", "v"):
                read(blocks.block(model, name, number).weight, first)
            for name in ("up", "gate"):
                read(blocks.block(model, name, number).weight, second)
            for name in ("o", "down"):  # rows write it
                weight = blocks.block(model, name, number).weight
                weight.copy_((Q @ weight.double()).float())
            norms += [first, second]
        for norm in norms:
            norm.weight.fill_(1.0)
        out = tmp_path_factory.mktemp("rotated")
        model.save_pretrained(out)
        AutoTokenizer.from_pretrained(folder).save_pretrained(out)
        return str(out)

    return rotate
