"""``pkt-eval data``: build, show and check the splits of a transfer."""

import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

from pkt_eval._util.boundary import end
from pkt_eval._util.folders import check_out
from pkt_eval._util.text import printable
from pkt_eval.data.benchmarks import names
from pkt_eval.data.decontaminate import DEFAULT_N, TextOverlap, overlap_report
from pkt_eval.data.rows import ChatRecord
from pkt_eval.data.splits import SPLIT_NAMES, Splits, build_splits, write_splits
from pkt_eval.errors import ConfigError, PKTError

if TYPE_CHECKING:
    from rich.table import Table

_LONGEST = 1000
"""Words of an n-gram; no question is as long."""

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, show and check the data of a transfer: four disjoint, seeded splits of chat records.\n\n"
    "extract locates what to transfer, align fits it to the student, train fine-tunes, validation is "
    "the only one that may choose a step or a rate. Rows come from `--data-dir`, else from the folder in "
    "`PKT_EVAL_DATA`, else from the Hugging Face hub; the `nano_` benchmarks are built in.",
)

TaskArgument = Annotated[
    str,
    typer.Argument(help=f"{', '.join(names()[:-1])} or {names()[-1]}; task names work too."),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Decides which records are in which split.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with {benchmark}/{split}.jsonl or .parquet.")]
SplitsDir = Annotated[
    Path | None,
    typer.Option("--splits", help="Read the splits from this folder of chat JSONL, do not draw them."),
]
Size = Annotated[
    list[str] | None,
    typer.Option("--size", help="Number of records of a split, e.g. --size train=500; may be repeated."),
]


@app.command(
    epilog="Example: `pkt-eval data build gsm8k --out splits/`, "
    "and then `--model_args …,transfer_task=gsm8k,splits=splits/`"
)
def build(
    task: TaskArgument,
    out: Annotated[Path, typer.Option(help="Folder that gets the four files.")],
    seed: Seed = 0,
    data_dir: DataDir = None,
    size: Size = None,
) -> None:
    """Write the four splits as ``{stem}_{split}_split.jsonl``, the naming of the published splits."""
    _or_exit(check_out, out)
    splits = _splits(task, seed, data_dir, None, size)
    for name, path in zip(SPLIT_NAMES, write_splits(splits, out), strict=True):
        typer.echo(printable(f"{path}  {len(splits[name])} records  sha256 {splits.digests[name][:12]}"))
    typer.echo(printable(f"source: {splits.source}; all four: sha256 {splits.digest[:12]}"))


@app.command(epilog="Example: `pkt-eval data show nano_gsm8k --tokenizer my-student/`")
def show(
    task: TaskArgument,
    seed: Seed = 0,
    data_dir: DataDir = None,
    splits_dir: SplitsDir = None,
    size: Size = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or hub name of a tokenizer: adds the lengths in tokens.")
    ] = None,
) -> None:
    """Print the sizes, lengths and hashes of the splits, and one record in the papers' text."""
    splits = _splits(task, seed, data_dir, splits_dir, size)
    measures: dict[str, Callable[[ChatRecord], int]] = {"characters": _characters}
    if tokenizer:
        measures["tokens"] = _token_counter(tokenizer)
    from rich.table import Table

    from pkt_eval._util.console import console

    table = Table(title=f"{splits.benchmark}: {splits.source}", box=None, title_justify="left")
    for heading in ("split", "records", *(f"{name}: mean / max" for name in measures), "sha256"):
        table.add_column(heading, justify="left" if heading in ("split", "sha256") else "right")
    for name in SPLIT_NAMES:
        lengths = [[measure(record) for record in splits[name]] for measure in measures.values()]
        cells = [f"{fmean(values):.0f} / {max(values)}" if values else "-" for values in lengths]
        table.add_row(name, str(len(splits[name])), *cells, splits.digests[name][:12])
    to = console()
    to.print(table)
    if splits.train:
        to.rule("the first train record")
        user, answer = (message["content"] for message in splits.train[0]["messages"][-2:])
        to.print(f"<|user|>\n{user}\n\n<|assistant|>\n{answer}", soft_wrap=True)


