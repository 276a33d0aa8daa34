"""``pkt-eval doctor``: what this machine offers, and what to install."""

import os
import platform
from pathlib import Path
from typing import Annotated

import typer

from pkt_eval.errors import ConfigError, PrerequisiteError


def doctor(
    level: Annotated[str, typer.Option(help="Exit with code 2 unless code answers would run at this level.")] = "",
) -> None:
    """Show what this machine offers: the isolation of code answers, tried out, and where data and students lie.

    A canary program that tries to get out is run at each level of isolation; a level that it leaves is not used.
    Exit code 2: no level isolates here, or not the one asked for, and no code answer will be run.
    """
    from pkt_eval._util.options import did_you_mean
    from pkt_eval.code.isolation import LEVELS

    if level and level not in LEVELS:
        raise ConfigError(f"--level {level}: {did_you_mean(level, LEVELS)}the levels are {', '.join(LEVELS)}")
    from rich.table import Table

    from pkt_eval._util import sources
    from pkt_eval._util.console import console
    from pkt_eval._util.folders import store_root
    from pkt_eval.code.levels import choose_level, probe
    from pkt_eval.data.benchmarks import names
    from pkt_eval.data.sources import DATA_ENV
    from pkt_eval.transfer.transfer import versions

    out = console()
    table = Table(box=None, title="Isolation of code answers", title_justify="left")
    for column in ("level", "holds", "the canary, or what to do"):
        table.add_column(column, no_wrap=column != "the canary, or what to do")
    for name in LEVELS:
        tried = probe(name)
        table.add_row(name, "yes" if tried.holds else "no", tried.reason)
    out.print(table)

    rows = {"machine": f"{platform.system()} {platform.release()} {platform.machine()}"}
    rows |= versions()
    data = os.environ.get(DATA_ENV)
    if data:
        there = [b for b in names("real") if (Path(data) / b).is_dir()]
        rows["benchmarks"] = f"{data}: {', '.join(there) or 'none of ours'} ({DATA_ENV})"
    else:
        rows["benchmarks"] = f"from the hub; {DATA_ENV}=DIR for a local folder"
    rows["students"] = str(store_root())
    # Equal on two machines where a student, its places and its scores can be of one identity.
    kinds = {
        **{"transfer": sources.TRANSFER, "location": sources.LOCATION},
        **{"tuning": sources.TUNING, "scoring": sources.SCORING},
    }
    digests = ", ".join(f"{name} {sources.digest(rooms)[:12]}" for name, rooms in kinds.items())
    rows["sources"] = f"{digests} (what an identity is made of: docs/identity.md)"
    out.print()
    table = Table(box=None, show_header=False)
    for key, value in rows.items():
        table.add_row(key, value)
    out.print(table)

    chosen = choose_level()  # raises where nothing holds, saying what to do
    if level and chosen != level:
        raise PrerequisiteError(f"code answers would run at the level {chosen}, not {level}")
    out.print(f"\nCode answers run at the level {chosen}.")
