"""Messages between candidate and tester: JSON with a length before it; and the containers that both sides hold.

Lists, dicts, sets and their like are numbered and cross once, whatever refers to them. With each message a side tells
the other what has become of those that it knows: so what a program keeps of a call, and what tests keep of an answer,
is one thing to both for as long as both keep it. What only one of them holds is forgotten.

How a value is written is in ``forms``. Nothing that is read is ever executed.
"""

import json
import operator
import sys
from collections.abc import Iterator
from struct import Struct
from typing import Any, Protocol

from forms import NotPlain, Reader, Side, Writer, kind_of, made

MOST_BYTES = 8 << 20
MOST_COMPARED = 64 << 20
"""Characters of what both sides hold, looked at for changes, over all messages: each looks at them anew."""
_MOST_GONE = 100_000
"""Numbers of what is held no longer, in one message."""
_MOST_ROOM = 10 * _MOST_GONE
"""Bytes that they take, beyond ``MOST_BYTES``."""
_HEADER = Struct("<I")


class Socket(Protocol):
    """The end of a channel."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...


class Received(dict[str, Any]):
    """A message that was read.

    Attributes:
        reduced: Classes whose values crossed as what they derive from, without their methods.
        iterators: Those whose elements came with it.
    """

    reduced: list[str]
    iterators: list[Iterator[object]]

    def unread(self) -> bool:
        """Whether one of its iterators has elements left."""
        return any(operator.length_hint(iterator) for iterator in self.iterators)


class Packed:
    """A message that is written but for its end.

    Attributes:
        iterators: Those that were read to their end for it.
    """

    def __init__(self, fields: str, iterators: list[Iterator[object]]) -> None:
        self.fields, self.iterators = fields, iterators

    def bytes(self, gone: list[int]) -> bytes:
        """All of it.

        Args:
            gone: Numbers of containers that this side holds no longer.
        """
        end = f', ["gone", {gone}]]' if gone else "]"
        return f'{{"dict": {self.fields[:-1]}{end}}}'.encode()


class Shared:
    """The containers that both sides know, by number.

    Args:
        side: What stands in for things that cannot cross.
    """

    def __init__(self, side: Side | None = None) -> None:
        self.side = side
        self.objects: dict[int, object] = {}  # held: an id is a value's own only while that lives
        self.numbers: dict[int, int] = {}
        self.bodies: dict[int, object] = {}  # what the other side knows of each, as a form or as its JSON
        self.lossy: set[int] = set()  # those that could not be made anew from their data
        self.next = 0
        self.older = 0  # what has a lower number was known before the last exchange
        self.compared = 0

    def pack(self, message: dict[str, object]) -> Packed:
        """A message, with all that has changed since the last.

        Raises:
            NotPlain: What cannot cross, and why; then nothing is noted.
        """
        writer = Writer(self.objects, self.numbers, self.next, self.side)
        lists = ("args", "kwargs") if "call" in message else ("items",)  # of the message's own
        fields = [[n, writer.many(v, 0) if n in lists else writer.inline(v, 0)] for n, v in message.items()]
        entries: list[list[object]] = []
        bodies: dict[int, object] = {}
        for number, body in writer.bodies():
            if number in self.bodies:
                text, noted = json.dumps(body), self.bodies[number]
                bodies[number] = text
                self.compared += len(text) if number < self.older else 0
                if text == (noted if type(noted) is str else json.dumps(noted)):
                    continue
            else:
                bodies[number] = body
            entries.append([number, *body])
        if self.compared > MOST_COMPARED:
            raise NotPlain(f"{self.compared} bytes of data that program and tests both keep")
        entries.sort(key=lambda entry: entry[0])  # type: ignore[arg-type, return-value]  # a number comes first
        fields += [["objects", entries]] if entries else []
        fields += [["reduced", sorted(writer.reduced)]] if writer.reduced else []
        text = json.dumps(fields)
        if len(text) > MOST_BYTES:
            raise NotPlain(f"{len(text)} bytes of data are over the limit of {MOST_BYTES}")
        self._note(writer.added, bodies)
        self.lossy |= writer.lossy
        return Packed(text, writer.iterators)

    def release(self, all_kinds: bool) -> list[int]:
        """Forget what nobody on this side holds but we.

        Args:
            all_kinds: Also what could not be made anew from its data.

        Returns:
            Their numbers.
        """
        gone = []
        for number in list(self.objects)[
            :_MOST_GONE
        ]:  # in this order: what holds others has most often the lower number
            if sys.getrefcount(self.objects[number]) <= _ALONE and (all_kinds or number not in self.lossy):
                self._forget(number)
                gone.append(number)
        return gone

    def loads(self, data: bytes) -> Received:
        """The message of such bytes; what is known is brought up to date.

        Raises:
            NotPlain: They are no such bytes; whoever sent them did not use ``pack``.
        """
        try:
            fields = dict(json.loads(data)["dict"])
            entries, reduced = fields.pop("objects", []), fields.pop("reduced", [])
            gone = fields.pop("gone", [])
            added: dict[int, object] = {}
            for number, kind, *body in entries:
                if type(number) is int and number == self.next + len(added):
                    added[number] = made(kind, body)
                elif type(number) is not int or kind != kind_of(type(self.objects[number])):
                    raise ValueError("a container that changes its kind")
            self.older = self.next
            self._note(added, {number: body for number, *body in entries})
            reader = Reader(self.objects, self.side)
            for number, kind, *body in entries:
                reader.fill(self.objects[number], kind, body)
            message = Received({name: reader.value(field, 0) for name, field in fields.items()})
            message.reduced = [str(name) for name in reduced]
            message.iterators = reader.iterators
            for number in gone:
                self._forget(number)
            return message
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError, AttributeError) as error:
            raise NotPlain(f"malformed data: {type(error).__name__}") from None

    def _note(self, added: dict[int, object], bodies: dict[int, object]) -> None:
        self.objects |= added
        self.numbers |= {id(value): number for number, value in added.items()}
        self.bodies |= bodies
        self.next += len(added)

    def _forget(self, number: int) -> None:
        self.lossy.discard(number)
        del self.numbers[id(self.objects[number])], self.bodies[number]
        del self.objects[number]


def _alone() -> int:
    """References that Python counts for an object which a ``Shared`` alone holds, asked for as there."""
    objects = {0: object()}
    return sys.getrefcount(objects[0])


_ALONE = _alone()


def dumps(message: dict[str, object], side: Side | None = None) -> bytes:
    """Bytes of a message of plain values for somebody who knows nothing yet; see ``Shared.pack``."""
    return Shared(side).pack(message).bytes([])


def loads(data: bytes, side: Side | None = None) -> Received:
    """The message of such bytes; see ``Shared.loads``."""
    return Shared(side).loads(data)


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
    if size > MOST_BYTES + _MOST_ROOM:
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
