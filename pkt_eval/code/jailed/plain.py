"""Values as plain data between candidate and tester: JSON with one-key objects for what JSON lacks.

A value of a candidate's own class never crosses, so neither does its ``__eq__``: a subclass of a built-in type crosses
as the built-in, an iterator as a number under which its elements can be asked for, all else not at all. Nothing that is
read is ever executed.

What can be changed in place (lists, dicts, sets…) is numbered and crosses once, whatever refers to it. So a side can
say of a container that both know what has become of it, and a value that *is* an argument stays one.
"""

import json
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Any, Protocol

import moments

MOST_BYTES = 8 << 20
MOST_ELEMENTS = 100_000
"""Of an iterator: a longer one counts as endless."""
MOST_FIELDS = 255
"""Of a named tuple."""
DEEPEST = 200
_HEADER = Struct("<I")
# The first that a value's class derives from counts.
_MUTABLE: tuple[tuple[str, type], ...] = tuple(
    (kind.__name__, kind) for kind in (Counter, OrderedDict, defaultdict, dict, list, set, deque, bytearray)
)
_EXACT = {kind for _, kind in _MUTABLE}
_FACTORIES = {f.__name__: f for f in (int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset)}
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class NotPlain(Exception):
    """The value is not plain data, or there is too much of it."""


class Socket(Protocol):
    """The end of a channel."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...


class Far(Protocol):
    """What stands in for things that stay on the other side."""

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        """Of the elements of an iterator."""

    def factory(self) -> object:
        """In the place of a ``defaultdict``'s function; called for a missing key."""


class Received(dict[str, Any]):
    """A message that was read.

    Attributes:
        objects: The numbered containers, in the order of their numbers; those known before come first.
        bodies: What each held, in the order of ``objects``, as JSON.
        reduced: Classes whose values crossed as what they derive from, without their methods.
    """

    objects: list[object]
    bodies: list[str]
    reduced: list[str]


def dumps(
    message: dict[str, object],
    known: Sequence[object] = (),
    bodies: list[str] | None = None,
    lend: Callable[[Iterator[object]], int] | None = None,
) -> bytes:
    """Bytes of a message of plain values; see ``pack``."""
    return pack(message, known, bodies, lend)[0]


def pack(
    message: dict[str, object],
    known: Sequence[object] = (),
    bodies: list[str] | None = None,
    lend: Callable[[Iterator[object]], int] | None = None,
) -> tuple[bytes, list[object]]:
    """Bytes of a message of plain values, and its containers by number.

    Args:
        message: Its values by name.
        known: Containers that the other side knows, by number.
        bodies: What it knows of each, as JSON: those that have changed are sent along, and noted here.
        lend: Gives an iterator its number; without it its elements are sent.

    Raises:
        NotPlain: What cannot cross, and why.
    """
    writer = _Writer(known, lend)
    lists = ("args", "kwargs") if "call" in message else ("items",)  # of the message's own
    fields = [[n, writer.many(v, 0) if n in lists else writer.inline(v, 0)] for n, v in message.items()]
    entries: list[list[object]] = []
    for number, body in writer.bodies():
        if number < len(known):
            text = json.dumps(body)
            if bodies is None or text == bodies[number]:
                continue
            bodies[number] = text
        entries.append([number, *body])
    entries.sort(key=lambda entry: entry[0])  # type: ignore[arg-type, return-value]  # a number comes first
    fields += [["objects", entries]] if entries else []
    fields += [["reduced", sorted(writer.reduced)]] if writer.reduced else []
    data = json.dumps({"dict": fields}).encode()
    if len(data) > MOST_BYTES:
        raise NotPlain(f"{len(data)} bytes of data are over the limit of {MOST_BYTES}")
    return data, writer.objects


def loads(data: bytes, known: Sequence[object] = (), far: Far | None = None) -> Received:
    """The message of such bytes; containers that are known are brought up to date.

    Raises:
        NotPlain: They are no such bytes; whoever sent them did not use ``dumps``.
    """
    try:
        fields = dict(json.loads(data)["dict"])
        entries, reduced = fields.pop("objects", []), fields.pop("reduced", [])
        objects = list(known)
        for number, kind, *body in entries:
            if type(number) is not int or number < 0 or number > len(objects):
                raise ValueError("a number out of order")
            if number == len(objects):
                objects.append(_made(kind, body))
            elif number >= len(known) or kind != _kind(type(objects[number])):
                raise ValueError("a container that changes its kind")
        reader = _Reader(objects, far)
        for number, kind, *body in entries:
            reader.fill(objects[number], kind, body)
        message = Received({name: reader.value(field, 0) for name, field in fields.items()})
        message.objects = objects
        message.reduced = [str(name) for name in reduced]
        message.bodies = [json.dumps(body) for _, *body in entries]
        return message
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError, AttributeError) as error:
        raise NotPlain(f"malformed data: {type(error).__name__}") from None


