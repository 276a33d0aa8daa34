"""Landlock: the zygote gives up every file but those that Python itself reads. See landlock(7) of Linux."""

import ctypes
import os
import struct

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
# Rights over files that each version of the interface knows, as a number of bits.
_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP = 0b11  # bind and connect, from version 4
_SCOPES = 0b11  # abstract sockets and signals of others, from version 6


def version() -> int:
    """Version of the kernel's interface; 0 where there is none."""
    return max(0, ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), 1))


def restrict(readable: list[str], devices: list[str]) -> None:
    """Bind this thread and all that come from it: these folders to read, these devices to read and write, no more.

    Raises:
        OSError: The kernel does not do it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    abi = version()
    every = (1 << _BITS.get(abi, 16)) - 1
    attributes = struct.pack("=QQQ", every, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0))
    for path, rights in [*((p, _READ | _LIST | _EXECUTE) for p in readable), *((p, _READ | _WRITE) for p in devices)]:
        try:
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        _checked(libc.syscall(_ADD, ruleset, 1, struct.pack("=Qi", rights, file), 0))
        os.close(file)
    _checked(libc.prctl(38, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3))  # PR_SET_NO_NEW_PRIVS
    _checked(libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "landlock: the restriction was not installed")
    return result
