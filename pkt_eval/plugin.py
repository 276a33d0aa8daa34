"""The door: tells lm-eval about our models and tasks as soon as somebody imports lm-eval.

A one-line ``.pth`` file calls ``install`` at every start of the interpreter, so nothing here may cost anything, import
anything or raise; what is done to lm-eval is in ``pkt_eval.lm``, which is imported after it. ``PKT_EVAL_AUTOLOAD=0``
turns it off.
"""

import sys

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def install() -> None:
    """Have lm-eval's model registry, task manager and command patched when they are first imported."""
    if not any(isinstance(finder, _Door) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Door())
    for name in _PATCHES:
        if name in sys.modules:
            _patch(name, sys.modules[name])


class _Door:
    """A finder that finds nothing itself: it lets the others find lm-eval's modules and patches them once loaded."""

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """A spec whose loader also patches, for the modules of interest; None for all others."""
        if name not in _PATCHES:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Door) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return _patched(spec, name)
        return None


def _patched(spec: "ModuleSpec", name: str) -> "ModuleSpec":
    _quietly(lambda: _wrap(spec, name))
    return spec


def _wrap(spec: "ModuleSpec", name: str) -> None:
    loader = spec.loader
    if loader is None:  # a folder without code
        return
    run = loader.exec_module

    def exec_module(module: "ModuleType") -> None:
        run(module)
        _patch(name, module)

    vars(loader)["exec_module"] = exec_module


def _register_models(module: "ModuleType") -> None:
    from pkt_eval.lm.patches import register_models

    register_models(module)


def _add_tasks(module: "ModuleType") -> None:
    from pkt_eval.lm.patches import add_tasks

    add_tasks(module)


def _complete_results(module: "ModuleType") -> None:
    from pkt_eval.lm.patches import complete_results

    complete_results(module)


def _say_no_secret(module: "ModuleType") -> None:
    from pkt_eval.lm.patches import say_no_secret

    say_no_secret(module)


def _end_in_one_line(module: "ModuleType") -> None:
    from pkt_eval.lm.excepthook import end_lm_eval_in_one_line

    end_lm_eval_in_one_line()


def _patch(name: str, module: "ModuleType") -> None:
    _quietly(lambda: _PATCHES[name](module))


def _quietly(do: "Callable[[], None]") -> None:
    try:
        do()
    except Exception as error:  # a broken plug-in must never break its host
        import logging

        logging.getLogger("pkt_eval").warning("pkt_eval could not attach to lm_eval: %r", error)


# The last two are imported by the command alone, not where lm-eval is used as a library.
_PATCHES: "dict[str, Callable[[ModuleType], None]]" = {
    "lm_eval.models": _register_models,
    "lm_eval.tasks": _add_tasks,
    "lm_eval.loggers.evaluation_tracker": _complete_results,
    "lm_eval.evaluator": _say_no_secret,
    "lm_eval._cli.run": _say_no_secret,
    "lm_eval._cli": _end_in_one_line,
}
