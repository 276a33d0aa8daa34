"""Options: their base class, their way through a command line, and what was probably meant by a wrong one."""

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


class MethodConfig(BaseModel):
    """Base of every ``Config``: frozen, and an unknown option is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def plus_separated(value: object) -> object:
    """``"up+down"`` → ``("up", "down")``, for options with several values: in ``--model_args`` the comma is taken.

    Example:
        >>> plus_separated("up+down"), plus_separated(3e-4), plus_separated(("up",))
        (('up', 'down'), (0.0003,), ('up',))
    """
    if isinstance(value, str):
        return tuple(value.split("+"))
    return (value,) if isinstance(value, int | float) else value


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """``"did you mean 'gsm8k'? "``, to stand before a list of what there is; empty where nothing is near.

    Args:
        name: What was written.
        known: What could have been.
        cutoff: Likeness, 0 to 1, from which a name counts as near.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}? " if near else ""
