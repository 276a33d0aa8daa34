"""The candidate's process: load the program, then answer calls with plain data until the tester is gone.

The program shares this process and may do with it what it likes: nothing here is believed. What it cannot do is see the
tests, or give an answer that is not data.
"""

import sys
from types import ModuleType

import plain

MESSAGE_CHARACTERS = 500
_OUT_OF_MEMORY = plain.dump({"raised": "MemoryError", "bases": ["MemoryError"], "args": None, "text": "MemoryError"})


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


def serve(channel, source: str, names: list[str]) -> None:
    """Run the program, say which of the names it defines, and answer calls.

    Args:
        channel: Stream socket to the tester.
        source: The program.
        names: What the tests may ask it for.
    """
    sources = {"<candidate>": source.splitlines()}
    space = module().__dict__

    def reply(make) -> None:
        """One message, whatever happens; each write is preceded by what the program has printed."""
        try:
            data = plain.dump(make())
        except plain.NotPlain as error:
            data = plain.dump({"opaque": str(error)})
        except MemoryError:
            data = _OUT_OF_MEMORY
        except BaseException as error:
            data = plain.dump(_raised(error, sources))
        for stream in (sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except BaseException:
                pass
        plain.send(channel, data)

    def load() -> dict:
        exec(compile(source, "<candidate>", "exec", dont_inherit=True), space)
        return {"names": {name: _offer(space[name]) for name in names if name in space}}

    reply(load)
    while True:
        try:
            request = plain.load(plain.receive(channel))
        except EOFError:
            return
        reply(lambda request=request: {"value": space[request["call"]](*request["args"], **request["kwargs"])})


def _offer(value: object) -> dict:
    """How a name is offered: to be called, as a value, or not at all."""
    if callable(value):
        return {"callable": True}
    try:
        plain.dump(value)
        return {"value": value}
    except plain.NotPlain as error:
        return {"opaque": str(error)}


def _raised(error: BaseException, sources: dict[str, list[str]]) -> dict:
    """An exception as data: its built-in ancestors, from which the tester makes one of its own."""
    kind = type(error)
    bases = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
    try:
        args = plain.load(plain.dump(error.args))
    except BaseException:
        args = None
    return {"raised": kind.__name__, "bases": bases, "args": args, "text": describe(error, sources)}
