"""The local engine: make the students, load each base once, and evaluate what is not evaluated yet."""

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pkt_eval.data.records import kind
from pkt_eval.data.sources import SPLITS, has_split, load_rows
from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.pair import combine_digests, file_digest, release_memory
from pkt_eval.progress import Progress
from pkt_eval.recipe import fingerprint, make_student, versions
from pkt_eval.suite.evaluate import evaluate_cell, finished
from pkt_eval.suite.plan import Cell, Learner, cells, learners
from pkt_eval.suite.schema import Suite

log = logging.getLogger(__name__)

State = Literal["waiting", "transfer", "loading", "running", "done", "kept", "failed"]


@dataclass
class Status:
    """How far a cell is.

    Attributes:
        state: ``kept`` is done by an earlier run.
        progress: Share of its batches that are done.
        seconds: Spent on it in this run.
        reason: Of a failure.
        record: Of a finished cell.
    """

    state: State = "waiting"
    progress: float = 0.0
    seconds: float = 0.0
    reason: str = ""
    record: dict[str, Any] | None = None


Statuses = dict[str, Status]


class Run:
    """A suite in a folder.

    Args:
        suite: What is compared.
        out: Its folder; the same one goes on where an earlier run ended.
        show: Called whenever a cell's status has changed.
    """

    def __init__(self, suite: Suite, out: Path, show: Callable[[Statuses], None] = lambda statuses: None) -> None:
        self.suite, self.out, self.show = suite, out, show
        self.cells = cells(suite)
        self.statuses: Statuses = {cell.name: Status() for cell in self.cells}
        self.device = suite.device or _default_device()
        self._data: dict[str, str] = {}

    def run(self) -> Statuses:
        """Do all that is left to do; one failing cell does not keep the others from being done.

        Raises:
            StoreError: Another run works in the same folder, or it cannot be written.
        """
        with _alone(self.out):
            (self.out / "suite.json").write_text(self.suite.model_dump_json(indent=1) + "\n", "utf-8")
            for cell in self.cells:
                self._look(cell)
            self.show(self.statuses)
            left = [cell for cell in self.cells if self.statuses[cell.name].state == "waiting"]
            # First all transfers: no two big models are ever in memory at once.
            for student in learners(left):
                self._transfer(student, [cell for cell in left if cell.learner == student])
            left = [cell for cell in left if self.statuses[cell.name].state == "waiting"]
            bases: dict[str, list[Cell]] = {}
            for cell in left:
                bases.setdefault(_base(cell.learner), []).append(cell)
            for base, of_base in bases.items():
                self._evaluate(base, of_base)
        return self.statuses

    def identity(self, cell: Cell) -> dict[str, Any]:
        """Everything that decides a cell's samples and scores, as JSON."""
        return {
            "student": fingerprint(cell.learner.recipe, self.device),
            "task": cell.task,
            "rows": self._rows(cell.benchmark),
            "limit": self.suite.limit,
            "batch_size": self.suite.batch_size,
            "dtype": self._dtype(),
            "chat": self.suite.chat,
            "device": self.device.split(":")[0],
            "versions": versions() | _more_versions(),
            "scoring": scoring_digest(),
        }

    def _look(self, cell: Cell) -> None:
        """Whether it is finished already; what cannot even be named has failed."""
        status = self.statuses[cell.name]
        try:
            status.record = finished(self.out / cell.name, self.identity(cell))
        except Exception as error:
            self._fail([cell], error)
            return
        if status.record:
            status.state, status.progress = "kept", 1.0

    def _rows(self, benchmark: str) -> str:
        """Digest of a benchmark's rows."""
        if benchmark not in self._data:
            splits = [s for s in SPLITS[kind(benchmark)] if has_split(benchmark, s)]
            self._data[benchmark] = combine_digests({s: load_rows(benchmark, s) for s in splits})
        return self._data[benchmark]

    def _dtype(self) -> str:
        """One dtype for the whole suite, so that its students can be compared."""
        if self.suite.dtype != "auto":
            return self.suite.dtype
        needs = any(cell.learner.recipe.entry.cls.needs_float32 for cell in self.cells)
        return "float32" if needs else "auto"

    def _transfer(self, student: Learner, of: list[Cell]) -> None:
        start = time.monotonic()
        self._set(of, "transfer")
        try:
            make_student(student.recipe, device=self.device, progress=Progress(enabled=False))
            self._set(of, "waiting")
        except Exception as error:
            self._fail(of, error)
        for cell in of:
            self.statuses[cell.name].seconds += (time.monotonic() - start) / len(of)
        release_memory()

    def _evaluate(self, base: str, of: list[Cell]) -> None:
        """The cells of one base, which is loaded once."""
        from lm_eval.api.registry import get_model

        self._set(of, "loading")
        recipe = of[0].learner.recipe
        try:
            lm = get_model("pkt_vanilla")(
                pretrained=base,
                revision=recipe.revision if base == recipe.pretrained else "main",
                trust_remote_code=recipe.trust_remote_code,
                chat_format=recipe.chat_format,
                batch_size=self.suite.batch_size,
                device=self.device,
                dtype=self._dtype(),
            )
        except Exception as error:
            self._fail(of, error)
            return
        self._set(of, "waiting")
        for student in learners(of):
            mine = [cell for cell in of if cell.learner == student]
            try:
                made = make_student(student.recipe, device=self.device, progress=Progress(enabled=False))
                lm.become(made)
            except Exception as error:
                self._fail(mine, error)
                continue
            for cell in mine:
                self._cell(lm, cell)
        del lm
        gc.collect()
        release_memory()

    def _cell(self, lm: Any, cell: Cell) -> None:
        status, start = self.statuses[cell.name], time.monotonic()
        self._set([cell], "running")

        def advance(done: int, of: int) -> None:
            status.progress = done / of
            self.show(self.statuses)

        try:
            status.record = evaluate_cell(
                lm,
                cell.task,
                self.out / cell.name,
                self.identity(cell),
                limit=self.suite.limit,
                chat=self.suite.chat,
                consent=self.suite.confirm_run_unsafe_code,
                advance=advance,
            )
            status.progress = 1.0
            self._set([cell], "done")
        except Exception as error:
            self._fail([cell], error)
        status.seconds += time.monotonic() - start

    def _set(self, of: list[Cell], state: State) -> None:
        for cell in of:
            self.statuses[cell.name].state = state
        self.show(self.statuses)

    def _fail(self, of: list[Cell], error: Exception) -> None:
        log.debug("a cell failed", exc_info=error)
        for cell in of:
            self.statuses[cell.name].state = "failed"
            self.statuses[cell.name].reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self.show(self.statuses)


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


def _base(student: Learner) -> str:
    """The model that a student's edits are for."""
    recipe = student.recipe
    return recipe.teacher if recipe.method == "teacher" else recipe.pretrained


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def scoring_digest() -> str:
    """sha256 over our sources that decide what is asked and how it is scored: tasks, wording, judging."""
    from importlib.util import find_spec

    import pkt_eval

    root = Path(pkt_eval.__file__).parent
    tasks = Path(find_spec("pkt_eval.tasks").submodule_search_locations[0])
    files = {
        f"{folder}/{f.relative_to(root / folder)}": f
        for folder in ("code", "data")
        for f in (root / folder).rglob("*.py")
    }
    files |= {f"tasks/{f.relative_to(tasks)}": f for f in tasks.rglob("*.yaml")}
    return combine_digests({name: file_digest(path) for name, path in sorted(files.items())})


def _more_versions() -> dict[str, str]:
    import importlib.metadata

    return {"lm_eval": importlib.metadata.version("lm_eval")}
