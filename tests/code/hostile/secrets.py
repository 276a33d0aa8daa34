"""Programs that look for what is not theirs.

The test plants ``pkt-secret-`` and 32 hex digits in the environment, in a command line, in files and in their names.
``look`` collects everything of that form; a pass means that a planted secret was found. Planted names: SECRET_FILE (in
the temporary folder), HOME_FILE (in the user's home), VICTIM (a process that has the secret in its environment and
command line), PLACES (folders with a file that is named by the secret).
"""

from textwrap import dedent, indent

from hostile.program import CTYPES, Program

SEARCH = """\
import os, re
FOUND = []
def keep(data):
    if isinstance(data, str): data = data.encode('utf-8', 'surrogateescape')
    FOUND.extend(m.decode() for m in re.findall(rb'pkt-secret-[0-9a-f]{32}', data))
def read(path, size=1 << 20):
    try:
        with open(path, 'rb') as file: keep(file.read(size))
    except OSError: pass
def names(path):
    try: found = os.listdir(path)
    except OSError: found = []
    keep(' '.join(found))
    return [os.path.join(path, name) for name in found]
def look():
    try: search()
    except Exception as error: print(type(error).__name__, error)
    print(*FOUND)
    return sorted(set(FOUND))
"""


def secret(name: str, source: str, *, provable: bool = False, late: bool = True) -> Program:
    """A search for the secret, in a call (``late``) or at import."""
    body = dedent(source)
    if late:
        body = "def search():\n" + indent(body, "    ")
    else:
        body = f"def search(): pass\n{body}"
    return Program(name, CTYPES + SEARCH + body, provable=provable)


