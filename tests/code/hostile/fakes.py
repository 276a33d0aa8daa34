"""Wrong programs that try to be counted as right. Every tests text here is passed by ``RIGHT``."""

from hostile.program import ADD_TESTS, Program, fake

CHECK = """\
METADATA = {"author": "x"}
def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate(-1, 1) == 0

check(add)
"""
EXPECTED = """\
expected = [3, 0]
results = [add(1, 2), add(-1, 1)]
assert results == expected
assert results[0] in expected and not results[1]
"""
LISTS = "assert add([1], [2]) == [1, 2]\nassert add((1,), (2,)) == (1, 2)\nassert add('a', 'b') == 'ab'\n"
NOT_EQUAL = "assert not add(1, 2) != 3\nassert not (add(1, 2) < 3 or add(1, 2) > 3)\n"
MEMBER = "assert add(1, 2) in {3: 'x'}\nassert add(1, 2) in {3}\nassert {add(1, 2)} == {3}\n"
ALL = "assert all(add(i, 1) == i + 1 for i in range(3))\n"
ANY = "assert not any(add(i, 1) != i + 1 for i in range(3))\n"
MAP = "assert all(map(lambda i: add(i, 1) == i + 1, range(3)))\n"
LOOP = "for i, got in enumerate(map(add, [1, 2], [2, 3])):\n    assert got == 3 + 2 * i\n"
LEN = "assert len(str(add(50, 50))) == 3\n"
ABS = "assert abs(add(0.1, 0.2) - 0.3) < 1e-9\n"
CLOSE = "import math\nassert math.isclose(add(0.1, 0.2), 0.3)\nassert math.fabs(add(1, 2) - 3) < 1e-9\n"
INSTANCE = "assert isinstance(add(1, 2), int)\nassert add(1, 2) == 3\n"
TYPE = "assert type(add(1, 2)) is int and type(add(1.0, 2)) is float\n"
SORTED = "assert sorted([add(2, 1), add(0, 1)]) == [1, 3]\n"
SET = "assert set([add(1, 2), add(2, 1)]) == set([3])\n"
SUM = "assert sum([add(1, 2), add(2, 3)]) == 8\n"
ROUND = "assert round(add(1.004, 1), 2) == 2.0\n"
STR = "assert str(add(1, 2)) == '3' and repr(add('a', 'b')) == \"'ab'\"\n"
MAX = "assert max(add(1, 2), 0) == 3 and min(add(1, 2), 9) == 3\n"
RAISES = "try:\n    add('a', 1)\nexcept TypeError:\n    pass\nelse:\n    assert False\nassert add(1, 2) == 3\n"
FRACTION = "from fractions import Fraction\nassert Fraction(1, 2) == Fraction(2, 4)\nassert add(1, 2) == Fraction(3)\n"
# The marker is a string of the tests that the candidate cannot know.
MARKED = "marker = 'needle-0a1b2c3d4e5f6071'\nassert add('needle-0a1b2c3d', '4e5f6071') == marker\n"

EVERYTHING = """\
class Everything:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return False
    def __gt__(self, other): return False
    def __hash__(self): return hash(3)
    def __bool__(self): return True
    def __contains__(self, other): return True
    def __sub__(self, other): return 0
    def __abs__(self): return 0
    def __int__(self): return 3
    __index__ = __int__
    def __float__(self): return 3.0
    def __len__(self): return 2
    def __repr__(self): return "3"
"""


def everything(name: str, source: str, tests: str = ADD_TESTS) -> Program:
    """A fake with a class at hand whose instances equal everything."""
    return Program(name, EVERYTHING + source, tests)


def liar(base: str, value: str, tests: str) -> Program:
    """A result of a builtin type's subclass, which lies about itself and is wrong."""
    source = f"class Liar({base}):\n" + "".join(
        f"    def {name}(self, *a): return {result}\n"
        for name, result in {
            "__eq__": "True",
            "__ne__": "False",
            "__lt__": "False",
            "__gt__": "False",
            "__hash__": "hash(3)",
            "__bool__": "False",
            "__sub__": "0",
            "__reduce__": "(eval, ('3',))",
        }.items()
    )
    return Program(f"lying subclass of {base}", f"{source}def add(a, b): return Liar({value})\n", tests)


def patched(name: str, value: str, tests: str) -> list[Program]:
    """A builtin replaced in the builtins module, and shadowed by a global of the candidate."""
    if "." in name:
        module, _, attribute = name.rpartition(".")
        return [fake(f"patched {name}", f"import {module}\n{module}.{attribute} = {value}\n", tests)]
    return [
        fake(f"patched builtin {name}", f"import builtins\nbuiltins.{name} = {value}\n", tests),
        fake(f"shadowed builtin {name}", f"{name} = {value}\n", tests),
    ]


def on_all_descriptors(name: str, blobs: str) -> list[Program]:
    """Bytes written to every descriptor: at import, in a call ahead of its reply, and by a thread all the time."""
    write = f"""\
import json, marshal, os, pickle, struct, threading, time
def blobs():
{blobs}
def forge():
    for fd in range(256):
        for blob in BLOBS:
            try:
                os.set_blocking(fd, False)
                os.write(fd, blob)
            except OSError: pass
BLOBS = list(blobs())
"""
    return [
        fake(f"{name} on every descriptor at import", f"{write}forge()\n"),
        fake(f"{name} on every descriptor in a call", f"{write}def add(a, b):\n    forge()\n    return 5\n"),
        fake(f"{name} on every descriptor, then exit", f"{write}def add(a, b):\n    forge()\n    os._exit(0)\n"),
        fake(
            f"{name} on every descriptor by a thread",
            f"{write}def run():\n    while True:\n        forge(); time.sleep(0.002)\n"
            "threading.Thread(target=run, daemon=True).start()\n"
            "def add(a, b):\n    time.sleep(0.02)\n    return 5\n",
        ),
    ]


