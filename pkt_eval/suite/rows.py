"""A row of a suite's ``methods:``, as it may be written, and the students of its grid.

``lora``; ``{method: seeking, name: seeking-r8, rank: 8}``; ``{method: seeking, grid: {rank: [4, 16]}}``, which is one
row for each combination, named ``seeking(rank=4)`` or by a pattern of one's own, ``name: seeking-r{rank}``.
"""

import math
import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pkt_eval._util.options import did_you_mean
from pkt_eval.methods.base import get_method
from pkt_eval.suite.names import check_name
from pkt_eval.transfer.words import FIELDS

_MOST = 1000
"""Students of one grid."""
#: What the suite itself says of all students.
_OF_THE_SUITE = {
    "pretrained": "student:",
    "teacher": "teacher:",
    "transfer_task": "benchmarks:",
    "seed": "seeds:",
    "method": "methods:",
    **{key: f"{key}:" for key in ("student", "seeds", "benchmarks", "methods", "cross", "tuned", "protocol", "limit")},
    **{key: f"{key}:" for key in ("batch_size", "dtype", "device", "backend", "engine")},
}


class Entry(BaseModel):
    """One method of a suite, with options and a name of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"method": value, "name": value}
        if not (isinstance(value, dict) and isinstance(value.get("method"), str)):
            return value
        own = {key: value[key] for key in ("method", "name", "options") if key in value}
        inline = {key: each for key, each in value.items() if key not in own}
        if inline and isinstance(options := own.get("options", {}), dict):
            if twice := sorted(map(str, {*inline} & {*options})):
                raise ValueError(f"{', '.join(twice)} is given twice, beside options: and in it")
            own["options"] = {**options, **inline}
        return {"name": value["method"], **own}

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        get_method(value)
        return value

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, value: str) -> str:
        return check_name(value)

    @model_validator(mode="after")
    def _options_are_known(self) -> "Entry":
        keys = ("name", "options", "grid")
        known = [*get_method(self.method).options(), *FIELDS]
        for name in self.options:
            check_own(name)
            if name not in known:
                near = did_you_mean(str(name), [*keys, *known]).strip()
                there = near or f"there are {', '.join([*keys, *known])}"
                raise ValueError(f"{name} is no key; {there} Nor is it an option of {self.method}")
        return self


def check_own(name: object) -> None:
    """Refuse an option that the suite gives to all students alike.

    Raises:
        ValueError: It is one; says by which key.
    """
    if name in _OF_THE_SUITE:
        raise ValueError(f"{name} is no option of one method: the suite's {_OF_THE_SUITE[str(name)]} says it")


def expanded(rows: object) -> object:
    """The rows of a file with each grid as the rows that it stands for; what is malformed is left to be refused.

    Raises:
        ValueError: A grid is no grid, too large, or its rows could not be told apart.
    """
    if not isinstance(rows, list | tuple):
        return rows
    return [each for row in rows for each in (_of_grid(row) if isinstance(row, dict) and "grid" in row else [row])]


def _of_grid(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    rest = {key: value for key, value in row.items() if key != "grid"}
    grid, method = row["grid"], row.get("method")
    if not (isinstance(grid, dict) and grid and all(isinstance(values, list) and values for values in grid.values())):
        raise ValueError(f"the grid of {method} is options, each with a list of values: grid: {{rank: [4, 16]}}")
    if not isinstance(rest.get("options") or {}, dict):
        raise ValueError(f"the options of {method} have keys, as in {{rank: 8}}")
    if twice := sorted(map(str, {*grid} & {*rest, *(rest.get("options") or {})})):
        raise ValueError(f"the grid of {method} has {', '.join(twice)}, which is also given beside it")
    for name, values in grid.items():
        if len({_word(value) for value in values}) < len(values):
            raise ValueError(f"the grid of {method} has a value of {name} twice: name each once")
    if (size := math.prod(map(len, grid.values()))) > _MOST:
        raise ValueError(f"the grid of {method} has {size:,} combinations: at most {_MOST:,}")
    pattern = rest.pop("name", None)
    found = []
    for values in product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        words = {str(key): _word(value) for key, value in options.items()}
        said = f"{method}({','.join(f'{key}={word}' for key, word in words.items())})"
        name = said if pattern is None else _filled(str(pattern), words)
        found.append({**rest, "name": name, "options": {**(rest.get("options") or {}), **options}})
    if len({each["name"] for each in found}) < len(found):
        raise ValueError(
            f"name: {pattern} is one name for several students of a grid: put what differs in braces, "
            f"e.g. {method}-{{{next(iter(grid))}}}"
        )
    return found


def _filled(pattern: str, words: Mapping[str, str]) -> str:
    """A pattern with ``{option}`` replaced; nothing else in braces means anything."""

    def word(match: re.Match[str]) -> str:
        if match[1] not in words:
            raise ValueError(f"name: {pattern} has {match[0]}, and the grid has {', '.join(words)}")
        return words[match[1]]

    return re.sub(r"\{([^{}]*)\}", word, pattern)


def _word(value: object) -> str:
    """A value as it is typed in ``--model_args``."""
    if isinstance(value, list):
        return "+".join(map(_word, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
