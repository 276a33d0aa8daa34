"""Options: their base class, their way through a command line, and what was probably meant by a wrong one."""

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator


class Checked(BaseModel):
    """Base of what is said in words: frozen; an unknown one is an error, and so is a number that is not finite.

    Neither is true a number: ``--model_args seed=True`` is a slip, which pydantic takes for 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field and bool not in (field.annotation, *get_args(field.annotation)):
                raise ValueError(f"{name}={value} is neither a number nor a text")
        return values


class MethodConfig(Checked):
    """Base of every ``Config``."""


def first_mistake(error: ValidationError) -> str:
    """What is wrong with options, in a line: ``rank='x': Input should be a valid integer``."""
    wrong = error.errors()[0]
    said = wrong["msg"].removeprefix("Value error, ")
    name = ".".join(str(part) for part in wrong["loc"])
    return f"{name}={repr(wrong.get('input'))[:200]}: {said}" if name else said


def plus_separated(value: object) -> object:
    """``"up+down"`` → ``("up", "down")``, for options with several values: in ``--model_args`` the comma is taken.

    Example:
        >>> plus_separated("up+down"), plus_separated(3e-4), plus_separated(("up",))
        (('up', 'down'), (0.0003,), ('up',))
    """
    if isinstance(value, str):
        return tuple(value.split("+"))
    return (value,) if isinstance(value, int | float) else value


def _rates(value: object) -> object:
    if value == "auto":
        return value
    rates = plus_separated(value)
    for rate in rates if isinstance(rates, tuple | list) else ():
        try:
            number = float(rate)
        except (TypeError, ValueError):
            raise ValueError(f"{rate!r} is no number: rates are numbers, joined by +, or auto") from None
        if not 0 < number <= 100:  # neither is NaN
            raise ValueError(f"{rate} is none: a rate is above 0 and at most 100")
    return rates


LearningRates = Annotated[tuple[float, ...] | Literal["auto"], BeforeValidator(_rates)]
"""Learning rates, joined by ``+``; none for the method's default; or ``auto``, which tries ``rate_grid``."""


def rate_grid(default: float) -> tuple[float, ...]:
    """The rates that ``learning_rate=auto`` tries: four, a factor √10 apart, the method's default the second.

    >>> rate_grid(3e-4)
    (9.487e-05, 0.0003, 0.0009487, 0.003)
    """
    return tuple(float(f"{default * 10 ** (half / 2):.4g}") for half in (-1, 0, 1, 2))


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """``"did you mean 'gsm8k'? "``, to stand before a list of what there is; empty where nothing is near.

    Args:
        name: What was written.
        known: What could have been.
        cutoff: Likeness, 0 to 1, from which a name counts as near.
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}? " if near else ""
