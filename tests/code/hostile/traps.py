"""Programs that make cleaning up hard, and programs that would have the next one judged wrongly.

``TRAPS`` leave something in the scratch folder (OUTSIDE is a folder that must not be touched); each is right, so that
it may pass where it may write. ``LEFTOVERS`` change the state of their process; PROBE, judged next, prints what it
finds.
"""

from hostile.program import RIGHT, WRONG, Program

DONE = ("passed", "refused", "error", "killed", "timeout")


def trap(name: str, source: str) -> Program:
    """A right program that leaves something behind."""
    return Program(name, f"{RIGHT}import os, stat\n{source}", statuses=DONE)


TRAPS = [
    trap("folder of mode 0", "os.mkdir('shut'); open('shut/file', 'w').close(); os.chmod('shut', 0)"),
    trap("scratch folder of mode 0", "open('file', 'w').close(); os.chmod('.', 0)"),
    trap("file of mode 0", "open('file', 'w').close(); os.chmod('file', 0)"),
    trap("tree of mode 0", "os.makedirs('a/b/c')\nfor d in ('a/b/c', 'a/b', 'a'): os.chmod(d, 0)"),
    trap(
        "symbolic links outside",
        "os.symlink(OUTSIDE, 'link'); os.symlink(OUTSIDE + '/kept', 'file')\n"
        "os.mkdir('d'); os.symlink('../..', 'd/up'); os.symlink('/', 'root')",
    ),
    trap(
        "folder swapped for a link",
        "os.mkdir('d'); open('d/kept', 'w').close(); os.rename('d', 'e'); os.symlink(OUTSIDE, 'd')",
    ),
    trap(
        "scratch folder swapped for a link",
        "here = os.getcwd()\nos.chdir('/')\ntry: os.rename(here, here + '.old')\n"
        "except OSError: os.chdir(here)\nelse: os.symlink(OUTSIDE, here)",
    ),
    trap(
        "links swapped by a thread while it is cleaned",
        "import threading\nos.mkdir('d'); open('d/kept', 'w').close()\n"
        "def swap():\n    while True:\n        try:\n            os.rename('d', 'e'); os.symlink(OUTSIDE, 'd')\n"
        "            os.unlink('d'); os.rename('e', 'd')\n"
        "        except OSError: pass\nthreading.Thread(target=swap, daemon=True).start()",
    ),
    trap("400 folders deep", "for i in range(400):\n    os.mkdir('d'); os.chdir('d')"),
    trap("1,200 folders deep, shut", "for i in range(1200):\n    os.mkdir('d'); os.chdir('d')\nos.chmod('.', 0)"),
    trap("names of 255 bytes, 30 deep", "for i in range(30):\n    os.mkdir('n' * 255); os.chdir('n' * 255)"),
    trap(
        "names that are not text",
        "for n in (b'\\xff\\xfe', b'a\\nb', b' ', b'-rf', b'--', b'*', b'\\x1b[2J', b'$(id)', b'a\\\\'):\n"
        "    open(n, 'w').close()\nos.mkdir(b'\\xff\\n'); open(b'\\xff\\n/\\x80', 'w').close()",
    ),
    trap(
        "pipes and sockets",
        "os.mkfifo('pipe')\ntry:\n    import socket; socket.socket(socket.AF_UNIX).bind('s')\nexcept OSError: pass",
    ),
    trap("scratch folder removed", "here = os.getcwd()\nos.chdir('/'); os.rmdir(here)"),
    trap(
        "sticky and set-ID bits",
        "os.mkdir('d', 0o777); os.chmod('d', 0o7777); open('d/f', 'w').close(); os.chmod('d/f', 0o6000)",
    ),
    trap(
        "open files", "files = [open(str(i), 'w') for i in range(100)]\n[os.unlink(str(i)) for i in range(0, 100, 2)]"
    ),
    trap(
        "mapped file",
        "import mmap\nf = open('f', 'w+b'); f.write(bytes(1 << 20)); f.flush(); m = mmap.mmap(f.fileno(), 0)",
    ),
    trap("many files", "for i in range(3000): open(str(i), 'w').close()"),
    trap(
        "file that is full",
        "f = open('f', 'wb', 0)\ntry:\n    while True: f.write(bytes(1 << 20))\nexcept OSError: pass",
    ),
    trap(
        "immutable",
        "import fcntl, struct\nopen('f', 'w').close()\n"
        "try: fcntl.ioctl(os.open('f', os.O_RDONLY), 0x40086602, struct.pack('l', 0x30))\nexcept OSError: pass",
    ),
    trap(
        "locks",
        "import fcntl\nf = open('f', 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
        "d = os.open('.', os.O_RDONLY); fcntl.flock(d, fcntl.LOCK_EX)",
    ),
    trap(
        "thread that goes on writing",
        "import threading\ndef run():\n    i = 0\n    while True:\n        i += 1\n"
        "        try: os.makedirs(f'd/{i}')\n        except OSError: pass\n"
        "threading.Thread(target=run, daemon=True).start()",
    ),
]

