"""The one training loop: transformers' Trainer with our loss, our order of the examples and our bar.

It trains whatever parameters of a model ask for gradients; which these are is no business of this file (see
``adapter``).
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.loss import Objective, supervised_loss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """One training, with nothing left to a default.

    Attributes:
        config: The options that hold for every rate.
        learning_rate: Peak rate.
        epochs: Passes over the examples.
        micro_batch: Examples a forward pass.
        seed: Of the order.
        device: Where the model is.
        objective: What is minimised, per supervised token; None: ``supervised_loss``.
    """

    config: FinetuneConfig
    learning_rate: float
    epochs: float
    micro_batch: int
    seed: int
    device: str
    objective: Objective | None = None


def train(
    model: Any, examples: Sequence[Example], training: Training, progress: Progress, work: Path | None = None
) -> list[float]:
    """Run the Trainer, from its last checkpoint if there is one.

    Args:
        model: A decoder, wrapped by peft or not.
        examples: Encoded records, at least one.
        training: How.
        progress: For the bar; it is saved with every checkpoint.
        work: Folder for checkpoints; None keeps none.

    Returns:
        The objective at each optimizer step, those before an interruption included; by default in nats a token.
    """
    from transformers import PrinterCallback, ProgressCallback, TrainingArguments

    config = training.config
    micro = min(training.micro_batch, config.train_batch_size, len(examples))
    with tempfile.TemporaryDirectory(prefix="pkt_finetune_") as temporary, _single_process():
        folder = str(work or temporary)
        last = last_checkpoint(Path(folder))
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=max(1, min(config.train_batch_size, len(examples)) // micro),
            learning_rate=training.learning_rate,
            num_train_epochs=training.epochs,
            max_steps=config.max_steps,
            lr_scheduler_type="linear",
            warmup_steps=config.warmup_ratio,  # transformers 5 reads a value below 1 as a ratio
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
        trainer = _trainer_class(training.objective, last)(
            model=model,
            args=arguments,
            train_dataset=list(examples),
            data_collator=lambda batch: collate(batch, 0),
            callbacks=[checkpoint_callback(progress)] if work else [],
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


def _trainer_class(objective: Objective | None, last: TrainingCheckpoint | None) -> Any:
    """Of a Trainer that goes on from a checkpoint, which was read to find it sound, and is not read again."""
    from transformers import Trainer

    class SupervisedTrainer(Trainer):
        """Trainer with our objective: the mean over the supervised tokens of a whole optimizer step."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> torch.Tensor:
            loss, count = (objective or supervised_loss)(model, inputs)
            return loss / (count if num_items_in_batch is None else num_items_in_batch)

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
            return StepSampler(
                lengths, self.args.train_batch_size * self.args.gradient_accumulation_steps, self.args.seed
            )

    return SupervisedTrainer


class StepSampler:
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
    """Tells whoever listens the step and its loss."""
    from transformers import TrainerCallback

    class Telling(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.tell("fine-tuning", state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                progress.tell("fine-tuning", state.global_step, state.max_steps, logs["loss"])

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
