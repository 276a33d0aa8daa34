"""Checkpoints of a fine-tuning: one a minute, and the last sound one to go on from.

The Trainer's own are pickles that are trusted as they lie. Ours are one safetensors file (what is trained, and AdamW's
moments) and the Trainer's state as JSON, with one checksum of both and of their place: a checkpoint that was cut,
altered, mixed with another or put in its place is left for the one before it, since to go on from it would make another
student under the same name. No state of random numbers
is kept: nothing is drawn while training, and the order of the examples is the epoch's own.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pkt_eval._util.digests import combine_digests, file_digest
from pkt_eval._util.files import load_tensors, remove, save_tensors, save_text
from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.errors import StoreError

log = logging.getLogger(__name__)

SECONDS = 60.0
"""Between two checkpoints."""
_KEPT = 2
_TENSORS, _STATE = "training.safetensors", "trainer_state.json"  # the second is the Trainer's name, which it reads
_WHOLE = "whole"  # written last: one checksum of the others, which belong together, and of whose they are
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A sound checkpoint, as it was read.

    Attributes:
        folder: Where.
        tensors: What is trained, by its name in the model, and AdamW's moments; on the CPU.
        scheduler: State of the learning rate's.
    """

    folder: str
    tensors: dict[str, torch.Tensor]
    scheduler: dict[str, Any]


def last_checkpoint(folder: Path) -> TrainingCheckpoint | None:
    """The last sound checkpoint of a folder; those after it go, and are said unless the process ended while writing."""
    for step, path in reversed(_checkpoints(folder)):
        if (path / _WHOLE).exists():
            try:
                return _read(path, step)
            except StoreError as error:
                log.warning("the fine-tuning cannot go on from step %d: %s", step, error)
        remove(path)
    return None


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """What is named as a checkpoint of ours, whatever it is, with its step, in order."""
    named = [(path.name.removeprefix("checkpoint-"), path) for path in folder.glob("checkpoint-*")]
    return sorted((int(step), path) for step, path in named if step.isdecimal() and step == str(int(step)))


def _read(path: Path, step: int) -> TrainingCheckpoint:
    tensors, metadata = load_tensors(path / _TENSORS)
    try:
        if _digest(path) != (path / _WHOLE).read_text("utf-8"):
            raise StoreError(f"{path} is altered, or of another training")
        if json.loads((path / _STATE).read_text("utf-8"))["global_step"] != step:
            raise StoreError(f"{path / _STATE} is of another step")
    except StoreError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}") from None
    return TrainingCheckpoint(str(path), tensors, metadata["scheduler"])


def _digest(path: Path) -> str:
    """Of a checkpoint's files, and of the student, the rate and the step that it is named for."""
    files = {name: file_digest(path / name, remember=False) for name in (_TENSORS, _STATE)}
    return combine_digests({**files, "place": path.parts[-3:]})


def save_checkpoint(folder: Path, model: Any, optimizer: Any, scheduler: Any, state: Any) -> None:
    """Write a checkpoint, and remove those that are no longer wanted.

    Args:
        folder: Of all checkpoints.
        model: Whose trained parameters are kept.
        optimizer: AdamW.
        scheduler: Of the learning rate.
        state: The Trainer's.
    """
    path = folder / f"checkpoint-{state.global_step}"
    remove(path)
    tensors = {}
    for name, parameter in _trained(model):
        tensors[name] = parameter
        moments = optimizer.state.get(parameter, {})
        tensors |= {f"{name}/{moment}": moments[moment] for moment in _MOMENTS if moment in moments}
    save_tensors(path / _TENSORS, tensors, scheduler=_plain(scheduler.state_dict()))
    state.save_to_json(str(path / _STATE))
    save_text(path / _STATE, (path / _STATE).read_text("utf-8"))
    save_text(path / _WHOLE, _digest(path))
    for _, old in _checkpoints(folder)[:-_KEPT]:
        remove(old)


@torch.no_grad()
def load_parameters(checkpoint: TrainingCheckpoint, model: Any) -> None:
    """Put the trained parameters where they were."""
    for name, parameter in _trained(model):
        parameter.copy_(checkpoint.tensors[name])


def load_optimizer(checkpoint: TrainingCheckpoint, model: Any, optimizer: Any, scheduler: Any) -> None:
    """Put AdamW's moments and the learning rate where they were."""
    for name, parameter in _trained(model):
        for moment in _MOMENTS:
            if (value := checkpoint.tensors.get(f"{name}/{moment}")) is not None:
                optimizer.state[parameter][moment] = value if moment == "step" else value.to(parameter.device)
    scheduler.load_state_dict(checkpoint.scheduler)
    for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = rate


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state without its functions, which are the same ones next time."""
    return {name: value for name, value in state.items() if name != "lr_lambdas"} | {"lr_lambdas": [None]}


def checkpoint_callback(progress: Progress) -> Any:
    """A ``TrainerCallback`` that saves by the clock: a step may take a minute, or a thousandth of it."""
    from transformers import TrainerCallback

    class TrainingCheckpoint(TrainerCallback):
        def __init__(self) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if time.monotonic() - self.last >= SECONDS:
                progress.save()
                control.should_save = True
                self.last = time.monotonic()

    return TrainingCheckpoint()