#: Prints the state that a program finds. Nothing in it depends on time or chance.
PROBE = r"""
import builtins, gc, importlib, json, locale, os, resource, signal, string, sys, threading, time, warnings
def names(path):
    try: return sorted(os.listdir(path))
    except OSError as error: return type(error).__name__
def umask():
    old = os.umask(0)
    os.umask(old)
    return old
def size(name):
    try: return sorted(set(vars(importlib.import_module(name))) - {'__warningregistry__'})
    except Exception as error: return type(error).__name__
def is_open(number):
    try: return os.fstat(number) is not None
    except OSError: return False
def handler(number):
    try: return repr(signal.getsignal(number)).split(' at ')[0]
    except ValueError: return None
STATE = {
    'folder': names('.'),
    'folders': {path: names(path) for path in ('/', '/tmp', '/dev/shm', '/var/tmp', '/run', os.environ.get('HOME', '.'))
                if not os.path.isdir(path) or path not in UNSTABLE},
    'environment': sorted(os.environ.items()),
    'umask': umask(),
    'limits': [resource.getrlimit(k) for k in range(16)],
    'handlers': [handler(n) for n in range(1, 65)],
    'blocked': sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    'pending': sorted(signal.sigpending()),
    'timers': [signal.getitimer(k)[0] > 0 for k in (0, 1, 2)],
    'affinity': sorted(os.sched_getaffinity(0)),
    'threads': threading.active_count(),
    'modules': sorted(sys.modules),
    'path': sys.path,
    'argv': sys.argv,
    'finders': len(sys.meta_path) + len(sys.path_hooks),
    'recursion': sys.getrecursionlimit(),
    'digits': getattr(sys, 'get_int_max_str_digits', int)(),
    'switch': sys.getswitchinterval(),
    'trace': [sys.gettrace() is None, sys.getprofile() is None, sys.excepthook is sys.__excepthook__],
    'displayhook': sys.displayhook is sys.__displayhook__,
    'collector': [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
    'builtins': sorted(vars(builtins)),
    'builtin types': sorted(repr(type(v)) for v in vars(builtins).values()),
    'library': {n: size(n) for n in ('json', 'math', 'random', 'collections', 'functools', 're', 'itertools', 'os')},
    'warnings': len(warnings.filters),
    'locale': locale.setlocale(locale.LC_ALL),
    'zone': time.tzname,
    'class': sorted(vars(string.Template)),
    'works': [json.dumps([1]), json.loads('[1]'), len('ab'), sorted([2, 1]), os.path.join('a', 'b'), abs(-1)],
    'mine': sorted(n for n in globals() if 'evil' in n.lower()),
    'descriptors': sum(is_open(n) for n in range(256)),
}
print(json.dumps(STATE, default=str))
def probe(): return True
"""


def leftover(name: str, source: str, key: str = "") -> Program:
    """Changes the state that PROBE calls ``key``, if it stays in the same process; "" where it cannot be seen so."""
    return Program(name, WRONG + "import os, sys\n" + source + "\n", provable=bool(key), limits={"key": key})


