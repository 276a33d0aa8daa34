"""The contract of a method, and the registry.

A method is one file in this folder (or a module named by another package's entry point in the group
``pkt_eval.methods``): a class with a ``Config`` and a ``transfer``, under one ``@register`` row for each name it
answers to. Nothing else has to change: it is then in ``--model_args method=…``, ``pkt-eval transfer --help`` and the
README's table.
"""

import difflib
import importlib
import importlib.metadata
import logging
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pkt_eval._util.options import MethodConfig
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student

log = logging.getLogger(__name__)

Paradigm = Literal["PostPKT", "PrePKT", "baseline", "control"]


class TransferMethod(ABC):
    """One way to make a student.

    Args:
        method: The registered row under which it was asked for.
        config: An instance of the class's ``Config``.
        seed: Decides everything random in it.

    Attributes:
        work: Folder in which an interrupted transfer finds what it had done; the caller removes it afterwards. None:
            nothing is kept.
    """

    work: Path | None = None
    needs_float32: bool = False
    """Whether its students are evaluated in float32, their edits being too small for 16 bits."""
    Config: type[MethodConfig] = MethodConfig

    def __init__(self, method: "Method", config: MethodConfig, seed: int = 0) -> None:
        self.method = method
        self.config = config
        self.seed = seed

    @abstractmethod
    def transfer(self, pair: ModelPair, data: TransferData | None, progress: Progress) -> Student:
        """Make the student.

        Args:
            pair: Teacher and student base, not yet loaded.
            data: Records and their format; None where the method's row says that it uses none.
            progress: Bars and stage times.

        Returns:
            A student whose provenance is this method's own record; the caller adds what was asked for.
        """

    def other_tasks(self, benchmark: str) -> tuple[str, ...]:
        """Tasks other than the transferred one whose splits the method looks at; they count in the fingerprint."""
        return ()


@dataclass(frozen=True)
class Method:
    """A registered name.

    Attributes:
        name: As in ``method=``.
        title: One line for tables and help.
        reference: Where it comes from, e.g. ``arXiv 2310.11451``.
        paradigm: PostPKT, PrePKT, baseline or control.
        cls: The class that does it.
        uses: Out of ``"teacher"`` and ``"data"``: what the method cannot do without.
        row: What tells this name from the others of its family.
    """

    name: str
    title: str
    reference: str
    paradigm: Paradigm
    cls: type[TransferMethod]
    uses: frozenset[str]
    row: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Option name → pydantic field of the method's ``Config``."""
        return dict(self.cls.Config.model_fields)

    def configure(self, options: Mapping[str, Any], seed: int = 0) -> TransferMethod:
        """Check the options and make the method.

        Raises:
            ConfigError: An option is unknown or has a bad value; names it, and what was probably meant.
        """
        for name in options:
            if name not in self.options():
                near = difflib.get_close_matches(name, self.options(), n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigError(
                    f"method={self.name} has no option {name!r}: {hint}its options are "
                    f"{', '.join(self.options()) or 'none'}"
                )
        try:
            config = self.cls.Config(**options)
        except ValidationError as error:
            wrong = error.errors()[0]
            where = ".".join(str(p) for p in wrong["loc"]) or "options"
            raise ConfigError(f"method={self.name}, {where}={wrong.get('input')!r}: {wrong['msg']}") from None
        return self.cls(self, config, seed)


_registry: dict[str, Method] = {}


def register(
    name: str, *, title: str, reference: str, paradigm: Paradigm, uses: tuple[str, ...] = (), **row: Any
) -> Callable[[type[TransferMethod]], type[TransferMethod]]:
    """Decorator: let a class answer to ``method=name``. Rows stack, so that a family is one class.

    Raises:
        ConfigError: The name is taken by another class.
    """

    def add(cls: type[TransferMethod]) -> type[TransferMethod]:
        taken = _registry.get(name)
        if taken and (taken.cls.__module__, taken.cls.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(f"method {name!r} is registered by {taken.cls.__module__} and by {cls.__module__}")
        _registry[name] = Method(name, title, reference, paradigm, cls, frozenset(uses), row)
        return cls

    return add


@cache
def _discover() -> None:
    """Import the files of this folder, and what other packages offer; a broken plug-in is named and left out."""
    package = importlib.import_module("pkt_eval.methods")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "base":
            importlib.import_module(f"pkt_eval.methods.{module.name}")
    for entry in importlib.metadata.entry_points(group="pkt_eval.methods"):
        try:
            entry.load()
        except Exception as error:
            log.warning("the method plug-in %s (%s) is broken and left out: %s", entry.name, entry.value, error)


def methods() -> dict[str, Method]:
    """Every registered method by name: baselines first, then PostPKT, PrePKT and controls."""
    _discover()
    order = ("baseline", "PostPKT", "PrePKT", "control")
    return dict(sorted(_registry.items(), key=lambda item: (order.index(item[1].paradigm), item[0])))


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: There is none; names the nearest and all.
    """
    known = methods()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown method {name!r}: {hint}choose from {', '.join(known)}")
