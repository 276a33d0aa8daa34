"""The tester's process: run a benchmark's tests with stubs in the place of the candidate.

A stub sends each call to the candidate's process and returns the data that comes back, so that a test compares two
values of its own: an object with a lying ``__eq__``, a patched ``assert`` or a walk over the frames cannot reach it.
"""

import ast
import builtins
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import ModuleType, TracebackType
from typing import Any

import plain
from candidate import describe

_SHOWN = 200  # characters of a value
_KEPT = 64  # answers


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
    """

    def __init__(self, channel: plain.Socket) -> None:
        self.channel = channel
        self.verdict: tuple[str, str] | None = None
        self.replays = False
        self.recent: OrderedDict[bytes, object] = OrderedDict()
        self.lent: dict[int, Iterator[object]] = {}
        self.known: list[object] = []
        self.reduced: set[str] = set()

    def answer(self, known: list[object] | None = None) -> plain.Received:
        """The next reply; everything in it is the candidate's say.

        Args:
            known: Containers that it may have changed; they are brought up to date.
        """
        self.known = known or []
        try:
            reply = plain.loads(plain.receive(self.channel), self.known, self)
            self.reduced.update(reply.reduced)
            return reply
        except EOFError:
            raise self.stop("gone", "") from None
        except plain.NotPlain as error:
            raise self.stop("error", f"the candidate sent {error}") from None

    def stop(self, status: str, message: str) -> NotJudged:
        """No test can pass from here on, whatever it catches."""
        self.verdict = (status, message)
        return NotJudged(status, message)

    def ask(self, request: bytes, known: list[object]) -> plain.Received:
        """Send a request and wait for the reply."""
        try:
            plain.send(self.channel, request)
        except OSError:  # it has closed its end
            raise self.stop("gone", "") from None
        return self.answer(known)

    def call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Call a function of the candidate; what it does to the arguments is done to them here.

        Raises:
            Exception: The candidate's own, of its nearest built-in type.
            NotJudged: It ended, or a value is not plain data.
        """
        try:
            request, containers = plain.pack({"call": name, "args": args, "kwargs": tuple(kwargs.items())})
        except plain.NotPlain as error:
            raise self.stop(
                "unsupported",
                f"an argument of {name} is not plain data ({error}): the task has to be judged in-process",
            ) from None
        if self.replays:
            return self.recent[request]
        lent = len(self.lent)
        reply = self.ask(request, containers)
        if "value" not in reply:
            raise self.exception(reply, f"{name} returned ")
        if len(self.lent) == lent:  # an iterator can be read but once
            self.recent[request] = reply["value"]
            if len(self.recent) > _KEPT:
                self.recent.popitem(last=False)
        return reply["value"]

    def iterator(self, number: int, generator: bool) -> Iterator[object]:
        """Elements of an iterator that stays with the candidate, asked for as they are needed."""
        if number not in self.lent:
            elements = self._elements(number, self.known)
            self.lent[number] = elements if generator else _Elements(elements)
        return self.lent[number]

    def _elements(self, number: int, known: list[object]) -> Iterator[object]:
        """Reads ahead by at most an eighth of what was read: the first eight come one by one."""
        count = 0
        while True:
            if self.replays:
                raise KeyError(number)
            reply = self.ask(plain.dumps({"next": number, "most": 1 + count // 8}), known)
            items = reply.get("items")
            if type(items) is not list:
                raise self.exception(reply, "an iterator gave ")
            for item in items:
                count += 1
                if count > plain.MOST_ELEMENTS:
                    raise self.stop("unsupported", f"an iterator of more than {plain.MOST_ELEMENTS} elements")
                if (yield item) is not None:
                    raise self.stop("unsupported", "a value was sent to a generator, which cannot cross")
            if "raised" in reply:
                raise self.exception(reply, "")
            if "ended" in reply:
                return
            if not items:
                raise self.stop("error", "the candidate sent something else than a reply")

    def factory(self) -> object:
        """What a ``defaultdict`` would call for a missing key, and cannot."""
        raise self.stop("unsupported", "a defaultdict's function is not plain data")

    def exception(self, reply: dict[str, Any], where: str) -> BaseException:
        """What to raise for a reply without a value."""
        if "opaque" in reply:
            return self.stop("unsupported", f"{where}{reply['opaque']}, which is not plain data")
        names = reply.get("bases")
        listed = [getattr(builtins, b, None) for b in names if type(b) is str] if type(names) is list else []
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
        exec(compile(tests, "<tests>", "exec", dont_inherit=True), space)
    except MemoryError:
        return "memory", "MemoryError"
    except NotJudged as stopped:
        return stopped.status, stopped.message
    except BaseException as error:
        notes = getattr(error, "__notes__", None)
        if notes:  # the candidate's own words; ours would show the values sent
            return _status(error), notes[0]
        message = describe(error, sources)
        if isinstance(error, AttributeError) and candidate.reduced and type(error.obj).__eq__ is not object.__eq__:
            # A value that compares as data does: one of those that lost their methods, for all that we know.
            return "unsupported", f"{message} (of {', '.join(sorted(candidate.reduced))} only the data cross)"
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
