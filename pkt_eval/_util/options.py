"""Options: their base class, their way through a command line, and what was probably meant by a wrong one."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class MethodConfig(BaseModel):
    """Base of every ``Config``: frozen, and an unknown option is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def plus_separated(value: Any) -> Any:
    """``"up+down"`` → ``("up", "down")``, for options with several values: in ``--model_args`` the comma is taken.

    Example:
        >>> plus_separated("up+down"), plus_separated(3e-4)
        (('up', 'down'), (0.0003,))
    """
    if isinstance(value, str):
        return tuple(value.split("+"))
    return (value,) if isinstance(value, int | float) else value
