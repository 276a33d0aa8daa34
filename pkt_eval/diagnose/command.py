"""``pkt-eval diagnose``: look at a pair, and at students transferred between them, and write what was found."""

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pkt_eval._util.folders import check_out
from pkt_eval.errors import ConfigError, PrerequisiteError

if TYPE_CHECKING:
    from pkt_eval.models.pair import ModelPair
    from pkt_eval.models.student import Student

log = logging.getLogger(__name__)


def diagnose(
    data: Annotated[list[str], typer.Option(help="Task whose texts are looked at, e.g. gsm8k; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    teacher: Annotated[str, typer.Option(help="Folder or hub name; with no --student either: the nano family.")] = "",
    student: Annotated[str, typer.Option(help="The student's base: folder or hub name.")] = "",
    transferred: Annotated[
        list[Path] | None,
        typer.Option(help="A student made by `pkt-eval transfer … --out DIR`; may be repeated.", metavar="DIR"),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=256, max=2**24, help="Tokens to compare on, of all tasks together.")
    ] = 4096,
    samples: Annotated[
        int, typer.Option(min=1, max=2**20, help="Records a task and seed that neurons are located with.")
    ] = 3,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 2, help="Of the splits and the tokens; that of the transfers.")
    ] = 0,
    chat_format: Annotated[
        str, typer.Option(help="Format of the texts, that of the transfers: paper or model.")
    ] = "paper",
    data_dir: Annotated[str | None, typer.Option(help="Local folder of the benchmarks, as for a transfer.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute, e.g. cuda:0; default: a GPU if there is one.")] = "",
) -> None:
    """Find out why a transfer fails: figures, matrices, a report and a summary.

    Writes the similarity of every teacher and student layer (debiased CKA, affine stitching), what locations of neurons
    have in common, and, for --transferred students, what the transfer did to the weights and to the similarity.
    """
    try:
        import matplotlib  # noqa: F401  # asked for before the work, not after it
    except ImportError:
        raise PrerequisiteError("figures need matplotlib: pip install 'pkt-eval[figures]'") from None
    check_out(out, new=True)
    if bool(teacher) != bool(student):
        raise ConfigError("--teacher and --student go together; with neither, the nano family is looked at")
    from pkt_eval._util.console import console
    from pkt_eval._util.devices import check_device, default_device
    from pkt_eval._util.files import new_folder
    from pkt_eval.data.chat import ChatFormat
    from pkt_eval.data.splits import build_splits, canonical_task
    from pkt_eval.diagnose import figures, parametric, report
    from pkt_eval.diagnose.run import Examination
    from pkt_eval.models.student import load_student
    from pkt_eval.transfer.recipe import make_recipe
    from pkt_eval.transfer.transfer import Transfer

    named = {"teacher": teacher or None, "pretrained": student or None, "chat_format": chat_format}
    recipe = make_recipe(named)
    pair = Transfer(recipe, check_device(device or default_device())).pair
    pair.check()
    students = [load_student(folder) for folder in transferred or ()]
    names = parametric.labels(students)
    for name, made in zip(names, students, strict=True):
        _check_transferred(name, made, pair, chat_format)
    tasks = list(dict.fromkeys(map(canonical_task, data)))
    splits = [{t: build_splits(t, seed=s, data_dir=data_dir) for t in tasks} for s in (seed, seed + 1)]

    with new_folder(out) as folder:
        scratch = folder / "scratch"
        for within in (folder / "figures", scratch):
            within.mkdir()
        diagnosis = Examination(pair, splits, ChatFormat(recipe.chat_format), tokens, samples, seed, scratch).all(
            dict(zip(names, students, strict=True))
        )
        captions = figures.draw(diagnosis, folder / "figures")
        report.write(diagnosis, captions, folder)
        shutil.rmtree(scratch)
    console().print(
        f"Written to {out}: report.md, summary.json, matrices.npz, *.csv and {len(captions)} figures", soft_wrap=True
    )


def _check_transferred(name: str, student: "Student", pair: "ModelPair", chat_format: str) -> None:
    """A student must have edits of this pair's student; another text format is said."""
    made = student.provenance
    if made is None or made.student_digest != pair.student.transfer_digest:
        raise ConfigError(
            f"--transferred {name} was made for another student than --student {pair.student}: name its base, "
            f"{made.student if made else student.base}"
        )
    if not student.edits:
        raise ConfigError(f"--transferred {name} has no edits, it is its base {student.base}: leave it out")
    from pkt_eval.models import blocks

    if all(edit.name == blocks.HEAD for edit in student.edits):
        raise ConfigError(f"--transferred {name} edits the output embedding alone, no block of a layer: leave it out")
    theirs = made.chat_format or chat_format
    if theirs != chat_format:
        log.warning("%s was transferred with chat_format=%s; it is looked at with %s", name, theirs, chat_format)
