"""A value ↔ its form: JSON with one-key objects for what JSON lacks.

A value of a candidate's own class never crosses, so neither does its ``__eq__``: a subclass of a built-in type crosses
as the built-in, an iterator as a number under which its elements can be asked for, all else not at all.

What can be changed in place is written as its number; its body, which says what it holds, stands beside. Who knows
which number is in ``plain``.
"""

import gc
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

import moments

MOST_ELEMENTS = 100_000
"""Of an iterator: a longer one counts as endless."""
MOST_FIELDS = 255
"""Of a named tuple."""
DEEPEST = 200
# The first that a value's class derives from counts.
_MUTABLE: tuple[tuple[str, type], ...] = tuple(
    (kind.__name__, kind) for kind in (Counter, OrderedDict, defaultdict, dict, list, set, deque, bytearray)
)
_EXACT = {kind for _, kind in _MUTABLE}
_FACTORIES = {f.__name__: f for f in (int, float, complex, bool, str, bytes, list, tuple, dict, set, frozenset)}
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class NotPlain(Exception):
    """The value is not plain data, or there is too much of it."""


class Side(Protocol):
    """What a side knows of things that stay where they are."""

    def number(self, iterator: Iterator[object]) -> tuple[int, bool] | None:
        """Under which number its elements can be asked for, and whether it is a generator; None: send them all."""

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        """The iterator of such a number."""

    def stays(self, factory: object) -> bool:
        """Whether a ``defaultdict``'s function may stay behind, since the candidate has it."""

    def factory(self) -> object:
        """In the place of a ``defaultdict``'s function that stayed behind; called for a missing key."""


def kind_of(kind: type) -> str | None:
    """Name of the container that a class is or derives from; None for what cannot be changed in place."""
    if kind not in _kinds:
        _kinds[kind] = next((name for name, base in _MUTABLE if issubclass(kind, base)), None)
    return _kinds[kind]


_kinds: dict[type, str | None] = {}


def made(kind: str, body: list[Any]) -> object:
    """A new container, still empty."""
    if kind == "deque":
        return deque(maxlen=body[1])
    return dict(_MUTABLE)[kind]()


def is_iterator(value: object) -> bool:
    """Whether a value gives its elements one by one, and once."""
    return hasattr(type(value), "__next__")


class Writer:
    """Forms of values; each container gets a number, and its body is written later.

    Args:
        objects: The containers that are known, by number.
        numbers: Their numbers, by ``id``.
        following: The number of the first that is not.
        side: What may stay where it is.

    Attributes:
        added: Containers that were met and not known.
        reduced: Classes of values that were written as what they derive from.
        lossy: Numbers of containers of such a class, or that hold a value of one.
        iterators: Those whose elements were taken.
    """

    def __init__(self, objects: dict[int, object], numbers: dict[int, int], following: int, side: Side | None) -> None:
        self.objects, self.numbers, self.following, self.side = objects, numbers, following, side
        self.added: dict[int, object] = {}
        self.added_numbers: dict[int, int] = {}
        self.depths: dict[int, int] = {}
        self.reduced: set[str] = set()
        self.lossy: set[int] = set()
        self.iterators: list[Iterator[object]] = []
        self.lost = False

    def bodies(self) -> Iterator[tuple[int, list[object]]]:
        """Number and body of every container, those included that bodies bring to light."""
        for number, value in self.objects.items():
            yield number, self._body_of(number, value)
        number = self.following
        while number in self.added:
            yield number, self._body_of(number, self.added[number])
            number += 1

    def _body_of(self, number: int, value: object) -> list[object]:
        self.lost = type(value) not in _EXACT
        body = self._body(value, self.depths.get(number, 0) + 1)
        if self.lost:
            self.lossy.add(number)
        return body

    def _body(self, value: Any, depth: int) -> list[object]:
        kind = kind_of(type(value))
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
        if not name:
            self.lost = True
            if self.side is None or not self.side.stays(factory):
                raise NotPlain("a defaultdict with a function of its own")
        return name

    def many(self, values: Any, depth: int) -> list[object]:
        """The forms of several."""
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
        if kind_of(kind) is not None:
            return {"ref": self._number(value, kind, depth)}
        deeper = depth + 1
        if kind is tuple:
            return {"tuple": self.many(value, deeper)}
        if kind in _VIEWS:
            return {kind.__name__: self.inline(_viewed(value), deeper)}
        if kind is frozenset:
            return {"frozenset": self.many(value, deeper)}
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

    def _number(self, value: object, kind: type, depth: int) -> int:
        number = self.numbers.get(id(value), self.added_numbers.get(id(value)))
        if number is None:
            if kind not in _EXACT:
                self.reduced.add(kind.__name__)
            number = self.following + len(self.added)
            self.added[number], self.added_numbers[id(value)], self.depths[number] = value, number, depth
        return number

    def _derived(self, value: Any, kind: type, depth: int) -> object:
        fields = getattr(kind, "_fields", None)
        if issubclass(kind, tuple) and type(fields) is tuple and all(type(f) is str for f in fields):
            values = list(tuple.__iter__(value))
            if len(fields) > MOST_FIELDS or len(fields) != len(values):
                raise NotPlain(f"a named tuple of {len(values)} values with {len(fields)} fields")
            self.reduced.add(kind.__name__)  # it may have methods of its own
            _CLASSES.setdefault((kind.__name__, fields), kind)
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
                self.lost = True
                return self.inline(plain, depth)
        if kind.__module__ == "numpy" and not getattr(value, "shape", True):
            return self.inline(value.item(), depth)
        if is_iterator(value):
            number = self.side.number(value) if self.side is not None else None
            if number is not None:
                return {"lent": list(number)}
            elements = list(islice(value, MOST_ELEMENTS + 1))
            self.iterators.append(value)
            if len(elements) > MOST_ELEMENTS:
                raise NotPlain(f"an iterator of more than {MOST_ELEMENTS} elements")
            return {"iterator": self.many(elements, depth)}
        raise NotPlain(f"a value of the class {kind.__name__}")


