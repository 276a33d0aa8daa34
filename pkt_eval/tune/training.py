"""The one training loop: a LoRA on a frozen base, by transformers' Trainer and peft.

A PostPKT student starts as ``(W − B₀A₀) + BA`` with ``B₀A₀ = BA``, i.e. as the vanilla student. The base is not
rewritten for that: rounded to bf16, ``W − B₀A₀`` would differ from what it should be by as much as a fine-tune moves.
The same function is computed as ``W x + [B, −B₀]([A; A₀]x)``, one adapter of twice the rank of which half is frozen;
the halves cancel at the start, and the finished edit is the adapter as it stands.
"""

import logging
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import collate
from pkt_eval.data.records import kind
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.loss import supervised_loss

log = logging.getLogger(__name__)

_ADAPTER = "default"  # peft's own name, under which the Trainer finds its checkpoints again
_CHECKPOINT_SECONDS = 60.0
_WHOLE = "whole"  # a file in a checkpoint that was written to its end
Factors = tuple[torch.Tensor, torch.Tensor]
Examples = Sequence[dict[str, list[int]]]

# The published protocol (arXiv 2505.14436), by kind of benchmark.
_EPOCHS = {"mmlu": 5, "gsm8k": 5, "humaneval": 3, "mbpp": 5}
_RATES = {"mmlu": 3e-4, "gsm8k": 3e-4, "humaneval": 3e-5, "mbpp": 3e-4}


def finetune(
    model: Any,
    start: dict[str, Factors],
    pair: ModelPair,
    data: TransferData,
    config: FinetuneConfig,
    seed: int,
    progress: Progress,
    work: Path | None = None,
) -> tuple[tuple[LowRankEdit, ...], dict[str, Any]]:
    """Train a low-rank product from a given start on the train split.

    Args:
        model: The student's base, loaded. It is wrapped for the training; its weights do not change.
        start: Module name → ``(B (out, r), A (r, in))``, the product that the student is to start *from*: the student's
            function at the start is the base's in any case.
        pair: For the tokenizer and the device.
        data: Train and validation examples.
        config: How.
        seed: Order of the examples.
        progress: Bars and stage times.
        work: Folder for checkpoints; a training that finds one there goes on from it.

    Returns:
        The edits, ``BA − B₀A₀`` a module, and a record of the training: rates tried, steps, losses before and after.

    Raises:
        DataError: There is nothing to train on, or the training diverged.
    """
    from peft import LoraConfig, get_peft_model

    tokenizer = pair.student.tokenizer
    train, validation = (data.examples(tokenizer, split) for split in ("train", "validation"))
    if not train:
        raise DataError(f"the train split of {data.splits.benchmark} is empty: {data.splits.source}")
    task = kind(data.splits.benchmark)
    rates = config.learning_rate or (_RATES[task],)
    if len(rates) > 1 and not validation:
        raise ConfigError("several learning rates need a validation split that chooses; it is empty")
    epochs = _EPOCHS[task] if config.epochs is None else config.epochs

    # A CPU gains nothing from a wider product, and pays for its padding and its memory.
    micro = config.micro_batch_size or (2 if pair.device.startswith("cpu") else 8)

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

    tried = []
    for rate in rates:
        _reset(layers, start, scale, frozen)
        with progress.stage("validation"):
            before = validation_loss(peft_model, validation, micro)
        with progress.stage("finetune"):
            losses = []
            if config.max_steps and epochs:
                folder = work / f"rate-{rate:g}" if work else None
                losses = _train(peft_model, train, config, micro, rate, epochs, seed, pair, progress, folder)
        with progress.stage("validation"):
            after = validation_loss(peft_model, validation, micro)
        if after != after or (losses and losses[-1] != losses[-1]):
            raise DataError(f"fine-tuning at learning rate {rate:g} diverged: the loss is NaN; choose a smaller one")
        # Only the best so far is kept: adapters are small beside the model, but there may be many rates.
        if not tried or after < min(t["validation_loss"][1] for t in tried):
            best = {
                name: tuple(
                    getattr(layer, part)[_ADAPTER].weight.detach().float().cpu().clone()
                    for part in ("lora_B", "lora_A")
                )
                for name, layer in layers.items()
            }
            chosen = rate
        tried.append({"learning_rate": rate, "validation_loss": [before, after], "train_loss": losses})
    with _quiet_peft():
        peft_model.unload()

    edits = tuple(LowRankEdit(f"{name}.weight", B * scale, A) for name, (B, A) in best.items())
    record = {
        "learning_rate": chosen,
        "steps": len(tried[rates.index(chosen)]["train_loss"]),
        "tried": tried,
        "examples": {"train": len(train), "validation": len(validation)},
    }
    return edits, {"training": record}


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