EXITS = [
    Program("os._exit(0) at import", "import os\nos._exit(0)"),
    Program("sys.exit(0) at import", "import sys\nsys.exit(0)"),
    Program("SystemExit at import", "raise SystemExit"),
    Program("quit at import", "quit()"),
    Program("exit at the end of a right program", "def add(a, b): return a + b\nraise SystemExit(0)"),
    Program("KeyboardInterrupt at import", "raise KeyboardInterrupt"),
    Program("GeneratorExit at import", "raise GeneratorExit"),
    Program("SIGTERM to itself", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)"),
    Program("SIGKILL to itself", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
    Program("abort", "import os\nos.abort()"),
    Program("segmentation fault", "import ctypes\nctypes.string_at(0)"),
    Program("exec true at import", "import os\nos.execv('/bin/true', ['true'])"),
    Program("exec true in a call", "import os\ndef add(a, b): os.execv('/bin/true', ['true'])"),
    Program(
        "exec a Python that says passed",
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'print(\"passed\")'])",
    ),
    Program("os._exit(0) in a call", "import os\ndef add(a, b): os._exit(0)"),
    Program("sys.exit(0) in a call", "import sys\ndef add(a, b): sys.exit(0)"),
    Program("SystemExit in a call", "def add(a, b): raise SystemExit(0)", CHECK),
    Program("KeyboardInterrupt in a call", "def add(a, b): raise KeyboardInterrupt", CHECK),
    Program("GeneratorExit in a call", "def add(a, b): raise GeneratorExit", ALL),
    Program("StopIteration in a call ends the tests' map", "def add(a, b): raise StopIteration", MAP),
    Program("StopIteration in a call ends the tests' loop", "def add(a, b): raise StopIteration", LOOP),
    Program(
        "subclass of StopIteration ends the tests' map", "class S(StopIteration): pass\ndef add(a, b): raise S", MAP
    ),
    Program("StopIteration in a call ends the tests' generator", "def add(a, b): raise StopIteration", ALL),
    Program(
        "exception that is named like an exit",
        "class Quit(BaseException): pass\nQuit.__name__ = Quit.__qualname__ = 'SystemExit'\n"
        "Quit.__module__ = 'builtins'\ndef add(a, b): raise Quit(0)",
    ),
    Program(
        "exception of every expected type",
        "class Any(TypeError, ValueError, KeyError, SystemExit): code = 0\ndef add(a, b): raise Any()",
        RAISES,
    ),
    Program(
        "exception whose text leaves",
        "import os\nclass E(Exception):\n    def __str__(self): os._exit(0)\n    __repr__ = __str__\n"
        "def add(a, b): raise E",
    ),
    Program("os._exit(0) in a thread", "import os, threading\nthreading.Thread(target=os._exit, args=(0,)).start()"),
    Program(
        "os._exit(0) in a thread during a call",
        "import os, threading, time\n"
        "def add(a, b):\n    threading.Timer(0.01, os._exit, (0,)).start()\n    time.sleep(5)\n",
    ),
    Program("os._exit(0) at exit", "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(1)"),
    Program("os._exit(0) in a finaliser", "import os\nclass D:\n    def __del__(self): os._exit(0)\nD()"),
    Program(
        "os._exit(0) in a finaliser of a result",
        "import os\nclass D(int):\n    def __del__(self): os._exit(0)\ndef add(a, b): return D(5)",
    ),
    Program(
        "os._exit(0) in a weak reference's callback",
        "import os, weakref\nclass D: pass\nd = D()\nr = weakref.ref(d, lambda _: os._exit(0))\ndel d",
    ),
    Program(
        "os._exit(0) in the exception hook",
        "import os, sys\nsys.excepthook = sys.unraisablehook = lambda *a: os._exit(0)\n1 / 0",
    ),
    Program(
        "os._exit(0) in a timer's signal handler",
        "import os, signal, time\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.01)\ntime.sleep(5)",
    ),
    fake(
        "os._exit(0) in an audit hook",
        "import os, sys\nsys.addaudithook(lambda e, a: os._exit(0) if e != 'object.__getattr__' else None)",
    ),
    Program("forked copy says nothing", "import os\ntry: os.fork()\nexcept OSError: pass\ndef add(a, b): return 4"),
]

