"""The contract of a method, and the registry.

A method is one file in this folder (or a module named by another package's entry point in the group
``pkt_eval.methods``): a class with a ``Config`` and a ``transfer``, under one ``@register`` row for each name it
answers to. Nothing else has to change: it is then in ``--model_args method=…``, ``pkt-eval methods`` and the
table of docs/methods.md. ``pkt_eval.methods.testing`` checks one, and ``examples/`` has a whole package.
"""

import importlib
import importlib.metadata
import logging
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pkt_eval._util.options import MethodConfig, did_you_mean, first_mistake
from pkt_eval._util.progress import Progress
from pkt_eval.data.splits import SPLIT_NAMES, SplitName
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student

log = logging.getLogger(__name__)

Paradigm = Literal["baseline", "PostPKT", "PrePKT", "control"]
"""What a method is, in the order of the tables."""
Use = Literal["teacher", "data"]
"""What a method cannot do without."""

_NO_METHODS = ("base", "testing")  # files of this folder

C = TypeVar("C", bound=MethodConfig, covariant=True)
M = TypeVar("M", bound="TransferMethod[MethodConfig]")


class TransferMethod(ABC, Generic[C]):
    """One way to make a student.

    A class of a family narrows ``variant`` to its own dataclass (``variant: Start``); what tells its names apart is
    then typed.

    Args:
        method: The registered row under which it was asked for.
        config: An instance of the class's ``Config``.
        seed: Decides everything random in it.

    Attributes:
        Config: The class of the options; every field has a docstring, which is its help.
        config: The options, checked.
        variant: What tells the name that was asked for from the others of its family.
        splits: Those of a transfer's four splits that the class looks at, in their order; only these take records of a
            small pool. All names of a family, its controls among them, so have the same ones.
        streams: Whether the class only reads its teacher, by ``ModelPair.read_teacher``, so that one larger than memory
            will do.
        work: Folder in which an interrupted transfer finds what it had done; the caller removes it afterwards. None:
            nothing is kept.
    """

    splits: ClassVar[tuple[SplitName, ...]] = SPLIT_NAMES
    streams: ClassVar[bool] = False
    Config: type[C] = MethodConfig  # type: ignore[assignment]  # right for a method without options
    config: C
    variant: object
    work: Path | None = None

    def __init__(self, method: "Method", config: C, seed: int = 0) -> None:
        self.method = method
        self.config = config
        self.variant = method.variant
        self.seed = seed

    @abstractmethod
    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """Make the student.

        Args:
            pair: Teacher and student base, not yet loaded; there is a teacher if the row's ``uses`` name one.
            data: Records and their format; a method whose ``uses`` name none must not look at it.
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
        variant: A frozen dataclass that tells this name from the others of its family; None for a family of one.
        control_of: The methods whose claim this name tests; empty for a method.
    """

    name: str
    title: str
    reference: str
    paradigm: Paradigm
    cls: type[TransferMethod[MethodConfig]]
    uses: frozenset[Use]
    variant: object = None
    control_of: tuple[str, ...] = ()

    def options(self) -> dict[str, FieldInfo]:
        """Option name → pydantic field of the method's ``Config``."""
        return dict(self.cls.Config.model_fields)

    def configure(self, options: Mapping[str, Any], seed: int = 0) -> TransferMethod[MethodConfig]:
        """Check the options and make the method.

        Raises:
            ConfigError: An option is unknown or has a bad value; names it, and what was probably meant.
        """
        for name in options:
            if name not in self.options():
                raise ConfigError(
                    f"method={self.name} has no option {name!r}: {did_you_mean(name, self.options())}its options are "
                    f"{', '.join(self.options()) or 'none'}"
                )
        try:
            config = self.cls.Config(**options)
        except ValidationError as error:
            raise ConfigError(f"method={self.name}, {first_mistake(error)}") from None
        return self.cls(self, config, seed)


_registry: dict[str, Method] = {}


