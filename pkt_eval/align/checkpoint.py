"""A step of an alignment on disk: the hypernetwork, AdamW's moments, and what was measured."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from pkt_eval._util.files import save_tensors

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save_step(path: Path, net: torch.nn.Module, optimizer: torch.optim.Optimizer, measured: dict[str, Any]) -> None:
    """Keep a step; the file is there whole or not at all."""
    tensors = {}
    for name, parameter in net.named_parameters():
        tensors[name] = parameter
        tensors |= {f"{name}/{moment}": optimizer.state[parameter][moment] for moment in _MOMENTS}
    save_tensors(path, tensors, measured=measured)


def load_step(path: Path, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put network and optimizer where they were after a step; returns what was measured."""
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(file.get_tensor(name))
            for moment in _MOMENTS:
                value = file.get_tensor(f"{name}/{moment}")
                optimizer.state[parameter][moment] = value if moment == "step" else value.to(parameter.device)
        return json.loads(file.metadata()["measured"])
