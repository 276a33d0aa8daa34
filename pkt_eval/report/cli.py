"""``pkt-eval report``: from folders of records to a leaderboard."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pkt_eval._util.folders import check_kept_apart, check_out


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR…",
            help="Folders of suites, of lm_eval's --output_path or of `pkt-eval diagnose`, or results JSON files.",
            exists=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; what an earlier report wrote there is replaced.")],
    keep_records: Annotated[
        bool,
        typer.Option(
            "--keep-records",
            help="Copy the records to OUT/records, small enough to be committed, and link there. "
            "`pkt-eval report OUT/records` makes the leaderboard again.",
        ),
    ] = False,
    correction: Annotated[
        Literal["bh", "by"],
        typer.Option(
            help="Of the p-values over the table: Benjamini–Hochberg, or Benjamini–Yekutieli, which holds however the "
            "comparisons depend on each other."
        ),
    ] = "bh",
    against: Annotated[
        str | None,
        typer.Option(help="Compare every student with this row, by its name in the table, as well."),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            help="every-eval-ever or eval-results: also write a file for each student to OUT/every_eval_ever, for that "
            "collection, or to OUT/.eval_results, as the hub reads it. May be given twice.",
        ),
    ] = None,
) -> None:
    """Make a leaderboard of everything that was scored: Markdown, CSV, LaTeX, JSON and one HTML page.

    Reads lm-eval's results and samples only, ours and those of other models on the same tasks. Needs no network and no
    model.
    """
    from pkt_eval._util.console import console
    from pkt_eval._util.options import did_you_mean
    from pkt_eval.errors import ConfigError
    from pkt_eval.report import records
    from pkt_eval.report.board import diagnoses, leaderboard, sheets
    from pkt_eval.report.export import EXPORTS, exported_before, write_export
    from pkt_eval.report.printing import line
    from pkt_eval.report.render import terminal
    from pkt_eval.report.render.files import save_all
    from pkt_eval.report.render.registry import Content, formats
    from pkt_eval.report.stats import Correction

    check_out(out)
    for name in export or ():
        if name not in EXPORTS:
            raise ConfigError(f"--export {name}: {did_you_mean(name, EXPORTS)}there are {', '.join(EXPORTS)}")
    looked_into, paths = diagnoses.find(paths)
    copies = out / "records"
    if keep_records:
        check_kept_apart(copies, paths)
    every, notes = records.read(paths)
    if keep_records:
        records.keep(every, copies)
        every = records.read([copies])[0]
    board = leaderboard(every, out, notes, Correction(correction), against)
    content = Content(board, sheets(board, every, out), looked_into)
    texts = {each.file: each.write(content) for each in formats()}
    before = exported_before(out)
    save_all(out, texts)
    to = console()
    terminal.print_board(board, to)
    to.print(line(f"\nWritten to {out}/: {', '.join(texts)}"), soft_wrap=True)
    for name in dict.fromkeys(export or ()):
        folder, number = write_export(name, board, out, before)
        students = (
            f"{number} student{'s' * (number != 1)}" if number else "nothing: no benchmark of these is on the hub"
        )
        to.print(line(f"Written to {folder}/: {students}"), soft_wrap=True)
