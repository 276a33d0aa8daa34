"""``pkt-eval``: the command line beside lm-eval's own.

Evaluation is ``lm_eval --model pkt_student …``; this makes students without evaluating them, lists the methods and
looks after the data. Here are declarations alone: torch is imported by a command that runs, never by its help.
"""

import logging
import os
import sys
from itertools import pairwise

import typer
from typer.core import TyperGroup

from pkt_eval._util import boundary
from pkt_eval._util.secrets import log_no_secret
from pkt_eval._util.text import lenient
from pkt_eval.data.cli import app as data_app
from pkt_eval.diagnose.command import diagnose
from pkt_eval.doctor import doctor
from pkt_eval.errors import ConfigError
from pkt_eval.methods_cli import show_methods
from pkt_eval.report.cli import report
from pkt_eval.report.gate_cli import gate
from pkt_eval.report.view import view
from pkt_eval.suite.cli import run, status
from pkt_eval.transfer_cli import TransferCommand, transfer

#: Command → what an interrupt leaves, where it is more than nothing.
_GO_ON = {
    "transfer": "the same command goes on where it was",
    "run": "the same command goes on where it was",
    "diagnose": "nothing of it is kept: the same command begins anew",
}


class _Commands(TyperGroup):
    """The commands, of which Ctrl-C ends none without a word; typer's own way has none."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # the class of its own that typer has
        """As typer's."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            how = _GO_ON.get(ctx.invoked_subcommand or "")
            name = f"pkt-eval {ctx.invoked_subcommand or ''}".strip()
            raise typer.Exit(boundary.interrupted(name, how) if how else boundary.interrupted(name)) from None


app = typer.Typer(
    name="pkt-eval",
    cls=_Commands,
    help="Parametric knowledge transfer: make students, look at methods and data.\n\n"
    "Scores come from lm-eval itself: lm_eval --model pkt_student --model_args teacher=…,pretrained=…,method=… "
    "--tasks pkt_gsm8k",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.callback()(boundary.options)
app.command("methods")(show_methods)
app.command(cls=TransferCommand)(transfer)
app.command()(run)
app.command()(status)
app.command()(report)
app.command()(view)
app.command()(gate)
app.command()(diagnose)
app.add_typer(data_app, name="data")
app.command()(doctor)


def main() -> None:
    """Entry point: an error ends in one line and an exit code, see ``pkt_eval._util.boundary``."""
    boundary.within("pkt-eval", _main)


def _main() -> None:
    for before, word in pairwise(["pkt-eval", *sys.argv[1:]]):
        if not word:
            raise ConfigError(f"the word behind {before!r} is empty: is a variable of the shell not set?")
    level = os.environ.get("LOGLEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise ConfigError(f"LOGLEVEL={level} is no level: choose from {', '.join(logging.getLevelNamesMapping())}")
    log_no_secret()
    logging.basicConfig(level=level, format="%(levelname)s %(message)s")
    for chatty in ("httpx", "datasets", "filelock"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        lenient(stream)
    app()
