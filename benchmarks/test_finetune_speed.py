"""A fine-tuning step against the matrix products that it consists of, on one core: of nano, and of SmolLM2-135M where
PKT_EVAL_MODELS holds it and PKT_EVAL_DATA the records.

The base is frozen, so that a token costs two products with each weight: forward, and backward to what came in. The
head's are of supervised tokens alone. Run with ``make bench``; tokens a second, padding not counted, and the share of
the bare products' speed are printed, never asserted.
"""

import os
import time
from pathlib import Path

import pytest
import torch

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import IGNORE, ChatFormat, collate
from pkt_eval.data.splits import build_splits
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.models import blocks
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.source import ModelSource
from pkt_eval.tune.adapter import finetune, random_start
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.loss import supervised_loss

SMOLLM2 = Path(os.environ.get("PKT_EVAL_MODELS", "/nonexistent")) / "smollm2"
REAL = pytest.mark.skipif(
    not (SMOLLM2.is_dir() and os.environ.get("PKT_EVAL_DATA")), reason="no smollm2 in PKT_EVAL_MODELS, or no records"
)
#: folder, task, records, examples of a micro-batch
CASES = [
    pytest.param((nano.model_path("student"), "nano_gsm8k", 512, 32), id="nano"),
    pytest.param((SMOLLM2, "gsm8k", 16, 2), id="SmolLM2-135M", marks=REAL),
]


class Case:
    """A student, loaded, with its records."""

    def __init__(self, folder: Path, task: str, records: int, micro: int) -> None:
        sizes = {"extract": 1, "align": 1, "train": records, "validation": 1}
        self.data = TransferData(build_splits(task, sizes=sizes), ChatFormat("paper"), "answer", 1024, lambda _: None)
        self.pair = ModelPair(None, ModelSource(str(folder)), dtype="float32")
        examples = self.data.examples(self.pair.student.tokenizer, "train")
        self.tokens = sum(len(example["input_ids"]) for example in examples)
        examples.sort(key=lambda example: len(example["input_ids"]))
        self.batches = [collate(examples[i : i + micro], 0) for i in range(0, records, micro)]
        self.config = FinetuneConfig(
            epochs=1, train_batch_size=8 * micro, micro_batch_size=micro, learning_rate=(1e-4,)
        )

    def start(self) -> dict:
        dims, dice = self.pair.student.dims, torch.Generator().manual_seed(0)
        return {
            blocks.module_name(block, layer): random_start(*dims.shape(block), self.config.rank, dice)
            for layer in range(dims.layers)
            for block in self.config.modules
        }


@pytest.fixture(scope="module", params=CASES)
def case(request):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    made = Case(*request.param)
    with made.pair.open_student() as model:
        made.model = model
        yield made
    torch.set_num_threads(before)


@torch.no_grad()
def bare_products(case: Case) -> None:
    """Of all blocks forward and backward, and of the head at supervised tokens; and nothing else."""
    layers = case.pair.student.dims.layers
    weights = [
        case.model.get_parameter(blocks.weight_name(block, layer)) for layer in range(layers) for block in blocks.BLOCKS
    ]
    head = blocks.unembedding(case.model)
    for batch in case.batches:
        for weight, rows in [
            *((weight, batch["labels"].numel()) for weight in weights),
            (head, int((batch["labels"] != IGNORE).sum())),
        ]:
            states, gradients = (torch.ones(rows, width) for width in weight.shape[::-1])
            torch.mm(states, weight.T)
            torch.mm(gradients, weight)


def passes(case: Case) -> None:
    """Forward and backward of the base with gradients of what goes into the first layer."""
    for batch in case.batches:
        embedded = case.model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
        more = {name: value for name, value in batch.items() if name != "input_ids"}
        supervised_loss(case.model, {"inputs_embeds": embedded, **more})[0].backward()


def training(case: Case) -> None:
    """All of it: the products of rank 16, the Trainer, AdamW."""
    finetune(case.model, case.start(), case.pair, case.data, case.config, 0, Progress(enabled=False))


@pytest.mark.parametrize("way", [bare_products, passes, training])
def test_finetuning(case, way, capsys):
    case.model.requires_grad_(False)
    way(case)
    start = time.process_time()
    way(case)
    seconds = time.process_time() - start
    if way is bare_products:
        case.bare = seconds
    with capsys.disabled():
        print(
            f"\n{way.__name__:14} {seconds:7.2f} s {case.tokens / seconds:8.0f} tokens/s, "
            f"{100 * case.bare / seconds:4.0f} % of the bare products' speed"
        )
