"""``pkt-eval transfer``: make a student without evaluating it."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from pkt_eval._util.folders import check_out
from pkt_eval.errors import ConfigError

if TYPE_CHECKING:
    from pkt_eval.models.card import CardResult
    from pkt_eval.report.board import BoardCell
    from pkt_eval.report.records import Record

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
    records: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Where this student was evaluated, e.g. a suite's folder: its scores, and how it compares with "
            "vanilla and its best control, go into the model card. May be given several times.",
        ),
    ] = None,
    log: Annotated[
        Literal["trackio", "wandb"] | None, typer.Option(help="Send training curves to this tracker.")
    ] = None,
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
    from pkt_eval._util.logs import open_log
    from pkt_eval._util.progress import Progress
    from pkt_eval.models.card import save_card
    from pkt_eval.models.student import two_dtypes
    from pkt_eval.transfer.arguments import split_arguments
    from pkt_eval.transfer.recipe import make_recipe
    from pkt_eval.transfer.summary import show
    from pkt_eval.transfer.transfer import Transfer

    ours, others = split_arguments(arguments, strict=True)
    recipe = make_recipe(ours | others)  # which names what nobody takes
    making = Transfer(recipe, check_device(device or default_device()))
    evaluated = evaluations(records, making.fingerprint, making.identity) if records else []
    tracked = open_log(log, None, {out.name: recipe.model_dump(mode="json", exclude_none=True)}) if log else None
    try:
        student = making.make(Progress(measured=partial(tracked.step, out.name) if tracked else None))
    finally:
        if tracked:
            tracked.end()
    with new_folder(out) as folder:
        student.save(folder, merged=True)
        if evaluated:
            save_card(folder, student.base, student.provenance, evaluated)
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


def evaluations(paths: Sequence[Path], fingerprint: str, identity: Mapping[str, Any]) -> "list[CardResult]":
    """How a student did, for its model card: this very student, not its method's mean over seeds.

    Args:
        paths: Folders of records, as ``pkt-eval report`` takes them.
        fingerprint: Of the student.
        identity: What that is a digest of.

    Raises:
        ConfigError: None of the records is of this student; says in what the nearest is another.
    """
    from pkt_eval.report import records
    from pkt_eval.report.board import leaderboard

    every, _ = records.read(paths)
    # As it was made: with arguments of ``hf`` it is another model.
    mine = [r for r in every if _fingerprint(r.student.provenance) == fingerprint and not r.student.loaded]
    if not mine:
        raise ConfigError(f"--records {' '.join(map(str, paths))}: {_none_of(every, fingerprint, identity)}")
    method = mine[0].student.method
    beside = [r for r in every if r.student.method == "vanilla" or (method and method in r.student.control_of)]
    board = leaderboard([*mine, *(r for r in beside if r not in mine)], Path("."))
    return [
        _evaluation(name, cell)
        for _, _, name, cell in board.cells()
        if _fingerprint(cell.sources[0].provenance) == fingerprint
    ]


def _none_of(every: "Sequence[Record]", fingerprint: str, identity: Mapping[str, Any]) -> str:
    """Why no record is of a student: in what the one that is most like it is another."""
    said = f"none is of this student, {fingerprint[:12]}"
    unlike = [  # a method's students for other benchmarks and seeds have its label, too
        ([name for name, value in identity.items() if made.get(name) != value], record.student.label)
        for record in every
        if (made := record.student.provenance)
    ]
    if not unlike:
        return f"{said}: there are none of ours"
    others, label = min(unlike, key=lambda each: len(each[0]))
    return f"{said}; the nearest is {label}, which has another {', '.join(others)}"


def _fingerprint(provenance: Mapping[str, object] | None) -> object:
    return (provenance or {}).get("fingerprint")


def _evaluation(name: str, cell: "BoardCell") -> "CardResult":
    from pkt_eval.data.benchmarks import Hub, benchmark_of_task
    from pkt_eval.models.card import CardDifference, CardResult

    asked = benchmark_of_task(cell.sources[0].task)
    on_hub = asked.source if asked and isinstance(asked.source, Hub) else None
    against = [("vanilla", cell.vanilla), ("control", cell.control)]
    return CardResult(
        benchmark=name,
        title=asked.title if asked and on_hub else name,
        dataset=on_hub.path if on_hub else name,
        dataset_config=on_hub.config if on_hub else None,
        metric=str(cell.sources[0].conditions.get("metric", "score")).partition(",")[0],
        score=cell.score,
        low=cell.low,
        high=cell.high,
        items=cell.count,
        compared={to: CardDifference(d.against, d.value, d.low, d.high, d.count) for to, d in against if d},
    )
