"""A suite's folder, apart from its cells: the suite itself, the lock of its one run, and how far that is."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from pkt_eval._util.files import check_regular, save_text
from pkt_eval._util.options import first_mistake
from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.suite.names import LOCK, PROGRESS, SUITE
from pkt_eval.suite.plan import Cell, cells
from pkt_eval.suite.record import is_whole, read_record
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.state import CellStatus, Statuses

log = logging.getLogger(__name__)

_EVERY = 1.0
"""Seconds between two writings."""


class ProgressFile:
    """Writes the statuses of a run, at most once a second.

    Args:
        out: The suite's folder.
    """

    def __init__(self, out: Path) -> None:
        self.path = out / PROGRESS
        self._last = -_EVERY

    def show(self, statuses: Statuses) -> None:
        """Write, if the last writing is a second ago."""
        if time.monotonic() - self._last >= _EVERY:
            self.write(statuses)

    def write(self, statuses: Statuses) -> None:
        """Write now. If it cannot be written no cell fails for that: the journal is what counts."""
        self._last = time.monotonic()
        content = {
            name: {"state": s.state, "progress": round(s.progress, 4), "seconds": round(s.seconds, 1)}
            | ({"step": s.step} if s.step else {})
            | ({"reason": s.reason} if s.reason else {})
            for name, s in statuses.items()
        }
        try:
            save_text(self.path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            log.debug("cannot write %s: %s", self.path, error)


def cells_of_others(suite: Suite, out: Path) -> list[str]:
    """Names of cells that lie in a suite's folder and are none of the suite's, as where a row was taken out of it."""
    own = {cell.name for cell in cells(suite)}
    return sorted({path.parent.relative_to(out).as_posix() for path in out.glob("**/cell.json")} - own)


@contextmanager
def alone(out: Path, wait: float = 1.0) -> Iterator[None]:
    """Be the only run in a folder.

    Args:
        out: The folder, which is made.
        wait: Seconds to wait for another one: who only looks holds the lock for a moment.

    Raises:
        ConfigError: Another run works in it.
        StoreError: It cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK, timeout=wait):
            yield
    except Timeout:
        raise ConfigError(f"another run works in {out}: wait for it, or choose another --out") from None
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error}") from error


def is_at_work(out: Path) -> bool:
    """Whether a run works in a folder now; after one that was killed this is False."""
    try:
        with FileLock(out / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that may only be read
        return False


def read_progress(out: Path) -> tuple[list[Cell], Statuses]:
    """The cells of the suite in a folder and how far they are, by what lies there.

    A cell that the last run did not look at (``--only``) counts as finished if its record and files are whole.

    Raises:
        ConfigError: No suite has been run there.
    """
    try:
        check_regular(out / SUITE)
        suite = Suite.model_validate_json((out / SUITE).read_text("utf-8"))
    except OSError:
        raise ConfigError(f"{out} holds no {SUITE}: no suite has been run there; name the --out of a run") from None
    except ValueError as error:
        wrong = first_mistake(error) if isinstance(error, ValidationError) else error
        then = "the `pkt-eval run` that made it writes it anew"
        raise ConfigError(f"{out / SUITE} is no suite of this version: {wrong}; {then}") from None
    every, at_work = cells(suite), is_at_work(out)
    said = _read(out / PROGRESS)
    statuses = {}
    for cell in every:
        status = said.get(cell.name) or CellStatus()
        record = read_record(out / cell.name)
        if status.state == "waiting" or (not at_work and status.state in ("transfer", "loading", "running")):
            whole = record is not None and is_whole(out / cell.name, record)
            status = CellStatus(state="kept" if whole else "waiting")
        if status.state in ("done", "kept"):
            status.record, status.progress = record, 1.0
        statuses[cell.name] = status
    return every, statuses


def _read(path: Path) -> Statuses:
    try:
        return {name: CellStatus(**fields) for name, fields in json.loads(path.read_text("utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        log.warning("%s is damaged (%s): what is finished is seen from the cells' records", path, error)
        return {}
