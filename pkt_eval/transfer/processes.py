"""Several processes of one run, as ``accelerate launch`` or torchrun start them: ranks 0, 1, … of ``WORLD_SIZE``.

A transfer is one process's work, in which transformers' Trainer must not find the others: it would wait for them to
train with it. So it is made in a child process that knows of no ranks, and the store's lock lets the others wait.
"""

import logging
import os
from contextlib import nullcontext
from datetime import timedelta
from queue import Empty
from typing import Any

from pkt_eval._util.progress import Progress
from pkt_eval._util.quiet import quiet
from pkt_eval.models.student import Student
from pkt_eval.transfer.recipe import Recipe
from pkt_eval.transfer.transfer import Transfer

_LAUNCHERS = ("ACCELERATE_", "TORCHELASTIC_", "MASTER_", "GROUP_", "ROLE_")
_EVERY = 0.5
"""Seconds between two looks at what a child has said."""
_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def world() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Which of them this is; 0 leads."""
    return int(os.environ.get("RANK", 0))


def join_others() -> None:
    """Find the other processes. On a CPU accelerate would overlook them, unless it is told that a CPU is meant."""
    import torch
    from accelerate import PartialState

    # Others may wait for a long transfer: lm-eval's own limit.
    PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(weeks=52))


def make_once(transfer: Transfer, progress: Progress | None = None) -> Student:
    """``Transfer.make`` for a process that may be one of several.

    Args:
        transfer: Of the student.
        progress: Default: bars on stderr.
    """
    if world() > 1 and not transfer.done:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        shown = progress is None or progress.enabled
        context = get_context("spawn")
        told = context.Queue()
        with ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(told,)) as child:
            level = logging.getLogger("pkt_eval").getEffectiveLevel()
            made = child.submit(_make, transfer.recipe, transfer.device, shown and rank() == 0, level)
            while True:
                ended = made.done()  # looked at first: what the child has said before it ended is still there
                try:
                    said = told.get(timeout=_EVERY)
                except Empty:
                    if ended:
                        break
                    continue
                if progress and isinstance(said, str):
                    progress.pass_on(said)
                elif progress:
                    progress.pass_on_measured(*said)
            made.result()
    return transfer.make(progress)


_told: Any = None
"""In the child: where it says how far it is."""


def _begin(told: Any) -> None:
    """A child knows of no ranks, and says how far it is."""
    global _told
    _told = told
    for name in [n for n in os.environ if n in _RANK or n.startswith(_LAUNCHERS)]:
        del os.environ[name]


def _make(recipe: Recipe, device: str, shown: bool, level: int) -> None:
    with nullcontext() if shown else quiet():
        log = logging.getLogger("pkt_eval")  # whichever process makes the student says so
        log.addHandler(logging.StreamHandler())
        log.setLevel(level)
        Transfer(recipe, device).make(
            Progress(enabled=shown, listener=_told.put, measured=lambda *measured: _told.put(measured))
        )
