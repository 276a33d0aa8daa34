"""Where a process computes, in what dtype, and how it gives memory back."""

import ctypes
import gc
import sys
from contextlib import suppress
from typing import Any

from pkt_eval.errors import ConfigError


def default_device() -> str:
    """A GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(name: str) -> str:
    """The name of a device on which this machine can compute, now; returns it.

    Raises:
        ConfigError: It is no device, or this machine has none; says what it has.
    """
    import torch

    there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
        if device.type in ("meta", "cpu"):
            known = name == "cpu"
        else:
            torch.empty(1, device=device)
            known = True
    except (RuntimeError, AssertionError, ImportError, NotImplementedError, TypeError, AttributeError):
        known = False
    if not known:
        raise ConfigError(f"device={name} is not on this machine: it has {', '.join(there)}")
    return name


def native_dtype(stored: Any, device: str) -> Any:
    """The dtype to compute in: the checkpoint's own where the hardware has it, else float32.

    A CPU without bf16 instructions runs bf16 matrix products 3 to 130 times slower than fp32, and no CPU that we know
    of gains from fp16 (whose gradients underflow besides).

    Args:
        stored: ``torch.dtype`` of the checkpoint.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:0"``, ``"mps"`` …

    Returns:
        ``torch.dtype``
    """
    import torch

    if not str(device).startswith("cpu"):
        return stored
    fast_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if stored == torch.bfloat16 and fast_bf16 else torch.float32


def release_memory() -> None:
    """Give freed memory back, so that what comes next does not pile on top of it.

    Training leaves gigabytes of freed blocks with glibc, which keeps them unless told otherwise.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another libc has neither the file nor the function
            ctypes.CDLL("libc.so.6").malloc_trim(0)
