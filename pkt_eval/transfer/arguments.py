"""Flat arguments, as ``--model_args`` and ``pkt-eval transfer`` take them: whose is which."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import get_method, methods
from pkt_eval.transfer.words import FIELDS


def split_arguments(
    arguments: Mapping[str, Any], *, also: Iterable[str] = (), strict: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part what a recipe takes from what is somebody else's.

    Args:
        arguments: All of them, ``method`` among them.
        also: Names that somebody else takes, so that a slip of the pen is told from them.
        strict: Nobody else takes any.

    Returns:
        The recipe's and the method's; and the others.

    Raises:
        ConfigError: One of the others is probably a misspelt option of ours, or another method's; says what to do.
    """
    options = get_method(str(arguments.get("method") or "vanilla")).options()
    ours = {name: value for name, value in arguments.items() if name in FIELDS or name in options}
    others = {name: value for name, value in arguments.items() if name not in ours}
    if wrong := unknown_options(sorted(set(others) - set(also)), [*FIELDS, *options, *also]):
        said = "; ".join(f"{name}= {what}" for name, what in wrong.items())
        raise ConfigError(said if strict else f"method={arguments.get('method')}: {said}")
    return ours, others


def unknown_options(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Names that are probably a misspelt option of ours, or another method's: name → what to say.

    lm-eval hands every unknown argument on to the model's constructor, which fails far from the mistake.

    Args:
        names: Options that nobody has claimed.
        known: Options that the recipe and the method take.
    """
    known = list(known)
    said = {}
    for name in names:
        if owners := [m for m in methods().values() if name in m.options()]:
            # Those after which a file is called, and so none of its rows.
            first = [m.name for m in owners if m.cls.__module__.endswith(f".{m.name}")] or [m.name for m in owners]
            more = " and others" if len(owners) > len(first) else ""
            said[name] = f"is an option of {', '.join(first)}{more}, not of this method"
        elif near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
            said[name] = f"did you mean {near[0]!r}?"
    return said
