"""The engines by name, a row each: what does the cells of a suite. What an engine has to do is in ``engine.py``.

A row is an import path, so that an engine is imported only where a suite asks for it. To add one, write its module and
add its row: ``engine: NAME`` asks for it, and a key of that name in the suite's file holds its options.
"""

from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict

from pkt_eval._util.devices import default_device

#: Name → ``module:class``.
ENGINES = {
    "local": "pkt_eval.suite.local:Local",
    "ray": "pkt_eval.suite.ray:OnRay",
}


class EngineOptions(BaseModel):
    """Base of every engine's ``Options``, and the options of an engine that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def device(self, asked: str | None) -> str:
        """Where the engine makes and evaluates students.

        Args:
            asked: The suite's ``device:``, if it has one.

        Returns:
            E.g. ``"cpu"`` or ``"cuda:0"``.

        Raises:
            ValueError: The engine decides that itself; the message says by what.
        """
        return asked or default_device()


def engine_class(name: str) -> Any:
    """The class of an engine, imported now; ``engine_of`` gives it its type."""
    module, _, attribute = ENGINES[name].partition(":")
    return getattr(import_module(module), attribute)


def options_class(name: str) -> type[EngineOptions]:
    """The class of an engine's options."""
    options: type[EngineOptions] = engine_class(name).Options
    return options