@torch.no_grad()
def validation_loss(model: Any, examples: Examples, batch_size: int) -> float:
    """Mean negative log-likelihood of a supervised token over the examples, in nats; NaN for no examples."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    model.eval()
    ordered = sorted(examples, key=lambda e: len(e["input_ids"]))
    for i in range(0, len(ordered), batch_size):
        batch = collate(ordered[i : i + batch_size], 0)
        loss, supervised = supervised_loss(model, {k: v.to(model.device) for k, v in batch.items()})
        total += loss.double().cpu()
        count += supervised
    return float(total / count) if count else float("nan")


def _train(
    model: Any,
    examples: Examples,
    config: FinetuneConfig,
    micro: int,
    rate: float,
    epochs: float,
    seed: int,
    pair: ModelPair,
    progress: Progress,
    checkpoints: Path | None,
) -> list[float]:
    """Run the Trainer, from its last checkpoint if there is one; returns the train loss of each optimizer step."""
    from transformers import TrainingArguments

    micro = min(micro, config.train_batch_size, len(examples))
    with tempfile.TemporaryDirectory(prefix="pkt_finetune_") as temporary, _single_process():
        folder = str(checkpoints or temporary)
        last = _last_checkpoint(Path(folder))
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=max(1, min(config.train_batch_size, len(examples)) // micro),
            learning_rate=rate,
            num_train_epochs=epochs,
            max_steps=config.max_steps,
            lr_scheduler_type="linear",
            warmup_steps=config.warmup_ratio,  # transformers 5 reads a value below 1 as a ratio
            optim="adamw_torch",
            logging_steps=1,
            logging_strategy="steps",
            save_strategy="no",  # by the clock instead: see the callback
            save_total_limit=2,
            report_to=[],
            seed=seed,
            data_seed=seed,
            use_cpu=pair.device.startswith("cpu"),
            disable_tqdm=not progress.enabled,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = _trainer_class()(
            model=model,
            args=arguments,
            train_dataset=list(examples),
            data_collator=lambda batch: collate(batch, 0),
            callbacks=[_checkpoint_callback(progress)] if checkpoints else [],
        )
        # Its printer writes a dict to stdout at every step, in the middle of lm-eval's output; the bar is enough.
        from transformers import PrinterCallback, ProgressCallback

        trainer.remove_callback(PrinterCallback)
        if progress.enabled:
            trainer.remove_callback(ProgressCallback)
            trainer.add_callback(_bar_callback())
        if last:
            log.info("the fine-tuning goes on from %s", last)
        trainer.train(resume_from_checkpoint=last)
    return [round(entry["loss"], 6) for entry in trainer.state.log_history if "loss" in entry]


def _trainer_class() -> type:
    from transformers import Trainer

    class SupervisedTrainer(Trainer):
        """Trainer with our loss: the mean over the supervised tokens of a whole optimizer step."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None):
            loss, count = supervised_loss(model, inputs)
            return loss / (count if num_items_in_batch is None else num_items_in_batch)

        def _get_train_sampler(self, train_dataset: Any = None) -> "StepSampler":
            lengths = [len(example["input_ids"]) for example in self.train_dataset]
            return StepSampler(
                lengths, self.args.train_batch_size * self.args.gradient_accumulation_steps, self.args.seed
            )

    return SupervisedTrainer


class StepSampler(torch.utils.data.Sampler):
    """Random order, except that the examples of one optimizer step come by length.

    A step's loss is a mean over its tokens, whatever their order, so nothing changes but the padding: on GSM8K in
    micro-batches of 8, from 1.50 to 1.09 times the tokens.

    Args:
        lengths: Tokens of each example.
        step: Examples of an optimizer step.
        seed: Of the order, together with the epoch.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self.lengths, self.step, self.seed, self.epoch = lengths, step, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called before each pass, also by a training that goes on in the middle of one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = random.Random(f"{self.seed}/{self.epoch}").sample(range(len(self)), len(self))
        for start in range(0, len(order), self.step):
            yield from sorted(order[start : start + self.step], key=lambda i: self.lengths[i], reverse=True)


def _bar_callback() -> Any:
    """A bar on stderr with the loss in it, in place of Trainer's, which prints every log line."""
    from tqdm.auto import tqdm
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="fine-tuning")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update(1)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                self.bar.set_postfix(loss=f"{logs['loss']:.3f}")

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Bar()


def _last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint; one that was being written when the process ended goes."""
    steps = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for step in sorted(steps, reverse=True):
        if (steps[step] / _WHOLE).exists():
            return str(steps[step])
        shutil.rmtree(steps[step])
    return None


def _checkpoint_callback(progress: Progress) -> Any:
    """A checkpoint a minute: a step may take that long, or a thousandth of it."""
    from transformers import TrainerCallback

    class Checkpoint(TrainerCallback):
        def __init__(self) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if time.monotonic() - self.last >= _CHECKPOINT_SECONDS:
                control.should_save = True
                self.last = time.monotonic()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.save()
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _WHOLE).touch()

    return Checkpoint()


@contextmanager
def _single_process() -> Iterator[None]:
    """Hide an `accelerate launch` from the Trainer: one rank transfers while the others wait for the store."""
    from accelerate.state import AcceleratorState, PartialState

    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    hidden = {n: os.environ.pop(n) for n in list(os.environ) if n in names or n.startswith(("ACCELERATE_", "CCL_"))}
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    try:
        yield
    finally:
        os.environ.update(hidden)
        AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """peft warns that a second adapter or an unload changes the model; here that is the purpose."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\..*")
        warnings.filterwarnings("ignore", message=r".*is_gradient_checkpointing")  # peft asks by the old name
        yield