PROGRAMS = [
    secret("environment: os.environ", "keep(repr(dict(os.environ)))"),
    secret("environment: os.environ at import", "keep(repr(dict(os.environ)))", late=False),
    secret(
        "environment: the C library's",
        """
        environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
        i = 0
        while environ and environ[i]:
            keep(environ[i])
            i += 1
        libc.getenv.restype = ctypes.c_char_p
        keep(libc.getenv(b'PKT_HOSTILE_SECRET') or b'')
        """,
    ),
    secret("environment: /proc/self", "read('/proc/self/environ')"),
    secret("environment: the parents'", "pid = os.getppid()\nread(f'/proc/{pid}/environ')\nread('/proc/1/environ')"),
    secret("environment: a process that is known", "read(f'/proc/{VICTIM}/environ')", provable=True),
    secret(
        "environment: every process",
        "for path in names('/proc'):\n    read(path + '/environ')",
        provable=True,
    ),
    secret("environment: every number", "for pid in range(1, 3000): read(f'/proc/{pid}/environ')"),
    secret("environment: a task's", "read(f'/proc/self/task/../../{VICTIM}/environ')", provable=True),
    secret(
        "environment: a shell's",
        "import subprocess\nkeep(subprocess.run('env; cat /proc/*/environ', shell=True, capture_output=True).stdout)",
        provable=True,
    ),
    secret("processes: command lines", "for path in names('/proc'):\n    read(path + '/cmdline')", provable=True),
    secret(
        "processes: command lines by ps",
        "import subprocess\nkeep(subprocess.run(['ps', 'axww'], capture_output=True).stdout)",
    ),
    secret(
        "processes: memory by /proc",
        """
        with open(f'/proc/{VICTIM}/maps') as maps, open(f'/proc/{VICTIM}/mem', 'rb') as memory:
            for line in maps:
                if '[stack]' in line:
                    low, high = (int(x, 16) for x in line.split()[0].split('-'))
                    memory.seek(low)
                    keep(memory.read(high - low))
        """,
    ),
    secret(
        "processes: memory of the parent",
        """
        for pid in {os.getppid(), 1, VICTIM}:
            try:
                with open(f'/proc/{pid}/maps') as maps, open(f'/proc/{pid}/mem', 'rb') as memory:
                    for line in maps:
                        low, high = (int(x, 16) for x in line.split()[0].split('-'))
                        if 'rw' in line and high - low < 1 << 26:
                            memory.seek(low)
                            keep(memory.read(high - low))
            except OSError: pass
        """,
    ),
    secret(
        "processes: our own memory, as the parent left it",
        """
        reader, writer = os.pipe()
        done = set()
        for root in (id(object()), id([]), id(keep), id('x' * 5000), id(1.5), ctypes.addressof(ctypes.c_int())):
            for page in range((root >> 12) - 4096, (root >> 12) + 4096):
                if page in done: continue
                done.add(page)
                if libc.write(writer, ctypes.c_void_p(page << 12), 4096) == 4096: keep(os.read(reader, 4096))
        """,
    ),
    secret(
        "processes: descriptors of others",
        "for path in names('/proc'):\n    for fd in names(path + '/fd')[:50]:\n"
        "        if os.path.isfile(fd): read(fd, 1 << 16)",
    ),
    secret(
        "processes: working folders of others",
        "for path in names('/proc'):\n    for link in ('/cwd', '/root'):\n"
        "        names(path + link)\n        read(path + link + SECRET_FILE)",
        provable=True,
    ),
    secret(
        "processes: memory by process_vm_readv",
        """
        buffer = ctypes.create_string_buffer(1 << 16)
        class Vector(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
        local = Vector(ctypes.addressof(buffer), len(buffer))
        for pid in (VICTIM, os.getppid(), 1):
            for low in (0x7ffffffe0000, 0x7fffffff0000, id(buffer) & ~0xffff):
                remote = Vector(low, len(buffer))
                if libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) > 0: keep(buffer.raw)
        """,
    ),
    secret(
        "processes: descriptors by pidfd_getfd",
        """
        for pid in (VICTIM, os.getppid(), 1):
            pidfd = call(434, pid, 0)
            for fd in range(64):
                stolen = call(438, pidfd, fd, 0)
                if stolen >= 0: read(f'/proc/self/fd/{stolen}'); keep(os.pread(stolen, 1 << 16, 0))
        """,
    ),
    secret("files: by path", "read(SECRET_FILE)", provable=True),
    secret("files: in the home folder", "read(HOME_FILE)", provable=True),
    secret("files: by path at import", "read(SECRET_FILE)\nread(HOME_FILE)", late=False, provable=True),
    secret(
        "files: the home folder's, from the user database",
        "import pwd\nfor user in pwd.getpwall():\n    for path in names(user.pw_dir):\n"
        "        if os.path.isfile(path): read(path)",
        provable=True,
    ),
    secret("files: names in folders", "for place in PLACES: names(place)", provable=True),
    secret(
        "files: names by glob and scandir",
        "import glob\nfor place in PLACES:\n    keep(repr(glob.glob(place + '/*')))\n"
        "    try: keep(repr(list(os.scandir(place))))\n    except OSError: pass",
        provable=True,
    ),
    secret(
        "files: upwards from here",
        "for up in range(1, 12): read('/'.join(['..'] * up) + SECRET_FILE)",
        provable=True,
    ),
    secret("files: through a symbolic link", "os.symlink(SECRET_FILE, 'link')\nread('link')", provable=True),
    secret("files: through a hard link", "os.link(SECRET_FILE, 'hard')\nread('hard')"),
    secret("files: renamed into the scratch folder", "os.rename(SECRET_FILE + '.moved', 'mine')\nread('mine')"),
    secret(
        "files: through open descriptors of folders",
        "for fd in range(256):\n    for path in (SECRET_FILE[1:], '../' * 12 + SECRET_FILE[1:]):\n"
        "        try: keep(os.read(os.open(path, os.O_RDONLY, dir_fd=fd), 4096))\n"
        "        except OSError: pass",
    ),
    secret(
        "files: through the processes' root",
        "for pid in ('self', 'thread-self', 1, os.getppid(), VICTIM):\n    read(f'/proc/{pid}/root{SECRET_FILE}')",
        provable=True,
    ),
    secret(
        "files: without O_RDONLY",
        "for flags in (os.O_RDWR, os.O_PATH, os.O_RDONLY | os.O_DIRECT, os.O_RDONLY | os.O_NONBLOCK):\n"
        "    try:\n        fd = os.open(SECRET_FILE, flags)\n        read(f'/proc/self/fd/{fd}')\n"
        "        read(f'/dev/fd/{fd}')\n        keep(os.read(fd, 4096))\n    except OSError: pass",
        provable=True,
    ),
    secret(
        "files: by openat2 and openat",
        """
        path = ctypes.c_char_p(SECRET_FILE.encode())
        how = ctypes.create_string_buffer(24)
        for fd in (call(437, -100, path, how, 24), libc.openat(-100, path, 0), libc.open(path, 0)):
            if fd >= 0: keep(os.read(fd, 4096))
        """,
        provable=True,
    ),
    secret(
        "files: by io_uring",
        """
        parameters = ctypes.create_string_buffer(120)
        ring = call(425, 4, parameters)
        if ring < 0: raise OSError(ctypes.get_errno(), 'io_uring_setup')
        p = struct.unpack_from('=30I', parameters)
        sq, cq = p[10:20], p[20:30]
        import mmap
        size = max(sq[6] + p[0] * 4, cq[5] + p[1] * 16)
        area = mmap.mmap(ring, size, offset=0)
        entries = mmap.mmap(ring, p[0] * 64, offset=0x10000000)
        path = ctypes.create_string_buffer(SECRET_FILE.encode())
        # one openat: opcode 18, fd AT_FDCWD, address of the path
        entries[0:64] = struct.pack('=BBHiQQIIQ24x', 18, 0, 0, -100, 0, ctypes.addressof(path), 0, 0, 7)
        area[sq[6]:sq[6] + 4] = struct.pack('=I', 0)
        area[sq[1]:sq[1] + 4] = struct.pack('=I', 1)
        call(426, ring, 1, 1, 1, 0, 0)
        fd = struct.unpack_from('=i', area, cq[5] + 8)[0]
        if fd >= 0: keep(os.read(fd, 4096))
        """,
        provable=True,
    ),
    secret(
        "files: by handle",
        """
        for mount in ('/', '/tmp', '/usr', '/lib', sys.prefix):
            handle = ctypes.create_string_buffer(struct.pack('=Ii', 128, 0) + bytes(128))
            number = ctypes.c_int()
            if libc.name_to_handle_at(-100, SECRET_FILE.encode(), handle, ctypes.byref(number), 0) == 0:
                fd = os.open(mount, os.O_RDONLY)
                file = libc.open_by_handle_at(fd, handle, 0)
                if file >= 0: keep(os.read(file, 4096))
        """,
    ),
    secret(
        "files: mapped or sent",
        """
        import mmap, shutil
        def send(): shutil.copy(SECRET_FILE, 'copy')
        def map(): keep(mmap.mmap(os.open(SECRET_FILE, 0), 0, prot=1))
        for act in (send, map):
            try: act()
            except OSError: pass
        read('copy')
        """,
        provable=True,
    ),
    secret(
        "files: imported",
        "import importlib.util, sys\nsys.path.insert(0, os.path.dirname(SECRET_FILE))\n"
        "try:\n    exec(compile(open(SECRET_FILE).read(), 'x', 'exec'))\nexcept Exception as error: keep(str(error))\n"
        "import linecache\nkeep(''.join(linecache.getlines(SECRET_FILE)))",
        provable=True,
    ),
    secret(
        "files: in an error's text",
        "import configparser, tokenize\n"
        "try: configparser.ConfigParser().read_string(open(SECRET_FILE).read())\nexcept Exception as e: keep(str(e))\n"
        "import runpy\ntry: runpy.run_path(SECRET_FILE)\n"
        "except BaseException as e: keep(str(e) + str(getattr(e, 'text', '')))",
        provable=True,
    ),
    secret(
        "files: in a namespace of our own",
        """
        libc.unshare(0x10000000 | 0x00020000)
        libc.mount(b'/', b'/mnt', None, 4096 | 16384, None)
        libc.chroot(b'/proc/1/root')
        read(SECRET_FILE); read('/mnt' + SECRET_FILE)
        """,
    ),
    secret(
        "kernel: log, kernel memory and devices",
        "import glob\nfor path in ['/dev/kmsg', '/dev/mem', '/proc/kcore', '/proc/kmsg', '/proc/keys', '/dev/vcs',\n"
        "             *glob.glob('/dev/tty*'), *glob.glob('/dev/pts/*')][:20]:\n"
        "    try: fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK); keep(os.read(fd, 4096))\n    except OSError: pass",
    ),
]


