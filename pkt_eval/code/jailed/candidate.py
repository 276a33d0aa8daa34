"""The candidate's process: load the program, then answer calls with plain data until the tester is gone.

The program shares this process and may do with it what it likes: nothing here is believed. What it cannot do is see the
tests, or give an answer that is not data.
"""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import forms
import plain

MESSAGE_CHARACTERS = 500
_MOST_AT_ONCE = 256  # elements of an iterator in one message
_DEEPEST_GROUP = 20
#: Of tuples alone: what is changeable has a number, which nothing may be left to count.
_OUT_OF_MEMORY = plain.dumps({"raised": "MemoryError", "bases": ("MemoryError",), "args": None, "text": "MemoryError"})


def describe(error: BaseException, sources: dict[str, list[str]]) -> str:
    """Last line of the traceback; a bare assertion is described by its source line."""
    try:
        text = str(error)
    except BaseException:
        text = "<its message cannot be shown>"
    if not text and isinstance(error, AssertionError):
        trace = error.__traceback__
        while trace is not None:
            lines = sources.get(trace.tb_frame.f_code.co_filename)
            if lines is not None and trace.tb_lineno <= len(lines):
                text = lines[trace.tb_lineno - 1].strip()
            trace = trace.tb_next
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return " ".join(line.split())[:MESSAGE_CHARACTERS]


def module() -> ModuleType:
    """A module of its own, not ``__main__``: dataclasses and pickle find it, and the main guard stays shut."""
    made = ModuleType("candidate")
    sys.modules["candidate"] = made
    sys.argv[:] = ["candidate"]
    return made


class Lent:
    """An iterator whose elements the tester asks for.

    Attributes:
        iterator: It.
        generator: Whether it is one.
        pending: Elements that were taken and not yet sent.
    """

    def __init__(self, iterator: Iterator[object]) -> None:
        self.iterator, self.generator = iterator, type(iterator).__name__ == "generator"
        self.pending: list[object] = []
        self.end: dict[str, object] | None = None

    def rest(self) -> Iterator[object]:
        """All that has not been sent."""
        while self.pending:
            yield self.pending.pop(0)
        yield from self.iterator

    def take(self, most: int, raised: Callable[[BaseException], dict[str, object]]) -> None:
        """Take as many elements as were asked for, or as there are."""
        while len(self.pending) < min(most, _MOST_AT_ONCE) and self.end is None:
            try:
                element = next(self.iterator)
            except StopIteration:
                self.end = {"ended": True}
            except Exception as error:
                self.end = raised(error)
            else:
                self.pending.append(element)
                parts = element if type(element) in (tuple, list) else (element,)
                # One that is read while this goes on, such as a group of groupby, would be lost by going on.
                if any(map(forms.is_iterator, parts)):  # type: ignore[call-overload]  # parts of any value
                    return


