"""Everything that decides the samples of a cell: what is finished under another identity is not used again."""

import importlib.metadata
from collections.abc import Sequence
from typing import Any

from pkt_eval._util import sources
from pkt_eval._util.devices import default_device
from pkt_eval._util.digests import combine_digests
from pkt_eval.data import benchmarks
from pkt_eval.data.sources import has_split, load_rows
from pkt_eval.suite.plan import Cell
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.recipe import fingerprint, versions


class Identities:
    """The identity of each cell of a suite, found out once.

    Args:
        suite: What is compared.
        cells: All its cells: the dtype of one depends on the others.

    Attributes:
        device: Where students are made and evaluated.
        dtype: One for the whole suite, so that its students can be compared.
    """

    def __init__(self, suite: Suite, cells: Sequence[Cell]) -> None:
        self.suite = suite
        if suite.engine == "ray":  # this process need not have what the workers are given
            self.device = "cuda" if suite.ray.num_gpus else "cpu"
        else:
            self.device = suite.device or default_device()
        self.dtype: str = suite.dtype
        if suite.dtype == "auto" and any(cell.learner.recipe.entry.cls.needs_float32 for cell in cells):
            self.dtype = "float32"
        self._rows: dict[str, str] = {}
        self._students: dict[str, str] = {}
        self._found: dict[str, dict[str, Any]] = {}

    def __getitem__(self, cell: Cell) -> dict[str, Any]:
        """The identity, as JSON."""
        if cell.name not in self._found:
            self._found[cell.name] = {
                "student": self.student(cell),
                "task": cell.task,
                "rows": self._rows_of(cell.benchmark),
                "limit": self.suite.items(cell.benchmark),
                "batch_size": self.suite.batch(cell.benchmark),
                "dtype": self.dtype,
                "chat": self.suite.chat,
                "device": self.device.split(":")[0],
                "versions": versions() | {"lm_eval": importlib.metadata.version("lm_eval")},
                "scoring": sources.digest(sources.SCORING),
            }
        return self._found[cell.name]

    def student(self, cell: Cell) -> str:
        """Fingerprint of the cell's student."""
        learner = cell.learner
        if learner.name not in self._students:
            self._students[learner.name] = fingerprint(learner.recipe, self.device)
        return self._students[learner.name]

    def _rows_of(self, benchmark: str) -> str:
        """Digest of a benchmark's rows."""
        if benchmark not in self._rows:
            splits = [s for s in benchmarks.benchmark(benchmark).splits if has_split(benchmark, s)]
            self._rows[benchmark] = combine_digests({s: load_rows(benchmark, s) for s in splits})
        return self._rows[benchmark]
