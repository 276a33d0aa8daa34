"""Everything that decides the samples of a cell: what is finished under another identity is not used again."""

import importlib.metadata
from typing import Any

from pkt_eval._util import sources
from pkt_eval._util.devices import native_dtype
from pkt_eval._util.digests import combine_digests
from pkt_eval.data import benchmarks
from pkt_eval.data.sources import has_split, load_rows
from pkt_eval.errors import PrerequisiteError
from pkt_eval.models.source import ModelSource
from pkt_eval.suite.plan import Asked, Cell, Learner
from pkt_eval.suite.record import Identity
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.transfer import Known, Transfer, versions


class Identities:
    """The identity of each cell of a suite, worked out once.

    Args:
        suite: What is compared.

    Attributes:
        device: Where students are made and evaluated.
    """

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.device = suite.engine_options.device(suite.device)
        self._versions = versions() | {"lm_eval": importlib.metadata.version("lm_eval")}
        self._backend = _backend(suite)
        self._shared = Known()
        self._rows: dict[str, str] = {}
        self._transfers: dict[str, Transfer] = {}
        self._known: dict[str, Identity] = {}
        self._broken: dict[ModelSource, Exception] = {}

    def __getitem__(self, cell: Cell) -> Identity:
        """The identity, as JSON."""
        if cell.name not in self._known:
            self._check(cell)
            self._known[cell.name] = {
                "student": self.student(cell),
                "base": self.base(cell.learner).digest,  # how answers are generated decides no student, but a cell
                "task": cell.task,
                "rows": self._rows_of(cell.benchmark),
                "dtype": self.dtype(cell),
                **self.asked(cell).identity,
                "device": self.device.split(":")[0],
                "versions": self._versions,
                **self._backend,
                "scoring": sources.digest(sources.SCORING),
            }
        return self._known[cell.name]

    def dtype(self, cell: Cell) -> str:
        """The dtype that the cell is evaluated in: the suite's, else its base's where this device is fast in it."""
        if self.suite.dtype != "auto":
            return self.suite.dtype
        return native_dtype(self.base(cell.learner).stored_dtype, self.device)

    def asked(self, cell: Cell) -> Asked:
        """How the cell is asked, which is part of its identity."""
        return Asked.of(self.suite, cell.benchmark)

    def student(self, cell: Cell) -> str:
        """Fingerprint of the cell's student."""
        return self.transfer(cell.learner).fingerprint

    def transfer(self, learner: Learner) -> Transfer:
        """How a student is made, resolved."""
        if learner.name not in self._transfers:
            self._transfers[learner.name] = Transfer(learner.recipe, self.device, known=self._shared)
        return self._transfers[learner.name]

    def base(self, learner: Learner) -> ModelSource:
        """The model that a student's edits are for, with what has been read of it."""
        return self._shared.source(learner.base)

    def _check(self, cell: Cell) -> None:
        """Look at a base once, however many cells it has: the hub takes its time to say that it has no such model."""
        base = self.base(cell.learner)
        if base in self._broken:
            raise self._broken[base]
        try:
            base.check()
            _ = base.digest
        except Exception as error:
            self._broken[base] = error
            raise

    def _rows_of(self, benchmark: str) -> str:
        """Digest of a benchmark's rows."""
        if benchmark not in self._rows:
            load_rows(benchmark, "test")  # without them nothing can be asked
            splits = [s for s in benchmarks.benchmark(benchmark).splits if has_split(benchmark, s)]
            self._rows[benchmark] = combine_digests({s: load_rows(benchmark, s) for s in splits})
        return self._rows[benchmark]


def _backend(suite: Suite) -> dict[str, Any]:
    """Who answers, where it is not ``hf``."""
    if suite.backend == "hf":
        return {}
    try:
        return {"backend": f"vllm {importlib.metadata.version('vllm')}", "vllm": suite.vllm}
    except importlib.metadata.PackageNotFoundError:
        raise PrerequisiteError("backend: vllm needs vLLM: pip install 'pkt-eval[vllm]'") from None
