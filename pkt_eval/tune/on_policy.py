"""On-policy distillation (GKD, arXiv 2306.13649): the student answers, and learns how the teacher would go on.

The one training loop cannot do it: its examples are known beforehand, and here a budget of tokens is spent on answers
that are as long as the student makes them. Everything random follows from the seed and the step, so that a training
goes on from a checkpoint as if it had not been interrupted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import IGNORE, collate
from pkt_eval.data.transfer_data import Example
from pkt_eval.inference.greedy import ending_tokens
from pkt_eval.inference.pick import drawn
from pkt_eval.tune import checkpoints
from pkt_eval.tune.distillation import generalised_jsd
from pkt_eval.tune.loss import supervised_logits
from pkt_eval.tune.training import Training, epoch_order

_CLIP = 1.0  # largest norm of a gradient, as of the one training loop


def answered_example(prompt: list[int], answer: list[int]) -> Example:
    """A prompt and an answer whose tokens are supervised."""
    return {"input_ids": prompt + answer, "labels": [IGNORE] * len(prompt) + answer}


@dataclass(frozen=True)
class OnPolicy:
    """On-policy distillation of a teacher.

    Attributes:
        teacher: Loaded.
        tokenizer: Of both.
        examples: Encoded train records.
        prompts: Their prompts, and the longest answer of each.
        share: Of the steps whose answers are the student's own.
        beta: Of ``generalised_jsd``.
        temperature: At which the student answers.
        progress: Bars.
    """

    teacher: Any
    tokenizer: Any
    examples: Sequence[Example]
    prompts: Sequence[tuple[list[int], int]]
    share: float
    beta: float
    temperature: float
    progress: Progress

    def run(self, model: Any, training: Training, work: Path | None, optimizer: Any) -> list[float]:
        """Train until the tokens are spent, a ``TrainingRun``. The rate falls to zero with the tokens that are left."""
        from transformers import TrainerState

        trained = [p for p in model.parameters() if p.requires_grad]
        assert optimizer is None  # LoRA's, whose parameters have one rate
        optimizer = torch.optim.AdamW(trained, weight_decay=0.0)
        spent = _Spent(training)
        last = checkpoints.last_checkpoint(work) if work else None
        if last:
            checkpoints.load_parameters(last, model)
            checkpoints.load_optimizer(last, model, optimizer, spent)
        saved = time.monotonic()
        with self.progress.counter(f"distilling at {training.learning_rate:g}", spent.total, spent.tokens) as bar:
            while spent.tokens < spent.total:
                optimizer.param_groups[0]["lr"] = rate = spent.rate
                batch = self._batch(model, training, spent)
                loss = self._step(model, batch, training, optimizer, trained)
                spent.losses.append(round(loss, 6))
                took = sum(len(e["input_ids"]) for e in batch)
                spent.tokens += took
                bar.update(took)
                self.progress.tell("fine-tuning", spent.tokens, spent.total, loss)
                self.progress.measure(len(spent.losses), loss=loss, learning_rate=rate)
                if work and time.monotonic() - saved >= checkpoints.SECONDS:
                    self.progress.save()
                    state = TrainerState(global_step=len(spent.losses))
                    checkpoints.save_checkpoint(work, model, optimizer, spent, state)
                    saved = time.monotonic()
        return spent.losses

    def _batch(self, model: Any, training: Training, spent: _Spent) -> list[Example]:
        """The examples of a step: the labels', or with the student's answers; no more than there are tokens left."""
        step = len(spent.losses)
        dice = random.Random(f"{training.seed}/{step}")
        chosen = _turns(len(self.examples), training, step)
        batch = [self.examples[i] for i in chosen]
        if dice.random() < self.share:
            from pkt_eval.inference.slots import decode  # with transformers, which takes its time

            model.eval()
            pick = drawn(torch.Generator().manual_seed(dice.getrandbits(62)), len(self.tokenizer), self.temperature)
            prompts, limits = zip(*(self.prompts[i] for i in chosen), strict=True)
            stops = ending_tokens(model, self.tokenizer.eos_token_id)
            answers = decode(model, prompts, slots=len(prompts), most=limits, stops=stops, pick=pick)
            said = {answer.prompt: answer.tokens for answer in answers}
            batch = [answered_example(prompt, said[i]) for i, prompt in enumerate(prompts)]
        return list(_within(batch, spent.total - spent.tokens))

    def _step(
        self, model: Any, batch: Sequence[Example], training: Training, optimizer: Any, trained: list[Any]
    ) -> float:
        """One optimizer step on the mean divergence of a supervised token; returns that."""
        model.train()
        vocabulary = len(self.tokenizer)  # what pads an embedding is no token
        count = max(1, sum(label != IGNORE for e in batch for label in e["labels"][1:]))
        ordered = sorted(batch, key=lambda e: len(e["input_ids"]), reverse=True)
        total = 0.0
        for first in range(0, len(ordered), training.micro_batch):
            padded = collate(ordered[first : first + training.micro_batch], 0)
            inputs = {name: t.to(model.device) for name, t in padded.items()}
            with torch.no_grad():
                theirs, _ = supervised_logits(self.teacher, inputs)
            ours, _ = supervised_logits(model, inputs)
            loss = generalised_jsd(theirs[:, :vocabulary], ours[:, :vocabulary], self.beta) / count
            torch.autograd.backward(loss)
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(trained, _CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return total


class _Spent:
    """How far a training is, in the place of a scheduler in its checkpoints."""

    def __init__(self, training: Training) -> None:
        assert training.tokens is not None
        self.total, self.tokens = training.tokens, 0
        self.losses: list[float] = []
        self._peak, self._warm = training.learning_rate, training.warmup_ratio * training.tokens

    @property
    def rate(self) -> float:
        """Rises over the warm-up, and falls linearly to zero."""
        if self.tokens < self._warm:
            return self._peak * self.tokens / self._warm
        return self._peak * (self.total - self.tokens) / (self.total - self._warm)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"tokens": self.tokens, "losses": self.losses}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.tokens, self.losses = state["tokens"], list(state["losses"])

    def get_last_lr(self) -> list[float]:
        """Of the one group of parameters."""
        return [self.rate]


def _turns(examples: int, training: Training, step: int) -> list[int]:
    """Which examples a step has: as many as it takes, in the order of the passes over all."""
    _, size = training.shape(examples)
    first = step * size
    epochs = range(first // examples, (first + size - 1) // examples + 1)
    order = [i for epoch in epochs for i in epoch_order(examples, training.seed, epoch)]
    return order[first % examples :][:size]


def _within(batch: Sequence[Example], tokens: int) -> Iterator[Example]:
    """The examples as long as there are tokens left; the last is cut."""
    for example in batch:
        if tokens <= 0:
            return
        yield {name: ids[:tokens] for name, ids in example.items()}
        tokens -= len(example["input_ids"])
