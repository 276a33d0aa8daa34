"""``pkt-eval run``: a suite from its file to its table; ``pkt-eval status``: how far it is."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pkt_eval._util.folders import check_out
from pkt_eval.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from pkt_eval._util.logs import Log
    from pkt_eval.suite.run import Run
    from pkt_eval.suite.state import Statuses


def run(
    suite: Annotated[Path | None, typer.Argument(help="The suite's YAML file.", metavar="SUITE.yaml")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: the file's name without its ending.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a commented suite, and end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and how long, and end.")] = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="With --dry-run: first do a part of what was never done here, a few items of each task and the first "
            "steps of each transfer, so that it is known how long all takes. Minutes; nothing is kept but the times.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A method, benchmark or student, to do its cells alone; may be given several times."),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="With --dry-run: a folder of records, as `pkt-eval report` takes it, that says how many answers of "
            "two students differ; may be given several times.",
        ),
    ] = None,
    log: Annotated[
        Literal["trackio", "wandb"] | None,
        typer.Option(help="Send training curves and scores to this tracker, a run for each student."),
    ] = None,
) -> None:
    """Run a suite: many students × benchmarks × seeds, scored by lm-eval, journalled and resumable.

    However it ended, the same command goes on where it was: finished cells are kept, those that were begun go on after
    their last batch, an interrupted fine-tune resumes. Changed code, data or options make a cell anew. Exit code 1: a
    cell failed, or, with --dry-run, cannot be done; the table says which and why, and the others are done.
    """
    from pkt_eval.suite.schema import EXAMPLE, load_suite

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    for word, given in (("--records", bool(records)), ("--measure", measure)):
        if given and not dry_run:
            raise ConfigError(f"{word} says something to --dry-run alone: add that, or leave it out")
    if suite is None:
        raise ConfigError("name a suite's YAML file; `pkt-eval run --example` prints one to start from")
    checked = load_suite(suite)
    if (lacking := checked.lacks_consent) and not dry_run:
        raise ConfigError(f"{suite}: {lacking}")
    out = out or suite.with_suffix("")
    if out == suite:
        raise ConfigError(f"{suite} has no ending to take off: name the folder of the results with --out")
    check_out(out)
    if checked.device:
        from pkt_eval._util.devices import check_device

        check_device(checked.device)
    from pkt_eval._util.console import console
    from pkt_eval._util.quiet import quiet
    from pkt_eval.suite.engine import engine_of
    from pkt_eval.suite.run import Run
    from pkt_eval.transfer import processes

    if processes.world() > 1 and not engine_of(checked).several_processes:
        raise ConfigError(f"engine: {checked.engine} starts its own processes: run it without accelerate launch")
    if measure and (processes.world() > 1 or not engine_of(checked).several_processes):
        raise ConfigError("--measure works in this process alone: leave out accelerate launch, or `engine:`")
    if processes.rank():
        from pkt_eval.suite.workers import follow

        if not dry_run:
            with quiet(logging.ERROR):  # rank 0 says it
                follow()
        return
    to = console()
    planned = Run(checked, out, only=only or ())
    if dry_run:
        if not _dry_run(planned, to, records or (), measure):
            raise typer.Exit(1)
        return
    from pkt_eval.suite.folder import cells_of_others
    from pkt_eval.suite.show import students_table

    logged = _log_to(log, planned) if log else None
    try:
        with quiet():
            statuses = _run(planned, to)
    finally:
        if logged:
            logged.end()
    to.print(students_table(planned.cells, statuses))
    to.print(f"\nResults and samples, as lm-eval writes them, are in {out}/", soft_wrap=True)
    if others := cells_of_others(checked, out):
        said = f"{len(others)} cells there are of no row of {suite}, and a report has them too: {', '.join(others[:3])}"
        to.print(
            f"{said}{', …' if len(others) > 3 else ''}. Remove what is not wanted.", style="yellow", soft_wrap=True
        )
    failed = {name: status.reason for name, status in statuses.items() if status.state == "failed"}
    for name, reason in failed.items():
        to.print(f"failed: {name}: {reason}", style="red", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def status(
    folder: Annotated[Path, typer.Argument(help="Folder of the results of `pkt-eval run`.", metavar="DIR")],
) -> None:
    """Show how far a suite is, while it runs or after that."""
    from pkt_eval._util.console import console
    from pkt_eval.suite.folder import is_at_work, read_progress
    from pkt_eval.suite.show import done_of_all, progress_table
    from pkt_eval.suite.state import ENDED

    cells, statuses = read_progress(folder)
    to = console()
    to.print(progress_table(cells, statuses))
    if is_at_work(folder):
        then = "; a run is at work"
    elif all(status.state in ENDED for status in statuses.values()):
        then = ""
    else:
        then = "; no run is at work: the same `pkt-eval run` goes on"
    to.print(f"\n{folder}: {done_of_all(statuses)}{then}", soft_wrap=True)


def _dry_run(planned: "Run", to: "Console", records: list[Path] | tuple[()], measure: bool) -> bool:
    """Show the plan, and measure first if that is asked for; Ctrl-C ends that with a word on what is kept."""
    from pkt_eval.suite.dry_run import show_plan

    if not measure:
        return show_plan(planned, to, records)
    from pkt_eval._util.quiet import quiet

    try:
        with quiet(logging.ERROR):
            return show_plan(planned, to, records, measured=True)
    except KeyboardInterrupt:
        to.print("interrupted: what was measured is remembered; the same command goes on", soft_wrap=True)
        raise typer.Exit(130) from None


def _log_to(tracker: str, planned: "Run") -> "Log":
    """Have a run's curves and scores sent to a tracker."""
    from pkt_eval._util.logs import open_log
    from pkt_eval.suite.logged import Logged, configs

    log = open_log(tracker, planned.out.resolve().name, configs(planned.cells))
    Logged(log, planned.cells).watch(planned.state)
    return log


def _run(planned: "Run", to: "Console") -> "Statuses":
    """Run a suite under a display; Ctrl-C ends it with a word on what is done."""
    from pkt_eval.suite.show import Display, done_of_all

    try:
        with Display(planned.cells, to) as display:
            planned.state.watch(display.show)
            return planned.run()
    except KeyboardInterrupt:
        text = f"interrupted: {done_of_all(planned.state.statuses)}; the same command goes on"
        to.print(text, soft_wrap=True)
        raise typer.Exit(130) from None
