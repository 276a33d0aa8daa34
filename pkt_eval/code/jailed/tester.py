"""The tester's process: run a benchmark's tests with stubs in the place of the candidate.

A stub sends each call to the candidate's process and returns the data that comes back, so that a test compares two
values of its own: an object with a lying ``__eq__``, a patched ``assert`` or a walk over the frames cannot reach it.
"""

import ast
import builtins
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any

import plain
from candidate import describe
from forms import MOST_ELEMENTS, NotPlain

_SHOWN = 200  # characters of a value
_KEPT = 64  # answers
_LONGEST_KEPT = 1 << 16  # bytes of one
_LENT = re.compile(rb'\{"lent": \[(\d+)')


def _passed() -> int:
    """References that Python counts for an iterator which the arguments of a call alone hold."""
    given = (iter(()),)
    iterators = [given[0]]
    return sys.getrefcount(iterators[0])


_PASSED = _passed()


class NotJudged(BaseException):
    """The tests cannot go on: status and message of the verdict. Not an Exception, which tests may catch."""

    def __init__(self, status: str, message: str) -> None:
        self.status, self.message = status, message


class Candidate:
    """The candidate at the other end of the channel.

    Attributes:
        verdict: What any further call can no longer change, as ``(status, message)``.
        reduced: Classes of its own whose values came without their methods.
        replays: Answer from what was answered before, and ask no more.
        rebind: Called with the offers of names that the program has bound to other values.
    """

    def __init__(self, channel: plain.Socket) -> None:
        self.channel = channel
        self.verdict: tuple[str, str] | None = None
        self.replays = False
        self.recent: OrderedDict[bytes, bytes] = OrderedDict()
        self.shared = plain.Shared(self)
        self.lent: dict[int, Iterator[object]] = {}
        self.lent_numbers: dict[int, tuple[int, bool]] = {}
        self.ahead: dict[int, int] = {}
        self.reduced: set[str] = set()
        self.rebind: Callable[[object], None] = lambda offers: None

    def answer(self) -> plain.Received:
        """The next reply; everything in it is the candidate's say."""
        try:
            reply = self.shared.loads(plain.receive(self.channel))
        except EOFError:
            raise self.stop("gone", "") from None
        except NotPlain as error:
            raise self.stop("error", f"the candidate sent {error}") from None
        self.reduced.update(reply.reduced)
        if "names" in reply:
            self.rebind(reply["names"])
        return reply

    def stop(self, status: str, message: str) -> NotJudged:
        """No test can pass from here on, whatever it catches."""
        self.verdict = (status, message)
        return NotJudged(status, message)

    def only_data(self) -> str:
        """What became of values of classes of its own."""
        return f"of {', '.join(sorted(self.reduced))} only the data cross"

    def ask(self, request: dict[str, object]) -> tuple[plain.Received, list[Iterator[object]]]:
        """Send a request and wait for the reply; beside it the iterators whose elements were sent.

        Raises:
            NotPlain: The request cannot be sent.
        """
        gone = self.shared.release(all_kinds=True)
        packed = self.shared.pack(request)
        data = packed.bytes(gone)
        # No string can look like this, since its quotation marks would be escaped.
        if self.ahead and any(self.ahead.get(int(number)) for number in _LENT.findall(data)):
            raise NotPlain("an iterator that was read ahead")
        try:
            plain.send(self.channel, data)
        except OSError:  # it has closed its end
            raise self.stop("gone", "") from None
        return self.answer(), packed.iterators

    def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Call a function of the candidate; what it does to what both know is done to it here.

        Raises:
            Exception: The candidate's own, of its nearest built-in type.
            NotJudged: It ended, or a value is not plain data.
        """
        request: dict[str, object] = {"call": name, "args": args, "kwargs": tuple(kwargs.items())}
        key = self._key(request)
        if self.replays:
            return plain.loads(self.recent[key])["value"]
        try:
            reply, iterators = self.ask(request)
        except NotPlain as error:
            raise self.stop(
                "unsupported",
                f"an argument of {name} is not plain data ({error}): the task has to be judged in-process",
            ) from None
        del request
        if "unread" in reply and any(sys.getrefcount(iterators[i]) > _PASSED for i in range(len(iterators))):
            raise self.stop("unsupported", f"{name} left elements of an iterator of the tests unread")
        if "value" not in reply:
            raise self.exception(reply, f"{name} returned ")
        self._keep(key, reply["value"])
        return reply["value"]

    def _key(self, request: dict[str, object]) -> bytes:
        """A call as it is before it is done; empty for one that cannot be told so."""
        try:
            return plain.dumps(request, _NoIterators())
        except NotPlain:
            return b""

    def _keep(self, key: bytes, value: object) -> None:
        """Keep an answer as it was, and not the value, which the tests may let go."""
        try:
            data = plain.dumps({"value": value}, _NoIterators()) if 0 < len(key) < _LONGEST_KEPT else b""
        except NotPlain:  # such as an iterator, which can be read but once
            return
        if 0 < len(data) < _LONGEST_KEPT:
            self.recent[key] = data
            if len(self.recent) > _KEPT:
                self.recent.popitem(last=False)

    def number(self, iterator: Iterator[object]) -> tuple[int, bool] | None:
        """Of an iterator that the candidate lent."""
        return self.lent_numbers.get(id(iterator))

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        """Elements of an iterator that stays with the candidate, asked for as they are needed."""
        if number not in self.lent:
            elements = self._elements(number)
            self.lent[number] = elements if generator else _Elements(elements)
            self.lent_numbers[id(self.lent[number])] = number, generator
        return self.lent[number]

    def _elements(self, number: int) -> Iterator[object]:
        """Reads ahead by at most an eighth of what was read: the first eight come one by one."""
        count = 0
        while True:
            if self.replays:
                raise KeyError(number)
            reply, _ = self.ask({"next": number, "most": 1 + count // 8})
            items = reply.get("items")
            if type(items) is not list:
                raise self.exception(reply, "an iterator gave ")
            for place, item in enumerate(items):
                count += 1
                if count > MOST_ELEMENTS:
                    raise self.stop("unsupported", f"an iterator of more than {MOST_ELEMENTS} elements")
                self.ahead[number] = len(items) - place - 1
                if (yield item) is not None:
                    raise self.stop("unsupported", "a value was sent to a generator, which cannot cross")
            if "raised" in reply:
                raise self.exception(reply, "")
            if "ended" in reply:
                return
            if not items:
                raise self.stop("error", "the candidate sent something else than a reply")

    def stays(self, factory: object) -> bool:
        """Whether a ``defaultdict``'s function is one that stayed with the candidate."""
        return factory == self.factory

    def factory(self) -> object:
        """What a ``defaultdict`` would call for a missing key, and cannot."""
        raise self.stop("unsupported", "a defaultdict's function is not plain data")

    def exception(self, reply: dict[str, Any], where: str) -> BaseException:
        """What to raise for a reply without a value."""
        if "opaque" in reply:
            return self.stop("unsupported", f"{where}{reply['opaque']}, which is not plain data")
        names = reply.get("bases")
        listed = (
            [getattr(builtins, b, None) for b in names if type(b) is str] if isinstance(names, list | tuple) else []
        )
        bases = [b for b in listed if isinstance(b, type) and issubclass(b, BaseException)]
        if not bases:
            return self.stop("error", "the candidate sent something else than a reply")
        text, args = str(reply.get("text")), reply.get("args")
        if not issubclass(bases[0], Exception):
            return self.stop("error", text)
        if issubclass(bases[0], (StopIteration, StopAsyncIteration)):
            bases = [RuntimeError]  # as PEP 479: the loops of the tests are not for a candidate to end
        group = reply.get("group")
        if type(group) is list:
            parts = [self.exception(part if type(part) is dict else {}, where) for part in group]
            if self.verdict is not None:
                return NotJudged(*self.verdict)
            args = (str(reply.get("message")), parts)
        name = str(reply.get("raised"))
        kind = bases[0] if name == bases[0].__name__ else type(name, (bases[0],), {})
        try:
            error = kind(*args) if type(args) is tuple else kind(text)
        except Exception:  # not every type takes every argument
            try:
                error = kind.__new__(kind)  # type: ignore[call-overload]  # a class of exceptions takes no metaclass
            except Exception:
                error = Exception(text)
        attributes = reply.get("attributes")
        if type(attributes) is dict:
            own = {k: v for k, v in attributes.items() if type(k) is str and not k.startswith("_")}
            getattr(error, "__dict__", {}).update(own)
        error.__notes__ = [text]  # add_note needs Python 3.11
        return error


