"""``pkt-eval transfer``: make a student without evaluating it."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from pkt_eval._util.folders import check_out
from pkt_eval.errors import ConfigError

_WIDTH = 78  # of typer's own help


class TransferCommand(TyperCommand):
    """The command, whose help lists the words: pydantic reads them, which no other command's help should wait for."""

    def get_help(self, ctx: typer.Context) -> str:  # type: ignore[override]  # the class of its own that typer has
        """As typer's, with the words."""
        self.help = _help()
        return super().get_help(ctx)


def _help() -> str:
    """Methods are looked up by ``pkt-eval methods`` alone, which has to import them, and torch with them."""
    from pkt_eval.transfer.words import Words

    said = {name: (field.description or "").replace("``", "`") for name, field in Words.model_fields.items()}
    indent = 2 + max(map(len, said)) + 2
    words = "\n".join(
        textwrap.fill(f"  {name:{indent - 2}}{help}", _WIDTH, subsequent_indent=" " * indent)
        for name, help in said.items()
    )
    return (
        "Make a student and write it to --out: a PEFT adapter, a merged checkpoint and its provenance.\n\n"
        "Takes the same words as lm_eval's --model_args, separated by spaces:\n\n"
        "\b\n  pkt-eval transfer teacher=T pretrained=S method=seeking \\\n"
        "      transfer_task=gsm8k --out DIR\n\n"
        f"Words:\n\n\b\n{words}\n\n"
        "With neither teacher= nor pretrained=, the embedded nano family is used. A method has words of its own: "
        "`pkt-eval methods` lists the methods, `pkt-eval methods NAME` the words of one.\n\n"
        "A transfer that was interrupted goes on where it was: give the same command again."
    )


def transfer(
    words: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="What decides the student.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    device: Annotated[str, typer.Option(help="Where to compute, e.g. cuda:0; default: a GPU if there is one.")] = "",
    push: Annotated[
        str, typer.Option(metavar="ORG/NAME", help="Also upload the folder to the hub; a new repository is private.")
    ] = "",
) -> None:
    """Make a student and write it to a folder."""
    check_out(out, new=True)
    arguments = read_words(words)
    from pkt_eval.transfer import push as hub

    if push:
        hub.check_push(push)
    from pkt_eval._util.console import console
    from pkt_eval._util.devices import check_device, default_device
    from pkt_eval._util.files import new_folder
    from pkt_eval.models.student import two_dtypes
    from pkt_eval.transfer.arguments import split_arguments
    from pkt_eval.transfer.recipe import make_recipe
    from pkt_eval.transfer.summary import show
    from pkt_eval.transfer.transfer import Transfer

    ours, others = split_arguments(arguments, strict=True)
    recipe = make_recipe(ours | others)  # which names what nobody takes
    student = Transfer(recipe, check_device(device or default_device())).make()
    with new_folder(out) as folder:
        student.save(folder, merged=True)
    if student.provenance:
        to = console()
        show(student.provenance, out, to)
        if said := two_dtypes(out, device or default_device()):
            to.print(f"\n{said}.", soft_wrap=True, markup=False)
    if push:
        typer.echo(f"\nPushed to {hub.push(out, push)}")


def read_words(words: list[str]) -> dict[str, str]:
    """``["method=lora", "rank=8"]`` → ``{"method": "lora", "rank": "8"}``.

    Raises:
        ConfigError: One has no ``=``, is given twice, or is several with commas between them.
    """
    from pkt_eval.transfer.words import Words

    arguments: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is not of the form key=value, e.g. method=seeking")
        if joined := [name for name in Words.model_fields if f",{name}=" in value]:
            raise ConfigError(f"{word[:200]!r}: words are separated by spaces here, put one before {joined[0]}=")
        if key in arguments:
            raise ConfigError(f"{key}= is given twice: {arguments[key]!r} and {value!r}; leave one out")
        arguments[key] = value
    return arguments