def _viewed(view: Any) -> object:
    """The dict of a view: a view shows what becomes of its dict."""
    owner = next((part for part in gc.get_referents(view) if isinstance(part, dict)), None)
    if owner is None:
        raise NotPlain(f"a value of the class {type(view).__name__}")
    return owner


# Of named tuples that have crossed: those that come back are of their own class again.
_CLASSES: dict[tuple[str, tuple[str, ...]], Any] = {}


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
    **moments.FROM_PLAIN,
}
# Whose bodies are data as they stand, and not values.
_LITERAL = {"int", "bytes", "complex", "Decimal", *moments.FROM_PLAIN}


class Reader:
    """Values from their forms.

    Args:
        objects: The containers, by number.
        side: What stands in for things that stayed behind.

    Attributes:
        iterators: Those whose elements came along.
    """

    def __init__(self, objects: dict[int, object], side: Side | None) -> None:
        self.objects, self.side = objects, side
        self.iterators: list[Iterator[object]] = []

    def value(self, form: Any, depth: int) -> Any:
        """The value of a form."""
        if depth > 2 * DEEPEST:
            raise ValueError("nested too deep")
        if type(form) is list:  # of the message itself: nobody else refers to it
            return self._many(form, depth)
        if type(form) is not dict:
            return form
        ((tag, body),) = form.items()
        if tag == "ref":
            if type(body) is not int:
                raise ValueError("not a number")
            return self.objects[body]
        if tag == "lent":
            if self.side is None or type(body[0]) is not int:
                raise ValueError("nobody lends here")
            return self.side.iterator(body[0], body[1] is True)
        if tag == "iterator":
            self.iterators.append(iter(self._many(body, depth)))
            return self.iterators[-1]
        if tag in ("dict_keys", "dict_values", "dict_items"):
            return getattr(dict, tag[len("dict_") :])(self.value(body, depth + 1))
        if tag == "namedtuple":
            name, fields, values = body
            if len(fields) > MOST_FIELDS:
                raise ValueError("too many fields")
            kind = _CLASSES.get((name, tuple(fields)))
            # Not by way of a method of its own, which may do what it likes.
            plain = _named(name, tuple(fields))._make(self._many(values, depth))
            return plain if kind is None else tuple.__new__(kind, plain)
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
                factory = _FACTORIES[body[1]] if body[1] or self.side is None else self.side.factory
                target.default_factory = factory