class Server:
    """Answers the tester.

    Args:
        channel: Stream socket to it.
        space: Where the program's names are.
        sources: Lines of the program, for messages.
    """

    def __init__(self, channel: plain.Socket, space: dict[str, Any], sources: dict[str, list[str]]) -> None:
        self.channel, self.space, self.sources = channel, space, sources
        self.shared = plain.Shared(self)
        self.values: dict[str, object] = {}
        self.lent: list[Lent] = []
        self.numbers: dict[int, int] = {}

    def number(self, iterator: Iterator[object]) -> tuple[int, bool]:
        """Of an iterator that stays here; it is held from now on."""
        if id(iterator) not in self.numbers:
            self.numbers[id(iterator)] = len(self.lent)
            self.lent.append(Lent(iterator))
        number = self.numbers[id(iterator)]
        return number, self.lent[number].generator

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        """One of the program's own that comes back."""
        lent = self.lent[number]
        return lent.rest() if lent.pending else lent.iterator

    def stays(self, factory: object) -> bool:
        """Any does: the program's ``defaultdict`` is not made anew."""
        return True

    def factory(self) -> object:
        """Never called: what the tester has is not sent without."""
        raise TypeError("the function of a defaultdict stayed behind")

    def reply(self, make: Callable[[], dict[str, object]]) -> None:
        """One message, whatever happens; each write is preceded by what the program has printed."""
        data = b""
        try:
            try:
                packed = self._packed(make())
            except MemoryError:
                raise
            except BaseException as error:
                packed = self._packed(raised(error, self.sources))
            # Not before the values and the exception are let go: what is left then is what the program keeps.
            data = packed.bytes(self.shared.release(all_kinds=False))
        except MemoryError:
            data = _OUT_OF_MEMORY
        for stream in (sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()  # type: ignore[union-attr]  # None fails, too
            except BaseException:
                pass
        plain.send(self.channel, data)

    def _packed(self, message: dict[str, object]) -> plain.Packed:
        try:
            return self.shared.pack({**message, **self._rebound()})
        except forms.NotPlain as error:
            return plain.Shared().pack({"opaque": str(error)})

    def _rebound(self) -> dict[str, object]:
        """The values that the tests may read and that are others than when they were last sent."""
        names = [n for n, value in self.values.items() if n in self.space and self.space[n] is not value]
        self.values.update({name: self.space[name] for name in names})
        return {"names": {name: _offer(self.space[name]) for name in names}} if names else {}

    def load(self, source: str, names: list[str]) -> dict[str, object]:
        """Run the program, and say which of the names it defines."""
        exec(compile(source, "<candidate>", "exec", dont_inherit=True), self.space)
        offers = {name: _offer(self.space[name]) for name in names if name in self.space}
        self.values = {name: self.space[name] for name, offer in offers.items() if "callable" not in offer}
        return {"names": offers}

    def answer(self, request: plain.Received) -> None:
        """Do what was asked: a call, or the next elements of an iterator."""
        if "next" in request:
            self.reply(lambda: self._elements(self.lent[request["next"]], request["most"]))
        else:
            self.reply(lambda: self._call(request))

    def _call(self, request: plain.Received) -> dict[str, object]:
        function, args, kwargs = self.space[request["call"]], request.pop("args"), dict(request.pop("kwargs"))
        try:
            message: dict[str, object] = {"value": function(*args, **kwargs)}
        except MemoryError:
            raise
        except Exception as error:
            message = raised(error, self.sources)
        return {**message, "unread": True} if request.unread() else message

    def _elements(self, lent: Lent, most: int) -> dict[str, object]:
        lent.take(most, lambda error: raised(error, self.sources))
        items = lent.pending
        if len(items) > 1:
            try:
                plain.dumps({"items": items}, _Nobody())
            except forms.NotPlain:  # too many at once, or one of them cannot cross, which those before it can
                items = items[:1]
        lent.pending = lent.pending[len(items) :]
        ends = lent.end or {} if not lent.pending else {}
        return {"items": tuple(items), **ends}


class _Nobody:
    """A side for finding out whether a value can cross: nothing is read, and nothing kept."""

    def number(self, iterator: Iterator[object]) -> tuple[int, bool]:
        return 0, False

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        return iter(())

    def stays(self, factory: object) -> bool:
        return True

    def factory(self) -> object:
        return None


def serve(channel: plain.Socket, source: str, names: list[str]) -> None:
    """Run the program, say which of the names it defines, and answer calls.

    Args:
        channel: Stream socket to the tester.
        source: The program.
        names: What the tests may ask it for.
    """
    server = Server(channel, module().__dict__, {"<candidate>": source.splitlines()})
    server.reply(lambda: server.load(source, names))
    while True:
        try:
            request = server.shared.loads(plain.receive(channel))
        except EOFError:
            return
        server.answer(request)


def _offer(value: object) -> dict[str, object]:
    """How a name is offered: to be called, as a value, or not at all."""
    if callable(value):
        return {"callable": True}
    try:
        plain.dumps({"value": value}, _Nobody())
        return {"value": value}
    except forms.NotPlain as error:
        return {"opaque": str(error)}


def raised(error: BaseException, sources: dict[str, list[str]], depth: int = 0) -> dict[str, object]:
    """An exception as data: its built-in ancestors, from which the tester makes one of its own."""
    kind = type(error)
    bases = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
    message: dict[str, object] = {"raised": kind.__name__, "bases": bases, "text": describe(error, sources)}
    parts = getattr(error, "exceptions", None)
    if "BaseExceptionGroup" in bases and type(parts) is tuple and depth < _DEEPEST_GROUP:
        message["message"] = str(getattr(error, "message", ""))
        message["group"] = [raised(part, sources, depth + 1) for part in parts]
        return message
    message["args"] = error.args if _is_plain(error.args) else None
    own = getattr(error, "__dict__", None)
    message["attributes"] = {k: v for k, v in own.items() if _is_plain(v)} if type(own) is dict else {}
    return message


def _is_plain(value: object) -> bool:
    try:
        plain.dumps({"value": value}, _Nobody())
    except BaseException:
        return False
    return True
