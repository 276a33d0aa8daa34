"""Fine-tuning of a low-rank product on a frozen base, by peft, from any start and with any of several learning rates.

A PostPKT student starts as ``(W − B₀A₀) + BA`` with ``B₀A₀ = BA``, i.e. as the vanilla student. The base is not
rewritten for that: rounded to bf16, ``W − B₀A₀`` would differ from what it should be by as much as a fine-tune moves.
The same function is computed as ``W x + [B, −B₀]([A; A₀]x)``, one adapter of twice the rank of which half is frozen;
the halves cancel at the start, and the finished edit is the adapter as it stands.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.tune.config import FinetuneConfig, published_budget
from pkt_eval.tune.loss import Objective
from pkt_eval.tune.training import Training, train, validation_loss

_TOKENS = 640  # of a pass on a CPU
_ADAPTER = "default"  # peft's own name, under which the Trainer finds its checkpoints again
Factors = tuple[torch.Tensor, torch.Tensor]
"""``B (out, r)`` and ``A (r, in)``."""


def random_start(out: int, into: int, rank: int, generator: torch.Generator) -> Factors:
    """LoRA's start: ``A`` Kaiming-uniform with a = √5, as in peft, and ``B`` zero."""
    A = torch.empty(rank, into)
    torch.nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
    return torch.zeros(out, rank), A


def finetune(
    model: Any,
    start: dict[str, Factors],
    pair: ModelPair,
    data: TransferData,
    config: FinetuneConfig,
    seed: int,
    progress: Progress,
    work: Path | None = None,
    objective: Objective | None = None,
) -> tuple[tuple[LowRankEdit, ...], dict[str, Any]]:
    """Train a low-rank product from a given start on the train split.

    Args:
        model: The base, loaded: the student's, or the teacher where that is tuned. It is wrapped for the training; its
            weights do not change.
        start: Module name → the product that the student is to start *from*: the student's function at the start is
            the base's in any case.
        pair: For the tokenizer and the device.
        data: Train and validation examples.
        config: How.
        seed: Order of the examples.
        progress: Bars and stage times.
        work: Folder for checkpoints; a training that finds one there goes on from it.
        objective: What is minimised; default: the supervised loss, by which validation chooses in any case.

    Returns:
        The edits, ``BA − B₀A₀`` a module, and a record of the training: rates tried, steps, losses before and after.

    Raises:
        DataError: There is nothing to train on, or the training diverged.
    """
    from peft import LoraConfig, get_peft_model

    tokenizer = pair.student.tokenizer
    examples, validation = (data.examples(tokenizer, split) for split in ("train", "validation"))
    if not examples:
        raise DataError(f"the train split of {data.splits.benchmark} is empty: {data.splits.source}")
    budget = published_budget(data.kind)
    rates = config.learning_rate or (budget.learning_rate,)
    if len(rates) > 1 and not validation:
        raise ConfigError("several learning rates need a validation split that chooses; it is empty")
    epochs = budget.epochs if config.epochs is None else config.epochs

    micro = config.micro_batch_size or (8 if not pair.device.startswith("cpu") else _micro_batch(config, examples))

    scale = config.alpha / config.rank
    frozen = config.rank if any(B.any() for B, _ in start.values()) else 0
    lora = LoraConfig(
        r=config.rank + frozen,
        lora_alpha=scale * (config.rank + frozen),
        target_modules=sorted(start),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    with _quiet_peft():
        peft_model = get_peft_model(model, lora, adapter_name=_ADAPTER)
    layers = {name: model.get_submodule(name) for name in start}
    if frozen:
        _freeze_second_half(layers, config.rank)

    tried: list[dict[str, Any]] = []
    chosen, best, steps, lowest = rates[0], dict[str, Factors](), 0, float("inf")
    for rate in rates:
        training = Training(config, rate, epochs, micro, seed, pair.device, objective)
        _reset(layers, start, scale, frozen)
        with progress.stage("validation"):
            before = validation_loss(peft_model, validation, micro)
        with progress.stage("finetune"):
            losses: list[float] = []
            if config.max_steps and epochs:
                losses = train(peft_model, examples, training, progress, work / f"rate-{rate:g}" if work else None)
        with progress.stage("validation"):
            after = validation_loss(peft_model, validation, micro)
        if after != after or (losses and losses[-1] != losses[-1]):
            raise DataError(f"fine-tuning at learning rate {rate:g} diverged: the loss is NaN; choose a smaller one")
        # Only the best so far is kept: adapters are small beside the model, but there may be many rates.
        if not tried or after < lowest:
            chosen, best, steps, lowest = rate, _product(layers), len(losses), after
        tried.append({"learning_rate": rate, "validation_loss": [before, after], "train_loss": losses})
    with _quiet_peft():
        peft_model.unload()

    edits = tuple(LowRankEdit(f"{name}.weight", B * scale, A) for name, (B, A) in best.items())
    record = {
        "learning_rate": chosen,
        "steps": steps,
        "tried": tried,
        "examples": {"train": len(examples), "validation": len(validation)},
    }
    return edits, {"training": record}


def _micro_batch(config: FinetuneConfig, examples: Sequence[Example]) -> int:
    """Examples of a pass on a CPU, so that a step has a whole number of passes.

    A CPU gains nothing from more tokens, and pays for their padding and memory; with few, nano waits for Python.
    """
    step = min(config.train_batch_size, len(examples))
    mean = sum(len(example["input_ids"]) for example in examples) / len(examples)
    return max(n for n in range(1, step + 1) if step % n == 0 and (n == 1 or n * mean <= _TOKENS))


def _product(layers: dict[str, Any]) -> dict[str, Factors]:
    """The adapter as it stands, on the CPU."""

    def copy(part: Any) -> torch.Tensor:
        return part[_ADAPTER].weight.detach().float().cpu().clone()

    return {name: (copy(layer.lora_B), copy(layer.lora_A)) for name, layer in layers.items()}


def _reset(layers: dict[str, Any], start: dict[str, Factors], scale: float, frozen: int) -> None:
    with torch.no_grad():
        for name, layer in layers.items():
            B, A = (t.float() for t in start[name])
            B = B / scale
            layer.lora_A[_ADAPTER].weight.copy_(torch.cat([A, A]) if frozen else A)
            layer.lora_B[_ADAPTER].weight.copy_(torch.cat([B, -B], dim=1) if frozen else B)


def _freeze_second_half(layers: dict[str, Any], rank: int) -> None:
    """Drop the gradients of ``B₀`` and ``A₀`` as they appear, before they count in a norm or a step.

    AdamW, without weight decay, leaves a weight that never had a gradient where it is.
    """

    def clear(unused: slice | tuple[slice, slice]) -> Any:
        def hook(parameter: Any) -> None:
            parameter.grad[unused] = 0

        return hook

    for layer in layers.values():
        layer.lora_A[_ADAPTER].weight.register_post_accumulate_grad_hook(clear(slice(rank, None)))
        layer.lora_B[_ADAPTER].weight.register_post_accumulate_grad_hook(clear((slice(None), slice(rank, None))))


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """peft warns that a second adapter or an unload changes the model; here that is the purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\..*")
        warnings.filterwarnings("ignore", message=r".*is_gradient_checkpointing")  # peft asks by the old name
        yield
