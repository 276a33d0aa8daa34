"""Levels of isolation: which this machine offers, tried out by a canary, and the choice among them.

A level counts only if a program that tries to get out does not: it looks for a secret, opens sockets, writes outside,
starts a process and signals ours. No level is ever lowered silently: where the default ones fail, nothing runs.
"""

import logging
import os
import socket
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pkt_eval.code.isolation import LEVELS
from pkt_eval.code.session import Session
from pkt_eval.code.verdict import Job, Limits
from pkt_eval.errors import ConfigError, PrerequisiteError

log = logging.getLogger(__name__)

VARIABLE = "PKT_EVAL_CODE_LEVEL"

# Gives what it could do, by name; the tests want that to be nothing. The tuple of arguments is the harness's to fill.
_CANARY = """
import os, socket

def attempt(folder, port, abstract, parent):
    done = []
    def can(name, action):
        try:
            action()
            done.append(name)
        except (OSError, AttributeError):
            pass
    def fork():
        if os.fork() == 0:
            os._exit(0)
    def connect(family, address):
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            s.connect(address)
    can("read a secret", lambda: open(folder + "/secret").read())
    can("list a folder", lambda: os.listdir(folder))
    can("write outside", lambda: open(folder + "/written", "w").close())
    can("delete outside", lambda: os.unlink(folder + "/secret"))
    can("chmod outside", lambda: os.chmod(folder + "/secret", 0o777))
    can("read another process", lambda: open(f"/proc/{parent}/environ", "rb").read())
    can("signal another process", lambda: os.kill(parent, 0))
    can("start a process", fork)
    can("connect over TCP", lambda: connect(socket.AF_INET, ("127.0.0.1", port)))
    can("connect to an abstract socket", lambda: connect(socket.AF_UNIX, abstract))
    can("open a UDP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
    can("trace", lambda: __import__("ctypes").CDLL(None).ptrace(0x4206, parent, 0, 0) == 0 or os.close(-1))
    return done
"""


@dataclass(frozen=True)
class Probe:
    """What became of trying a level.

    Attributes:
        level: Its name.
        holds: Whether it may be used.
        reason: Why not, and what to do about it; or what the canary found closed.
    """

    level: str
    holds: bool
    reason: str


@cache
def probe(name: str) -> Probe:
    """Try a level on this machine: its prerequisites, then the canary.

    Args:
        name: One of ``LEVELS``.
    """
    level = LEVELS[name]
    if missing := level.missing():
        return Probe(name, False, missing)
    if not level.isolates:
        return Probe(name, True, "no isolation: limits alone")
    session = Session(level, threading.Event())
    try:
        with tempfile.TemporaryDirectory(prefix="pkt-canary-") as folder, socket.socket() as tcp:
            (Path(folder) / "secret").write_text("secret")
            tcp.bind(("127.0.0.1", 0))
            tcp.listen()
            with socket.socket(socket.AF_UNIX) as abstract:
                address = f"\0pkt-canary-{os.getpid()}-{threading.get_ident()}"
                abstract.bind(address)
                abstract.listen()
                call = f"attempt({folder!r}, {tcp.getsockname()[1]}, {address!r}, {os.getpid()})"
                verdict = session.judge(Job(_CANARY, f"assert {call} == []", limits=Limits(wall_seconds=60)))
    finally:
        session.close()
    if verdict.passed:
        return Probe(name, True, "the canary got nowhere: files, processes, network and tracing are closed")
    return Probe(name, False, f"{verdict.status}: {verdict.message}")


def choose_level(level: str | None = None) -> str:
    """The level to judge at.

    Args:
        level: Asked for by the caller; else by the environment variable ``PKT_EVAL_CODE_LEVEL``; else the best of
            those that isolate.

    Raises:
        ConfigError: There is no such level.
        PrerequisiteError: This machine does not offer it; says what to install. Nothing is run then.
    """
    asked = level or os.environ.get(VARIABLE) or None
    if asked is not None and asked not in LEVELS:
        raise ConfigError(f"no level of isolation {asked!r}: there are {', '.join(LEVELS)}")
    if asked:
        probed = probe(asked)
        if not probed.holds:
            raise PrerequisiteError(f"code answers cannot be run at the level {asked}: {probed.reason}")
        _announce(asked)
        return asked
    tried: list[Probe] = []
    for name in (each.name for each in LEVELS.values() if each.isolates):
        probed = probe(name)
        if probed.holds:
            _announce(name, tried)
            return name
        tried.append(probed)
    reasons = "; ".join(f"{p.level}: {p.reason}" for p in tried)
    raise PrerequisiteError(
        f"code answers are not run, since nothing isolates them here ({reasons}). `pkt-eval doctor` says more. On a "
        f"machine whose loss would not matter, {VARIABLE}=none runs them without isolation, and marks the scores."
    )


_announced: set[str] = set()


def _announce(name: str, tried: list[Probe] | None = None) -> None:
    """Say once a process what the answers run in."""
    if name in _announced:
        return
    _announced.add(name)
    if not LEVELS[name].isolates:
        log.warning("code answers run without isolation: they can read, change and send whatever you can")
    else:
        why = "".join(f" ({p.level} does not hold here: {p.reason})" for p in tried or [])
        log.info("code answers run in the jail %s%s", name, why)
