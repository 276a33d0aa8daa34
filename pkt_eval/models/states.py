"""The states before each layer of a streamed model, until the way back asks for them: in memory, or else in files.

Of 32 texts of 200 tokens through Llama-2 7B in bf16 they are 1.7 GB, and a quarter of what is free may be less.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from pkt_eval._util.devices import free_memory
from pkt_eval._util.folders import store_root
from pkt_eval._util.lazy import torch

_SHARE = 0.25  # of the memory that is free when the first are put in


class KeptStates:
    """Lists of tensors by layer; each is taken once.

    Args:
        most: Bytes that are kept in memory; default: a quarter of what is free.
    """

    def __init__(self, most: int | None = None) -> None:
        self._left = int(_SHARE * free_memory("cpu")) if most is None else most
        self._held: dict[int, list[torch.Tensor]] = {}
        self._files: dict[int, tuple[IO[bytes], list[tuple[torch.Size, torch.dtype]]]] = {}

    def put(self, layer: int, states: Sequence[torch.Tensor]) -> None:
        """Keep the states before a layer: on the CPU, and nobody else's to change."""
        size = sum(t.numel() * t.element_size() for t in states)
        if size <= self._left:
            self._left -= size
            self._held[layer] = list(states)
            return
        store_root().mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=store_root())  # not where files lie in memory
        for t in states:
            file.write(t.contiguous().flatten().view(torch.uint8).numpy().data)
        self._files[layer] = file, [(t.shape, t.dtype) for t in states]

    def take(self, layer: int) -> list[torch.Tensor]:
        """The states before a layer, which are not kept any longer."""
        if layer in self._held:
            return self._held.pop(layer)
        file, kinds = self._files.pop(layer)
        with file:
            file.seek(0)
            return [_read(file, shape, dtype) for shape, dtype in kinds]

    def __del__(self) -> None:
        with suppress(AttributeError):  # where the constructor failed
            for file, _ in self._files.values():
                file.close()


def _read(file: IO[bytes], shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    size = shape.numel() * dtype.itemsize
    return torch.frombuffer(bytearray(file.read(size)), dtype=dtype).reshape(shape)
