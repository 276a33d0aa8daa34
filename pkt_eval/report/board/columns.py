"""The columns of a leaderboard. To add one, add its row here; Markdown, LaTeX, CSV, terminal and page have it.

JSON has the cells' own fields and what a ``measure`` made: a column that computes its number in ``write`` is not in it.
A column of a new statistic is the statistic, a function in ``stats``, and a row here whose ``measure`` calls it.
"""

from collections.abc import Callable

from pkt_eval.report.board import compare, wording
from pkt_eval.report.board.column import Column, Measure, Shown, Table
from pkt_eval.report.board.model import ALPHA, LEVEL, POWER, BoardCell, Difference, Leaderboard

_DIFFERENCE = ("value", "low", "high", "p", "adjusted", "significant", "count", "won", "lost", "detectable", "against")
_EVERYWHERE = Table.DETAILS | Table.TERMINAL | Table.PAGE


def _difference(
    id: str,
    head: str,
    of: Callable[[BoardCell], Difference | None],
    tex: str,
    tables: Table,
    named: bool = False,
    help: str = "",
) -> Column:
    """A comparison; one that is ``named`` says with whom, and is left out of a leaderboard that has none."""

    def write(cell: BoardCell) -> Shown:
        shown = of(cell)
        if shown is None:
            return Shown("", signed=True)
        style = wording.style(shown) if shown.significant else ""
        said = " ".join(filter(None, (wording.on(shown, cell), f"to {shown.against}" if named else "")))
        return Shown(wording.difference_text(shown), wording.difference_ends(shown), said, style, signed=True)

    def sort(cell: BoardCell) -> float | None:
        return shown.value if (shown := of(cell)) else None

    def numbers(cell: BoardCell) -> dict[str, object]:
        return {f"{id}_{part}": getattr(of(cell), part, None) for part in _DIFFERENCE}

    return Column(
        id=id,
        head=head,
        write=write,
        sort=sort,
        numbers=numbers,
        difference=of,
        tex=tex,
        tables=tables,
        optional=named,
        help=help,
    )


def _budget(
    id: str,
    head: str,
    write: Callable[[float], str],
    sort: bool = False,
    title: str = "",
    help: str = "",
    optional: bool = False,
) -> Column:
    def number(cell: BoardCell) -> float | None:
        return cell.budget.get(id)

    return Column(
        id=id,
        head=head,
        write=lambda cell: write(cell.budget[id]) if id in cell.budget else wording.BLANK,
        sort=number if sort else None,
        numbers=lambda cell: {id: number(cell)},
        tables=Table.DETAILS | Table.PAGE,
        title=title,
        help=help,
        optional=optional,
    )


def _ending(id: str, head: str, write: Callable[[float], str], tables: Table, help: str = "") -> Column:
    def number(cell: BoardCell) -> float | None:
        return cell.endings.get(id)

    return Column(
        id=id,
        head=head,
        write=lambda cell: write(cell.endings[id]) if id in cell.endings else wording.ABSENT,
        sort=number,
        tables=tables,
        optional=True,
        help=help,
    )