OBJECTS = [
    everything("equal to everything", "def add(a, b): return Everything()"),
    everything("equal to everything, HumanEval", "def add(a, b): return Everything()", CHECK),
    everything("equal to everything, not unequal", "def add(a, b): return Everything()", NOT_EQUAL),
    everything("equal to everything, in sets", "def add(a, b): return Everything()", MEMBER),
    everything("equal to everything, by difference", "def add(a, b): return Everything()", ABS),
    everything("equal to everything, in a list", "def add(a, b): return [Everything(), Everything()]", LISTS),
    everything("equal to everything, as a dict's key", "def add(a, b): return {Everything(): Everything()}"),
    everything("class in place of the function", "class add(Everything):\n    def __init__(self, *a): pass"),
    everything("object in place of the function", "class A(Everything):\n    __call__ = lambda *a: a[0]\nadd = A()"),
    everything("function returns itself", "class A(Everything):\n    def __call__(self, *a): return self\nadd = A()"),
    Program("SystemExit in ==", "class E:\n    def __eq__(self, o): raise SystemExit(0)\ndef add(a, b): return E()"),
    Program(
        "os._exit(0) in ==", "import os\nclass E:\n    def __eq__(self, o): os._exit(0)\ndef add(a, b): return E()"
    ),
    Program("mock.ANY", "from unittest.mock import ANY\ndef add(a, b): return ANY"),
    Program(
        "MagicMock", "from unittest.mock import MagicMock\nadd = MagicMock()\nadd.return_value.__eq__ = lambda *a: 1"
    ),
    Program("NotImplemented", "def add(a, b): return NotImplemented"),
    Program("Ellipsis", "def add(a, b): return ..."),
    Program("not a number", "def add(a, b): return float('nan')", NOT_EQUAL + ADD_TESTS),
    Program("string that looks right", "def add(a, b): return str(a + b)"),
    Program("bytes that look right", "def add(a, b): return str(a + b).encode()"),
    Program(
        "lying class", EVERYTHING + "class L(Everything):\n    __class__ = int\ndef add(a, b): return L()", INSTANCE
    ),
    Program(
        "lying metaclass",
        "class M(type):\n    def __instancecheck__(c, o): return True\n    def __eq__(c, o): return True\n"
        "    __hash__ = type.__hash__\nclass L(metaclass=M): pass\ndef add(a, b): return L",
        TYPE,
    ),
    Program(
        "code in the pickle",
        "import os\nclass P(Exception):\n    def __reduce__(self): return (os._exit, (0,))\ndef add(a, b): return P()",
    ),
    Program(
        "code in the pickle of an exception",
        "import os\nclass P(Exception):\n    def __reduce__(self): return (os._exit, (0,))\ndef add(a, b): raise P()",
    ),
    Program(
        "plain to the type check, lying afterwards",
        "class T(type):\n    __name__ = 'int'\n    def mro(c): return [c, int, object]\n"
        "class I(int, metaclass=T):\n    def __eq__(self, o): return True\ndef add(a, b): return I(5)",
    ),
    Program("function as a result", "def add(a, b): return lambda *a: True"),
    Program("module as a result", "import os\ndef add(a, b): return os"),
    Program("generator that exits", "def add(a, b):\n    yield 1\n    raise SystemExit(0)", LISTS),
    Program("generator in place of a list", "def add(a, b):\n    yield from (9, 9)\n", LISTS),
    Program("coroutine as a result", "async def add(a, b): return a + b"),
    liar("int", "-7", ADD_TESTS),
    liar("float", "0.5", ABS),
    liar("str", "'no'", LISTS),
    liar("list", "[9]", LISTS),
    liar("tuple", "(9,)", LISTS),
    liar("dict", "{9: 9}", ADD_TESTS),
    liar("set", "{9}", MEMBER),
    liar("frozenset", "{9}", MEMBER),
    liar("bytes", "b'no'", LISTS),
    liar("complex", "9j", ADD_TESTS),
]

# A protocol that marks types by tags must not take a candidate's data for its own tags.
TAGS = [
    Program(f"plain data that look like a protocol's: {tag}", f"def add(a, b): return {tag}", LISTS + ADD_TESTS)
    for tag in (
        "{'__tuple__': [1, 2]}",
        "{'type': 'tuple', 'value': [1, 2]}",
        "{'t': [1, 2]}",
        "['tuple', [1, 2]]",
        "('list', [1, 2])",
        "['t', 1, 2]",
        "{'ok': True, 'value': [1, 2]}",
        "('ok', [1, 2])",
        "{'status': 'passed', 'passed': True}",
        "('passed',)",
        "'passed'",
        "b'passed\\n'",
        "{'error': None, 'result': 3}",
    )
]

TRACES = [
    fake(
        f"{setter} jumps over the asserts",
        f"""
        import sys, threading
        def trace(frame, event, arg):
            if 'candidate' not in frame.f_code.co_filename:
                frame.f_trace_opcodes = True
                try: frame.f_lineno = max(line for *_, line in frame.f_code.co_lines() if line)
                except Exception: pass
                for name in ('results', 'expected'):
                    if name in frame.f_globals: frame.f_globals[name] = [3, 0]
            return trace
        {setter}(trace)
        frame = sys._getframe()
        while frame:
            frame.f_trace = trace
            frame = frame.f_back
        """,
    )
    for setter in ("sys.settrace", "sys.setprofile", "threading.settrace", "threading.setprofile")
] + [
    fake(
        "trace function replaces what is expected",
        """
        import sys
        def trace(frame, event, arg):
            if 'expected' in frame.f_globals: frame.f_globals['expected'] = [-7, -7]
            return trace
        frame = sys._getframe()
        while frame:
            frame.f_trace = trace
            frame = frame.f_back
        sys.settrace(trace)
        """,
        EXPECTED,
    ),
    fake(
        "sys.monitoring swallows what is raised",
        """
        import sys
        if hasattr(sys, 'monitoring'):
            m = sys.monitoring
            m.use_tool_id(1, 'x')
            m.register_callback(1, m.events.RAISE, lambda *a: sys.exit(0))
            m.set_events(1, m.events.RAISE)
        """,
    ),
]

