"""What lm-eval 0.4.13 has no entry points for: our models in its registry, our folder of tasks among its own.

Its main branch has entry points for models (not for tasks); ours are declared in ``pyproject.toml``, so a model may be
registered twice, by lm-eval and here, in either order.
"""

import logging
import subprocess
from functools import wraps
from importlib.metadata import EntryPoint
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

from pkt_eval._util.secrets import hide_secrets, log_no_secret

log = logging.getLogger(__name__)

_STUDENT = "pkt_eval.model_wrappers.student"
MODELS = {
    "pkt_student": f"{_STUDENT}:PKTStudent",
    "pkt_vanilla": f"{_STUDENT}:PKTVanilla",
    "pkt_lora": f"{_STUDENT}:PKTLoRA",
    "pkt_postpkt": f"{_STUDENT}:PKTPostPKT",
    "pkt_prepkt": f"{_STUDENT}:PKTPrePKT",
}
"""lm-eval's name of a model → where it is; as in ``pyproject.toml``."""


def register_models(module: ModuleType) -> None:
    """Have lm-eval know our models. Nothing of ours is imported before one is asked for.

    Args:
        module: ``lm_eval.models``, which has just been imported.
    """
    from lm_eval.api.registry import model_registry

    for name, value in MODELS.items():
        if name not in model_registry:
            # Equal to the declared entry point: the registry takes the same target again, and refuses another.
            model_registry.register(name, target=EntryPoint(name=name, value=value, group="lm_eval.models"))


def add_tasks(module: Any) -> None:
    """Make our task folder one of ``TaskManager``'s defaults; a user's ``include_path`` still comes last and wins.

    Args:
        module: ``lm_eval.tasks``, which has just been imported.
    """
    manager = module.TaskManager
    plain = manager.__init__
    if getattr(plain, "_pkt_eval", False):
        return

    @wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature(plain).bind(self, *args, **kwargs)
        bound.apply_defaults()
        asked = bound.arguments["include_path"]
        if bound.arguments.get("include_defaults", True):
            theirs = [] if not asked else list(asked) if isinstance(asked, list | tuple) else [asked]
            bound.arguments["include_path"] = [_task_folder(), *theirs]
        plain(*bound.args, **bound.kwargs)
        self.include_path = asked

    vars(init)["_pkt_eval"] = True
    manager.__init__ = init


class _SilentSubprocess:
    """The module ``subprocess``, whose ``check_output`` says nothing on stderr."""

    def __getattr__(self, name: str) -> object:
        return getattr(subprocess, name)

    def check_output(self, command: Any, **how: Any) -> Any:
        """As ``subprocess.check_output``."""
        return subprocess.check_output(command, **{"stderr": subprocess.DEVNULL, **how})


def silence_git() -> None:
    """Let lm-eval ask ``git describe`` for a commit without its saying "fatal: not a git repository" where it is none.

    lm-eval takes that for an answer, and asks nothing else of a process there.
    """
    from lm_eval.loggers import utils

    utils.subprocess = _SilentSubprocess()


def complete_results(module: Any) -> None:
    """Have every results JSON completed before it is written; see ``results_file``.

    Args:
        module: ``lm_eval.loggers.evaluation_tracker``, which has just been imported.
    """
    tracker = module.EvaluationTracker
    plain = tracker.save_results_aggregated
    if getattr(plain, "_pkt_eval", False):
        return

    @wraps(plain)
    def save(self: Any, results: Any, samples: Any = None) -> None:
        try:
            from pkt_eval.lm.results_file import complete

            complete(results, samples)
        except Exception as error:  # a record that is not bound to its samples is better than none
            log.warning("the results are not bound to their samples: %r", error)
        plain(self, results=results, samples=samples)

    vars(save)["_pkt_eval"] = True
    tracker.save_results_aggregated = save


def say_no_secret(module: Any) -> None:
    """Have lm-eval log, and a module of it print, ``***`` for a token among the arguments of a model.

    Args:
        module: One that prints them, which has just been imported.
    """
    log_no_secret()
    vars(module)["print"] = _print


def _print(*values: object, **how: Any) -> None:
    print(*(hide_secrets(value) if isinstance(value, str) else value for value in values), **how)


def _task_folder() -> str:
    import pkt_eval.tasks

    return str(Path(next(iter(pkt_eval.tasks.__path__))))
