"""The one training loop: transformers' Trainer with our loss, our order of the examples and our bar.

It trains whatever parameters of a model ask for gradients; which these are is no business of this file (see
``adapter``).
"""

from __future__ import annotations

import logging
import math
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import collate
from pkt_eval.data.transfer_data import Example
from pkt_eval.tune.checkpoints import (
    TrainingCheckpoint,
    checkpoint_callback,
    last_checkpoint,
    load_optimizer,
    load_parameters,
    save_checkpoint,
)
from pkt_eval.tune.loss import Objective, supervised_loss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """One training, with nothing left to a default.

    Attributes:
        epochs: Passes over the examples.
        max_steps: Optimizer steps at most, instead of epochs; −1: these decide.
        batch: Examples an optimizer step, at most.
        micro_batch: Examples a forward pass.
        warmup_ratio: Share of the steps with a rising rate.
        seed: Of the order.
        device: Where the model is.
        learning_rate: Peak rate.
        tokens: Instead of epochs and steps: as many passes as make so many tokens, the last example being cut.
        objective: What is minimised, per supervised token; None: ``supervised_loss``.
    """

    epochs: float
    max_steps: int
    batch: int
    micro_batch: int
    warmup_ratio: float
    seed: int
    device: str
    learning_rate: float = 0.0
    tokens: int | None = None
    objective: Objective | None = None

    def part(self, share: float) -> Training:
        """The same with a share of the budget, a step at least."""
        return replace(
            self,
            epochs=self.epochs * share,
            max_steps=max(1, round(self.max_steps * share)) if self.max_steps > 0 else self.max_steps,
            tokens=None if self.tokens is None else max(1, round(self.tokens * share)),
        )

    def shape(self, examples: int) -> tuple[int, int]:
        """Examples of a forward pass, and of an optimizer step."""
        micro = min(self.micro_batch, self.batch, examples)
        return micro, max(1, min(self.batch, examples) // micro) * micro

    def steps(self, lengths: Sequence[int]) -> list[list[int]]:
        """The examples of each optimizer step, where ``tokens`` does not decide."""
        _, step = self.shape(len(lengths))
        an_epoch = -(-len(lengths) // step)
        count = self.max_steps if self.max_steps >= 0 else math.ceil(self.epochs * an_epoch)
        order = [i for epoch in range(-(-count // an_epoch)) for i in epoch_order(len(lengths), self.seed, epoch)]
        # An epoch's last step may have fewer than the others.
        starts = [e * len(lengths) + s for e in range(-(-count // an_epoch)) for s in range(0, len(lengths), step)]
        ends = [min(start + step, (start // len(lengths) + 1) * len(lengths)) for start in starts]
        return [order[start:end] for start, end in zip(starts, ends, strict=True)][:count]

    def token_count(self, lengths: Sequence[int]) -> int:
        """Tokens of all passes."""
        if self.tokens is not None:
            return self.tokens
        return sum(lengths[i] for step in self.steps(lengths) for i in step)


def epoch_order(examples: int, seed: int, epoch: int) -> list[int]:
    """The order of the examples in a pass over all of them."""
    return random.Random(f"{seed}/{epoch}").sample(range(examples), examples)


def until(examples: Sequence[Example], tokens: int, seed: int) -> list[Example]:
    """Examples in the order of as many passes as make so many tokens; the last is cut so that it is no token more."""
    scheduled: list[Example] = []
    left, epoch = tokens, 0
    while left > 0:
        for i in epoch_order(len(examples), seed, epoch):
            if left <= 0:
                break
            scheduled.append({name: ids[:left] for name, ids in examples[i].items()})
            left -= len(scheduled[-1]["input_ids"])
        epoch += 1
    return scheduled


def train(
    model: Any,
    examples: Sequence[Example],
    training: Training,
    progress: Progress,
    work: Path | None = None,
    optimizer: Any = None,
) -> list[float]:
    """Run the Trainer, from its last checkpoint if there is one.

    Args:
        model: A decoder, wrapped by peft or not.
        examples: Encoded records, at least one.
        training: How.
        progress: For the bar; it is saved with every checkpoint.
        work: Folder for checkpoints; None keeps none.
        optimizer: Of the trained parameters, with their rates; default: AdamW at the training's rate.

    Returns:
        The objective at each optimizer step, those before an interruption included; by default in nats a token.
    """
    from transformers import PrinterCallback, ProgressCallback, TrainingArguments

    epochs, max_steps = training.epochs, training.max_steps
    if training.tokens is not None:
        examples, epochs, max_steps = until(examples, training.tokens, training.seed), 1, -1
    micro, step = training.shape(len(examples))
    with tempfile.TemporaryDirectory(prefix="pkt_finetune_") as temporary, _single_process():
        folder = str(work or temporary)
        last = last_checkpoint(Path(folder))
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=step // micro,
            learning_rate=training.learning_rate,
            num_train_epochs=epochs,
            max_steps=max_steps,
            lr_scheduler_type="linear",
            warmup_steps=training.warmup_ratio,  # transformers 5 reads a value below 1 as a ratio
            optim="adamw_torch",
            logging_steps=1,
            logging_strategy="steps",
            save_strategy="no",  # by the clock instead: see the callback
            report_to=[],
            seed=training.seed,
            data_seed=training.seed,
            use_cpu=training.device.startswith("cpu"),
            disable_tqdm=not progress.enabled,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        trainer = _trainer_class(training, last)(
            model=model,
            args=arguments,
            train_dataset=list(examples),
            data_collator=lambda batch: collate(batch, 0),
            callbacks=[checkpoint_callback(progress)] if work else [],
            optimizers=(optimizer, None),
        )
        # Its printer writes a dict to stdout at every step, in the middle of lm-eval's output; the bar is enough.
        trainer.remove_callback(PrinterCallback)
        if progress.enabled:
            trainer.remove_callback(ProgressCallback)
            trainer.add_callback(_bar_callback(progress, f"fine-tuning at {training.learning_rate:g}"))
        trainer.add_callback(_telling(progress))
        if last:
            log.info("the fine-tuning goes on from %s", last.folder)
        trainer.train(resume_from_checkpoint=last.folder if last else None)
    return [round(entry["loss"], 6) for entry in trainer.state.log_history if "loss" in entry]


@torch.no_grad()
def validation_loss(model: Any, examples: Sequence[Example], batch_size: int) -> float:
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


def _trainer_class(training: Training, last: TrainingCheckpoint | None) -> Any:
    """Of a Trainer that goes on from a checkpoint, which was read to find it sound, and is not read again."""
    from transformers import Trainer

    class SupervisedTrainer(Trainer):
        """Trainer with our objective: the mean over the supervised tokens of a whole optimizer step."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            loss, count = (training.objective or supervised_loss)(model, inputs)
            # A cut example may have no answer left, and a step of such ones alone says nothing.
            return loss / max(1, count if num_items_in_batch is None else int(num_items_in_batch))

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            base = self.optimizer.optimizer if hasattr(self.optimizer, "optimizer") else self.optimizer
            save_checkpoint(Path(self.args.output_dir), self.model, base, self.lr_scheduler, self.state)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            assert last is not None
            load_parameters(last, self.model)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if last:
                base = self.optimizer.optimizer if hasattr(self.optimizer, "optimizer") else self.optimizer
                load_optimizer(last, self.model, base, self.lr_scheduler)
                last.tensors.clear()  # what is trained is in the model now

        def _get_train_sampler(self, train_dataset: Any = None) -> StepSampler:
            lengths = [len(example["input_ids"]) for example in self.train_dataset]
            step = self.args.train_batch_size * self.args.gradient_accumulation_steps
            return StepSampler(lengths, step, None if training.tokens is not None else self.args.seed)

    return SupervisedTrainer


class StepSampler:
    """Random order, except that the examples of one optimizer step come by length.

    A step's loss is a mean over its tokens, whatever their order, so nothing changes but the padding: on GSM8K in
    micro-batches of 8, from 1.50 to 1.09 times the tokens.

    Args:
        lengths: Tokens of each example.
        step: Examples of an optimizer step.
        seed: Of the order, together with the epoch; None: the examples are in the order that is meant.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int | None) -> None:
        self.lengths, self.step, self.seed, self.epoch = lengths, step, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called before each pass, also by a training that goes on in the middle of one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self))) if self.seed is None else epoch_order(len(self), self.seed, self.epoch)
        for start in range(0, len(order), self.step):
            yield from sorted(order[start : start + self.step], key=lambda i: self.lengths[i], reverse=True)


def _bar_callback(progress: Progress, desc: str) -> Any:
    """A bar on stderr with the loss in it, in place of Trainer's, which prints every log line.

    It counts micro-batches: a step can take minutes. The last step of a pass may have fewer than the others.
    """
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            micros = args.gradient_accumulation_steps
            self.bar = progress.counter(desc, state.max_steps * micros, state.global_step * micros)
            self.said = {"step": f"{state.global_step}/{state.max_steps}"}
            self.bar.set_postfix(self.said)

        def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update(1)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.said["step"] = f"{state.global_step}/{state.max_steps}"
            self.bar.set_postfix(self.said, refresh=False)
            self.bar.update(state.global_step * args.gradient_accumulation_steps - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                self.said["loss"] = f"{logs['loss']:.3f}"
                self.bar.set_postfix(self.said)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Bar()


def _telling(progress: Progress) -> Any:
    """Tells whoever listens the step with its loss and rate."""
    from transformers import TrainerCallback

    class Telling(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.tell("fine-tuning", state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                progress.tell("fine-tuning", state.global_step, state.max_steps, logs["loss"])
                progress.measure(state.global_step, loss=logs["loss"], learning_rate=logs.get("learning_rate"))

    return Telling()


@contextmanager
def _single_process() -> Iterator[None]:
    """Hide an ``accelerate launch`` from the Trainer: one rank transfers while the others wait for the store."""
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