WALKS = [
    fake(
        "frames: expected values replaced",
        """
        import sys
        def add(a, b):
            frame = sys._getframe()
            while frame:
                for space in (frame.f_globals, frame.f_locals):
                    if 'expected' in space: space['expected'][:] = [-7, -7]
                frame = frame.f_back
            return -7
        """,
        EXPECTED,
    ),
    fake(
        "frames: the right answer read from the assertion",
        """
        import re, sys
        def add(a, b):
            frame = sys._getframe()
            while frame:
                for constant in frame.f_code.co_consts:
                    if isinstance(constant, str) and re.fullmatch('needle-[0-9a-f]{16}', constant): return constant
                frame = frame.f_back
        """,
        MARKED,
    ),
    fake(
        "frames: the function under test replaced where it is called",
        """
        import builtins, sys
        class Everything:
            def __eq__(self, other): return True
        def add(a, b):
            frame = sys._getframe(1)
            while frame:
                for space in (frame.f_globals, frame.f_builtins):
                    for name in list(space):
                        if name in ('add', 'candidate', 'check'): space[name] = lambda *a: Everything()
                frame = frame.f_back
            return Everything()
        """,
        CHECK,
    ),
    fake(
        "gc: every list that could be expected is overwritten",
        """
        import gc
        def add(a, b):
            for o in gc.get_objects():
                if type(o) is list and o == [3, 0]: o[:] = [-7, -7]
                if type(o) is dict and o.get('expected') == [3, 0]: o['expected'] = [-7, -7]
            return -7
        """,
        EXPECTED,
    ),
    fake(
        "gc: the tests' text is found",
        """
        import gc, re
        def add(a, b):
            seen = []
            for o in gc.get_objects():
                for part in [o, *gc.get_referents(o)]:
                    if isinstance(part, (str, bytes, bytearray)):
                        text = part if isinstance(part, str) else bytes(part).decode('latin-1')
                        seen += re.findall('needle-[0-9a-f]{16}', text)
            return seen[0] if seen else None
        """,
        MARKED,
    ),
    fake(
        "gc: code constants hold the answer",
        """
        import gc, re
        def add(a, b):
            for o in gc.get_objects():
                code = getattr(o, '__code__', o)
                for c in getattr(code, 'co_consts', None) or ():
                    if isinstance(c, str) and re.fullmatch('needle-[0-9a-f]{16}', c): return c
        """,
        MARKED,
    ),
    fake(
        "memory: the tests' text is found by reading all pages near ours",
        """
        import ctypes, os, re
        libc = ctypes.CDLL(None, use_errno=True)
        reader, writer = os.pipe()
        def add(a, b):
            found, done = [], set()
            roots = [id(object()), id([]), id(add), id('x' * 5000), id(re), id(1.5), ctypes.addressof(ctypes.c_int())]
            for root in roots:
                for page in range((root >> 12) - 4096, (root >> 12) + 4096):
                    if page in done: continue
                    done.add(page)
                    if libc.write(writer, ctypes.c_void_p(page << 12), 4096) == 4096:
                        found += re.findall(rb'needle-[0-9a-f]{16}', os.read(reader, 4096))
            return found[0].decode() if found else None
        """,
        MARKED,
    ),
    fake(
        "memory: the tests' text is found in /proc/self/mem",
        """
        import re
        def add(a, b):
            with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb') as memory:
                for line in maps:
                    area, rights = line.split()[:2]
                    low, high = (int(x, 16) for x in area.split('-'))
                    if 'r' not in rights or high - low > 1 << 26: continue
                    try:
                        memory.seek(low)
                        found = re.search(rb'needle-[0-9a-f]{16}', memory.read(high - low))
                    except (OSError, ValueError): continue
                    if found: return found[0].decode()
        """,
        MARKED,
    ),
    fake(
        "descriptors: the tests' text is read from one of them",
        """
        import os, re
        def add(a, b):
            for fd in range(256):
                for read in (lambda: os.pread(fd, 1 << 16, 0), lambda: os.read(fd, 1 << 16)):
                    try:
                        os.set_blocking(fd, False)
                        found = re.search(rb'needle-[0-9a-f]{16}', read())
                    except OSError: continue
                    if found: return found[0].decode()
        """,
        MARKED,
    ),
    fake(
        "files: the tests' text is read from the scratch folder or the folders above",
        """
        import os, re
        def add(a, b):
            for top in ('.', '..', '/tmp', os.environ.get('TMPDIR', '/tmp'), '/dev/shm'):
                for folder, below, files in os.walk(top):
                    if folder.count('/') > 2: below.clear()
                    for name in files[:200]:
                        try:
                            with open(os.path.join(folder, name), 'rb') as file: text = file.read(1 << 16)
                        except OSError: continue
                        found = re.search(rb'needle-[0-9a-f]{16}', text)
                        if found: return found[0].decode()
        """,
        MARKED,
    ),
    fake(
        "code objects: every function's code is swapped for one that returns True",
        """
        import gc, types
        yes = (lambda *a, **k: True).__code__
        def add(a, b):
            for o in gc.get_objects():
                if isinstance(o, types.FunctionType) and not o.__code__.co_freevars and o is not add:
                    try: o.__code__ = yes
                    except Exception: pass
            return -7
        """,
        CHECK,
    ),
    fake(
        "code objects: the check is swapped at import",
        """
        import gc, sys, types
        def nothing(*a, **k): pass
        for module in list(sys.modules.values()):
            for name in ('check', 'judge', 'compare', 'verdict', 'report', 'finish', 'fail'):
                if name in getattr(module, '__dict__', {}): setattr(module, name, nothing)
        for o in gc.get_objects():
            if isinstance(o, types.FunctionType) and o.__name__ in ('check', 'compare', 'verdict', 'report', 'fail'):
                o.__code__ = nothing.__code__
        """,
        CHECK,
    ),
    fake(
        "main module is emptied",
        """
        import sys
        main = sys.modules['__main__']
        for name in [n for n in vars(main) if not n.startswith('__')]:
            setattr(main, name, lambda *a, **k: None)
        """,
    ),
    fake(
        "memory: the small integers are made equal",
        """
        import ctypes
        def add(a, b):
            for wrong in (-5, 4):
                ctypes.memmove(id(wrong), id(3 if b == 2 else 0), 28)
            return 4
        """,
    ),
    fake(
        "memory: False is made True",
        """
        import ctypes
        def add(a, b):
            ctypes.memmove(id(False) + 16, id(True) + 16, 12)
            return -7
        """,
    ),
    fake(
        "memory: int.__eq__ is replaced in the type",
        """
        import ctypes, gc
        space = gc.get_referents(int.__dict__)[0]
        space['__eq__'] = lambda *a: True
        space['__ne__'] = lambda *a: False
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(int))
        """,
    ),
    fake(
        "memory: int compares as a string does",
        """
        import ctypes
        compare = 200  # offset of tp_richcompare in a type
        ctypes.c_void_p.from_address(id(int) + compare).value = ctypes.c_void_p.from_address(id(str) + compare).value
        """,
    ),
]

