"""Tensors on disk, whole or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], **metadata: Any) -> None:
    """Write a safetensors file that is there whole or not at all.

    Args:
        path: The file; its folder is made.
        tensors: By name, on any device.
        metadata: Kept in the header as JSON, which keeps a float to the last bit, NaN included.
    """
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, temporary, metadata={name: json.dumps(value) for name, value in metadata.items()})
    temporary.replace(path)
