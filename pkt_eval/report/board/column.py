"""A column of a leaderboard as one row of data, which all writers share. The rows are in ``columns``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from typing import NamedTuple

from pkt_eval.report.board.compare import Sides
from pkt_eval.report.board.model import BoardCell, Difference
from pkt_eval.report.stats import Estimate


class Table(Flag):
    """A kind of table; CSV has every column."""

    OVERVIEW = auto()
    """Students × benchmarks, a cell for each: the first column's number with those of the others in parentheses."""
    DETAILS = auto()
    """One benchmark with everything known, in Markdown."""
    TERMINAL = auto()
    """One benchmark, as wide as a terminal."""
    PAPER = auto()
    """Students × benchmarks in LaTeX."""
    PAGE = auto()
    """One student with everything known, in the page."""


class Shown(NamedTuple):
    """What a table says of a column in one cell.

    Attributes:
        text: The number; "" where there is none.
        interval: Behind it.
        on: What it is about, where that is less than the cell.
        style: ``gain`` or ``loss`` where it is significant, else "".
        signed: It is a difference, which a paper sets without its interval.
    """

    text: str
    interval: str = ""
    on: str = ""
    style: str = ""
    signed: bool = False


@dataclass(frozen=True)
class Measure:
    """How a column's number is made, where a cell has it not already.

    Attributes:
        of: A statistic of ``stats`` over the documents that all its sides have; None where it says nothing.
        against: The sides besides the student: ``vanilla``, ``lora``, ``teacher``. None is made where one is missing,
            or is the student itself.
        needs_lead: It is a share of the teacher's lead, so it is blank where that is not significant in the whole
            table.
    """

    of: Callable[[Sides], Estimate | float | None]
    against: tuple[str, ...] = ()
    needs_lead: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """One row of data for each column.

    Attributes:
        id: Unique; its name in CSV and JSON, fit for an HTML attribute.
        head: Above it.
        write: What stands in a cell.
        sort: The number that the page sorts by; None: it is not sorted by.
        numbers: Its numbers in CSV; default: ``id`` with the number of ``sort`` or of ``measure``.
        tables: Which have it.
        measure: How its number is made; it is then in the cell's ``statistics`` and in JSON under ``id``.
        difference: The comparison that it shows, if it is one.
        help: What it is, as a sentence under the tables.
        title: Its name where there is more room than above a column; default: ``head``.
        tex: ``head`` in LaTeX; default: the same.
        optional: Whether it is left out of tables of a leaderboard of which it says nothing.
        after: Where it is shown elsewhere than its numbers stand in CSV, whose order is an interface: the ``id``
            before it.
    """

    id: str
    head: str
    write: Callable[[BoardCell], Shown | str]
    sort: Callable[[BoardCell], float | None] | None = None
    numbers: Callable[[BoardCell], Mapping[str, object]] | None = None
    tables: Table = Table.DETAILS | Table.PAGE
    measure: Measure | None = None
    difference: Callable[[BoardCell], Difference | None] | None = None
    help: str = ""
    title: str = ""
    tex: str = ""
    optional: bool = False
    after: str = ""

    def shown(self, cell: BoardCell) -> Shown:
        """What stands in a cell."""
        written = self.write(cell)
        return Shown(written) if isinstance(written, str) else written

    def numbers_of(self, cell: BoardCell) -> Mapping[str, object]:
        """Its names and numbers in CSV, the same names for every cell."""
        if self.numbers:
            return self.numbers(cell)
        value = self.sort(cell) if self.sort else cell.statistics.get(self.id)
        return {self.id: value.value if isinstance(value, Estimate) else value}
