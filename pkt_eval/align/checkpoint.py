"""A step of an alignment on disk: the hypernetwork, AdamW's moments, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pkt_eval._util.files import load_tensors, save_tensors
from pkt_eval._util.lazy import torch
from pkt_eval.errors import StoreError

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_WITHIN = 3  # the student, the rate and the step that a file is named for


def save_step(path: Path, net: torch.nn.Module, optimizer: torch.optim.Optimizer, measured: dict[str, Any]) -> None:
    """Keep a step; the file is there whole or not at all."""
    tensors = {}
    for name, parameter in net.named_parameters():
        tensors[name] = parameter
        tensors |= {f"{name}/{moment}": optimizer.state[parameter][moment] for moment in _MOMENTS}
    save_tensors(path, tensors, within=_WITHIN, measured=measured)


def load_step(path: Path, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put network and optimizer where they were after a step; returns what was measured.

    Raises:
        StoreError: The file is damaged, or of another network; both are left as they were.
    """
    tensors, metadata = load_tensors(path, within=_WITHIN)
    wanted = {f"{name}{part}" for name, _ in net.named_parameters() for part in ("", *(f"/{m}" for m in _MOMENTS))}
    if tensors.keys() != wanted or "measured" not in metadata:
        raise StoreError(f"{path} is of another alignment")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(tensors[name])
            for moment in _MOMENTS:
                value = tensors[f"{name}/{moment}"]
                optimizer.state[parameter][moment] = value if moment == "step" else value.to(parameter.device)
    return dict(metadata["measured"])