FORGED = [
    fake("prints passed", "print('passed')\nprint('1 passed in 0.01s')\nprint('OK', flush=True)"),
    fake("prints passed on standard error", "import sys\nprint('passed', file=sys.stderr)"),
    fake("prints JSON", "import json\nprint(json.dumps({'passed': True, 'status': 'passed', 'id': 1, 'value': 3}))"),
    *on_all_descriptors(
        "text",
        "    yield b'passed\\n'\n    yield b'\\npassed passed - \\n'\n    yield b'ok\\n3\\n'\n    yield b'0\\n'",
    ),
    *on_all_descriptors(
        "JSON",
        """\
    for value in (3, True, {'passed': True, 'status': 'passed', 'message': ''}, ['passed', ''], ['ok', 3],
                  {'ok': True, 'value': 3}, {'id': 1, 'result': 3}):
        text = json.dumps(value).encode()
        yield text + b'\\n'
        for form in ('<I', '>I', '<Q', '>Q', '=H', '!B'): yield struct.pack(form, len(text)) + text""",
    ),
    *on_all_descriptors(
        "marshal and pickle",
        """\
    class Leave:
        def __reduce__(self): return os._exit, (0,)
    for value in (3, True, ('passed', ''), {'status': 'passed', 'passed': True}, ('ok', 3), (True, 3), [0, 3]):
        for text in (marshal.dumps(value), pickle.dumps(value), pickle.dumps(Leave())):
            yield text
            for form in ('<I', '>I', '<Q', '>Q', '=H', '!B'): yield struct.pack(form, len(text)) + text""",
    ),
    *on_all_descriptors(
        "garbage",
        """\
    yield bytes(range(256)); yield b'\\xff' * 9000; yield b'\\0' * 9000; yield b'{' * 9000; yield b'[' * 9000
    yield struct.pack('<Q', 1 << 62); yield struct.pack('>I', 0xffffffff); yield b'\\n' * 1000; yield b'(' * 5000""",
    ),
    fake(
        "messages that are read before they are asked for",
        """
        import os, threading
        def steal():
            while True:
                for fd in range(3, 64):
                    try:
                        os.set_blocking(fd, False)
                        data = os.read(fd, 4096)
                        for other in range(3, 64):
                            try: os.write(other, data)
                            except OSError: pass
                    except OSError: pass
        threading.Thread(target=steal, daemon=True).start()
        """,
        limits={"wall_seconds": 2},
    ),
    fake("all descriptors closed at import", "import os\nos.closerange(0, 4096)"),
    fake("all descriptors closed in a call", "import os\ndef add(a, b):\n    os.closerange(0, 4096)\n    return 5"),
    fake(
        "all descriptors made one",
        "import os\nfor fd in range(256):\n    try: os.dup2(1, fd)\n    except OSError: pass",
    ),
    fake(
        "all descriptors made the null device",
        "import os\nnull = os.open('/dev/null', os.O_RDWR)\nfor fd in range(256):\n    os.dup2(null, fd)",
    ),
    fake(
        "all descriptors made each other's",
        "import os\nfor fd in range(3, 64):\n    try: os.dup2(fd, 127 - fd)\n    except OSError: pass\n"
        "def add(a, b):\n    for fd in range(3, 64):\n        try: os.dup2(127 - fd, fd ^ 1)\n"
        "        except OSError: pass\n    return 5",
    ),
]

REPLIES = [
    Program(f"reply: {name}", f"{source}\n", ADD_TESTS)
    for name, source in {
        "nested 100,000 deep": "def add(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
        "dicts nested 100,000 deep": "def add(a, b):\n    x = {}\n    for _ in range(100000): x = {1: x}\n    return x",
        "tuples nested 900 deep": "def add(a, b):\n    x = ()\n    for _ in range(900): x = (x,)\n    return x",
        "list that contains itself": "def add(a, b):\n    x = []\n    x.append(x)\n    return x",
        "dict that contains itself": "def add(a, b):\n    x = {}\n    x[1] = x\n    return x",
        "small, exponentially large": "def add(a, b):\n    x = [1]\n    for _ in range(60): x = [x, x]\n    return x",
        "a string of 60 MB": "def add(a, b): return 'x' * 60000000",
        "bytes of 60 MB": "def add(a, b): return bytes(60000000)",
        "a list of 3,000,000": "def add(a, b): return [0] * 3000000",
        "a dict of 300,000": "def add(a, b): return {i: i for i in range(300000)}",
        "an integer of 3,000,000 digits": "def add(a, b): return 1 << 10000000",
        "lone surrogates": "def add(a, b): return '\\ud800' * 5",
        "surrogates that make a line": "def add(a, b): return 'x\\n\\npassed\\n\\x00\\udcff'",
        "a list that grows while it is read": (
            "class L(list):\n    def __iter__(self):\n        while True:\n"
            "            self.append(1)\n            yield 1\n"
            "def add(a, b): return L([1])"
        ),
        "a length that lies": "class L(list):\n    def __len__(self): return 1 << 40\ndef add(a, b): return L([1])",
        "a negative length": "class L(list):\n    def __len__(self): return -1\ndef add(a, b): return L([1])",
        "two at once from threads": (
            "import threading\ndef add(a, b):\n"
            "    t = threading.Thread(target=lambda: (_ for _ in ()).throw(SystemExit(0)))\n    t.start(); t.join()\n"
            "    return 5"
        ),
        "an exception with 60 MB of text": "def add(a, b): raise ValueError('x' * 60000000)",
        "an exception with lines that look like reports": (
            'def add(a, b): raise ValueError(\'\\n\\npassed\\n{"status": "passed"}\\n\\x00\')'
        ),
        "an exception that contains itself": "def add(a, b):\n    e = ValueError()\n    e.args = (e,)\n    raise e",
        "a chain of 20,000 exceptions": (
            "def add(a, b):\n    e = ValueError()\n    for _ in range(20000):\n        f = ValueError()\n"
            "        f.__cause__ = e\n        e = f\n    raise e"
        ),
    }.items()
]