OTHERS = """\
def others(folder):
    shown = (sys.prefix, sys.base_prefix, sys.executable)  # a jail that shows these may show the folders above, empty
    return [n for n in os.listdir(folder) if not any(s.startswith(os.path.join(folder, n)) for s in shown)]
"""


def unreadable(name: str, source: str) -> Program:
    """A pass means that something was read, whatever is in it."""
    return Program(name, f"{CTYPES}{OTHERS}def probe():\n{indent(dedent(source), '    ')}", "assert probe()\n")


#: What any jail must not show, with no secret planted.
SYSTEM = [
    unreadable("system: /etc/shadow", "return open('/etc/shadow').read()"),
    unreadable("system: /etc/passwd", "return open('/etc/passwd').read()"),
    unreadable("system: user database", "import pwd\nreturn len(pwd.getpwall()) > 1"),
    unreadable(
        "system: /etc/hostname and machine-id", "return open('/etc/hostname').read() + open('/etc/machine-id').read()"
    ),
    unreadable("system: /root", "return others('/root')"),
    unreadable("system: /home", "return others('/home')"),
    unreadable("system: the harness's memory map", "return open(f'/proc/{HARNESS}/maps').read()"),
    unreadable("system: the harness's state", "return open(f'/proc/{HARNESS}/status').read()"),
    unreadable("system: the harness's code", "return open(REPOSITORY + '/pyproject.toml').read()"),
    unreadable("system: the git folder", "return os.listdir(REPOSITORY + '/.git')"),
    unreadable("system: whether a process exists", "return os.getpgid(VICTIM) > 0 or os.getsid(VICTIM) > 0"),
    unreadable("system: what a process may run on", "return len(os.sched_getaffinity(VICTIM)) > 0"),
    unreadable("system: how nice a process is", "return os.getpriority(os.PRIO_PROCESS, VICTIM) is not None"),
    unreadable("system: mounts", "return open('/proc/self/mountinfo').read()"),
    unreadable("system: block devices", "return open('/dev/vda', 'rb').read(1) or open('/dev/sda', 'rb').read(1)"),
    unreadable(
        "system: block devices, made",
        "os.mknod('device', 0o60600, os.makedev(254, 0))\nreturn open('device', 'rb').read(1)",
    ),
    unreadable("system: kernel log", "return libc.klogctl(3, ctypes.create_string_buffer(4096), 4096) > 0"),
    unreadable("system: cgroups", "return os.listdir('/sys/fs/cgroup')"),
    unreadable("system: network interfaces", "import socket\nreturn len(socket.if_nameindex()) > 1"),
]