def send(socket: Socket, data: bytes) -> None:
    """Write one message."""
    socket.sendall(_HEADER.pack(len(data)) + data)


def receive(socket: Socket) -> bytes:
    """Read one message.

    Raises:
        EOFError: The other side is gone.
        NotPlain: It announces more than may come.
    """
    (size,) = _HEADER.unpack(_exactly(socket, _HEADER.size))
    if size > MOST_BYTES:
        raise NotPlain(f"{size} bytes of data are over the limit of {MOST_BYTES}")
    return _exactly(socket, size)


def _exactly(socket: Socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = socket.recv(min(size - len(data), 1 << 16))
        if not chunk:
            raise EOFError("the other side is gone")
        data += chunk
    return bytes(data)


def is_iterator(value: object) -> bool:
    """Whether a value gives its elements one by one, and once."""
    return hasattr(type(value), "__next__")


def _kind(kind: type) -> str | None:
    """Name of the container that a class is or derives from; None for what cannot be changed in place."""
    if kind not in _kinds:
        _kinds[kind] = next((name for name, base in _MUTABLE if issubclass(kind, base)), None)
    return _kinds[kind]


_kinds: dict[type, str | None] = {}


class _Writer:
    """JSON-able forms of values; each container gets a number, and its body is written later."""

    def __init__(self, known: Sequence[object], lend: Callable[[Iterator[object]], int] | None) -> None:
        self.objects = list(known)  # held: an id is a value's own only while that lives
        self.numbers = {id(value): number for number, value in enumerate(known)}
        self.depths = [0] * len(known)
        self.lend = lend
        self.reduced: set[str] = set()

    def bodies(self) -> Iterator[tuple[int, list[object]]]:
        """Number and body of every container, those included that bodies bring to light."""
        number = 0
        while number < len(self.objects):
            yield number, self._body(self.objects[number], self.depths[number] + 1)
            number += 1

    def _body(self, value: Any, depth: int) -> list[object]:
        kind = _kind(type(value))
        if kind == "list":
            return [kind, self.many(list.__iter__(value), depth)]
        if kind == "set":
            return [kind, self.many(set.__iter__(value), depth)]
        if kind == "deque":
            return [kind, self.many(deque.__iter__(value), depth), value.maxlen]
        if kind == "bytearray":
            return [kind, bytearray.hex(value)]
        items = OrderedDict.items(value) if kind == "OrderedDict" else dict.items(value)
        pairs = [[self.inline(k, depth), self.inline(v, depth)] for k, v in items]
        return [kind, pairs, self._factory(value.default_factory)] if kind == "defaultdict" else [kind, pairs]

    def _factory(self, factory: object) -> str | None:
        if factory is None:
            return None
        name = next((name for name, known in _FACTORIES.items() if known is factory), "")
        if not name and self.lend is None:
            raise NotPlain("a defaultdict with a function of its own")
        return name

    def many(self, values: Any, depth: int) -> list[object]:
        return [self.inline(value, depth) for value in values]

    def inline(self, value: Any, depth: int) -> object:
        """The form of a value; the exact type first, then what it derives from."""
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else {"int": hex(value)}
        if depth > DEEPEST:
            raise NotPlain(f"nested more than {DEEPEST} deep")
        if _kind(kind) is not None:
            number = self.numbers.get(id(value))
            if number is None:
                if kind not in _EXACT:
                    self.reduced.add(kind.__name__)
                number = self.numbers[id(value)] = len(self.objects)
                self.objects.append(value)
                self.depths.append(depth)
            return {"ref": number}
        deeper = depth + 1
        if kind is tuple:
            return {"tuple": self.many(value, deeper)}
        if kind is frozenset or kind in _VIEWS:
            return {kind.__name__: self.many(value, deeper)}
        if kind is bytes:
            return {"bytes": value.hex()}
        if kind is complex:
            return {"complex": [value.real, value.imag]}
        if kind is range:
            return {"range": [self.inline(n, deeper) for n in (value.start, value.stop, value.step)]}
        if kind is Fraction:
            return {"Fraction": [self.inline(value.numerator, deeper), self.inline(value.denominator, deeper)]}
        if kind is Decimal:
            return {"Decimal": str(value)}
        if kind in moments.MOMENTS:
            try:
                return {kind.__name__: moments.parts(value)}
            except LookupError as error:
                raise NotPlain(str(error)) from None
        return self._derived(value, kind, deeper)

    def _derived(self, value: Any, kind: type, depth: int) -> object:
        fields = getattr(kind, "_fields", None)
        if issubclass(kind, tuple) and type(fields) is tuple and all(type(f) is str for f in fields):
            values = list(tuple.__iter__(value))
            if len(fields) > MOST_FIELDS or len(fields) != len(values):
                raise NotPlain(f"a named tuple of {len(values)} values with {len(fields)} fields")
            self.reduced.add(kind.__name__)  # it may have methods of its own
            return {"namedtuple": [kind.__name__, list(fields), self.many(values, depth)]}
        bases: tuple[tuple[type, Callable[[Any], object]], ...] = (
            (int, int.__int__),
            (float, float.__float__),
            (str, str.__str__),
            (tuple, lambda v: tuple(tuple.__iter__(v))),
            (frozenset, lambda v: frozenset(frozenset.__iter__(v))),
        )
        for base, exact in bases:
            if issubclass(kind, base):
                plain = exact(value)
                if type(plain) is not base:
                    raise NotPlain(f"a value of the class {kind.__name__}")
                self.reduced.add(kind.__name__)
                return self.inline(plain, depth)
        if kind.__module__ == "numpy" and not getattr(value, "shape", True):
            return self.inline(value.item(), depth)
        if is_iterator(value):
            if self.lend is not None:
                return {"lent": [self.lend(value), kind.__name__ == "generator"]}
            elements = list(islice(value, MOST_ELEMENTS + 1))
            if len(elements) > MOST_ELEMENTS:
                raise NotPlain(f"an iterator of more than {MOST_ELEMENTS} elements")
            return {"iterator": self.many(elements, depth)}
        raise NotPlain(f"a value of the class {kind.__name__}")


@lru_cache(64)
def _named(name: str, fields: tuple[str, ...]) -> Any:
    """A named tuple's class; ``namedtuple`` itself sees to it that all these are names, and no operator's."""
    return namedtuple(name, fields)


_DECODERS: dict[str, Callable[[Any], object]] = {
    "int": lambda v: int(v, 16),
    "tuple": tuple,
    "frozenset": frozenset,
    "bytes": bytes.fromhex,
    "complex": lambda v: complex(*v),
    "range": lambda v: range(*v),
    "Fraction": lambda v: Fraction(*v),
    "Decimal": Decimal,
    "dict_keys": lambda v: dict.fromkeys(v).keys(),
    "dict_values": lambda v: dict(enumerate(v)).values(),
    "dict_items": lambda v: dict(v).items(),
    "iterator": iter,
    **moments.FROM_PLAIN,
}
# Whose bodies are data as they stand, and not values.
_LITERAL = {"int", "bytes", "complex", "Decimal", *moments.FROM_PLAIN}


def _made(kind: str, body: list[Any]) -> object:
    """A new container, still empty."""
    if kind == "deque":
        return deque(maxlen=body[1])
    return dict(_MUTABLE)[kind]()


class _Reader:
    """Values from their forms."""

    def __init__(self, objects: list[object], far: Far | None) -> None:
        self.objects, self.far = objects, far

    def value(self, form: Any, depth: int) -> Any:
        if depth > 2 * DEEPEST:
            raise ValueError("nested too deep")
        if type(form) is list:  # of the message itself: nobody else refers to it
            return self._many(form, depth)
        if type(form) is not dict:
            return form
        ((tag, body),) = form.items()
        if tag == "ref":
            if type(body) is not int or body < 0:
                raise ValueError("not a number")
            return self.objects[body]
        if tag == "lent":
            if self.far is None or type(body[0]) is not int:
                raise ValueError("nobody lends here")
            return self.far.iterator(body[0], body[1] is True)
        if tag == "namedtuple":
            name, fields, values = body
            if len(fields) > MOST_FIELDS:
                raise ValueError("too many fields")
            return _named(name, tuple(fields))._make(self._many(values, depth))
        return _DECODERS[tag](body if tag in _LITERAL else self._many(body, depth))

    def _many(self, forms: list[Any], depth: int) -> list[Any]:
        if type(forms) is not list:
            raise ValueError("not a list")
        return [self.value(form, depth + 1) for form in forms]

    def fill(self, target: Any, kind: str, body: list[Any]) -> None:
        """Give a container what it holds, whatever class of the tests it is of."""
        if kind == "bytearray":
            bytearray.__setitem__(target, slice(None), bytes.fromhex(body[0]))
        elif kind == "list":
            list.__setitem__(target, slice(None), self._many(body[0], 0))
        elif kind == "set":
            elements = self._many(body[0], 0)
            set.clear(target)
            set.update(target, elements)
        elif kind == "deque":
            elements = self._many(body[0], 0)
            deque.clear(target)
            deque.extend(target, elements)
        else:
            base = OrderedDict if kind == "OrderedDict" else dict
            pairs = [(self.value(k, 0), self.value(v, 0)) for k, v in body[0]]
            base.clear(target)
            for key, value in pairs:
                base.__setitem__(target, key, value)
            # The factory of one that is known stays its own.
            if kind == "defaultdict" and target.default_factory is None and body[1] is not None:
                target.default_factory = _FACTORIES[body[1]] if body[1] or self.far is None else self.far.factory