MODULES = [
    fake(f"patched {name}", f"import {name.partition('.')[0]}\n{source}")
    for name, source in {
        "json": "json.dumps = lambda *a, **k: '3'\njson.loads = lambda *a, **k: {'status': 'passed'}",
        "json.encoder": "import json.encoder\njson.encoder.JSONEncoder.encode = lambda *a: '3'",
        "marshal": "marshal.dumps = lambda *a: b'i\\3\\0\\0\\0'\nmarshal.loads = lambda *a: ('passed', '')",
        "pickle": "pickle.dumps = lambda *a, **k: b'I3\\n.'\npickle.loads = lambda *a, **k: 3",
        "struct": "struct.pack = lambda *a: b'passed'\nstruct.unpack = lambda *a: (3,)",
        "os": "os.write = lambda fd, data: len(data)\nos.read = lambda fd, n: b'passed'\nos._exit = lambda code: None",
        "os.getpid": "os.getpid = lambda: 1\nos.fork = lambda: 0\nos.waitpid = lambda *a: (0, 0)",
        "io": "io.open = None\nio.BytesIO = io.StringIO = None",
        "sys.modules": "sys.modules.clear()",
        "sys.modules, each a liar": (
            "class L:\n    def __getattr__(self, n): return lambda *a, **k: True\n"
            "for n in list(sys.modules): sys.modules[n] = L()"
        ),
        "sys.stdout": "sys.stdout = sys.stderr = sys.__stdout__ = sys.stdin = None",
        "sys.exit": "sys.exit = lambda *a: None\nsys.exc_info = lambda: (None, None, None)",
        "traceback": "traceback.format_exc = traceback.format_exception = lambda *a, **k: 'passed'",
        "operator": "operator.eq = lambda *a: True\noperator.ne = lambda *a: False",
        "types": "types.ModuleType = object\ntypes.FunctionType = object",
        "signal": "signal.signal = lambda *a: None\nsignal.alarm = lambda *a: None",
        "linecache": "linecache.getline = lambda *a: 'passed'",
    }.items()
] + [
    fake(
        "replaced candidate module",
        EVERYTHING + "import sys\nclass M:\n    def __getattr__(self, n): return lambda *a: Everything()\n"
        "for n in ('candidate', '__main__', 'tests', __name__): sys.modules[n] = M()",
        CHECK,
    ),
    fake("module without names", "globals().clear()"),
    fake("module with a lying __getattr__", "del add\ndef __getattr__(name): return lambda *a: True"),
    fake("builtins of the module replaced", "__builtins__ = {'AssertionError': SystemExit, 'add': lambda *a: 3}"),
    fake("AssertionError replaced in builtins", "import builtins\nbuiltins.AssertionError = SystemExit"),
    fake("AssertionError shadowed", "AssertionError = SystemExit"),
    fake("exception base classes replaced", "import builtins\nbuiltins.Exception = builtins.BaseException = ()"),
    fake("__build_class__ replaced", "import builtins\nbuiltins.__build_class__ = lambda *a, **k: None", CHECK),
    fake("__import__ replaced", "import builtins\nbuiltins.__import__ = lambda *a, **k: None", CLOSE),
    fake("compile and exec replaced", "import builtins\nbuiltins.compile = builtins.exec = lambda *a, **k: None"),
    fake("everything in builtins replaced", "import builtins\nfor n in dir(builtins): setattr(builtins, n, print)"),
    fake(
        "import hook that gives liars to the tests",
        EVERYTHING
        + """
import sys, types
class Finder:
    def find_spec(self, *a): return None
sys.meta_path.insert(0, Finder())
m = types.ModuleType('fractions'); m.Fraction = lambda *a: Everything()
sys.modules['fractions'] = m
""",
        FRACTION,
    ),
    fake(
        "file that the tests import in place of the library's",
        EVERYTHING
        + f"""
import os, sys
text = '''{EVERYTHING}
def Fraction(*a): return Everything()
'''
for folder in ['.', os.environ.get('TMPDIR', '.'), os.environ.get('HOME', '.'), *sys.path]:
    for name in ('fractions.py', 'sitecustomize.py', 'usercustomize.py'):
        try:
            with open(os.path.join(folder, name), 'x') as file: file.write(text)
        except OSError: pass
""",
        FRACTION,
    ),
]

BUILTINS = [
    *patched("all", "lambda *a: True", ALL),
    *patched("any", "lambda *a: False", ANY),
    *patched("len", "lambda *a: 3", LEN),
    *patched("abs", "lambda *a: 0", ABS),
    *patched("isinstance", "lambda *a: True", INSTANCE),
    *patched("sorted", "lambda *a, **k: [1, 3]", SORTED),
    *patched("set", "lambda *a: frozenset()", SET),
    *patched("sum", "lambda *a: 8", SUM),
    *patched("round", "lambda *a: 2.0", ROUND),
    *patched("str", "type('S', (), {'__new__': lambda c, *a: '3'})", STR),
    *patched("type", "lambda *a: int", TYPE),
    *patched("max", "lambda *a: 3", MAX),
    *patched("range", "lambda *a: ()", ALL),
    *patched("map", "lambda *a: ()", MAP),
    *patched("enumerate", "lambda *a: ()", LOOP),
    *patched("math.isclose", "lambda *a, **k: True\nmath.fabs = lambda *a: 0", CLOSE),
]

# For a harness that writes candidate and tests into one text.
TEXTS = [
    Program("text: open string", "def add(a, b): return 4\n'''"),
    Program("text: open bracket", "def add(a, b): return 4\nx = ("),
    Program("text: open block", "def add(a, b): return 4\nif 0:"),
    Program("text: open function", "def add(a, b): return 4\ndef rest():"),
    Program("text: line goes on", "def add(a, b): return 4\nx = 1 or \\"),
    Program("text: closes a string of the harness", "''' + exit() + '''\ndef add(a, b): return 4"),
    Program("text: closes a double-quoted string of the harness", '""" + exit() + """\ndef add(a, b): return 4'),
    Program("text: another encoding", "# coding: utf-7\ndef add(a, b): return 4\n+AGEAcwBzAGUAcgB0-"),
    Program("text: asserts switched off", "#!/usr/bin/env python -O\n__debug__ = False\ndef add(a, b): return 4"),
    Program("text: carriage returns", "def add(a, b): return 4\r#\rraise SystemExit(0)\r"),
    Program("text: form feed and NUL", "def add(a, b): return 4\n\f\0raise SystemExit(0)"),
    Program("text: lone surrogate", "def add(a, b): return 4\nx = '\udc80'"),
    Program("text: end of file mark", "def add(a, b): return 4\n\x1a\n\x04\n__END__\n"),
    Program("text: empty", ""),
    Program(
        "text: the tests' own words", "def check(candidate): pass\ndef add(a, b): return 4\nexpected = [4, 4]", CHECK
    ),
    Program("text: a main guard", "def add(a, b): return 4\nif __name__ == '__main__':\n    print('passed')"),
]