LEFTOVERS = [
    leftover("attribute of a library's class", "import string\nstring.Template.evil = 1", "class"),
    leftover("function of a library's module", "import json\njson.dumps = lambda *a, **k: 'evil'"),
    leftover("attribute of a module", "import math\nmath.evil = 1", "library"),
    leftover("builtin added", "import builtins\nbuiltins.evil = 1", "builtins"),
    leftover(
        "builtin replaced",
        "import builtins\nbuiltins.sorted = lambda *a, **k: 'evil'\nbuiltins.abs = lambda x: 'evil'",
        "works",
    ),
    leftover("global variable", "evil = 1\nglobal_evil = 2", "mine"),
    leftover("environment", "os.environ['EVIL'] = '1'\nos.environ.pop('PATH', None)", "environment"),
    leftover("environment of the C library", "os.putenv('EVIL', '1')\nos.environb[b'EVIL2'] = b'1'", "environment"),
    leftover("module added", "import types\nsys.modules['evil'] = types.ModuleType('evil')", "modules"),
    leftover("module removed", "sys.modules.pop('string', None)\nsys.modules.pop('json', None)"),
    leftover("module made unavailable", "sys.modules['decimal'] = sys.modules['fractions'] = None"),
    leftover("search path", "sys.path.insert(0, '/evil')\nsys.path_hooks.append(lambda p: None)", "path"),
    leftover("arguments", "sys.argv.append('evil')", "argv"),
    leftover(
        "import hook", "class F:\n    def find_spec(self, *a): return None\nsys.meta_path.insert(0, F())", "finders"
    ),
    leftover("umask", "os.umask(0o777)", "umask"),
    leftover("working folder", "os.chdir('/')", "folder"),
    leftover("file in the scratch folder", "open('evil', 'w').close()", "folder"),
    leftover(
        "files in every place",
        "for p in ('/tmp', '/dev/shm', '/var/tmp', '/run', os.environ.get('HOME', '.')):\n"
        "    try: open(f'{p}/evil-{MARK}', 'w').close()\n    except OSError: pass",
    ),
    leftover(
        "limits lowered",
        "import resource\nfor k, v in ((resource.RLIMIT_NOFILE, 40), (resource.RLIMIT_STACK, 1 << 20)):\n"
        "    resource.setrlimit(k, (v, v))",
        "limits",
    ),
    leftover(
        "limits raised",
        "import resource\nfor k in range(16):\n"
        "    try: resource.setrlimit(k, (-1, -1))\n    except (OSError, ValueError): pass",
    ),
    leftover(
        "signal handlers",
        "import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
        "handlers",
    ),
    leftover("blocked signals", "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))", "blocked"),
    leftover(
        "pending signals",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [10])\nos.kill(os.getpid(), 10)",
        "pending",
    ),
    leftover(
        "timers",
        "import signal\nsignal.signal(14, signal.SIG_IGN)\nsignal.setitimer(0, 50)\nsignal.alarm(50)",
        "timers",
    ),
    leftover("niceness", "os.nice(5)"),
    leftover("affinity", "os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})"),
    leftover(
        "threads",
        "import threading, time\nfor _ in range(5): threading.Thread(target=time.sleep, args=(60,)).start()",
        "threads",
    ),
    leftover(
        "busy threads",
        "import threading\ndef run():\n    while True: pass\n"
        "for _ in range(3): threading.Thread(target=run, daemon=True).start()",
        "threads",
    ),
    leftover("recursion limit", "sys.setrecursionlimit(7000)", "recursion"),
    leftover("digits of an integer", "getattr(sys, 'set_int_max_str_digits', int)(0)"),
    leftover("switch interval", "sys.setswitchinterval(100)", "switch"),
    leftover(
        "trace function",
        "import threading\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\n"
        "threading.settrace(lambda *a: None)",
        "trace",
    ),
    leftover(
        "audit hook",
        "def hook(event, arguments):\n    if event in ('open', 'import', 'exec', 'compile'): raise ValueError('evil')\n"
        "sys.addaudithook(hook)",
    ),
    leftover("display hook", "sys.displayhook = print", "displayhook"),
    leftover("garbage collector", "import gc\ngc.disable(); gc.freeze(); gc.set_threshold(1)", "collector"),
    leftover("warnings", "import warnings\nwarnings.simplefilter('error')", "warnings"),
    leftover("locale and zone", "import time\nos.environ['TZ'] = 'EVL-5'\ntime.tzset()", "zone"),
    leftover("standard streams", "sys.stdout.close(); sys.stderr.close(); sys.stdin = None"),
    leftover("open descriptors", "KEPT = [os.dup(1) for _ in range(20)]", "descriptors"),
    leftover("closed descriptors", "os.closerange(0, 256)"),
    leftover(
        "garbage on every descriptor",
        "for fd in range(3, 256):\n    try: os.set_blocking(fd, False); os.write(fd, b'\\xff' * 500)\n"
        "    except OSError: pass",
    ),
    leftover(
        "a verdict on every descriptor",
        "import json, marshal, struct\nfor fd in range(3, 256):\n"
        "    for t in (b'passed\\n', json.dumps({'status': 'passed'}).encode(), marshal.dumps(('passed', ''))):\n"
        "        try: os.set_blocking(fd, False); os.write(fd, t); os.write(fd, struct.pack('<I', len(t)) + t)\n"
        "        except OSError: pass",
    ),
    leftover(
        "locks that are held", "import logging, threading\nthreading.Thread(target=logging._lock.acquire).start()"
    ),
    leftover("crash", "import ctypes\nctypes.string_at(0)"),
    leftover("killed", "os.kill(os.getpid(), 9)"),
    leftover("stopped", "os.kill(os.getpid(), 19)"),
    leftover("exit", "os._exit(0)"),
    leftover("out of memory", "x = []\nwhile True: x.append(bytearray(16 << 20))"),
    leftover("out of time", "while True: pass"),
    leftover("asleep", "import time\ntime.sleep(1000)"),
    leftover("too much output", "while True: print('x' * 65536)"),
    leftover("exit in a call", "def add(a, b): os._exit(3)"),
    leftover(
        "children",
        "import time\nfor _ in range(3):\n    try:\n        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "    except OSError: pass",
    ),
    leftover("group and session", "for f in (os.setpgrp, os.setsid):\n    try: f()\n    except OSError: pass"),
    leftover(
        "process flags",
        "import ctypes\nlibc = ctypes.CDLL(None)\n"
        "for a in ((1, 15), (4, 0), (4, 1), (36, 1), (38, 1), (15, b'evil')):\n"
        "    libc.prctl(a[0], a[1], 0, 0, 0)",
    ),
    leftover(
        "a filter of its own",
        """import ctypes, struct
libc = ctypes.CDLL(None)
code = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0x7fff0000))
libc.prctl(22, 2, ctypes.create_string_buffer(struct.pack('=HxxxxxxQ', 1, ctypes.addressof(code))), 0, 0)""",
    ),
]

