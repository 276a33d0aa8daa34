"""``pkt-eval methods``: what there is to transfer with, and the words of each method.

Beside the room ``methods``, whose own ``__init__`` imports torch: a command that is only asked for its help does not.
"""

from collections.abc import Iterator
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin

import typer

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from rich.table import Table

    from pkt_eval.methods.base import Method

_KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def show_methods(
    name: Annotated[str | None, typer.Argument(help="Show the options of this method.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the README's table.")] = False,
) -> None:
    """List the methods, or the options of one."""
    from pkt_eval._util.console import console
    from pkt_eval._util.text import printable
    from pkt_eval.methods.base import get_method

    if markdown:
        typer.echo(markdown_table())
        return
    to = console()
    if name is None:
        to.print(_all_methods())
        to.print("\n`pkt-eval methods NAME` shows the options of one.", soft_wrap=True)
        return
    method = get_method(name)
    typer.echo(printable(f"{method.name} ({method.paradigm}): {method.title}. {method.reference}"))
    if method.control_of:
        typer.echo(f"A control of {', '.join(method.control_of)}.")
    if method.options():
        to.print(_options(method))
    else:
        typer.echo(printable(f"{method.name} has no options of its own: `pkt-eval transfer --help` has those of all."))


def markdown_table() -> str:
    """The methods as the README's table."""
    from pkt_eval.methods.base import methods

    rows = [f"| `{m.name}` | {m.paradigm} | {m.title} | {m.reference} |" for m in methods().values()]
    return "\n".join(["| method | paradigm | what it does | source |", "|---|---|---|---|", *rows])


def _all_methods() -> "Table":
    from rich.table import Table

    from pkt_eval.methods.base import methods

    table = Table(box=None)
    for column in ("method", "paradigm", "what it does", "source"):
        table.add_column(column, no_wrap=column == "method")
    for m in methods().values():
        table.add_row(m.name, m.paradigm, m.title, m.reference)
    return table


def _options(method: "Method") -> "Table":
    from rich.table import Table

    table = Table(box=None)
    for column in ("option, default", "type", "meaning"):
        table.add_column(column, no_wrap=column == "option, default")
    for name, field in method.options().items():
        table.add_row(typed(name, field.default), kind_of_option(field), (field.description or "").replace("``", "`"))
    return table


def typed(name: str, value: object) -> str:
    """An option with a value, as it is typed; a value that follows from something else is not told.

    >>> typed("rate", 0.1), typed("modules", ("up", "down")), typed("steps", None), typed("warm", False)
    ('rate=0.1', 'modules=up+down', 'steps=…', 'warm=false')
    """
    if value is None or value == ():
        return f"{name}=…"
    if isinstance(value, bool):
        return f"{name}={str(value).lower()}"
    if isinstance(value, tuple | list):
        return f"{name}={'+'.join(f'{part:g}' if isinstance(part, float) else str(part) for part in value)}"
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def kind_of_option(field: "FieldInfo") -> str:
    """What an option takes, in words: ``whole number``, ``exact or published``, ``texts, joined by +``."""
    return " or ".join(_kinds(field.annotation))


def _kinds(annotation: object) -> Iterator[str]:
    origin, of = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _kinds(of[0])
    elif origin in (Union, UnionType):
        for each in of:
            if each is not type(None):
                yield from _kinds(each)
    elif origin is Literal:
        yield from (str(value).lower() if isinstance(value, bool) else str(value) for value in of)
    elif origin in (tuple, list, frozenset, set):
        yield f"{' or '.join(_kinds(of[0]))}s, joined by +"
    elif isinstance(annotation, type):
        yield _KINDS.get(annotation, annotation.__name__)
    else:
        yield str(annotation)