@app.command(
    epilog="Examples: `pkt-eval data check humaneval --splits paper_splits/` · "
    "`pkt-eval data check mbpp --fail-on 13 --allow 20`"
)
def check(
    task: TaskArgument,
    seed: Seed = 0,
    data_dir: DataDir = None,
    splits_dir: SplitsDir = None,
    size: Size = None,
    n: Annotated[
        list[int] | None,
        typer.Option("-n", min=1, max=_LONGEST, help="Words of an n-gram; may be repeated. Default: 8 and 13."),
    ] = None,
    fail_on: Annotated[
        int, typer.Option(min=1, max=_LONGEST, help="Fail on shared n-grams of this many words or more.")
    ] = 13,
    allow: Annotated[int, typer.Option(min=0, help="Test items that may share one before it is a failure.")] = 0,
) -> None:
    """Compare the splits with each other and with every test set, by n-grams of words.

    A cell is the number of test items whose question shares an n-gram with the split. Exit code 1 when two
    splits share a question, or when more than ``--allow`` items of a test set share an n-gram of ``--fail-on``
    words or more.

    What to expect: benchmarks that repeat their own phrasing share some 13-grams between their own train and
    test sets (MBPP's "write a function to …", the nano benchmarks' grammar). Look at the example before you
    allow it.
    """
    from pkt_eval._util.console import console
    from pkt_eval._util.progress import Progress

    splits = _splits(task, seed, data_dir, splits_dir, size)
    shared = splits.overlaps()
    ns = sorted({*(n or DEFAULT_N), fail_on})
    report = _or_exit(overlap_report, splits, ns=ns, data_dir=data_dir, progress=Progress(owner="data check"))
    to = console()
    to.print(_overlap_table(splits, report))
    typer.echo()
    for (a, b), count in shared.items():
        typer.echo(f"FAIL  {a} and {b} share {count} questions")
    if not shared:
        sizes = ", ".join(f"{name} {count}" for name, count in splits.sizes.items())
        typer.echo(f"ok    the four splits share no question ({sizes})")
    failures = [o for o in report if o.split == "all" and o.n >= fail_on and o.shared > allow]
    for o in failures:
        said = f"FAIL  {o.shared} of {o.total} {o.benchmark} test items share a {o.n}-gram, e.g. “{o.example}”"
        typer.echo(printable(said))
    if not failures:
        typer.echo(f"ok    no test set has more than {allow} items that share an n-gram of {fail_on} words or more")
    to.print(f"\n{_meaning(bool(shared), bool(failures), fail_on)}")
    if shared or failures:
        raise typer.Exit(1)


def _meaning(shared: bool, failed: bool, words: int) -> str:
    """The verdict in words."""
    if shared:
        return (
            "Not sound: what chooses a step or a rate has seen what it was trained on. Draw the splits anew, or take "
            "the questions out of one of the two."
        )
    if failed:
        return (
            f"Look before you score: some test questions have {words} words in a row with the data. Where the example "
            "is a question of the test set, scores on it are too good: take those records out. Where it is the "
            "benchmark's own phrasing, allow it: --allow NUMBER."
        )
    return (
        f"Sound: no record holds {words} words in a row of more test questions than are allowed. Shorter n-grams "
        "in the table are common phrases; a question in other words is not found."
    )


def _overlap_table(splits: Splits, report: list[TextOverlap]) -> "Table":
    from rich.table import Table

    benchmarks = {o.benchmark: o.total for o in report}
    title = f"{splits.benchmark} ({splits.source}): test items that share an n-gram"
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("n", justify="right")
    table.add_column("split")
    for name, total in benchmarks.items():
        table.add_column(f"{name}\nof {total}", justify="right")
    cells = {(o.n, o.split, o.benchmark): o.shared for o in report}
    for n, split in dict.fromkeys((o.n, o.split) for o in report):
        table.add_row(str(n), split, *(str(cells[n, split, b]) for b in benchmarks), end_section=split == "all")
    return table


def _splits(task: str, seed: int, data_dir: Path | None, splits_dir: Path | None, size: list[str] | None) -> Splits:
    sizes = _or_exit(_sizes, size or [])
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        splits = _or_exit(build_splits, task, seed=seed, data_dir=data_dir, splits_dir=splits_dir, sizes=sizes)
    for note in notes:
        typer.echo(printable(f"note: {note.message}"), err=True)
    return splits


def _sizes(options: list[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for option in options:
        name, _, number = option.partition("=")
        if not (number.isascii() and number.isdigit() and len(number) <= 12):
            raise ConfigError(f"--size is SPLIT=NUMBER, e.g. train=500, not {option!r}")
        if name in sizes:
            raise ConfigError(f"--size {name}= is given twice: {sizes[name]} and {number}; leave one out")
        sizes[name] = int(number)
    return sizes


def _characters(record: ChatRecord) -> int:
    return sum(len(message["content"]) for message in record["messages"])


def _token_counter(name: str) -> Callable[[ChatRecord], int]:
    from pkt_eval.data.chat import ChatFormat
    from pkt_eval.models.source import ModelSource

    loaded = _or_exit(lambda: ModelSource(name).tokenizer)

    def count(record: ChatRecord) -> int:
        return len(ChatFormat().encode(loaded, record)["input_ids"])

    return count


def _or_exit(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call, and end an expected error here as ``pkt-eval`` does: this command is an application by itself, too."""
    try:
        return function(*args, **kwargs)
    except (PKTError, OSError) as error:
        raise typer.Exit(max(end("pkt-eval data", error), 2)) from None
