"""Training at the learning rate that validation chooses, whatever is trained.

Variants of LoRA lie within a percent or two of each other once each has its own rate (arXiv 2602.04998), so that a
comparison at one rate for all says little. Several rates are tried on the whole budget each; ``auto`` tries four, and
up to two beyond an end that does best, on a fifth of it, and trains once more, from the start, at the one that answers
most validation questions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pkt_eval._util.kept import KeptAnswers
from pkt_eval._util.options import rate_grid
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models.edits import Edit
from pkt_eval.tune.config import TrainingConfig, published_budget
from pkt_eval.tune.loss import Objective
from pkt_eval.tune.selection import Criterion, as_json, criterion, generate_answers, merit, told, validation_items
from pkt_eval.tune.training import Training, train, validation_loss

log = logging.getLogger(__name__)

_TOKENS = 640  # of a pass on a CPU
AUTO_SHARE = 0.2
"""Of the budget, on which ``learning_rate=auto`` tries each rate."""

_BEYOND = 2  # rates that are tried beyond the four, at most

E = TypeVar("E", bound=Edit, covariant=True)


class Trained(Protocol[E]):
    """What is trained of a loaded model.

    Attributes:
        model: The model as it is trained.
    """

    model: Any

    def reset(self) -> None:
        """Put it back to the start, which is the function of the base."""

    def edits(self) -> tuple[E, ...]:
        """What it is now, as edits of the base, on the CPU."""

    def optimizer(self, rate: float) -> Any:
        """The optimizer at a peak rate; None for AdamW with that rate for all."""


TrainingRun = Callable[[Any, Training, Path | None, Any], list[float]]
"""Trains a model: from it, the training, a folder for checkpoints and an optimizer or None to the loss of each step."""


@dataclass(frozen=True)
class Course(Generic[E]):
    """A training with everything but its rate.

    Attributes:
        trained: What is trained.
        training: How, at a rate of 0.
        run: Runs it.
        validation: Examples of the loss.
        answers: How the model answers validation questions; None where the loss chooses.
        progress: Bars and stage times.
        work: Folder for checkpoints, and for what is known of rates.
    """

    trained: Trained[E]
    training: Training
    run: TrainingRun
    validation: Sequence[Example]
    answers: Callable[[], dict[str, float | None] | None] | None
    progress: Progress
    work: Path | None

    def at(self, rate: float, share: float = 1.0, curve: str = "finetune") -> tuple[list[float], float]:
        """Train from the start at a rate, on a share of the budget.

        Args:
            rate: Peak rate.
            share: Of the budget.
            curve: That what is measured belongs to.

        Returns:
            The loss of each step, and the validation loss afterwards; NaN for no validation.
        """
        training = replace(self.training if share == 1 else self.training.part(share), learning_rate=rate)
        self.trained.reset()
        losses: list[float] = []
        name = f"rate-{rate:g}" if share == 1 else f"search-{rate:g}"
        with self.progress.stage("finetune" if share == 1 else "search", curve):
            if training.max_steps and training.epochs:
                work = self.work / name if self.work else None
                losses = self.run(self.trained.model, training, work, self.trained.optimizer(rate))
        after = self.loss()
        self.progress.measure(len(losses), curve, validation_loss=after)
        return losses, after

    def judged(self, step: int, curve: str) -> dict[str, float | None] | None:
        """How the model as it is answers validation questions; None where the loss chooses."""
        found = self.answers() if self.answers else None
        if found:
            self.progress.measure(step, curve, validation_score=found["accuracy"])
        return found

    def loss(self) -> float:
        """Validation loss of the model as it is."""
        with self.progress.stage("validation"):
            return validation_loss(self.trained.model, self.validation, self.training.micro_batch)


def course_of(
    trained: Trained[E],
    tokenizer: Any,
    device: str,
    data: TransferData,
    config: TrainingConfig,
    seed: int,
    progress: Progress,
    work: Path | None = None,
    *,
    objective: Objective | None = None,
    examples: Sequence[Example] | None = None,
    run: TrainingRun | None = None,
) -> tuple[Course[E], dict[str, Any]]:
    """The training of a method, and what its record says of the examples.

    Args:
        trained: What is trained.
        tokenizer: The pair's.
        device: Where the model is.
        data: Train and validation examples.
        config: How.
        seed: Order of the examples.
        progress: Bars and stage times.
        work: Folder for checkpoints.
        objective: What is minimised; default: the supervised loss, by which validation chooses in any case.
        examples: In place of the train split's, and trained on for exactly as many tokens.
        run: How, in place of ``train``; it is told the tokens that the train split would take.

    Raises:
        DataError: There is nothing to train on.
    """
    labelled, validation = (data.examples(tokenizer, split) for split in ("train", "validation"))
    if not labelled:
        raise DataError(f"the train split of {data.splits.benchmark} is empty: {data.splits.source}")
    budget = published_budget(data.kind)
    training = Training(
        epochs=budget.epochs if config.epochs is None else config.epochs,
        max_steps=config.max_steps,
        batch=config.train_batch_size,
        micro_batch=config.micro_batch_size or (_micro_batch(config, labelled) if device.startswith("cpu") else 8),
        warmup_ratio=config.warmup_ratio,
        seed=seed,
        device=device,
        objective=objective,
    )
    tokens = training.token_count([len(e["input_ids"]) for e in labelled])
    if examples is not None or run is not None:
        training = replace(training, tokens=tokens)
    taken = labelled if examples is None else examples

    def plain(model: Any, training: Training, folder: Path | None, optimizer: Any) -> list[float]:
        return train(model, taken, training, progress, folder, optimizer)

    by, why = _criterion(data, config)
    answers = None
    if by == "score":
        items = validation_items(data, tokenizer)

        def answers() -> dict[str, float | None] | None:
            with progress.stage("validation"):
                trained.model.eval()
                return told(generate_answers(trained.model, tokenizer, items))

    record = {
        "examples": {"train": len(labelled), "validation": len(validation)},
        "tokens": tokens,
        "select_by": by,
        **({"select_by_loss_because": why} if why else {}),
    }
    return Course(trained, training, run or plain, validation, answers, progress, work), record


def _criterion(data: TransferData, config: TrainingConfig) -> tuple[Criterion, str]:
    """By what rates are chosen: as asked for, else by loss, and those of ``auto`` by score."""
    asked = config.select_by or ("score" if config.learning_rate == "auto" else "loss")
    return criterion(data.splits.benchmark, asked)


def train_at_best_rate(
    course: Course[E], asked: Sequence[float] | str, default: float
) -> tuple[tuple[E, ...], dict[str, Any]]:
    """Train at the rate, or at each of several, or at the one that a search finds.

    Args:
        course: What and how.
        asked: Rates; none for the default; or ``auto``.
        default: The method's rate.

    Returns:
        The edits of the best, and a record: ``learning_rate``, ``steps``, what was ``tried`` on the whole budget, and
        of a ``search`` its curve of validation against rate.

    Raises:
        ConfigError: There is nothing to choose by.
        DataError: The training diverged.
    """
    if (asked == "auto" or len(asked) > 1) and not course.validation:
        raise ConfigError("several learning rates need a validation split that chooses; it is empty")
    course.trained.reset()
    before = course.loss()
    record: dict[str, Any] = {}
    rates: Sequence[float] = (default,) if isinstance(asked, str) or not asked else asked
    if asked == "auto" and course.training.max_steps and course.training.epochs:
        record["search"] = _search(course, default)
        rates = (record["search"]["learning_rate"],)
    tried: list[dict[str, Any]] = []
    best: tuple[tuple[float, float], float, int, tuple[E, ...]] | None = None
    for rate in rates:
        curve = "finetune" if len(rates) == 1 else f"finetune-{rate:g}"
        course.progress.measure(0, curve, validation_loss=before)
        losses, after = course.at(rate, curve=curve)
        one = {"learning_rate": rate, "validation_loss": [before, after], "train_loss": losses}
        tried.append(one)
        if _diverged(losses, after, course.validation):
            one |= {"validation_loss": [before, None], "train_loss": [], "diverged": True}
            if best is None and rate == rates[-1]:
                raise DataError(
                    f"fine-tuning at learning rate {rate:g} diverged: the loss is NaN; choose a smaller one"
                )
            log.warning("fine-tuning at learning rate %g diverged", rate)
            continue
        if course.answers and len(rates) > 1:
            one["answers"] = course.judged(len(losses), curve)
        # Only the best so far is kept: adapters are small beside the model, but there may be many rates.
        of_rate = merit({**one, "validation_loss": after})
        if best is None or of_rate > best[0]:
            best = of_rate, rate, len(losses), course.trained.edits()
    assert best is not None  # else the last has raised
    _, chosen, steps, edits = best
    return edits, {"learning_rate": chosen, "steps": steps, "tried": tried, **record}


def _search(course: Course[E], default: float) -> dict[str, Any]:
    """Which rate does best on a share of the budget, and how each did; the smaller wins a tie.

    Where the best is the first or the last of those tried, a better one may lie beyond it, and is tried, too.
    """

    def measure(rate: float) -> dict[str, Any]:
        curve = f"search-{rate:g}"
        losses, after = course.at(rate, AUTO_SHARE, curve)
        if _diverged(losses, after, course.validation):
            return {"learning_rate": rate, "validation_loss": None, "diverged": True}
        of_rate: dict[str, Any] = {"learning_rate": rate, "validation_loss": as_json(after), "steps": len(losses)}
        return of_rate | ({"answers": course.judged(len(losses), curve)} if course.answers else {})

    kept = KeptAnswers(course.work / "search.json" if course.work else None, course.progress.save)
    grid = list(rate_grid(default))
    for beyond in range(_BEYOND + 1):
        curve = [kept.get(f"{rate:g}", partial(measure, rate)) for rate in grid]
        sound = [of_rate for of_rate in curve if not of_rate.get("diverged")]
        if not sound:
            raise DataError(f"fine-tuning diverged at all of the rates {', '.join(f'{rate:g}' for rate in grid)}")
        chosen: float = max(sound, key=merit)["learning_rate"]
        if chosen not in (grid[0], grid[-1]) or beyond == _BEYOND:
            break
        if chosen == grid[0]:
            grid.insert(0, rate_grid(chosen)[0])
        else:
            grid.append(rate_grid(chosen)[2])
    return {
        "learning_rate": chosen,
        "share": AUTO_SHARE,
        "curve": curve,
        "at_the_edge": chosen in (grid[0], grid[-1]),
    }


def _diverged(losses: Sequence[float], after: float, validation: Sequence[Example]) -> bool:
    return bool((validation and after != after) or (losses and losses[-1] != losses[-1]))


def _micro_batch(config: TrainingConfig, examples: Sequence[Example]) -> int:
    """Examples of a pass on a CPU, so that a step has a whole number of passes.

    A CPU gains nothing from more tokens, and pays for their padding and memory; with few, nano waits for Python.
    """
    step = min(config.train_batch_size, len(examples))
    mean = sum(len(example["input_ids"]) for example in examples) / len(examples)
    return max(n for n in range(1, step + 1) if step % n == 0 and (n == 1 or n * mean <= _TOKENS))
