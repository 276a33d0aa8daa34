"""Checkpoints of a fine-tuning: one a minute, and the last whole one to go on from."""

import shutil
import time
from pathlib import Path
from typing import Any

from pkt_eval._util.progress import Progress

SECONDS = 60.0
"""Between two checkpoints."""
_WHOLE = "whole"  # a file in a checkpoint that was written to its end


def last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint of a folder; one that was being written when the process ended goes."""
    steps = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    for step in sorted(steps, reverse=True):
        if (steps[step] / _WHOLE).exists():
            return str(steps[step])
        shutil.rmtree(steps[step])
    return None


def checkpoint_callback(progress: Progress) -> Any:
    """A ``TrainerCallback`` that saves by the clock: a step may take a minute, or a thousandth of it."""
    from transformers import TrainerCallback

    class Checkpoint(TrainerCallback):
        def __init__(self) -> None:
            self.last = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if time.monotonic() - self.last >= SECONDS:
                control.should_save = True
                self.last = time.monotonic()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.save()
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _WHOLE).touch()

    return Checkpoint()
