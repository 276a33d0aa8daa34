"""The door: tells lm-eval about our models and tasks as soon as somebody imports lm-eval.

A one-line ``.pth`` file calls ``install`` at every start of the interpreter, so nothing here may cost anything, import
anything or raise. ``PKT_EVAL_AUTOLOAD=0`` turns it off.
"""

import sys

_STUDENT = "pkt_eval.model_wrappers.student"
MODELS = {
    "pkt_student": f"{_STUDENT}:PKTStudent",
    "pkt_vanilla": f"{_STUDENT}:PKTVanilla",
    "pkt_lora": f"{_STUDENT}:PKTLoRA",
    "pkt_postpkt": f"{_STUDENT}:PKTPostPKT",
    "pkt_prepkt": f"{_STUDENT}:PKTPrePKT",
}


def install() -> None:
    """Have lm-eval's model registry and task manager patched when they are first imported."""
    if not any(isinstance(finder, _Door) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Door())
    for name, patch in _PATCHES.items():
        if name in sys.modules:
            _quietly(patch, sys.modules[name])


class _Door:
    """A finder that finds nothing itself: it lets the others find lm-eval's modules and patches them once loaded."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """A spec whose loader also patches, for the two modules of interest; None for all others."""
        if name not in _PATCHES:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                _quietly(_wrap, spec.loader, _PATCHES[name])
                return spec
        return None


def _wrap(loader: object, patch: object) -> None:
    run = loader.exec_module

    def exec_module(module: object) -> None:
        run(module)
        _quietly(patch, module)

    loader.exec_module = exec_module


def _register_models(module: object) -> None:
    from lm_eval.api.registry import model_registry

    for name, target in MODELS.items():
        if name not in model_registry:
            # A string: nothing of ours is imported before the model is asked for.
            model_registry.register(name, target=target)


def _add_tasks(module: object) -> None:
    """Make our task folder one of ``TaskManager``'s defaults; a user's ``include_path`` still comes last and wins."""
    from functools import wraps
    from inspect import signature
    from pathlib import Path

    manager = module.TaskManager
    plain = manager.__init__
    if getattr(plain, "_pkt_eval", False):
        return

    @wraps(plain)
    def init(self: object, *args: object, **kwargs: object) -> None:
        bound = signature(plain).bind(self, *args, **kwargs)
        bound.apply_defaults()
        asked = bound.arguments["include_path"]
        if bound.arguments.get("include_defaults", True):
            theirs = [] if not asked else list(asked) if isinstance(asked, list | tuple) else [asked]
            bound.arguments["include_path"] = [_task_folder(Path), *theirs]
        plain(*bound.args, **bound.kwargs)
        self.include_path = asked

    init._pkt_eval = True
    manager.__init__ = init


def _task_folder(path_class: type) -> str:
    import pkt_eval.tasks

    return str(path_class(next(iter(pkt_eval.tasks.__path__))))


def _quietly(patch: object, *args: object) -> None:
    try:
        patch(*args)
    except Exception as error:  # a broken plug-in must never break its host
        import logging

        logging.getLogger("pkt_eval").warning("pkt_eval could not attach to lm_eval: %r", error)


_PATCHES = {"lm_eval.models": _register_models, "lm_eval.tasks": _add_tasks}
