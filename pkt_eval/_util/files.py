"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # text is written where torch is not loaded
    import torch


def save_text(path: Path, text: str) -> None:
    """Write a UTF-8 file; its folder is made."""
    with _whole(path) as temporary:
        temporary.write_text(text, "utf-8")


def save_tensors(path: Path, tensors: Mapping[str, "torch.Tensor"], **metadata: Any) -> None:
    """Write a safetensors file.

    Args:
        path: The file; its folder is made.
        tensors: By name, on any device.
        metadata: Kept in the header as JSON, which keeps a float to the last bit, NaN included.
    """
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with _whole(path) as temporary:
        save_file(whole, temporary, metadata={name: json.dumps(value) for name, value in metadata.items()})


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which takes its place once the body has ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    yield temporary
    temporary.replace(path)