class _NoIterators:
    """A side to which no iterator can be sent, and from which none comes."""

    def number(self, iterator: Iterator[object]) -> tuple[int, bool] | None:
        raise NotPlain("an iterator")

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        raise ValueError("nobody lends here")

    def stays(self, factory: object) -> bool:
        return False

    def factory(self) -> object:
        return None


class _Elements:
    """An iterator that is no generator."""

    def __init__(self, elements: Iterator[object]) -> None:
        self.elements = elements

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        return next(self.elements)


def run_tests(channel: plain.Socket, context: str, tests: str, names: list[str]) -> tuple[str, str]:
    """Run the tests to their end.

    Args:
        channel: Stream socket to the candidate.
        context: Trusted definitions that the tests may use, such as a HumanEval prompt; the candidate's come over them.
        tests: Statements that raise if the candidate is wrong.
        names: What is taken from the candidate.

    Returns:
        Status and message; status "gone" if the candidate's process ended.
    """
    sources = {"<tests>": tests.splitlines(), "<context>": context.splitlines()}
    space = ModuleType("tests").__dict__
    candidate = Candidate(channel)
    try:
        # First: an answer that does not even load says so, whatever else would be wrong.
        loaded = candidate.answer()
        if "names" not in loaded:
            raise candidate.exception(loaded, "loading it gave ")
        exec(compile(context, "<context>", "exec", dont_inherit=True), space)
        _bind(space, candidate, names, loaded["names"])
        values = [name for name in names if name in space and not callable(space[name])]
        candidate.rebind = lambda offers: _bind(space, candidate, values, offers)
        exec(compile(tests, "<tests>", "exec", dont_inherit=True), space)
    except MemoryError:
        return "memory", "MemoryError"
    except NotJudged as stopped:
        return stopped.status, stopped.message
    except BaseException as error:
        notes = getattr(error, "__notes__", None)
        if notes and isinstance(error, AttributeError) and candidate.reduced:
            return "unsupported", f"{notes[0]} ({candidate.only_data()})"  # of what it was given back, for all we know
        if notes:  # the candidate's own words; ours would show the values sent
            return _status(error), notes[0]
        message = describe(error, sources)
        if isinstance(error, AttributeError) and candidate.reduced and type(error.obj).__eq__ is not object.__eq__:
            # A value that compares as data does: one of those that lost their methods, for all that we know.
            return "unsupported", f"{message} ({candidate.only_data()})"
        if isinstance(error, AssertionError) and not error.args:
            try:
                message = f"AssertionError: {_explain(error, tests, candidate)}"
            except BaseException:  # a name that is gone, a value that cannot be shown: the line has to do
                pass
        return ("failed" if isinstance(error, AssertionError) else _status(error)), message
    return candidate.verdict or ("passed", "")


