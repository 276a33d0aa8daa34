"""Programs that would never end. Most would otherwise be right: what ends them is a limit, on CPU time or the clock."""

from hostile.program import RIGHT, Program

LOOP = ("timeout",)
ENDED = ("timeout", "killed", "error", "refused", "failed", "memory")


# The clock is short: a program that sleeps is ended by it, one that computes gets several times as long.
LIMITS = {"cpu_seconds": 1, "wall_seconds": 0.8}


def late(name: str, source: str, statuses: tuple[str, ...] = LOOP) -> Program:
    """A program that hangs at import."""
    return Program(name, RIGHT + source, statuses=statuses)


def busy(name: str, source: str, statuses: tuple[str, ...] = LOOP) -> Program:
    """A program that uses CPU time until it is ended."""
    return Program(name, RIGHT + source, statuses=statuses)


BUSY = [
    busy("loop in a call", "def add(a, b):\n    while True: pass"),
    busy("loop that swallows every exception", "while True:\n    try:\n        while True: pass\n    except: pass"),
    busy(
        "every signal handled, CPU limit raised",
        "import resource, signal\n"
        "for s in range(1, 65):\n    try: signal.signal(s, lambda *a: None)\n    except (OSError, ValueError): pass\n"
        "for hard in (10**6, resource.RLIM_INFINITY):\n"
        "    try: resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))\n    except (OSError, ValueError): pass\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    ),
    busy(
        "every signal ignored and blocked",
        "import signal\n"
        "for s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    ),
    busy("C loop: sum of an endless iterator", "sum(iter(int, 1))"),
    busy("C loop: power", "def add(a, b): return pow(3, 10**9)", (*LOOP, "memory", "error")),
    busy("C loop: regular expression", "import re\ndef add(a, b): return re.match('(a+)+$', 'a' * 64 + 'b')"),
    busy(
        "loops in threads that hold no lock",
        "import hashlib, threading\n"
        "ts = [threading.Thread(target=hashlib.pbkdf2_hmac, args=('sha256', b'x', b'y', 10**9)) for _ in range(4)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]",
    ),
    busy("endless generator as a result", "import itertools\ndef add(a, b): return itertools.count()", ENDED),
    busy(
        "endless text of an exception",
        "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
        ENDED,
    ),
]

IDLE = [
    late("sleep", "import time\ntime.sleep(10**6)"),
    late("sleep in a call", "import time\ndef add(a, b): time.sleep(10**6)"),
    late(
        "sleep that swallows every exception", "import time\nwhile True:\n    try: time.sleep(10**6)\n    except: pass"
    ),
    late(
        "sleep with termination ignored",
        "import signal, time\nfor s in (1, 2, 3, 15, 24): signal.signal(s, signal.SIG_IGN)\nwhile True: time.sleep(9)",
    ),
    late("stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", ENDED),
    late("stops itself in a call", "import os, signal\ndef add(a, b): os.kill(os.getpid(), signal.SIGSTOP)", ENDED),
    late("stops its group", "import os, signal\nos.kill(os.getpid(), signal.SIGTSTP)\nsignal.pause()", ENDED),
    late("waits for a signal", "import signal\nsignal.pause()"),
    late("deadlock", "import threading\nlock = threading.Lock()\nlock.acquire(); lock.acquire()"),
    late("event that never comes", "import threading\nthreading.Event().wait()"),
    late("empty queue", "import queue\ndef add(a, b): return queue.Queue().get()"),
    late("pipe that nobody writes to", "import os\nr, w = os.pipe()\nos.read(r, 1)"),
    late("event loop that runs for ever", "import asyncio\nasyncio.new_event_loop().run_forever()"),
    late("select on nothing", "import select\nselect.select([], [], [])"),
    late(
        "standard input read for ever",
        "import sys, time\nwhile True:\n    sys.stdin.read()\n    time.sleep(0.01)",
    ),
    late(
        "every descriptor read for ever",
        "import os, threading\nfor fd in range(64):\n"
        "    threading.Thread(target=lambda fd=fd: [os.set_blocking(fd, True), os.read(fd, 1 << 30)]).start()\n"
        "def add(a, b): threading.Event().wait()",
        ENDED,
    ),
    late("sleep at exit", "import atexit, time\natexit.register(time.sleep, 10**6)\nraise SystemExit", ENDED),
    late("sleep in a finaliser", "import time\nclass D:\n    def __del__(self): time.sleep(10**6)\nD()"),
    late(
        "thread that keeps the process alive",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(10**6,)).start()\nraise SystemExit",
        ENDED,
    ),
    late(
        "output closed, then sleep",
        "import os, time\nos.closerange(0, 256)\ntime.sleep(10**6)",
        ENDED,
    ),
    late("debugger", "breakpoint()\nimport time; time.sleep(10**6)", ENDED),
]

PROGRAMS = BUSY + IDLE
