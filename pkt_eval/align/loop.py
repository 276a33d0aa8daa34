"""LaTen's alignment: a few optimizer steps on the hypernetwork, the student's loss being the judge."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.align.checkpoint import load_step, save_step
from pkt_eval.align.inject import injected
from pkt_eval.data.chat import collate
from pkt_eval.data.transfer_data import Example
from pkt_eval.errors import ConfigError, DataError, StoreError
from pkt_eval.locate.select import Located
from pkt_eval.tune.loss import supervised_loss

if TYPE_CHECKING:  # a class of torch's
    from pkt_eval.align.hypernetwork import Hypernetwork

Deltas: TypeAlias = "dict[str, torch.Tensor]"

log = logging.getLogger(__name__)

PENALTY = 1000.0  # weight of Σ_blocks mean(δ²)
_WEIGHT_DECAY, _BETAS = 0.05, (0.9, 0.95)
_RISE, _ENDS = 0.1, 25.0  # OneCycle's share of rising steps, and what it divides the peak by at both ends
_BETA1_AT_ENDS, _BETA1_AT_PEAK = 0.95, 0.85  # torch's defaults for ``cycle_momentum``, which is on by default


class DivergedError(DataError):
    """A step's loss is not finite: another learning rate may still do."""


@dataclass(frozen=True)
class AlignmentOptions:
    """How an alignment is made.

    Attributes:
        steps: Optimizer steps.
        samples: Examples of a step: one of extract, the others of align.
        learning_rate: Peak of the schedule.
        seed: Decides the hypernetwork's start and the order of the examples.
    """

    steps: int
    samples: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class AlignmentExamples:
    """Encoded examples that an alignment is made with.

    Attributes:
        extract: Used in turn, one a step; the schedule spans their number.
        align: In seeded order, none again before all were used.
        validation: They judge a step.
    """

    extract: Sequence[Example]
    align: Sequence[Example]
    validation: Sequence[Example]


@dataclass(frozen=True)
class Checkpoint:
    """The deltas after an optimizer step.

    Attributes:
        step: 1 for the first.
        lm_loss: Mean over the step's samples of the loss that the step was taken on, in nats a token.
        penalty: ``1000·Σ_blocks mean(δ²)``, likewise before the step.
        validation_loss: Nats a supervised token with these deltas; NaN without validation examples.
        learning_rate: Of the step.
        beta1: AdamW's first, of the step.
        located: Places of the deltas in the student.
        deltas: Block → ``(L, k, d_S)`` float32.
    """

    step: int
    lm_loss: float
    penalty: float
    validation_loss: float
    learning_rate: float
    beta1: float
    located: Located
    deltas: Deltas


def align(
    model: Any,
    located: Located | Sequence[Located],
    vectors: Mapping[str, torch.Tensor] | Sequence[Mapping[str, torch.Tensor]],
    examples: AlignmentExamples,
    options: AlignmentOptions,
    progress: Progress,
    work: Path | None = None,
) -> Iterator[Checkpoint]:
    """Train a hypernetwork and yield the deltas after each step (arXiv 2505.14436, §3.3).

    A step takes one extract example and ``samples − 1`` align examples. The loss of an example is its LM loss, a mean
    over its supervised tokens, plus the penalty; the gradient of a step is the sum over its examples. It is first
    gathered on the deltas and then sent through the hypernetwork once. The model's parameters collect none.

    Args:
        model: The student, on its device, in any dtype; its ``requires_grad`` flags are left as found.
        located: Places in the student; a list has those of each step, and is gone through in turn.
        vectors: Block → ``(L, k, d_T)`` teacher vectors, in the order of ``located``; a list where that is one.
        examples: To learn from and to judge by.
        options: How.
        progress: Bars.
        work: Folder in which each step is kept; those that are there are not taken again.

    Raises:
        DataError: No example.
        DivergedError: A loss is not finite; it says which.
    """
    from pkt_eval.align.hypernetwork import Hypernetwork

    places = [located] if isinstance(located, Located) else list(located)
    of_places = [vectors] if isinstance(vectors, Mapping) else list(vectors)
    if not examples.extract or not examples.align:
        raise DataError(
            f"alignment needs examples; got {len(examples.extract)} extract and {len(examples.align)} align examples"
        )
    d_teacher, d_student = next(iter(of_places[0].values())).shape[-1], model.config.hidden_size
    generator = torch.Generator().manual_seed(options.seed)
    net = Hypernetwork(of_places[0], d_teacher, d_student, generator=generator).to(model.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.learning_rate, betas=_BETAS, weight_decay=_WEIGHT_DECAY)
    drawn = _in_turn(examples.align, random.Random(options.seed))
    # The released code cannot take more steps than it has extract samples; where ours does, the schedule is as long.
    span = max(len(examples.extract), options.steps)
    for step in range(options.steps):
        batch = [examples.extract[step % len(examples.extract)]]
        batch += [next(drawn) for _ in range(min(options.samples - 1, len(examples.align)))]
        place = places[step % len(places)]
        taken = {b: t.to(model.device, torch.float32) for b, t in of_places[step % len(places)].items()}
        kept = work / f"step-{step + 1}.safetensors" if work else None
        if kept and kept.exists():
            try:
                measured = load_step(kept, net, optimizer)
            except StoreError as error:
                log.warning("step %d is taken anew: %s", step + 1, error)
            else:
                with torch.no_grad():
                    deltas = net(taken)
                yield Checkpoint(**measured, located=place, deltas=deltas)
                continue
        rate, beta1 = one_cycle(step, span, options.learning_rate)
        for group in optimizer.param_groups:
            group["lr"], group["betas"] = rate, (beta1, _BETAS[1])
        bar = progress.bar(batch, f"align: step {step + 1} of {options.steps}")
        losses, penalty = gradients(model, place, net, taken, bar)
        if not torch.isfinite(losses).all() or not torch.isfinite(penalty):
            raise DivergedError(
                f"alignment diverged in step {step + 1} of {options.steps}: losses {losses.tolist()}, penalty "
                f"{float(penalty):g}; choose a smaller learning_rate, or transfer_dtype=float32"
            )
        optimizer.step()
        progress.tell("align", step + 1, options.steps, float(losses.mean()))
        with torch.no_grad():
            deltas = net(taken)
        with injected(model, place, deltas):
            judged = mean_loss(model, progress.bar(examples.validation, f"align: validation {step + 1}"))
        measured = {
            "step": step + 1,
            "lm_loss": float(losses.mean()),
            "penalty": float(penalty),
            "validation_loss": judged,
            "learning_rate": rate,
            "beta1": beta1,
        }
        if kept:
            progress.save()
            save_step(kept, net, optimizer, measured)
        yield Checkpoint(**measured, located=place, deltas=deltas)