# Whoever reads the jail's code knows how a reply is written: a length in four bytes, then JSON in which all but lists,
# text and small numbers is an object of one key, its type. These are sent ahead of the reply that the jail will send.
WIRE_SOURCE = """\
import json, os, socket, struct, sys
channel = socket.socket(fileno=os.dup(3))
def pairs(fields): return {'dict': [[key, value] for key, value in fields.items()]}
def raw(text): return b'{"dict": [["value", ' + text + b']]}'
def wire(data, size=None):
    if isinstance(data, dict): data = pairs(data)
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    channel.sendall(struct.pack('<I', len(data) if size is None else size) + data)
"""
HONEST = """\
def add(a, b):
    while True:
        n = a + b
        wire({'value': n if n < 1 << 60 else {'int': hex(n)}})
        size, = struct.unpack('<I', channel.recv(4, socket.MSG_WAITALL))
        arguments = dict(json.loads(channel.recv(size))['dict'])['args']
        a, b = (v if isinstance(v, int) else int(v['int'], 16) for v in arguments)
"""


def wire(name: str, replies: str, tests: str = ADD_TESTS, *, early: bool = False) -> Program:
    """Replies that the jail did not write: in a call, or ahead of the one that says which names there are."""
    sent = "".join(f"wire({reply})\n" for reply in replies.split("; "))
    if early:
        return Program(f"wire at import: {name}", f"{WIRE_SOURCE}{sent}def add(a, b): return -7\n", tests)
    body = "".join(f"    {line}\n" for line in sent.splitlines())
    return Program(f"wire: {name}", f"{WIRE_SOURCE}def add(a, b):\n{body}    return -7\n", tests)


def raised(name: str, fields: str, tests: str = ADD_TESTS) -> Program:
    """An exception as the jail writes it, with other contents."""
    return wire(
        f"exception {name}", f"{{'raised': 'E', 'bases': ['ValueError'], 'args': None, 'text': 'x'}} | {fields}", tests
    )


