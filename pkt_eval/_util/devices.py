"""Where a process computes, in what dtype, and how it gives memory back.

torch is asked where only torch knows: what plans a suite computes nothing, and should not wait for it to be imported.
"""

import ctypes
import gc
import os
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

from pkt_eval.errors import ConfigError


def default_device() -> str:
    """A GPU if there is one."""
    if not _may_have_cuda():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def _may_have_cuda() -> bool:
    """False where torch was built without any, or there is no driver that it could load."""
    spec = find_spec("torch")
    version = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    built = run_path(str(version)) if version and version.is_file() else {}
    if built and not (built.get("cuda") or built.get("hip")):
        return False
    if sys.platform == "linux" and built and not built.get("hip"):
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
    return True


def check_device(name: str) -> str:
    """The name of a device on which this machine can compute, now; returns it.

    Raises:
        ConfigError: It is no device, or this machine has none; says what it has.
    """
    if name == "cpu":
        return name
    import torch

    there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    try:
        device = torch.device(name)
        if device.type in ("meta", "cpu"):
            known = False
        else:
            torch.empty(1, device=device)
            known = True
    except (RuntimeError, AssertionError, ImportError, NotImplementedError, TypeError, AttributeError):
        known = False
    if not known:
        raise ConfigError(f"device={name} is not on this machine: it has {', '.join(there)}")
    return name


def native_dtype(stored: str, device: str) -> str:
    """The dtype to compute in: the checkpoint's own where the hardware has it, else float32.

    A CPU without bf16 instructions runs bf16 matrix products 3 to 130 times slower than fp32, and no CPU that we know
    of gains from fp16 (whose gradients underflow besides).

    Args:
        stored: Name of the checkpoint's dtype, e.g. ``"bfloat16"``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:0"``, ``"mps"`` …

    Returns:
        The name of a dtype.
    """
    if not str(device).startswith("cpu"):
        return stored
    return "bfloat16" if stored == "bfloat16" and _has_fast_bf16() else "float32"


@cache
def _has_fast_bf16() -> bool:
    """Whether the CPU has instructions for bf16, by what Linux says of it, else by what torch does."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("flags"):
                return not {"avx512_bf16", "amx_tile"}.isdisjoint(line.split())
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def release_memory() -> None:
    """Give freed memory back, so that what comes next does not pile on top of it.

    Training leaves gigabytes of freed blocks with glibc, which keeps them unless told otherwise.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Have glibc give back what is free in its heaps: matrices of up to 32 MB, read by one thread and freed by another,
    are otherwise not.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another libc has neither the file nor the function
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def free_memory(device: object) -> int:
    """Bytes that a process may still take; of a CPU's memory what its control group leaves of it.

    Args:
        device: A ``torch.device``, or its name.
    """
    if str(device).startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(torch.device(str(device)))[0]
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    with suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return max(free, 0)
