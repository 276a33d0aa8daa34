"""PKT-Eval: the benchmark harness for parametric knowledge transfer, a plug-in for lm-evaluation-harness.

Importing this package costs nothing: every room is a submodule that is imported when it is used, and so are the few
names here.

    >>> import pkt_eval
    >>> recipe = pkt_eval.make_recipe({"method": "lora", "transfer_task": "nano_gsm8k"})  # the embedded nano family
    >>> recipe.method
    'lora'

The package is imported before pytest is, by ``pkt_eval.pth``, and has a plug-in of it: without the word
PYTEST_DONT_REWRITE here, every run would warn that it is too late to rewrite our assertions, of which there are none.
"""

TYPE_CHECKING = False  # as type checkers read it; ``typing`` is imported by nothing at the start of an interpreter
if TYPE_CHECKING:
    from pkt_eval.methods.base import register
    from pkt_eval.models.student import load_student
    from pkt_eval.transfer.recipe import make_recipe
    from pkt_eval.transfer.transfer import make_student

    __version__: str

__all__ = ["__version__", "load_student", "make_recipe", "make_student", "register"]

_HOMES = {
    "load_student": "pkt_eval.models.student",
    "make_recipe": "pkt_eval.transfer.recipe",
    "make_student": "pkt_eval.transfer.transfer",
    "register": "pkt_eval.methods.base",
}

if not TYPE_CHECKING:  # or a wrong name would be none to them

    def __getattr__(name: str) -> object:
        """A public name, imported when it is first asked for (PEP 562)."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("pkt-eval")
        elif name in _HOMES:
            from importlib import import_module

            value = getattr(import_module(_HOMES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
