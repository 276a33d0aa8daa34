"""``pkt-eval doctor``: what this machine offers, and what to install."""

import os
import platform
from pathlib import Path
from typing import Annotated

import typer

from pkt_eval.errors import PrerequisiteError


def doctor(
    level: Annotated[str, typer.Option(help="Exit with code 2 unless code answers would run at this level.")] = "",
) -> None:
    """Show what this machine offers: the isolation of code answers, tried out, and where data and students lie.

    A canary program that tries to get out is run at each level of isolation; a level that it leaves is not used.
    Exit code 2: no level isolates here, or not the one asked for, and no code answer will be run.
    """
    from rich.console import Console
    from rich.table import Table

    from pkt_eval._util.folders import store_root
    from pkt_eval.code.isolation import LEVELS
    from pkt_eval.code.levels import choose, probe
    from pkt_eval.data.records import BENCHMARKS
    from pkt_eval.data.sources import DATA_ENV
    from pkt_eval.transfer.recipe import versions

    console = Console()
    table = Table(box=None, title="Isolation of code answers", title_justify="left")
    for column in ("level", "holds", "the canary, or what to do"):
        table.add_column(column, no_wrap=column != "the canary, or what to do")
    for name in LEVELS:
        found = probe(name)
        table.add_row(name, "yes" if found.holds else "no", found.reason)
    console.print(table)

    rows = {"machine": f"{platform.system()} {platform.release()} {platform.machine()}"}
    rows |= versions()
    data = os.environ.get(DATA_ENV)
    if data:
        there = [b for b in BENCHMARKS if (Path(data) / b).is_dir()]
        rows["benchmarks"] = f"{data}: {', '.join(there) or 'none of ours'} ({DATA_ENV})"
    else:
        rows["benchmarks"] = f"from the hub; {DATA_ENV}=DIR for a local folder"
    rows["students"] = str(store_root())
    console.print()
    table = Table(box=None, show_header=False)
    for key, value in rows.items():
        table.add_row(key, value)
    console.print(table)

    chosen = choose()  # raises where nothing holds, saying what to do
    if level and chosen != level:
        raise PrerequisiteError(f"code answers would run at the level {chosen}, not {level}")
    console.print(f"\nCode answers run at the level {chosen}.", highlight=False)
