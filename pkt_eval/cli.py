"""``pkt-eval``: the command line beside lm-eval's own.

Evaluation is ``lm_eval --model pkt_student …``; this makes students without evaluating them, lists the methods and
looks after the data.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pkt_eval._util import boundary
from pkt_eval._util.console import console, lenient, printable
from pkt_eval._util.devices import check_device, default_device
from pkt_eval._util.files import new_folder
from pkt_eval._util.folders import check_out
from pkt_eval.data.cli import app as data_app
from pkt_eval.diagnose.command import diagnose
from pkt_eval.doctor import doctor
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import get_method, methods
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.student import two_dtypes
from pkt_eval.report.cli import report
from pkt_eval.report.gate_cli import gate
from pkt_eval.suite.cli import run, status
from pkt_eval.transfer.arguments import split_arguments
from pkt_eval.transfer.recipe import FIELDS, Recipe, make_recipe
from pkt_eval.transfer.transfer import Transfer

app = typer.Typer(
    name="pkt-eval",
    help="Parametric knowledge transfer: make students, look at methods and data.\n\n"
    "Scores come from lm-eval itself: lm_eval --model pkt_student --model_args teacher=…,pretrained=…,method=… "
    "--tasks pkt_gsm8k",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.callback()(boundary.options)
app.add_typer(data_app, name="data")
app.command()(doctor)
app.command()(run)
app.command()(status)
app.command()(diagnose)
app.command()(report)
app.command()(gate)


def _transfer_help() -> str:
    width = max(len(name) for name in methods())
    names = "\n".join(f"  {name:{width}}  {m.title}" for name, m in methods().items())
    fields = "\n".join(f"  {n:{21}}{Recipe.model_fields[n].description}" for n in FIELDS)
    return (
        "Make a student and write it to --out: a PEFT adapter, a merged checkpoint and its provenance.\n\n"
        "Takes the same words as lm_eval's --model_args, separated by spaces:\n\n"
        "\b\n  pkt-eval transfer teacher=T pretrained=S method=seeking transfer_task=gsm8k --out DIR\n\n"
        f"Methods (`pkt-eval methods NAME` shows the options of one):\n\n\b\n{names}\n\n"
        f"Words:\n\n\b\n{fields}\n\n"
        "With neither teacher= nor pretrained=, the embedded nano family is used."
    )


@app.command(help=_transfer_help())
def transfer(
    words: Annotated[list[str], typer.Argument(metavar="KEY=VALUE…", help="What decides the student.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    device: Annotated[str, typer.Option(help="Where to compute, e.g. cuda:0; default: a GPU if there is one.")] = "",
) -> None:
    """Make a student and write it to a folder."""
    check_out(out, new=True)
    arguments = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is not of the form key=value, e.g. method=seeking")
        arguments[key] = value
    ours, others = split_arguments(arguments, strict=True)
    recipe = make_recipe(ours | others)  # which names what nobody takes
    student = Transfer(recipe, check_device(device or default_device())).make()
    with new_folder(out) as folder:
        student.save(folder, merged=True)
    if student.provenance:
        _show(student.provenance, out)
        if said := two_dtypes(out, device or default_device()):
            console().print(f"\n{said}.", soft_wrap=True, markup=False)


def _show(made: Provenance, out: Path) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for key in ("method", "transfer_task", "fingerprint", "weights_digest", "split_sizes", "seconds"):
        if value := getattr(made, key):
            table.add_row(key, str(value))
    if training := made.record.get("training"):
        before, after = next(
            t["validation_loss"] for t in training["tried"] if t["learning_rate"] == training["learning_rate"]
        )
        table.add_row("validation loss", f"{before:.4f} → {after:.4f} in {training['steps']} steps")
    if alignment := made.record.get("alignment"):
        steps = alignment.get("steps")
        after = steps[alignment["chosen_step"] - 1]["validation_loss"] if steps else alignment["validation_loss"]
        chosen = f" at step {alignment['chosen_step']}" if steps else ""
        # Too small a change to be seen is a finding, so all digits are shown.
        table.add_row("validation loss", f"{alignment['validation_loss_of_base']} → {after}{chosen}")
    if answers := made.record.get("answers"):
        right = "" if answers["accuracy"] is None else f"{answers['accuracy']:.1%} right, "
        ends = f"{answers['ended']:.1%} ended by themselves, {answers['looped']:.1%} went round in circles"
        table.add_row("validation answers", right + ends)
    to = console()
    to.print(table)
    to.print(f"\nWritten to {out}. Evaluate it with either of", soft_wrap=True)
    to.print(f"  lm_eval --model pkt_student --model_args student={out} --tasks …", soft_wrap=True)
    to.print(f"  lm_eval --model hf --model_args {_for_hf(made, f'{out}/merged')} --tasks …", soft_wrap=True)


def _for_hf(made: Provenance, folder: str) -> str:
    """The words by which ``hf``, which reads no provenance, asks a student as it was trained."""
    told = {"enable_thinking": made.enable_thinking, "chat_template_args": made.chat_template_args or None}
    said = {name: value for name, value in told.items() if value is not None}
    return f"'{json.dumps({'pretrained': folder, **said})}'" if said else f"pretrained={folder}"


@app.command("methods")
def show_methods(
    name: Annotated[str | None, typer.Argument(help="Show the options of this method.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/methods.md.")] = False,
) -> None:
    """List the methods, or the options of one."""
    if markdown:
        typer.echo(markdown_table())
        return
    from rich.table import Table

    table = Table(box=None)
    if name is None:
        for column in ("method", "paradigm", "what it does", "source"):
            table.add_column(column, no_wrap=column == "method")
        for m in methods().values():
            table.add_row(m.name, m.paradigm, m.title, m.reference)
    else:
        method = get_method(name)
        typer.echo(printable(f"{method.name} ({method.paradigm}): {method.title}. {method.reference}"))
        for column in ("option", "default", "meaning"):
            table.add_column(column, no_wrap=column != "meaning")
        for option, field in method.options().items():
            table.add_row(option, str(field.default), field.description or "")
    console().print(table)


def markdown_table() -> str:
    """The methods as the table of docs/methods.md."""
    rows = [f"| `{m.name}` | {m.paradigm} | {m.title} | {m.reference} |" for m in methods().values()]
    return "\n".join(["| method | paradigm | what it does | source |", "|---|---|---|---|", *rows])


def main() -> None:
    """Entry point: an error ends in one line and an exit code, see ``pkt_eval._util.boundary``."""
    boundary.within("pkt-eval", _main)


def _main() -> None:
    level = os.environ.get("LOGLEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise ConfigError(f"LOGLEVEL={level} is no level: choose from {', '.join(logging.getLevelNamesMapping())}")
    logging.basicConfig(level=level, format="%(levelname)s %(message)s")
    for chatty in ("httpx", "datasets", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        lenient(stream)
    app()