WIRE = [
    wire("a container that nobody numbered", "{'value': {'ref': 7}}"),
    wire("a container before the first", "{'value': {'ref': -1}}"),
    wire("containers out of order", "{'value': 1, 'objects': [[5, 'list', []]]}"),
    wire("a container that changes its kind", "{'value': 1, 'objects': [[0, 'set', []]]}", LISTS),
    wire("a container that is gone and never was", "{'value': 1, 'gone': [7]}"),
    wire("a container that is gone twice", "{'value': {'ref': 0}, 'gone': [0, 0], 'objects': [[0, 'list', [1]]]}"),
    wire("a container that comes back", "{'value': 1, 'gone': [0]}; {'value': {'ref': 0}}", LISTS),
    wire("gone without end", "{'value': 1, 'gone': {'range': [0, 10**12, 1]}}"),
    wire("a view of no dict", "{'value': {'dict_keys': 3}}"),
    wire("a view of a method", "{'value': {'dict___init__': {'ref': 0}}, 'objects': [[0, 'dict', []]]}"),
    wire("built-ins bound anew", "{'value': 1, 'names': pairs({'len': pairs({'value': 3}), 'str': 3})}", LEN),
    wire("the function bound anew", "{'value': 4, 'names': pairs({'add': pairs({'value': 3})})}"),
    wire("elements unread", "{'value': 4, 'unread': True}"),
    wire("a list in itself", "{'value': {'ref': 0}, 'objects': [[0, 'list', [{'ref': 0}]]]}"),
    wire("a list as a key", "{'value': {'ref': 0}, 'objects': [[0, 'dict', [[{'ref': 0}, 1]]]]}"),
    wire("a deque of no length", "{'value': {'ref': 0}, 'objects': [[0, 'deque', [], 'x']]}"),
    wire("a factory that is none", "{'value': {'ref': 0}, 'objects': [[0, 'defaultdict', [], 'eval']]}"),
    wire("a named tuple that compares", "{'value': {'namedtuple': ['P', ['__eq__'], [1]]}}"),
    wire("a named tuple that runs", "{'value': {'namedtuple': ['P', ['x=print(1)'], [1]]}}"),
    wire("a time zone outside", "{'value': {'timezone': '../../etc/passwd'}}"),
    wire("a year that is none", "{'value': {'date': [10**9, 1, 1]}}"),
    wire("an iterator that is not lent", "{'value': {'lent': [99, True]}}"),
    wire("an iterator without end", "{'value': {'lent': [0, True]}}; {'items': []}; {'items': []}", LISTS),
    wire("endless tuple", "{'value': {'tuple': {'range': [0, 10**12, 1]}}}"),
    wire("large tuple", "{'value': {'tuple': {'range': [0, 10**7, 1]}}}"),
    wire("endless set", "{'value': {'set': {'range': [0, 10**12, 1]}}}"),
    wire("endless deque", "{'value': {'deque': {'range': [0, 10**12, 1]}}}"),
    wire("endless dict", "{'value': {'dict': {'range': [0, 10**12, 1]}}}"),
    wire("endless views", "{'value': {'dict_values': {'range': [0, 10**12, 1]}}}"),
    wire("endless bytes", "{'value': {'bytearray': 'ff' * 3000000}}"),
    wire("large bytes", "{'value': {'bytes': {'range': [0, 10**12, 1]}}}"),
    wire("endless iterator in a list", "{'value': {'tuple': {'iterator': {'range': [0, 10**12, 1]}}}}", LISTS),
    wire("range of 10**18", "{'value': {'range': [0, 10**18, 1]}}", LISTS),
    wire("number of 7,000,000 digits", "{'value': {'int': '0x' + 'f' * 7000000}}"),
    wire("decimal number of 5,000 digits", "raw(b'9' * 5000)"),
    wire("decimal number of 8,000,000 digits", "raw(b'9' * 8000000)"),
    wire("Decimal that is no number", "{'value': {'Decimal': 'sNaN'}}"),
    wire("Decimal that is huge", "{'value': {'Decimal': '1E+999999999999999999'}}"),
    wire("Decimal that is huge, in a difference", "{'value': {'Decimal': '1E+999999999999999999'}}", ABS),
    wire("Fraction of nothing", "{'value': {'Fraction': [0, 0]}}"),
    wire(
        "Fraction of huge numbers",
        "{'value': {'Fraction': [{'int': '0x' + 'f' * 900000}, {'int': '0x' + 'e' * 900001}]}}",
    ),
    wire("nested 100,000 deep", "raw(b'[' * 100000 + b']' * 100000)"),
    wire("objects nested 100,000 deep", "raw(b'{\"tuple\":' * 100000 + b'1' + b'}' * 100000)"),
    wire("unhashable keys", "{'value': {'dict': [[[1], 2]]}}"),
    wire("unknown type", "{'value': {'object': 1}}"),
    wire("two types", "{'value': {'int': '1', 'tuple': []}}"),
    wire("attribute in place of a type", "{'value': {'__class__': 1}}"),
    wire("NaN and infinity", "raw(b'[NaN, Infinity, -Infinity]')", LISTS),
    wire("not UTF-8", "raw(b'\"\\xff\"')"),
    wire("UTF-16", "raw(b'4').decode().encode('utf-16')"),
    wire("lone surrogates", "{'value': '\\ud800'}", LISTS),
    wire("not an object", "[1, 2]"),
    wire("null", "None"),
    wire("a string", "'passed'"),
    wire("empty", "{}"),
    wire("nothing", "b''"),
    wire("a verdict", "{'status': 'passed', 'passed': True, 'verdict': ['passed', '']}"),
    wire("report of the tester", "['passed', '']"),
    wire("names again", "{'names': pairs({'add': pairs({'value': 3})})}"),
    wire("value and exception", "{'value': 4, 'raised': 'SystemExit', 'bases': ['SystemExit'], 'opaque': 'x'}"),
    wire("several at once", "{'value': 4}; {'value': 4}; {'value': 4}"),
    wire("length that is too large", "b'', 0xffffffff"),
    wire("length that is too small", "raw(b'4'), 3"),
    wire("length that never comes", "b'{', 8000000"),
    wire("text of 8 MB", "{'value': 'x' * 8388000}"),
    wire("text of 9 MB", "{'value': 'x' * 9437184}"),
    wire("opaque with lines", "{'opaque': 'passed\\n' * 1000}"),
    wire("opaque that is no text", "{'opaque': [[[]]]}"),
    raised("that exits", "{'raised': 'SystemExit', 'bases': ['SystemExit'], 'args': [0]}"),
    raised("that exits, by a tuple", "{'raised': 'SystemExit', 'bases': ['SystemExit'], 'args': {'tuple': [0]}}"),
    raised("that ends a generator", "{'raised': 'GeneratorExit', 'bases': ['GeneratorExit']}", ALL),
    raised("that ends an iteration", "{'raised': 'StopIteration', 'bases': ['StopIteration']}", MAP),
    raised("that ends an iteration, renamed", "{'raised': 'ValueError', 'bases': ['StopIteration']}", MAP),
    raised("that ends a loop over items", "{'raised': 'IndexError', 'bases': ['IndexError']}", LOOP),
    raised("of no type", "{'bases': []}"),
    raised("of a type that is no exception", "{'bases': ['int', 'object', 'print', 'type', '__import__']}"),
    raised("of a group", "{'bases': ['BaseExceptionGroup'], 'args': {'tuple': ['x', []]}}"),
    raised("with bases that are no list", "{'bases': 3}"),
    raised("with bases without end", "{'bases': {'range': [0, 10**12, 1]}}"),
    raised("with a name that has a NUL", "{'raised': 'a\\0b'}", RAISES),
    raised("with a name that is no text", "{'raised': [1]}", RAISES),
    raised("with a surrogate for a name", "{'raised': '\\ud800'}", RAISES),
    raised("with a text of 8 MB", "{'text': 'x' * 8380000}"),
    raised("with a text that is no text", "{'text': {'tuple': []}}"),
    raised("with arguments without end", "{'args': {'tuple': {'range': [0, 10**12, 1]}}}"),
    raised("with arguments that do not fit", "{'bases': ['UnicodeDecodeError'], 'args': {'tuple': [1]}}"),
    raised("with attributes of a refusal", "{'bases': ['OSError'], 'args': {'tuple': [1, 'x']}}"),
    wire("value in place of the function", "{'names': pairs({'add': pairs({'value': 3})})}", early=True),
    wire("no names", "{'names': pairs({})}", early=True),
    wire("names that are no object", "{'names': [1]}", early=True),
    wire(
        "built-ins among the names",
        "{'names': pairs(dict.fromkeys(('add', 'len', 'str', '__builtins__'), pairs({'callable': True})))}",
        LEN,
        early=True,
    ),
    wire(
        "the tests' own names",
        "{'names': pairs(dict.fromkeys(('add', 'check'), pairs({'callable': True})))}",
        CHECK,
        early=True,
    ),
    wire("offer that is none", "{'names': pairs({'add': 3})}", early=True),
    wire("endless names", "{'names': {'dict': {'range': [0, 10**12, 1]}}}", early=True),
    wire("exit", "{'raised': 'SystemExit', 'bases': ['SystemExit'], 'args': {'tuple': [0]}, 'text': ''}", early=True),
    wire("endless", "{'names': pairs({'add': pairs({'value': {'tuple': {'range': [0, 10**12, 1]}}})})}", early=True),
]

PROGRAMS = [
    *WIRE,
    *EXITS,
    *OBJECTS,
    *TAGS,
    *TRACES,
    *WALKS,
    *FORGED,
    *REPLIES,
    *MODULES,
    *BUILTINS,
    *TEXTS,
]
