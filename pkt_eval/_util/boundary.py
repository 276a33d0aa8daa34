"""Where an error leaves us: one line for the user, an exit code for the caller, the traceback for who asks for it.

Every command ends here, ``pkt-eval`` through ``within`` and ``lm_eval`` through the hook of ``pkt_eval.lm.excepthook``.
Exit code 2: the request is wrong, and the line says what to do about it. 1: the request was right and the work failed:
no memory, no disk, a mistake of ours. 130: interrupted.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from pkt_eval._util.secrets import hide_secrets
from pkt_eval.errors import PKTError

DEBUG_ENV = "PKT_EVAL_DEBUG"
_LONGEST = 2000
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE)
"""What stands in the way is the machine, not the request."""


def within(name: str, work: Callable[[], object]) -> None:
    """Do the work of a command, and end the process in one line where it fails.

    Args:
        name: Of the command, with which the line begins.
        work: What the command does.
    """
    if "--debug" in sys.argv[1:]:  # before or after the name of a command, whose own options it is none of
        sys.argv.remove("--debug")
        os.environ[DEBUG_ENV] = "1"
    try:
        work()
    except KeyboardInterrupt:
        sys.exit(interrupted(name))
    except Exception as error:
        sys.exit(end(name, error))


def end(name: str, error: BaseException) -> int:
    """Say an error on stderr, in one line or, where that is asked for, as its traceback; returns the exit code."""
    if debugging():
        print(hide_secrets("".join(traceback.format_exception(error))), file=sys.stderr, end="")
    print(f"{name}: {one_line(error)}", file=sys.stderr)
    return exit_code(error)


def interrupted(name: str, how: str = "nothing half-written is left: the same command begins anew") -> int:
    """Say how work that Ctrl-C has ended goes on, in one line on stderr; returns the exit code."""
    print(f"{name}: interrupted; {how}", file=sys.stderr)
    return 130


def debugging() -> bool:
    """Whether tracebacks are asked for: ``--debug``, or ``PKT_EVAL_DEBUG=1``."""
    return os.environ.get(DEBUG_ENV, "") not in ("", "0")


def one_line(error: BaseException) -> str:
    """What an error says, in one line that a terminal can show, whatever a file or a name has put into it."""
    said = hide_secrets(" ".join(str(error).split()))
    said = "".join(c if c.isprintable() else repr(c)[1:-1] for c in said)
    if len(said) > _LONGEST:
        said = f"{said[:_LONGEST]} … ({len(said) - _LONGEST} more characters)"
    if isinstance(error, PKTError):
        return said
    if _out_of_memory(error):
        why = said or "the machine has no more"
        return f"out of memory: {why}. Choose smaller batches, a smaller model, or a device that has more."
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, OSError):
        return f"{what}. The work has failed here; {DEBUG_ENV}=1 shows where."
    return f"{what}. This is no message of ours, so probably a mistake of ours: {DEBUG_ENV}=1 shows where."


def exit_code(error: BaseException) -> int:
    """2 for a wrong request, 1 for work that has failed."""
    if not isinstance(error, PKTError):
        return 1
    cause = error.__cause__
    while isinstance(cause, PKTError):  # one that says more of another
        cause = cause.__cause__
    # safetensors, which is Rust's, has the system's number in its text alone
    machine = (isinstance(cause, OSError) and cause.errno in _MACHINE) or f"(os error {errno.ENOSPC})" in str(cause)
    return 1 if machine else 2


def _out_of_memory(error: BaseException) -> bool:
    # torch has a class for GPUs alone, and is not imported here: most commands end without it.
    return (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "can't allocate" in str(error)
    )


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pkt-eval {version('pkt-eval')}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version, and end.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help=f"Show the traceback of an error; as {DEBUG_ENV}=1, which lm_eval reads too."),
    ] = False,
) -> None:
    """Options of ``pkt-eval`` itself, before the name of a command."""