def gradients(
    model: Any, located: Located, net: Hypernetwork, vectors: Mapping[str, torch.Tensor], batch: Iterable[Example]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Set the hypernetwork's gradients to the sum over a batch; returns each example's LM loss, and the penalty."""
    net.zero_grad(set_to_none=True)
    deltas = net(vectors)
    leaves = {block: d.detach().requires_grad_() for block, d in deltas.items()}
    losses = []
    with _frozen(model), injected(model, located, leaves):
        for example in batch:
            total, count = example_loss(model, example)
            loss = total / count
            torch.autograd.backward(loss)
            losses.append(loss.detach())
    penalty = PENALTY * sum(d.pow(2).mean() for d in deltas.values())
    # One pass through the net: Σ_examples (∂LM/∂δ)·∂δ + n·∂penalty.
    sums = [leaf.grad for leaf in leaves.values()]
    torch.autograd.backward([*deltas.values(), len(losses) * penalty], [*sums, None])
    return torch.stack(losses), penalty.detach()


def example_loss(model: Any, example: Example) -> tuple[torch.Tensor, int]:
    """Summed negative log-likelihood of an example's supervised tokens, in nats, and their number.

    Raises:
        DataError: No token is supervised.
    """
    batch = {key: value.to(model.device) for key, value in collate([example], 0).items()}
    total, count = supervised_loss(model, batch)
    if not count:
        raise DataError("an example has no supervised token, so it has no loss")
    return total, count


@torch.no_grad()
def mean_loss(model: Any, examples: Iterable[Example]) -> float:
    """Mean negative log-likelihood of a supervised token over examples, in nats; NaN for no examples."""
    losses = [example_loss(model, example) for example in examples]
    count = sum(n for _, n in losses)
    return float(torch.stack([total.double().cpu() for total, _ in losses]).sum() / count) if count else math.nan


def one_cycle(step: int, total_steps: int, peak: float) -> tuple[float, float]:
    """Learning rate and β₁ of a step, as the released code of arXiv 2505.14436 has them.

    That is torch's ``OneCycleLR`` with ``max_lr=peak``, ``pct_start=0.1``, ``final_div_factor=1``, cosine and
    ``cycle_momentum``: up from ``peak/25`` to the peak and down to ``peak/25``, β₁ from 0.95 to 0.85 and back. The one
    difference: with ten steps torch divides by zero at the first, which is at the peak here.

    Args:
        step: 0 for the first.
        total_steps: Length of the schedule: the number of extract samples, however few of the steps are taken.
        peak: Largest rate.

    Raises:
        ConfigError: There is no such step.
    """
    if not 0 <= step < total_steps:
        raise ConfigError(f"step {step} is none of a schedule of {total_steps} steps, 0 to {total_steps - 1}")
    top, last = _RISE * total_steps - 1, total_steps - 1  # top: the step with the peak rate, not always a whole one
    low = peak / _ENDS
    if top > 0 and step <= top:
        return _cosine(low, peak, step / top), _cosine(_BETA1_AT_ENDS, _BETA1_AT_PEAK, step / top)
    share = (step - top) / (last - top)
    return _cosine(peak, low, share), _cosine(_BETA1_AT_PEAK, _BETA1_AT_ENDS, share)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * share) + 1)


def _in_turn(examples: Sequence[Example], dice: random.Random) -> Iterator[Example]:
    """Examples in random order, for ever, none again before all were given."""
    while True:
        yield from dice.sample(list(examples), len(examples))


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    flags = [(p, p.requires_grad) for p in model.parameters()]
    try:
        model.requires_grad_(False)
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)
