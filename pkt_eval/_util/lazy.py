"""torch for modules that also declare: it is imported when it is first used, not when they are.

What a method takes and what it is called stands beside what it computes, and is asked for by plans, lists and checks
that compute nothing; torch takes several times as long to import as all of these take together. So a module writes
``from pkt_eval._util.lazy import torch``, and at its head ``from __future__ import annotations``, since an annotation
that is evaluated would be a use. A method of a plug-in may import torch itself: its plans are as slow as that.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any


class _Torch:
    """torch, less the time to import it."""

    def __getattr__(self, name: str) -> Any:
        import torch

        return getattr(torch, name)

    def no_grad(self) -> Any:
        """As torch's. As a decorator it is used where a module is imported, and so it is one that waits."""
        return _no_grad() if "torch" not in sys.modules else sys.modules["torch"].no_grad()


@contextmanager
def _no_grad() -> Iterator[None]:
    import torch

    with torch.no_grad():
        yield


if TYPE_CHECKING:
    import torch as torch
else:
    torch = _Torch()
