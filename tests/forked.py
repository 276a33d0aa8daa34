"""A suite or a transfer in a process of its own, which may be killed; see the fixture ``processes``.

The server from which these processes are forked imports this file: what each of them would do first, and takes seconds,
is done by then.
"""

import gc
import os
import signal
from pathlib import Path
from typing import Any

import peft  # noqa: F401

from pkt_eval.suite import evaluate
from pkt_eval.suite.run import Run
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student
from pkt_eval.tune import checkpoints

evaluate._environment()
gc.collect()
gc.freeze()


def run_suite(suite: dict[str, Any], out: Path, store: Path, killed_after: float | None = None) -> None:
    """Run the suite; ``killed_after`` so many seconds of its work, by a signal that leaves no time for anything."""
    os.environ["PKT_EVAL_STORE"] = str(store)
    checkpoints.SECONDS = 0.0
    run = Run(Suite(**suite), out)
    if killed_after:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, killed_after)
    run.run()
    signal.setitimer(signal.ITIMER_REAL, 0)


def transfer(words: dict[str, Any], store: Path) -> None:
    """Make a student; whatever can be kept on the way is."""
    os.environ["PKT_EVAL_STORE"] = str(store)
    checkpoints.SECONDS = 0.0
    make_student(make_recipe(words))
