"""Which step of which learning rate an alignment ends with: the validation split chooses, by score or by loss.

Loss is no judge of a student that answers in its own words: it falls while the student learns the wording of the
answers, and with it goes what it knew. So the score chooses where there is one, and the loss among equals.
"""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pkt_eval._util.options import rate_grid
from pkt_eval._util.progress import Progress
from pkt_eval.align.inject import injected
from pkt_eval.align.loop import AlignmentExamples, AlignmentOptions, Checkpoint, Deltas, DivergedError, align
from pkt_eval.errors import ConfigError
from pkt_eval.locate.select import Located
from pkt_eval.tune.selection import Answers, as_json, merit, told

log = logging.getLogger(__name__)

# The released README's rate and its scripts', of Llama-2 13B: the paper's tables do not say which.
_PUBLISHED_RATES, _PUBLISHED_WIDTH = (3e-5, 3e-4), 5120


def choose_rate(
    model: Any,
    places: Sequence[Located],
    vectors: Sequence[Deltas],
    examples: AlignmentExamples,
    options: Sequence[AlignmentOptions],
    scorer: Callable[[], Answers | None] | None,
    progress: Progress,
    work: Path | None = None,
) -> tuple[Checkpoint, dict[str, Any]]:
    """Align with each of several options and take the best step of all; the earlier wins a tie.

    Without validation examples the last step is taken. A rate at which the loss is no longer finite is out after the
    steps before that.

    Args:
        model: The student, on its device.
        places: Of each step, or one of all.
        vectors: As ``places``: what ``align`` takes.
        examples: As of ``align``.
        options: Alike but for their learning rates.
        scorer: How the model answers, with the deltas in force; None: the loss chooses.
        progress: Bars.
        work: Folder in which steps are kept.

    Returns:
        The chosen step, and what was tried, for the record.

    Raises:
        DivergedError: No option gave a step.
    """
    chosen: tuple[tuple[float, float], Checkpoint, dict[str, Any]] | None = None
    tried: list[dict[str, Any]] = []
    for number, option in enumerate(options):
        of_rate: dict[str, Any] = {"learning_rate": option.learning_rate, "steps": []}
        tried.append(of_rate)
        kept = work / f"rate-{number}" if work else None
        try:
            for checkpoint in align(model, places, vectors, examples, option, progress, kept):
                step: dict[str, Any] = {
                    k: as_json(v) for k, v in vars(checkpoint).items() if k not in ("deltas", "located")
                }
                # A model whose logits are NaN has no answers.
                if scorer and not (examples.validation and math.isnan(checkpoint.validation_loss)):
                    with injected(model, checkpoint.located, checkpoint.deltas):
                        step["answers"] = told(scorer())
                of_rate["steps"].append(step)
                _tell_curve(progress, "align" if len(options) == 1 else f"align-{option.learning_rate:g}", step)
                of_step = merit(step)
                if chosen is None or not examples.validation or of_step > chosen[0]:
                    chosen = of_step, checkpoint, of_rate
        except DivergedError as error:
            if chosen is None and option is options[-1]:
                raise
            of_rate["diverged"] = str(error)
            log.warning("learning rate %g: %s", option.learning_rate, error)
    assert chosen is not None  # else the last has raised
    _, best, of_best = chosen
    return best, {
        **of_best,
        "other_rates": [of_rate for of_rate in tried if of_rate is not of_best],
        "chosen_step": best.step,
        "chosen_by": "validation" if examples.validation else "being the last",
        "select_by": "score" if scorer else "loss",
    }


def _tell_curve(progress: Progress, curve: str, step: dict[str, Any]) -> None:
    score = (step.get("answers") or {}).get("accuracy")
    numbers = {"loss": step["lm_loss"], "validation_score": score}
    numbers |= {name: step[name] for name in ("penalty", "validation_loss", "learning_rate")}
    progress.measure(step["step"], curve, **numbers)


def rates_to_try(asked: tuple[float, ...] | Literal["auto"], d_teacher: int, validation: bool) -> tuple[float, ...]:
    """The learning rates that were asked for, or the published ones; without validation the first of those.

    An alignment has so few steps that no part of them is tried: each rate of ``auto`` has all of them.

    Raises:
        ConfigError: Several were asked for, and there is nothing to choose by.
    """
    if not validation and (asked == "auto" or len(asked) > 1):
        raise ConfigError(
            "learning_rate= has several values and there is no validation record to choose by: give one value, or "
            "validation_samples="
        )
    if asked == "auto":
        return rate_grid(_PUBLISHED_RATES[0] * _PUBLISHED_WIDTH / d_teacher * 10**0.5)
    return asked or (published_rates(d_teacher) if validation else _PUBLISHED_RATES[:1])


def published_rates(d_teacher: int) -> tuple[float, ...]:
    """The two published peak rates, as printed and scaled to the published ``lr·d_T``.

    δ grows as ``lr²·d_T^1.5`` and more, so that the same rate moves the student of a narrow teacher far less.

    >>> published_rates(2560), published_rates(5120)
    ((3e-05, 0.0003, 6e-05, 0.0006), (3e-05, 0.0003))
    """
    scaled = [float(f"{rate * _PUBLISHED_WIDTH / d_teacher:.4g}") for rate in _PUBLISHED_RATES]
    return tuple(dict.fromkeys([*_PUBLISHED_RATES, *scaled]))