def register(
    name: str,
    *,
    title: str,
    reference: str,
    paradigm: Paradigm,
    uses: tuple[Use, ...] = (),
    variant: object = None,
    control_of: tuple[str, ...] = (),
) -> Callable[[type[M]], type[M]]:
    """Decorator: let a class answer to ``method=name``. Rows stack, so that a family is one class.

    Args:
        name: As in ``method=``.
        title: One line for tables and help.
        reference: Where it comes from, e.g. ``arXiv 2310.11451``.
        paradigm: ``"PostPKT"``, ``"PrePKT"``, ``"baseline"`` or ``"control"``.
        uses: Out of ``"teacher"`` and ``"data"``: what the method cannot do without.
        variant: Of a family: an instance of a frozen dataclass, which the method finds in ``self.variant``.
        control_of: Names of the methods whose claim this one tests: the leaderboard compares each of them with the
            best of its controls. Whether there are such methods is checked once all are known.

    Raises:
        ConfigError: The name is taken by another class, or but for capital letters another's; the paradigm or a use is
            unknown; the variant can be changed; it is a control of itself.
    """
    if not re.fullmatch(r"\w([\w.+-]{0,98}[\w+-])?", name, re.ASCII):  # it is the name of a folder
        raise ConfigError(
            f"register({name[:40]!r}): a name is at most 100 letters, digits and _ . + -, no path, and ends in no dot"
        )
    _check(f"register({name!r}): paradigm", [paradigm], get_args(Paradigm))
    for word, value in (("uses", uses), ("control_of", control_of)):
        if isinstance(value, str):
            raise ConfigError(f"register({name!r}): {word} is a tuple: ({value!r},)")
    if name in control_of:
        raise ConfigError(f"register({name!r}): control_of names the method itself; name the one whose claim it tests")
    _check(f"register({name!r}): uses", uses, get_args(Use))
    if variant is not None and not _is_frozen(variant):
        raise ConfigError(f"register({name!r}): variant={variant!r} is no instance of a frozen dataclass")

    def add(cls: type[M]) -> type[M]:
        _check(f"register({name!r}): splits", cls.splits, SPLIT_NAMES)
        taken = _registry.get(name)
        if taken and (taken.cls.__module__, taken.cls.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(f"method {name!r} is registered by {taken.cls.__module__} and by {cls.__module__}")
        if other := next((n for n in _registry if n != name and n.casefold() == name.casefold()), None):
            raise ConfigError(f"method {name!r} differs from {other!r} in capital letters alone: choose another name")
        _registry[name] = Method(name, title, reference, paradigm, cls, frozenset(uses), variant, control_of)
        return cls

    return add


def _check(what: str, values: Iterable[object], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            raise ConfigError(f"{what}={value!r}: {did_you_mean(str(value), known)}choose from {', '.join(known)}")


def _is_frozen(value: object) -> bool:
    parameters = getattr(value, "__dataclass_params__", None)
    return is_dataclass(value) and not isinstance(value, type) and bool(parameters and parameters.frozen)


@cache
def _discover() -> None:
    """Import the files of this folder, and what other packages offer; a broken plug-in is named and left out."""
    package = importlib.import_module("pkt_eval.methods")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NO_METHODS:
            importlib.import_module(f"pkt_eval.methods.{module.name}")
    for entry in importlib.metadata.entry_points(group="pkt_eval.methods"):
        before = dict(_registry)
        try:
            entry.load()
        except Exception as error:
            log.warning("the method plug-in %s (%s) is broken and left out: %s", entry.name, entry.value, error)
            # It may have registered some of its rows before it broke.
            _registry.clear()
            _registry.update(before)
    _check_controls()


def _check_controls() -> None:
    """Warn of controls of nothing that is known: their method is not compared with them. A plug-in may be older."""
    for row in _registry.values():
        if row.paradigm == "control" and not row.control_of:
            log.warning("the control %s does not say of which method: register it with control_of=(…,)", row.name)
        for other in row.control_of:
            if other not in _registry:
                log.warning(
                    "%s is a control of %r, which is no method: %sknown are %s",
                    row.name,
                    other,
                    did_you_mean(other, _registry),
                    ", ".join(_registry),
                )


def methods() -> dict[str, Method]:
    """Every registered method by name: baselines first, then PostPKT, PrePKT and controls."""
    _discover()
    order = get_args(Paradigm)
    return dict(sorted(_registry.items(), key=lambda item: (order.index(item[1].paradigm), item[0])))


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: There is none; names the nearest and all.
    """
    known = methods()
    if name in known:
        return known[name]
    raise ConfigError(f"unknown method {name!r}: {did_you_mean(name, known, cutoff=0.5)}choose from {', '.join(known)}")
