"""Programs that take what the machine has. ``probe`` says whether it got more than its limit of 256 MB or the like."""

from hostile.program import CTYPES, RIGHT, Program, system

#: A quarter of a GB is the limit of these programs.
MEMORY_MB = 256
TAKE = 640

OVER = ("memory", "killed", "error", "failed", "timeout", "refused")
#: Right answers are in order, as long as the machine takes no harm.
HARMLESS = ("passed", "memory", "killed", "error", "failed", "timeout", "refused", "output")

PLACES = [".", *"/dev/shm /tmp /var/tmp /run /run/lock /run/user/0 /var/lock /home /root /mnt /".split()]

MEMORY = [
    Program("memory: one string", "x = 'x' * (4 << 30)", statuses=("memory",)),
    Program("memory: many arrays", "x = []\nwhile True: x.append(bytearray(20 << 20))", statuses=("memory",)),
    Program("memory: a list that doubles", "x = [0]\nwhile True: x += x", statuses=("memory",)),
    Program("memory: in a call", "def add(a, b): return len(bytearray(1 << 30))", statuses=("memory",)),
    Program(
        "memory: swallowed MemoryError",
        "x = []\nwhile True:\n    try:\n        while True: x.append(bytearray(8 << 20))\n    except MemoryError: pass",
        statuses=("memory", "timeout", "killed"),
    ),
    Program(
        "memory: limit raised",
        """
        import resource
        def probe():
            for kind in ('RLIMIT_AS', 'RLIMIT_DATA', 'RLIMIT_RSS', 'RLIMIT_MEMLOCK'):
                try: resource.setrlimit(getattr(resource, kind), (-1, -1))
                except (OSError, ValueError): pass
            return len(bytearray(640 << 20)) > 0
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: shared map",
        f"import mmap\nm = mmap.mmap(-1, {TAKE} << 20)\nfor i in range(0, len(m), 4096): m[i] = 1\n"
        "def probe(): return True",
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: many small shared maps",
        """
        import mmap
        def probe():
            maps = []
            for _ in range(160):
                maps.append(mmap.mmap(-1, 4 << 20))
                for i in range(0, 4 << 20, 4096): maps[-1][i] = 1
            return True
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: children",
        """
        import os, time
        def probe():
            reader, writer = os.pipe()
            for _ in range(7):
                if os.fork() == 0:
                    x = bytearray(96 << 20)
                    x[::4096] = b'x' * len(x[::4096])
                    os.write(writer, b'x')
                    time.sleep(0.8)
                    os._exit(0)
            os.close(writer)
            taken = 0
            while os.read(reader, 1): taken += 96
            return taken >= 640
        """,
        "assert probe()\n",
        statuses=OVER,
        provable=True,
    ),
    system(
        "memory: memfd",
        f"""
        def probe():
            fd = libc.memfd_create(b'x', 0)
            taken = 0
            if fd >= 0:
                while taken < {TAKE}: taken += os.write(fd, bytes(1 << 20)) >> 20
            return taken >= {TAKE}
        """,
        statuses=OVER,
    ),
    system(
        "memory: many memfds",
        f"""
        def probe():
            taken = 0
            while taken < {TAKE}:
                fd = libc.memfd_create(b'x', 0)
                if fd < 0: return False
                for _ in range(14): taken += os.write(fd, bytes(1 << 20)) >> 20
            return True
        """,
        statuses=OVER,
        provable=True,
    ),
    system(
        "memory: System V segment",
        """
        def probe():
            taken, kept = 0, []
            for _ in range(10):
                number = libc.shmget(0, 64 << 20, 0o1600)
                if number < 0: break
                kept.append(number)
                address = libc.shmat(number, None, 0)
                if address in (None, ctypes.c_void_p(-1).value): break
                ctypes.memset(address, 1, 64 << 20)
                libc.shmdt(ctypes.c_void_p(address))
                taken += 64
            for number in kept: libc.shmctl(number, 0, None)
            return taken >= 64
        """,
        statuses=OVER,
        provable=True,
    ),
    Program(
        "memory: pipes",
        """
        import fcntl, os
        def probe():
            taken, kept = 0, []
            for _ in range(100):
                pipe = os.pipe()
                for megabytes in (64, 8, 1):
                    try: fcntl.fcntl(pipe[1], 1031, megabytes << 20); break
                    except OSError: pass
                os.set_blocking(pipe[1], False)
                try:
                    while taken < 640 << 20: taken += os.write(pipe[1], bytes(1 << 20))
                except BlockingIOError: pass
                kept.append(pipe)
            return taken >= 640 << 20
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: socket buffers",
        """
        import os, socket
        def probe():
            taken, kept = 0, []
            for _ in range(100):
                a, b = socket.socketpair()
                for end in (a, b):
                    for option in (32, 33, 7, 8):
                        try: end.setsockopt(socket.SOL_SOCKET, option, 1 << 28)
                        except OSError: pass
                a.setblocking(False)
                try:
                    while taken < 640 << 20: taken += a.send(bytes(1 << 20))
                except OSError: pass
                kept += a, b
            return taken >= 640 << 20
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: files in every place",
        f"""
        import os, sys
        def probe():
            taken = 0
            for place in {PLACES} + sys.path + [os.environ.get('HOME', '.'), os.environ.get('TMPDIR', '.')]:
                try:
                    for number in range(40):
                        with open(f'{{place}}/{{MARK}}-{{number}}', 'wb') as file:
                            for _ in range(15): taken += file.write(bytes(1 << 20)) >> 20
                except OSError: pass
            return taken >= {TAKE}
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: one large file",
        "with open('large', 'wb') as file:\n    for _ in range(64): file.write(bytes(1 << 20))\n"
        "def probe(): return True\n",
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: unlinked files",
        f"""
        import os
        def probe():
            taken, kept = 0, []
            for number in range(100):
                kept.append(open('f', 'wb', 0))
                os.unlink('f')
                for _ in range(8): taken += kept[-1].write(bytes(1 << 20)) >> 20
                if taken >= {TAKE}: return True
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "memory: shared memory of the library",
        f"""
        from multiprocessing import shared_memory
        def probe():
            segment = shared_memory.SharedMemory(create=True, size={TAKE} << 20)
            segment.buf[::4096] = bytes(len(segment.buf[::4096]))
            segment.unlink()
            return True
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    system(
        "memory: locked pages",
        "def probe(): return libc.mlockall(3) == 0 and bytearray(64 << 20) and bytearray(640 << 20) != b''",
        statuses=OVER,
    ),
]

KERNEL = [
    Program(
        "20,000 files",
        RIGHT + "import os\nos.mkdir('d')\nfor i in range(20000): open(f'd/{i}', 'x').close()",
        statuses=HARMLESS,
    ),
    Program(
        "5,000 folders in one another",
        RIGHT + "import os\nfor i in range(5000):\n    os.mkdir('d')\n    os.chdir('d')",
        statuses=HARMLESS,
    ),
    Program(
        "threads without end",
        """
        import threading
        threading.stack_size(32768)
        lock = threading.Lock()
        lock.acquire()
        def probe():
            n = 0
            while n < 4000:
                try: threading.Thread(target=lock.acquire, daemon=True).start()
                except (RuntimeError, MemoryError): break
                n += 1
            return n >= 4000  # of 32,768 process numbers that a small machine has
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "threads that start threads",
        RIGHT + "import threading\ndef bomb():\n    while True:\n        try: threading.Thread(target=bomb).start()\n"
        "        except BaseException: pass\nbomb()",
        statuses=OVER,
    ),
    Program(
        "descriptors without end",
        "import os\ndef probe():\n    n = 0\n"
        "    try:\n        while n < 5000:\n            os.dup(1)\n            n += 1\n"
        "    except OSError: pass\n    return n >= 5000",
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "descriptors in flight",
        """
        import array, os, socket
        def probe():
            n = 0
            pairs = [socket.socketpair() for _ in range(20)]
            fd = os.dup(1)
            for a, b in pairs:
                a.setblocking(False)
                try:
                    while n < 5000:
                        a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd] * 200))])
                        n += 200
                except OSError: pass
            return n >= 5000
        """,
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "recursion without limit",
        "import sys\nsys.setrecursionlimit(2**31 - 1)\ndef add(a, b): return add(a, b)",
        statuses=OVER,
    ),
    Program(
        "recursion without limit in C",
        "import sys\nsys.setrecursionlimit(2**31 - 1)\nclass A: pass\nA.__call__ = A()\ndef add(a, b): return A()()",
        statuses=OVER,
    ),
    Program(
        "recursion in a thread with a stack of 1 GB",
        "import sys, threading\nthreading.stack_size(1 << 30)\nsys.setrecursionlimit(2**31 - 1)\n"
        "def f(): f()\nt = threading.Thread(target=f)\nt.start(); t.join()",
        statuses=OVER,
    ),
    Program(
        "timers that fire all the time",
        "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)\nwhile True: pass",
        statuses=OVER,
    ),
]

