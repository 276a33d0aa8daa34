"""A run of a suite in a folder: what is finished is kept, the rest is given to an engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.suite.evaluate import finished
from pkt_eval.suite.identity import Identities
from pkt_eval.suite.local import Local
from pkt_eval.suite.plan import Cell, cells
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.state import Board, Statuses


class Run:
    """A suite in a folder.

    Args:
        suite: What is compared.
        out: Its folder; the same one goes on where an earlier run ended.
        show: Called whenever a cell's status has changed.
    """

    def __init__(self, suite: Suite, out: Path, show: Callable[[Statuses], None] = lambda statuses: None) -> None:
        self.suite, self.out = suite, out
        self.cells = cells(suite)
        self.identities = Identities(suite, self.cells)
        self.board = Board(self.cells, show)

    def run(self) -> Statuses:
        """Do all that is left to do; one failing cell does not keep the others from being done.

        Raises:
            ConfigError: Another run works in the same folder.
            StoreError: It cannot be written.
            PrerequisiteError: Ray is asked for and is not installed.
        """
        with _alone(self.out):
            (self.out / "suite.json").write_text(self.suite.model_dump_json(indent=1) + "\n", "utf-8")
            self.mark_finished(self.cells)
            left = self.board.waiting(self.cells)
            if self.suite.engine == "ray":
                from pkt_eval.suite.ray import OnRay

                OnRay(self.suite, self.out, self.identities, self.board).run(left)
            else:
                Local(self.suite, self.out, self.identities, self.board).run(left)
        return self.board.statuses

    def mark_finished(self, of: list[Cell]) -> None:
        """Keep the cells that are finished already; what cannot even be named has failed."""
        for cell in of:
            try:
                record = finished(self.out / cell.name, self.identities[cell])
            except Exception as error:
                self.board.fail([cell], error)
                continue
            if record:
                self.board.end(cell, "kept", record)
        self.board.show(self.board.statuses)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"another run works in {out}: wait for it, or choose another --out") from None
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error}") from error
