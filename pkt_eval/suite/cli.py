"""``pkt-eval run``: a suite from its file to its table."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pkt_eval.errors import ConfigError

if TYPE_CHECKING:
    from pkt_eval.suite.run import Run


def run(
    suite: Annotated[Path | None, typer.Argument(help="The suite's YAML file.", metavar="SUITE.yaml")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; default: the file's name without its ending.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a commented suite, and end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and how long, and end.")] = False,
) -> None:
    """Run a suite: many students × benchmarks × seeds, scored by lm-eval, journalled and resumable.

    However it ended, the same command goes on where it was: finished cells are kept, those that were begun go on after
    their last batch, an interrupted fine-tune resumes. Changed code, data or options make a cell anew. Exit code 1: a
    cell failed; the table says which and why, and the others are done.
    """
    from pkt_eval.suite.schema import EXAMPLE, load_suite

    if example:
        typer.echo(EXAMPLE, nl=False)
        return
    if suite is None:
        raise ConfigError("name a suite's YAML file; `pkt-eval run --example` prints one to start from")
    checked = load_suite(suite)
    out = out or suite.with_suffix("")
    if out == suite:
        raise ConfigError(f"{suite} has no ending to take off: name the folder of the results with --out")
    from pkt_eval._util.quiet import quiet
    from pkt_eval.suite.run import Run
    from pkt_eval.suite.show import Display, table
    from pkt_eval.transfer import processes

    if processes.world() > 1 and checked.engine == "ray":
        raise ConfigError("engine: ray starts its own processes: run it without accelerate launch")
    if processes.rank():
        from pkt_eval.suite.workers import follow

        quiet(logging.ERROR)  # rank 0 says it
        if not dry_run:
            follow()
        return
    console = Console()
    planned = Run(checked, out)
    if dry_run:
        _show_plan(planned, console)
        return
    quiet()
    with Display(planned.cells, console) as display:
        planned.board.show = display.show
        statuses = planned.run()
    console.print(table(planned.cells, statuses))
    console.print(f"\nResults and samples, as lm-eval writes them, are in {out}/", highlight=False, soft_wrap=True)
    failed = {name: status.reason for name, status in statuses.items() if status.state == "failed"}
    for name, reason in failed.items():
        console.print(f"failed: {name}: {reason}", style="red", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _show_plan(planned: "Run", console: Console) -> None:
    from rich.table import Table

    from pkt_eval.models.student import MANIFEST
    from pkt_eval.suite.estimate import estimate
    from pkt_eval.suite.plan import learners
    from pkt_eval.transfer.store import Store

    shown = Table(box=None)
    for column in ("cell", "", "student", "base"):
        shown.add_column(column, overflow="fold")
    planned.mark_finished(planned.cells)
    left = planned.board.waiting(planned.cells)
    students, there = learners(planned.cells), {}
    for cell in left:
        path = Store().path(planned.identities.student(cell)) / MANIFEST
        learns = cell.learner.benchmark is not None
        there[cell.learner.name] = "nothing to learn" if not learns else "stored" if path.exists() else "to make"
    for cell in planned.cells:
        status = planned.board[cell]
        state = {"kept": "finished", "failed": status.reason}.get(status.state, "to do")
        shown.add_row(cell.name, state, there.get(cell.learner.name, ""), str(cell.learner.base))
    console.print(shown)
    to_make = [student for student in learners(left) if there[student.name] == "to make"]
    bases = len({s.base for s in students})
    console.print(
        f"\n{len(planned.cells)} cells, {len(left)} of them to do, of {len(students)} students, {len(to_make)} of them "
        f"to be made, on {bases} loaded model{'s' * (bases > 1)}; results in {planned.out}/",
        highlight=False,
        soft_wrap=True,
    )
    said = estimate(planned.suite, left, to_make, planned.identities.device)
    console.print(said, highlight=False, soft_wrap=True)
