"""What an engine is: it does the cells of a suite that are waiting, somewhere."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from pkt_eval.suite.engines import EngineOptions, engine_class
from pkt_eval.suite.plan import Cell
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.work import Work


class Engine(Protocol):
    """Does cells: makes a cell's student unless the store has it, and evaluates it by ``evaluate_cell``.

    Attributes:
        Options: What a suite's file may say to it under the engine's name, and where it computes.
        several_processes: Whether it shares its work with the processes that ``accelerate launch`` has started with it.
            If not, it is not run under that.
    """

    Options: ClassVar[type[EngineOptions]]
    several_processes: ClassVar[bool]

    def __init__(self, work: Work) -> None:
        """Take the work up, without beginning it.

        Args:
            work: The suite, its folder, the identities of its cells, and their states, which the engine keeps up to
                date: what is shown of a run is what it says there.

        Raises:
            PrerequisiteError: Something that it needs is not installed.
        """

    def run(self, left: Sequence[Cell]) -> None:
        """Do cells that are waiting, and return when each has ended as ``done`` or ``failed``.

        A cell that fails does not keep the others from being done. What is interrupted (Ctrl-C, a lost machine) leaves
        the store and the cells' folders as they are: the same run goes on with them.

        Args:
            left: In the order in which they are best done: those of a student together, those without one to make
                first.

        Raises:
            ConfigError: None of them can be done, e.g. since there is no such cluster.
        """


def engine_of(suite: Suite) -> type[Engine]:
    """The engine that a suite asks for."""
    asked: type[Engine] = engine_class(suite.engine)
    return asked
