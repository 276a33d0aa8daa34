"""Progress of a transfer: bars while it runs, seconds a stage for the record afterwards."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)


class Progress:
    """Shows bars on stderr and keeps the time.

    Args:
        enabled: False shows nothing.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under ``name``; stages of one name add up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 3)
            log.info("%s took %.1f s", name, took)

    def bar(self, items: Iterable[Any], desc: str, total: int | None = None) -> Iterable[Any]:
        """Iterate under a progress bar."""
        from tqdm.auto import tqdm

        return tqdm(items, desc=desc, total=total, disable=not self.enabled)
