"""Fine-tuning a LoRA on a model of TinyLlama's shape by the one training loop: tokens a second and the share of a bare
product's rate."""

from types import SimpleNamespace
from typing import Any

import torch
from part import DEVICE, TINY, Part, bare_product, expect, random_ids, random_model

from pkt_eval._util.progress import Progress
from pkt_eval.models import blocks
from pkt_eval.tune.adapter import finetune, random_start
from pkt_eval.tune.config import FinetuneConfig

LENGTH = 24 if TINY else 256
STEP = 8 if TINY else 64
STEPS = 2 if TINY else 6
MODULES = ("up", "down", "v", "o")


class RandomRecords:
    """What ``finetune`` asks of the data: encoded examples, the second half of each being the answer."""

    splits = SimpleNamespace(benchmark="gsm8k", source="random")
    kind = "gsm8k"

    def examples(self, tokenizer: Any, split: str) -> list[dict[str, list[int]]]:
        """As ``TransferData.examples``."""
        count = STEP * STEPS if split == "train" else 8
        ids = random_ids(count, LENGTH).tolist()
        return [{"input_ids": row, "labels": [-100] * (LENGTH // 2) + row[LENGTH // 2 :]} for row in ids]


def tune(model: Any, micro: int, steps: int) -> tuple[dict[str, Any], float]:
    """The training's record and its seconds."""
    config = FinetuneConfig(
        modules=MODULES, train_batch_size=STEP, micro_batch_size=micro, max_steps=steps, learning_rate=1e-3
    )
    pair = SimpleNamespace(student=SimpleNamespace(tokenizer=None), device=DEVICE)
    generator, progress = torch.Generator().manual_seed(0), Progress(enabled=False)
    names = [blocks.module_name(b, k) for k in range(blocks.dims(model.config).layers) for b in MODULES]
    start = {name: random_start(*model.get_submodule(name).weight.shape, 16, generator) for name in names}
    _, record = finetune(model, start, pair, RandomRecords(), config, 0, progress)
    return record["training"], progress.seconds["finetune"]


def main() -> None:
    """Micro-batches of two sizes; the first training warms up."""
    part = Part("tuning", "Fine-tuning a LoRA on a model of TinyLlama's shape")
    with part.step("the model, bfloat16") as facts:
        model = random_model("1B", torch.bfloat16)
        parameters = sum(p.numel() for p in model.parameters())
        peak = bare_product()
        facts |= {"parameters": parameters, "bare_product_tflops": peak}
    with part.step("warm-up"):
        tune(model, 4 if TINY else 8, 1)
    for micro in (2, 4) if TINY else (8, 32):
        with part.step(f"micro-batches of {micro}") as facts:
            record, seconds = tune(model, micro, STEPS)
            tokens = STEP * STEPS * LENGTH
            (tried,) = record["tried"]
            first, last = tried["validation_loss"]
            facts |= {"steps": record["steps"], "tokens_a_step": STEP * LENGTH, "training_seconds": round(seconds, 2)}
            facts["tokens_a_second"] = round(tokens / seconds)
            # Forward, and backward to activations alone: 2 + 2 a weight and token; embedding and adapters left out.
            weights = parameters - model.get_input_embeddings().weight.numel()
            facts["share_of_bare_product"] = round(4 * weights * tokens / seconds / (peak * 1e12), 3)
            facts["train_loss"] = [tried["train_loss"][0], tried["train_loss"][-1]]
            expect(last == last and last < first + 1, f"the validation loss went from {first} to {last}")
    part.end()


if __name__ == "__main__":
    main()