COMPILE = [
    Program("compile: 1,000,000 brackets", "(" * 1_000_000, statuses=OVER),
    Program("compile: 100,000 minus signs", "x = " + "-" * 100_000 + "1", statuses=OVER),
    Program("compile: 1,000 nested calls", "x = " + "f(" * 1000 + ")" * 1000, statuses=OVER),
    Program("compile: a constant of 8 GB", "x = 'x' * 2 ** 33", statuses=OVER),
    Program("compile: a number of 10,000,000,000 bits", "x = 1 << 10 ** 10", statuses=OVER),
    Program("compile: nested f-strings", "x = " + "f'{" * 200 + "1" + "}'" * 200, statuses=OVER),
    Program("compile: 4 MB of statements", "x = 1\n" * 700_000, statuses=OVER),
    Program("compile: a line of 8 MB", "x = '" + "x" * (8 << 20) + "'\n", statuses=OVER),
    Program("compile: 99 levels of indentation", "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "x = 1"),
    Program("compile: a number of 5,000 digits", "x = " + "9" * 5000, statuses=OVER),
]

#: Judged apart: the harness's own memory is measured around them.
FLOODS = [
    Program(f"flood: {name}", RIGHT + source, statuses=statuses)
    for name, source, statuses in [
        ("standard output", "while True: print('x' * 100000)", ("output",)),
        ("standard error", "import sys\nwhile True: print('x' * 100000, file=sys.stderr)", ("output",)),
        ("1 GB at once", "import os\nx = b'x' * (64 << 20)\nfor _ in range(16): os.write(1, x)", ("output",)),
        ("1 GB in a call", "import os\ndef add(a, b):\n    while True: os.write(1, bytes(1 << 20))", ("output",)),
        (
            "by a thread",
            "import os, threading, time\ndef run():\n    while True: os.write(2, bytes(1 << 16))\n"
            "threading.Thread(target=run, daemon=True).start()\ntime.sleep(9)",
            ("output",),
        ),
        (
            "every descriptor",
            "import os, threading, time\n"
            "def run(fd):\n    try:\n        while True: os.write(fd, bytes(1 << 20))\n    except OSError: pass\n"
            "for fd in range(3, 64): threading.Thread(target=run, args=(fd,), daemon=True).start()\ntime.sleep(9)",
            ("output", *OVER),
        ),
        (
            "every descriptor, by lines",
            "import os, time\ndef add(a, b):\n    while True:\n        for fd in range(1, 64):\n"
            "            try: os.set_blocking(fd, False); os.write(fd, b'y' * 65535 + b'\\n')\n"
            "            except OSError: pass\n",
            ("output", *OVER),
        ),
        (
            "with sleeps",
            "import time\nwhile True:\n    print('x' * 9999, flush=True)\n    time.sleep(0.01)",
            ("output",),
        ),
    ]
]

# Only once a single fork has been seen to be refused.
BOMBS = [
    Program(
        "fork bomb",
        RIGHT + "import os\nfor _ in range(12):\n    try: os.fork()\n    except OSError: pass",
        statuses=HARMLESS,
    ),
    Program(
        "fork bomb by subprocesses",
        "import subprocess, sys\nfor _ in range(60):\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
        statuses=OVER,
    ),
    Program(
        "fork bomb by a pool",
        "from multiprocessing import Pool\ndef add(a, b):\n    with Pool(30) as p: return p.map(abs, range(99))",
        statuses=OVER,
    ),
    Program(
        "fork bomb by system",
        "import os\ndef probe(): return any(os.system('exit 0') == 0 for _ in range(30))",
        "assert probe()\n",
        statuses=OVER,
    ),
    Program(
        "fork bomb by vfork and clone",
        CTYPES
        + """
def probe():
    forked = False
    for number in (57, 58) if os.uname().machine == 'x86_64' else ():
        child = libc.fork() if number == 57 else -1
        if child == 0: os._exit(0)
        forked |= child > 0
    child = call(56 if os.uname().machine == 'x86_64' else 220, 17, 0, 0, 0, 0)
    if child == 0: os._exit(0)
    return forked or child > 0
""",
        "assert probe()\n",
        statuses=OVER,
        provable=True,
    ),
]

PROGRAMS = MEMORY + KERNEL + COMPILE