def _status(error: BaseException) -> str:
    """A program that fails on what the jail does not allow was refused it."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError) and getattr(error, "errno", None) in (1, 13, 30):  # EPERM, EACCES, EROFS
        return "refused"
    return "error"


def _bind(space: dict[str, Any], candidate: Candidate, names: list[str], offers: object) -> None:
    for name in names:
        offer = offers.get(name) if type(offers) is dict else None
        if type(offer) is not dict:
            continue  # left undefined: the tests will say so
        if "callable" in offer:
            space[name] = _stub(candidate, name)
        elif "value" in offer:
            space[name] = offer["value"]
        else:
            raise candidate.stop(
                "unsupported",
                f"{name} is {offer.get('opaque')}, which is not plain data: it has to be judged in-process",
            )


def _stub(candidate: Candidate, name: str) -> Callable[..., object]:
    def stub(*args: object, **kwargs: object) -> object:
        return candidate.call(name, args, kwargs)

    stub.__name__ = stub.__qualname__ = name
    return stub


def _explain(error: AssertionError, tests: str, candidate: Candidate) -> str:
    """A failed ``assert left == right`` with both its values.

    They are computed a second time, from the candidate's answers to the first: it is not asked again. Only a failure
    pays for this.
    """
    last: TracebackType | None = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            last = trace
        trace = trace.tb_next
    if last is None:
        raise LookupError("not an assertion of the tests")
    nodes = [n for n in ast.walk(ast.parse(tests)) if isinstance(n, ast.Assert)]
    node = next(n for n in nodes if n.lineno <= last.tb_lineno <= (n.end_lineno or n.lineno))
    if not isinstance(node.test, ast.Compare) or len(node.test.ops) != 1:
        return ast.unparse(node)
    candidate.replays = True
    shown = []
    for side in (node.test.left, node.test.comparators[0]):
        value = eval(compile(ast.Expression(side), "<tests>", "eval"), last.tb_frame.f_globals, last.tb_frame.f_locals)
        text = repr(value)
        shown.append(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
    return f"{ast.unparse(node)} (left {shown[0]}, right {shown[1]})"
