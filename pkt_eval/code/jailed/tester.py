"""The tester's process: run a benchmark's tests with stubs in the place of the candidate.

A stub sends each call to the candidate's process and returns the data that comes back, so that a test compares two
values of its own: an object with a lying ``__eq__``, a patched ``assert`` or a walk over the frames cannot reach it.
"""

import ast
import builtins
from collections import OrderedDict
from types import ModuleType

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
        replays: Answer from what was answered before, and ask no more.
    """

    def __init__(self, channel) -> None:
        self.channel = channel
        self.verdict: tuple[str, str] | None = None
        self.replays = False
        self.recent: OrderedDict[bytes, object] = OrderedDict()

    def answer(self) -> dict:
        """The next reply; everything in it is the candidate's say."""
        try:
            found = plain.load(plain.receive(self.channel))
        except EOFError:
            raise self.stop("gone", "") from None
        except plain.NotPlain as error:
            raise self.stop("error", f"the candidate sent {error}") from None
        if type(found) is not dict:
            raise self.stop("error", "the candidate sent something else than a reply")
        return found

    def stop(self, status: str, message: str) -> NotJudged:
        """No test can pass from here on, whatever it catches."""
        self.verdict = (status, message)
        return NotJudged(status, message)

    def call(self, name: str, args: tuple, kwargs: dict) -> object:
        """Call a function of the candidate.

        Raises:
            Exception: The candidate's own, of its nearest built-in type.
            NotJudged: It ended, or its value is not plain data.
        """
        try:
            request = plain.dump({"call": name, "args": list(args), "kwargs": kwargs})
            if self.replays:
                return self.recent[request]
            plain.send(self.channel, request)
        except plain.NotPlain as error:
            raise self.stop(
                "error", f"an argument of {name} is not plain data ({error}): the task has to be judged in-process"
            ) from None
        except OSError:  # it has closed its end
            raise self.stop("gone", "") from None
        found = self.answer()
        if "value" in found:
            self.recent[request] = found["value"]
            if len(self.recent) > _KEPT:
                self.recent.popitem(last=False)
            return found["value"]
        raise self.exception(found, f"{name} returned ")

    def exception(self, found: dict, where: str) -> BaseException:
        """What to raise for a reply without a value."""
        if "opaque" in found:
            return self.stop("error", f"{where}{found['opaque']}, which is not plain data")
        bases = [getattr(builtins, b, None) for b in found.get("bases") or () if type(b) is str]
        bases = [b for b in bases if isinstance(b, type) and issubclass(b, BaseException)]
        if not bases:
            return self.stop("error", "the candidate sent something else than a reply")
        text, args = str(found.get("text")), found.get("args")
        if not issubclass(bases[0], Exception):
            return self.stop("error", text)
        if issubclass(bases[0], (StopIteration, StopAsyncIteration)):
            bases = [RuntimeError]  # as PEP 479: the loops of the tests are not for a candidate to end
        name = str(found.get("raised"))
        kind = bases[0] if name == bases[0].__name__ else type(name, (bases[0],), {})
        try:
            error = kind(*args) if type(args) is tuple else kind(text)
        except Exception:  # not every type takes every argument
            error = kind.__new__(kind)
        error.__notes__ = [text]
        return error


def run(channel, context: str, tests: str, names: list[str]) -> tuple[str, str]:
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


def _bind(space: dict, candidate: Candidate, names: list[str], offers: object) -> None:
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
                "error", f"{name} is {offer.get('opaque')}, which is not plain data: it has to be judged in-process"
            )


def _stub(candidate: Candidate, name: str):
    def stub(*args, **kwargs):
        return candidate.call(name, args, kwargs)

    stub.__name__ = stub.__qualname__ = name
    return stub


def _explain(error: AssertionError, tests: str, candidate: Candidate) -> str:
    """A failed ``assert left == right`` with both its values.

    They are computed a second time, from the candidate's answers to the first: it is not asked again. Only a failure
    pays for this.
    """
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tests>":
            found = trace
        trace = trace.tb_next
    nodes = [n for n in ast.walk(ast.parse(tests)) if isinstance(n, ast.Assert)]
    node = next(n for n in nodes if n.lineno <= found.tb_lineno <= n.end_lineno)
    if not isinstance(node.test, ast.Compare) or len(node.test.ops) != 1:
        return ast.unparse(node)
    candidate.replays = True
    shown = []
    for side in (node.test.left, node.test.comparators[0]):
        value = eval(
            compile(ast.Expression(side), "<tests>", "eval"), found.tb_frame.f_globals, found.tb_frame.f_locals
        )
        text = repr(value)
        shown.append(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
    return f"{ast.unparse(node)} (left {shown[0]}, right {shown[1]})"