REFUSED = [
    Program("socket", "import socket\nsocket.socket()", statuses=("refused",)),
    Program("socket in a call", "import socket\ndef add(a, b): socket.socket()", statuses=("refused",)),
    Program(
        "connection", "import socket\ndef add(a, b): socket.create_connection(('127.0.0.1', 9))", statuses=("refused",)
    ),
    Program("unix socket", "import socket\nsocket.socket(socket.AF_UNIX)", statuses=("refused",)),
    Program("fork", "import os\nos.fork()", statuses=("refused",)),
    Program("fork in a call", "import os\ndef add(a, b): return os.fork()", statuses=("refused",)),
    Program("subprocess", "import subprocess\nsubprocess.run(['true'])", statuses=("refused",)),
    Program(
        "subprocess in a call", "import subprocess\ndef add(a, b): subprocess.run(['true'])", statuses=("refused",)
    ),
    Program(
        "multiprocessing",
        "import multiprocessing\nc = multiprocessing.get_context('fork')\nc.Process(target=print).start()",
        statuses=("refused",),
    ),
    Program("memory file", "import os\nos.memfd_create('x')", statuses=("refused",)),
    Program(
        "asyncio connection",
        "import asyncio\nasync def go(): await asyncio.open_connection('127.0.0.1', 9)\n"
        "def add(a, b): asyncio.run(go())",
        statuses=("refused",),
    ),
    Program(
        "write beside the interpreter",
        "import os\nopen(os.path.dirname(os.__file__) + '/pkt_hostile', 'w')",
        statuses=("refused", "error"),
    ),
]
#: A refusal that the program handled is not what it ended by.
NOT_REFUSED = [
    Program(
        "handled, then wrong", WRONG + "import socket\ntry: socket.socket()\nexcept OSError: pass", statuses=("failed",)
    ),
    Program(
        "handled, then another error",
        "import socket\ntry: socket.socket()\nexcept OSError: pass\n1 / 0",
        statuses=("error",),
    ),
]
