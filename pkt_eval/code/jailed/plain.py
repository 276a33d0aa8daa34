"""Values as plain data between candidate and tester: JSON with one-key objects for what JSON lacks.

A value of a candidate's own class never crosses, so neither does its ``__eq__``: a subclass of a built-in type crosses
as the built-in, an iterator as its elements, all else not at all. Nothing that is read is ever executed.
"""

import json
from collections import deque
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from struct import Struct

MOST_BYTES = 8 << 20
MOST_ELEMENTS = 100_000
"""Of an iterator: a longer one counts as endless."""
DEEPEST = 200
_HEADER = Struct("<I")


class NotPlain(Exception):
    """The value is not plain data, or there is too much of it."""


def dump(value: object) -> bytes:
    """Bytes of a plain value.

    Raises:
        NotPlain: What cannot cross, and why.
    """
    data = json.dumps(_encode(value, 0)).encode()
    if len(data) > MOST_BYTES:
        raise NotPlain(f"{len(data)} bytes of data are over the limit of {MOST_BYTES}")
    return data


def load(data: bytes) -> object:
    """The value of such bytes.

    Raises:
        NotPlain: They are no such bytes; whoever sent them did not use ``dump``.
    """
    try:
        return json.loads(data, object_hook=_decode)
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError, AttributeError) as error:
        raise NotPlain(f"malformed data: {type(error).__name__}") from None


def send(socket, data: bytes) -> None:
    """Write one message."""
    socket.sendall(_HEADER.pack(len(data)) + data)


def receive(socket) -> bytes:
    """Read one message.

    Raises:
        EOFError: The other side is gone.
        NotPlain: It announces more than may come.
    """
    (size,) = _HEADER.unpack(_exactly(socket, _HEADER.size))
    if size > MOST_BYTES:
        raise NotPlain(f"{size} bytes of data are over the limit of {MOST_BYTES}")
    return _exactly(socket, size)


def _exactly(socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = socket.recv(min(size - len(data), 1 << 16))
        if not chunk:
            raise EOFError("the other side is gone")
        data += chunk
    return bytes(data)


def _many(values, depth: int) -> list:
    return [_encode(value, depth) for value in values]


def _encode(value: object, depth: int) -> object:
    """JSON-able form of a value; the exact type first, then what it derives from."""
    if depth > DEEPEST:
        raise NotPlain(f"nested more than {DEEPEST} deep")
    kind, deeper = type(value), depth + 1
    if value is None or kind in (bool, float, str):
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else {"int": hex(value)}
    if kind is list:
        return _many(value, deeper)
    if kind is tuple:
        return {"tuple": _many(value, deeper)}
    if kind is dict:
        return {"dict": [[_encode(k, deeper), _encode(v, deeper)] for k, v in value.items()]}
    if kind in (set, frozenset, deque):
        return {kind.__name__: _many(value, deeper)}
    if kind in (bytes, bytearray):
        return {kind.__name__: value.hex()}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    if kind is range:
        return {"range": [_encode(n, deeper) for n in (value.start, value.stop, value.step)]}
    if kind is Fraction:
        return {"Fraction": [_encode(value.numerator, deeper), _encode(value.denominator, deeper)]}
    if kind is Decimal:
        return {"Decimal": str(value)}
    if kind in (type({}.keys()), type({}.values()), type({}.items())):
        return {kind.__name__: _many(value, deeper)}
    return _encode_derived(value, kind, deeper)


def _encode_derived(value: object, kind: type, depth: int) -> object:
    for base, exact in (
        (int, int.__int__),
        (float, float.__float__),
        (str, str.__str__),
        (tuple, lambda v: tuple(tuple.__iter__(v))),
        (list, lambda v: list(list.__iter__(v))),
        (dict, lambda v: dict(dict.items(v))),
        (set, lambda v: set(set.__iter__(v))),
        (frozenset, lambda v: frozenset(frozenset.__iter__(v))),
    ):
        if issubclass(kind, base):
            plain = exact(value)
            if type(plain) is not base:
                raise NotPlain(f"a value of the class {kind.__name__}")
            return _encode(plain, depth)
    if kind.__module__ == "numpy" and not getattr(value, "shape", True):
        return _encode(value.item(), depth)
    if hasattr(kind, "__next__"):
        elements = list(islice(value, MOST_ELEMENTS + 1))
        if len(elements) > MOST_ELEMENTS:
            raise NotPlain(f"an iterator of more than {MOST_ELEMENTS} elements")
        return {"iterator": _many(elements, depth)}
    raise NotPlain(f"a value of the class {kind.__name__}")


_DECODERS = {
    "int": lambda v: int(v, 16),
    "tuple": tuple,
    "dict": lambda v: {k: w for k, w in v},
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "complex": lambda v: complex(*v),
    "range": lambda v: range(*v),
    "Fraction": lambda v: Fraction(*v),
    "Decimal": Decimal,
    "dict_keys": lambda v: dict.fromkeys(v).keys(),
    "dict_values": lambda v: dict(enumerate(v)).values(),
    "dict_items": lambda v: dict(v).items(),
    "iterator": iter,
}


def _decode(tagged: dict) -> object:
    ((tag, body),) = tagged.items()
    return _DECODERS[tag](body)