COLUMNS: tuple[Column, ...] = (
    Column(
        id="score",
        head="score",
        write=lambda cell: Shown(wording.score_text(cell), wording.ends(cell.low, cell.high)),
        sort=lambda cell: cell.score,
        numbers=lambda cell: {"score": cell.score, "score_low": cell.low, "score_high": cell.high},
        tables=_EVERYWHERE | Table.OVERVIEW | Table.PAPER,
        tex="Score",
    ),
    Column(
        id="items",
        head="items",
        write=lambda cell: wording.number(cell.count),
        numbers=lambda cell: {"items": cell.count},
        tables=Table.PAGE,
    ),
    Column(
        id="seeds",
        head="seeds",
        write=wording.seeds,
        numbers=lambda cell: {"seeds": len(cell.sources), "spread": cell.spread},
        tables=_EVERYWHERE,
        after="gap",
    ),
    _difference(
        "vanilla",
        "Δ vanilla",
        lambda cell: cell.vanilla,
        tex=r"$\Delta_V$",
        tables=_EVERYWHERE | Table.OVERVIEW | Table.PAPER,
    ),
    _difference("lora", "Δ LoRA", lambda cell: cell.lora, tex=r"$\Delta_L$", tables=_EVERYWHERE | Table.PAPER),
    _difference(
        "control",
        "Δ best control",
        lambda cell: cell.control,
        tex=r"$\Delta_C$",
        tables=_EVERYWHERE | Table.PAPER,
        named=True,
        help="Δ best control: to the control of the method, for the same task, that scores best there. The best of "
        "several has had luck besides, so that a gain over it is understated, and a loss exaggerated. A method that "
        "does not beat its best control has shown no knowledge of the teacher's.",
    ),
    _difference(
        "chosen",
        "Δ chosen row",
        lambda cell: cell.chosen,
        tex=r"$\Delta_R$",
        tables=_EVERYWHERE | Table.PAPER,
        named=True,
        help="Δ chosen row: to the row that was named for this report.",
    ),
    Column(
        id="gap",
        head="gap",
        write=wording.gap_text,
        sort=lambda cell: cell.gap.value if cell.gap else None,
        numbers=lambda cell: dict(zip(("gap", "gap_low", "gap_high"), cell.gap or (None,) * 3, strict=True)),
        tables=_EVERYWHERE,
        measure=Measure(compare.gap, against=("vanilla", "teacher"), needs_lead=True),
        title="gap recovered",
        help="Gap: share of the teacher's lead over vanilla that arrived; blank where that lead is not significant.",
    ),
    _ending(
        "ended",
        "ended",
        wording.share,
        _EVERYWHERE,
        help="Ended: share of the answers that ended by themselves and not at their limit; loop: of all, those that "
        "did not and go round in circles; length: mean tokens of an answer. A – where a record does not say.",
    ),
    _ending("looped", "loop", wording.share, Table.DETAILS | Table.PAGE),
    _ending("answer_tokens", "length", wording.number, Table.DETAILS | Table.PAGE),
    _budget(
        "learnt_records",
        "records",
        wording.number,
        help="Seeds: how many, and the standard deviation between them. Budget: records optimised on, optimiser steps, "
        "time and peak memory of the transfer, a mean over seeds.",
    ),
    _budget("steps", "steps", wording.number),
    _budget("seconds", "time", wording.duration, sort=True, title="time of the transfer"),
    _budget("peak_bytes", "memory", wording.gigabytes),
    _budget(
        "student_tokens",
        "tokens",
        wording.count,
        optional=True,
        help="Tokens: that the student was trained on, a search of learning rates included; T tokens: that the teacher "
        "read or wrote. FLOPs: of all passes through the student, and through the teacher, of the layers' weights "
        "alone: 2 a weight and token forwards, and as many again for each gradient.",
    ),
    _budget("teacher_tokens", "T tokens", wording.count, title="tokens of the teacher", optional=True),
    _budget("student_flops", "FLOPs", wording.count, title="FLOPs of the student", optional=True),
    _budget("teacher_flops", "T FLOPs", wording.count, title="FLOPs of the teacher", optional=True),
    Column(
        id="detectable",
        head="detectable",
        write=lambda cell: wording.detectable(cell.vanilla),
        numbers=lambda cell: {},  # ``vanilla_detectable`` and ``lora_detectable`` are there
    ),
    Column(
        id="forgotten",
        head="ΔCE",
        write=lambda cell: wording.nats(cell.forgotten),
        sort=lambda cell: cell.forgotten,
        tables=_EVERYWHERE,
        optional=True,
        title="ΔCE, forgetting",
        help="ΔCE: by how much the cross-entropy on a fixed text that no transfer is about rose over the unadapted "
        "base's, in nats a token, a mean over seeds. 0.01 is 1 % more perplexity; above 0, something was forgotten.",
        after="answer_tokens",
    ),
    Column(
        id="untaught",
        head="Δ untaught",
        write=lambda cell: wording.BLANK if cell.untaught is None else wording.points(cell.untaught),
        sort=lambda cell: cell.untaught,
        tables=Table.DETAILS | Table.PAGE,
        optional=True,
        help="Δ untaught: mean difference to vanilla over the other benchmarks, of which this student was taught none "
        "(suites with cross: true). Not tested.",
        after="forgotten",
    ),
)


def columns(table: Table, board: Leaderboard) -> list[Column]:
    """The columns of a table of a leaderboard, in the order in which it shows them."""
    here = [column for column in COLUMNS if table in column.tables and _says_something(column, board)]
    for column in [column for column in here if column.after in {other.id for other in here}]:
        here.remove(column)
        here.insert(next(i for i, other in enumerate(here) if other.id == column.after) + 1, column)
    return here


def _says_something(column: Column, board: Leaderboard) -> bool:
    if not column.optional:
        return True
    return any(value is not None for *_, cell in board.cells() for value in column.numbers_of(cell).values())


def sortable(board: Leaderboard) -> list[Column]:
    """The columns that the page sorts by."""
    return [column for column in COLUMNS if column.sort and _says_something(column, board)]


def comparisons() -> list[tuple[Column, Callable[[BoardCell], Difference | None]]]:
    """The columns that show a comparison, with that."""
    return [(column, column.difference) for column in COLUMNS if column.difference]


def compared(board: Leaderboard) -> list[tuple[str, str]]:
    """The comparisons that a leaderboard has, by their columns' ids, and in words with whom they are."""
    words = {"vanilla": "vanilla", "lora": "LoRA", "control": "its best control", "chosen": board.chosen or ""}
    return [(column.id, words[column.id]) for column, _ in comparisons() if _says_something(column, board)]


def measured() -> list[tuple[Column, Measure]]:
    """The columns whose number a measure makes, with that."""
    return [(column, column.measure) for column in COLUMNS if column.measure]


def legend(board: Leaderboard, table: Table | None = None) -> list[str]:
    """What the numbers are, as sentences.

    Args:
        board: Whose.
        table: Whose columns are to be explained, to who knows what a score is; default: all.
    """
    level, alpha = (f"{100 * share:.0f} %" for share in (LEVEL, ALPHA))
    number = board.comparisons
    intervals = (
        f"Scores are in per cent, differences in points, brackets hold {level} intervals: Wilson's for a score, over "
        "seeds and items where there are several seeds; paired over the same items for a difference, and over seeds "
        "where there are several, MMLU's subjects being drawn whole."
    )
    *first, last = [to for _, to in compared(board)]
    none = (
        "Nothing is compared: no transfer stands beside a vanilla or a LoRA that answered the same documents, and so "
        "nothing is bold."
    )
    bold = (
        f"Bold: significant at {alpha} after {board.correction.author} over {number} "
        f"comparison{'s' * (number != 1)}: each transfer with {', with '.join(first)} and with {last}, on each "
        "benchmark; those of identical answers count once, and the teachers' leads are corrected by themselves. By "
        "exact McNemar or sign flips, and with several seeds also by a test over seeds and items. What is not bold may "
        "be chance."
    )
    bold = bold if number else none
    power = (
        f"Detectable: the smallest true difference to vanilla that so many items and seeds would show with "
        f"{100 * POWER:.0f} % power at p ≤ {board.level:.2g}, where one more comparison of this table would be "
        "significant; smaller ones are not excluded. Blank where none would."
    )
    shown = [c for c in COLUMNS if (table is None or table in c.tables) and _says_something(c, board)]
    helps = [said for column in shown if (said := power if column.id == "detectable" else column.help)]
    return [bold, *helps] if table else [intervals, bold, *helps]
