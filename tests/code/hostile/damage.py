"""Programs that do harm outside. Planted names:

OUTSIDE  a folder of the program's own that the user may write to, with ``kept`` (a file), ``folder/inner`` and ``link``
VICTIM   a process of the user's
HARNESS  the process that judges
"""

from textwrap import dedent, indent

from hostile.program import CTYPES, Program, system


def harm(name: str, source: str, *, provable: bool = True) -> Program:
    """Changes something in OUTSIDE, if it can; ``provable`` if it can without a jail."""
    body = indent(dedent(source).strip("\n"), "    ")
    candidate = f"{CTYPES}import shutil\nKEPT = OUTSIDE + '/kept'\ndef attack():\n{body}\n"
    return Program(
        name, candidate + "try: attack()\nexcept Exception as error: print(repr(error))\n", provable=provable
    )


LATER = "time.sleep(0.4)\nopen(OUTSIDE + '/later', 'w').close()"

FILES = [
    harm("unlink", "os.unlink(KEPT)"),
    harm("remove a tree", "shutil.rmtree(OUTSIDE)"),
    harm("remove a folder", "os.unlink(OUTSIDE + '/folder/inner')\nos.rmdir(OUTSIDE + '/folder')"),
    harm("truncate by name", "os.truncate(KEPT, 0)"),
    harm("truncate by opening", "os.open(KEPT, os.O_WRONLY | os.O_TRUNC)"),
    harm("truncate by opening to read", "os.open(KEPT, os.O_RDONLY | os.O_TRUNC)"),
    harm("overwrite", "open(KEPT, 'r+').write('hostile')"),
    harm("append", "open(KEPT, 'a').write('hostile')"),
    harm("create", "open(OUTSIDE + '/new', 'x').close()"),
    harm("create a folder", "os.mkdir(OUTSIDE + '/new')"),
    harm("create a pipe", "os.mkfifo(OUTSIDE + '/new')"),
    harm("create a node", "os.mknod(OUTSIDE + '/new')"),
    harm("create a socket", "import socket\nsocket.socket(socket.AF_UNIX).bind(OUTSIDE + '/new')"),
    harm("create a symbolic link", "os.symlink('/', OUTSIDE + '/new')"),
    harm("create a hard link", "os.link(KEPT, OUTSIDE + '/new')"),
    harm(
        "create without a name, then link",
        "fd = os.open(OUTSIDE, os.O_TMPFILE | os.O_RDWR)\n"
        "libc.linkat(-100, f'/proc/self/fd/{fd}'.encode(), -100, (OUTSIDE + '/new').encode(), 0x400)",
    ),
    harm("rename", "os.rename(KEPT, OUTSIDE + '/moved')"),
    harm("rename away", "os.rename(KEPT, 'mine')", provable=False),
    harm("rename over", "open('mine', 'w').write('hostile')\nos.rename('mine', KEPT)", provable=False),
    harm("exchange", "libc.renameat2(-100, KEPT.encode(), -100, (OUTSIDE + '/folder/inner').encode(), 2)"),
    harm(
        "swap a symbolic link",
        "os.symlink('/nowhere', OUTSIDE + '/new')\nos.replace(OUTSIDE + '/new', OUTSIDE + '/link')",
    ),
    harm("write through a symbolic link of ours", "os.symlink(KEPT, 'mine')\nopen('mine', 'w').write('hostile')"),
    harm("write through a symbolic link of theirs", "open(OUTSIDE + '/link', 'w').write('hostile')"),
    harm(
        "write through a hard link of ours", "os.link(KEPT, 'mine')\nopen('mine', 'w').write('hostile')", provable=False
    ),
    harm("chmod", "os.chmod(KEPT, 0o777)"),
    harm("chmod of a folder", "os.chmod(OUTSIDE, 0)"),
    harm("chmod by a symbolic link of ours", "os.symlink(KEPT, 'mine')\nos.chmod('mine', 0o777)"),
    harm("chmod of an open file", "os.fchmod(os.open(KEPT, os.O_RDONLY), 0o777)"),
    harm("chmod of an open path", 'os.chmod(f"/proc/self/fd/{os.open(KEPT, os.O_PATH)}", 0o777)'),
    harm("chmod by fchmodat2", "call(452, -100, ctypes.c_char_p(KEPT.encode()), 0o777, 0)", provable=False),
    harm("set user ID", "os.chmod(KEPT, 0o4755)"),
    harm("chown", "os.chown(KEPT, os.getuid(), os.getgid())"),
    harm("chown of a link", "os.lchown(OUTSIDE + '/link', os.getuid(), os.getgid())"),
    harm("utime", "os.utime(KEPT, (1, 1))"),
    harm("utime of a folder", "os.utime(OUTSIDE, (1, 1))"),
    harm("utime of an open file", "os.utime(os.open(KEPT, os.O_RDONLY), (1, 1))"),
    harm("extended attribute", "os.setxattr(KEPT, 'user.hostile', b'x')", provable=False),
    harm("allocate", "os.posix_fallocate(os.open(KEPT, os.O_RDWR), 0, 1 << 16)"),
    harm("punch a hole", "libc.fallocate(os.open(KEPT, os.O_RDWR), 3, ctypes.c_long(0), ctypes.c_long(4096))"),
    harm("write through a map", "import mmap\nm = mmap.mmap(os.open(KEPT, os.O_RDWR), 0)\nm[:3] = b'hos'"),
    harm("copy over", "shutil.copyfile(__import__('os').__file__, KEPT)"),
    harm("send over", "r, w = os.pipe(); os.write(w, b'hostile')\nos.splice(r, os.open(KEPT, os.O_WRONLY), 7)"),
    harm(
        "inode flags",
        "import fcntl\nfcntl.ioctl(os.open(KEPT, os.O_RDONLY), 0x40086602, struct.pack('l', 0x80))",
        provable=False,
    ),
    harm("relative path", "open('../' * 20 + KEPT[1:], 'w').write('hostile')"),
    harm("change folder, then write", "os.chdir(OUTSIDE)\nopen('kept', 'w').write('hostile')"),
    harm("folder descriptor", "fd = os.open(OUTSIDE, os.O_RDONLY)\nos.unlink('kept', dir_fd=fd)"),
    harm("path descriptor", "fd = os.open(OUTSIDE, os.O_PATH)\nos.unlink('kept', dir_fd=fd)"),
    harm(
        "open descriptors of folders",
        "for fd in range(256):\n"
        "    for path in ('../' * 20 + KEPT[1:], KEPT[1:]):\n"
        "        try: os.unlink(path, dir_fd=fd)\n        except OSError: pass",
        provable=False,
    ),
    harm(
        "through a process's root",
        "for pid in ('self', 1, os.getppid(), HARNESS):\n"
        "    try: open(f'/proc/{pid}/root{KEPT}', 'w').write('hostile')\n    except OSError: pass",
    ),
    harm(
        "through a process's folder",
        "for pid in ('self', 1, os.getppid(), HARNESS):\n"
        "    try: open(f'/proc/{pid}/cwd/' + '../' * 20 + KEPT[1:], 'w').write('hostile')\n    except OSError: pass",
    ),
    harm("a shell's rm", "os.system(f'rm -rf {OUTSIDE}/*')"),
    harm("a child's rm", "import subprocess\nsubprocess.run(['rm', '-r', OUTSIDE])"),
    harm("a thread", "import threading\nt = threading.Thread(target=os.unlink, args=(KEPT,))\nt.start(); t.join()"),
    harm("log file", "import logging\nlogging.basicConfig(filename=OUTSIDE + '/log')\nlogging.error('x')"),
    harm("database", "import sqlite3\nsqlite3.connect(OUTSIDE + '/new').execute('create table t (x)')"),
    harm("by system call", "fd = libc.open(KEPT.encode(), 1)\nlibc.write(fd, b'hostile', 7)"),
    harm(
        "by io_uring, unlink",
        """
        import mmap
        parameters = ctypes.create_string_buffer(120)
        ring = call(425, 4, parameters)
        p = struct.unpack_from('=30I', parameters)
        sq, cq = p[10:20], p[20:30]
        area = mmap.mmap(ring, max(sq[6] + p[0] * 4, cq[5] + p[1] * 16), offset=0)
        entries = mmap.mmap(ring, p[0] * 64, offset=0x10000000)
        path = ctypes.create_string_buffer(KEPT.encode())
        entries[0:64] = struct.pack('=BBHiQQIIQ24x', 36, 0, 0, -100, 0, ctypes.addressof(path), 0, 0, 7)
        area[sq[6]:sq[6] + 4] = struct.pack('=I', 0)
        area[sq[1]:sq[1] + 4] = struct.pack('=I', 1)
        call(426, ring, 1, 1, 1, 0, 0)
    """,
    ),
    harm("mount over", "libc.mount(b'none', OUTSIDE.encode(), b'tmpfs', 0, None)", provable=False),
    harm("bind over", "libc.mount(b'/usr', (OUTSIDE + '/folder').encode(), None, 4096, None)", provable=False),
    harm(
        "mount in a namespace, write to the old root",
        """
        libc.unshare(0x10000000 | 0x00020000)
        libc.mount(b'none', b'/', None, 16384 | 262144, None)
        os.makedirs('root', exist_ok=True)
        libc.mount(b'/', b'root', None, 4096 | 16384, None)
        open('root' + KEPT, 'w').write('hostile')
    """,
        provable=False,
    ),
    harm(
        "leave by chroot",
        """
        os.mkdir('jail')
        up = os.open('.', os.O_RDONLY)
        libc.chroot(b'jail')
        os.fchdir(up)
        for _ in range(40): os.chdir('..')
        libc.chroot(b'.')
        open(KEPT, 'w').write('hostile')
    """,
        provable=False,
    ),
    harm(
        "join a namespace",
        """
        for pid in (VICTIM, os.getppid(), 1):
            try:
                libc.setns(os.open(f'/proc/{pid}/ns/mnt', os.O_RDONLY), 0)
                open(KEPT, 'w').write('hostile')
            except OSError: pass
    """,
    ),
    harm("join a namespace by pidfd", "libc.setns(call(434, VICTIM, 0), 0x20000)\nopen(KEPT, 'w').write('hostile')"),
    harm(
        "by handle",
        """
        handle = ctypes.create_string_buffer(struct.pack('=Ii', 128, 0) + bytes(128))
        number = ctypes.c_int()
        libc.name_to_handle_at(-100, KEPT.encode(), handle, ctypes.byref(number), 0)
        for mount in ('/', '/usr', sys.prefix):
            file = libc.open_by_handle_at(os.open(mount, os.O_RDONLY), handle, 2)
            if file >= 0: os.write(file, b'hostile')
    """,
        provable=False,
    ),
    harm(
        "by the 32-bit table",
        """
        import mmap
        code = bytes.fromhex('53 89f8 89f3 4189c8 89d1 4489c2 cd80 5b c3')
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(code)
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_long] * 4)(start)
        low = libc.mmap(ctypes.c_void_p(0x10000000), 4096, 3, 0x32, -1, ctypes.c_long(0))
        ctypes.memmove(low, KEPT.encode() + bytes(1), len(KEPT) + 1)
        if os.uname().machine == 'x86_64': function(10, low, 0, 0)
    """,
    ),
]


def child(name: str, fork: str, *, before: str = "", session: bool = True, provable: bool = True) -> Program:
    """A child that touches OUTSIDE when its parent has long ended; ``fork`` gives 0 in the child, as fork does."""
    lines = [*before.splitlines(), f"pid = {fork}", "if pid == 0:"]
    lines += ["    os.setsid()"] if session else []
    lines += [f"    {line}" for line in LATER.splitlines()] + ["    os._exit(0)"]
    lines += ["elif pid > 0: time.sleep(0.3)"]  # so that it has its session before the parent's group is killed
    return harm(name, "\n".join(["import time", *lines]), provable=provable)


CLONE = "number = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]"
DAEMONS = [
    harm(
        "thread that goes on",
        f"def later():\n{indent(LATER, '    ')}\nimport threading, time\nthreading.Thread(target=later).start()",
        provable=False,
    ),
    child("child", "os.fork()", session=False, provable=False),
    child("child in a session of its own", "os.fork()"),
    child("child of a child", "os.fork() or os.fork()"),
    child(
        "child that ignores signals",
        "os.fork()",
        before="import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)",
    ),
    child(
        "child of a thread",
        "result[0]",
        before=(
            "import threading\nresult = []\n"
            "t = threading.Thread(target=lambda: result.append(os.fork()))\nt.start()\nt.join()"
        ),
        provable=False,
    ),
    harm(
        "subprocess",
        "import subprocess\n"
        "subprocess.Popen(['sh', '-c', f'sleep 0.4; touch {OUTSIDE}/later'], start_new_session=True)",
    ),
    harm("spawned", "os.posix_spawn('/bin/sh', ['sh', '-c', f'sleep 0.4; touch {OUTSIDE}/later'], {}, setsid=True)"),
    harm(
        "multiprocessing",
        "import multiprocessing, time\n"
        "c = multiprocessing.get_context('fork')\n"
        "c.Process(target=os.system, args=(f'setsid sh -c \"sleep 0.4; touch {OUTSIDE}/later\" &',)).start()\n"
        "time.sleep(0.3)\nos._exit(0)",
    ),
    child("child by clone's number", "call(number, 17, 0, 0, 0, 0)", before=CLONE),
    child(
        "child by clone3",
        "call(435, a, 64)",
        before="a = ctypes.create_string_buffer(struct.pack('=8Q', 0, 0, 0, 0, 17, 0, 0, 0))",
    ),
    child(
        "child by clone with flags of a thread, in part", "call(number, 0x200 | 0x400 | 17, 0, 0, 0, 0)", before=CLONE
    ),
    child("child by the C library's fork", "libc.fork()"),
    child("pseudo-terminal", "pty.fork()[0]", before="import pty", session=False, provable=False),
    harm(
        "executed in place",
        "os.execv('/bin/sh', ['sh', '-c', f'setsid sleep 0.4; touch {OUTSIDE}/later'])",
        provable=False,
    ),
]


def interfere(name: str, source: str, *, provable: bool = True) -> Program:
    """Does something to VICTIM; ``provable`` if an ordinary user's program can, to a process of the same user."""
    body = indent(dedent(source).strip("\n"), "    ")
    return Program(
        name,
        f"{CTYPES}import resource, signal\ndef attack():\n{body}\n"
        "try: attack()\nexcept Exception as error: print(repr(error))\n",
        provable=provable,
    )


#: Victims of these are looked at by state, niceness, limits, affinity and signals received (SIGWINCH).
VICTIMS = [
    interfere("signal by kill", "os.kill(VICTIM, signal.SIGWINCH)"),
    interfere("signal by tkill", "call({'x86_64': 200, 'aarch64': 130}[os.uname().machine], VICTIM, 28)"),
    interfere("signal by tgkill", "call({'x86_64': 234, 'aarch64': 131}[os.uname().machine], VICTIM, VICTIM, 28)"),
    interfere("signal by sigqueue", "libc.sigqueue(VICTIM, 28, ctypes.c_void_p(0))"),
    interfere("signal by pidfd", "call(424, call(434, VICTIM, 0), 28, None, 0)"),
    interfere("signal to the group", "os.killpg(GROUP, signal.SIGWINCH)"),
    interfere(
        "signal by asynchronous input",
        """
        import fcntl
        r, w = os.pipe()
        fcntl.fcntl(r, fcntl.F_SETOWN, VICTIM)
        fcntl.fcntl(r, 10, signal.SIGWINCH)
        fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.write(w, b'x')
        """,
    ),
    interfere("niceness", "os.setpriority(os.PRIO_PROCESS, VICTIM, 19)", provable=False),
    interfere("limit", "resource.prlimit(VICTIM, resource.RLIMIT_NOFILE, (5, 5))"),
    interfere("CPU limit", "resource.prlimit(VICTIM, resource.RLIMIT_CPU, (1000, 1000))"),
    interfere("affinity", "os.sched_setaffinity(VICTIM, {max(os.sched_getaffinity(0))})", provable=False),
    interfere("scheduling", "os.sched_setscheduler(VICTIM, os.SCHED_BATCH, os.sched_param(0))"),
    interfere("chance of being killed", "open(f'/proc/{VICTIM}/oom_score_adj', 'w').write('999')"),
    interfere("name", "open(f'/proc/{VICTIM}/comm', 'w').write('hostile')", provable=False),
    interfere(
        "ptrace: attach and leave it stopped",
        "call({'x86_64': 101, 'aarch64': 117}[os.uname().machine], 16, VICTIM, 0, 0)\nimport time\ntime.sleep(0.1)",
        provable=False,
    ),
    interfere(
        "ptrace: seize, interrupt",
        "n = {'x86_64': 101, 'aarch64': 117}[os.uname().machine]\n"
        "call(n, 0x4206, VICTIM, 0, 0)\ncall(n, 0x4207, VICTIM, 0, 0)\nimport time\ntime.sleep(0.1)",
        provable=False,
    ),
    interfere(
        "memory written",
        """
        class Vector(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
        junk = ctypes.create_string_buffer(4096)
        with open(f'/proc/{VICTIM}/maps') as maps:
            areas = [l.split()[0].split('-') for l in maps if ' rw' in l]
        for low, high in areas:
            local, remote = Vector(ctypes.addressof(junk), 4096), Vector(int(low, 16), 4096)
            libc.process_vm_writev(VICTIM, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        os.kill(VICTIM, signal.SIGWINCH)
    """,
    ),
    interfere(
        "memory written by /proc",
        """
        areas = [l.split()[0].split('-') for l in open(f'/proc/{VICTIM}/maps') if ' rw' in l]
        with open(f'/proc/{VICTIM}/mem', 'r+b', 0) as memory:
            for low, high in areas:
                memory.seek(int(low, 16)); memory.write(bytes(4096))
        os.kill(VICTIM, signal.SIGWINCH)
    """,
    ),
    interfere("kill", "os.kill(VICTIM, signal.SIGKILL)"),
    interfere("stop", "os.kill(VICTIM, signal.SIGSTOP)"),
    interfere("limit that kills", "resource.prlimit(VICTIM, resource.RLIMIT_CPU, (0, 0))", provable=False),
]


def everybody(name: str, source: str) -> Program:
    """Never run without a jail: it would end the machine's session."""
    return interfere(f"all: {name}", source, provable=False)


#: Signals for everybody in reach: first one that nobody minds, the rest only once that one reached nobody.
ALL_GENTLE = [
    everybody("gently, to everybody", "os.kill(-1, signal.SIGWINCH)"),
    everybody("gently, to the group", "os.kill(0, signal.SIGWINCH)"),
    everybody("gently, to the group by number", "os.killpg(GROUP, signal.SIGWINCH)"),
    everybody("gently, to the harness", "os.kill(HARNESS, signal.SIGWINCH)"),
    everybody("gently, to the parent", "os.kill(os.getppid(), signal.SIGWINCH)"),
    everybody(
        "gently, to every number",
        """
        for pid in range(1, 2 + max(HARNESS, VICTIM)):
            for target in (pid, -pid):
                try: os.kill(target, signal.SIGWINCH)
                except OSError: pass
        """,
    ),
]
ALL_DEADLY = [
    everybody("SIGKILL to everybody", "os.kill(-1, signal.SIGKILL)"),
    everybody("SIGSTOP to everybody", "os.kill(-1, signal.SIGSTOP)"),
    everybody("SIGTERM to everybody", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.kill(-1, signal.SIGTERM)"),
    everybody("SIGKILL to the group", "os.kill(0, signal.SIGKILL)"),
    everybody("SIGSTOP to the group", "os.killpg(0, signal.SIGSTOP)"),
    everybody("SIGKILL to the parent", "os.kill(os.getppid(), signal.SIGKILL)"),
    everybody("SIGSTOP to the parent", "os.kill(os.getppid(), signal.SIGSTOP)"),
    everybody("SIGKILL to the harness", "os.kill(HARNESS, signal.SIGKILL)"),
    everybody("SIGINT to the harness", "os.kill(HARNESS, signal.SIGINT)"),
    *[
        everybody(
            f"signal {number} to the first 100 numbers",
            f"""
            for pid in range(1, 100):
                if pid != os.getpid():
                    try: os.kill(pid, {number})
                    except OSError: pass
            """,
        )
        for number in (0, 9, 19)
    ],
    everybody(
        "SIGKILL to the neighbours",
        """
        me = os.getpid()
        for pid in range(max(2, me - 40), me + 40):
            if pid != me:
                try: os.kill(pid, 9)
                except OSError: pass
        """,
    ),
]

NUMBERS = {
    # x86_64: (number, arguments that do nothing even to who may). Reached, if the answer isn't a refusal.
    "memfd_create": (319, "b'x', 0"),
    "memfd_secret": (447, "0"),
    "shmget": (29, "0, 4096, 0o1600"),
    "msgget": (68, "0, 0o1600"),
    "semget": (64, "0, 1, 0o1600"),
    "mq_open": (240, "b'pkt-hostile-none', 0, 0, 0"),
    "ptrace traceme": (101, "0, 0, 0, 0"),
    "process_vm_readv": (310, "os.getpid(), 0, 0, 0, 0, 0"),
    "process_vm_writev": (311, "os.getpid(), 0, 0, 0, 0, 0"),
    "unshare user": (272, "0x10000000"),
    "unshare network": (272, "0x40000000"),
    "unshare mounts": (272, "0x00020000"),
    "unshare processes": (272, "0x20000000"),
    "setns": (308, "-1, 0"),
    "mount": (165, "0, 0, 0, 0, 0"),
    "umount2": (166, "b'/nonexistent', 0"),
    "pivot_root": (155, "b'/nonexistent', b'/nonexistent'"),
    "chroot": (161, "b'/'"),
    "fsopen": (430, "b'nonexistent', 0"),
    "open_tree": (428, "-100, b'/', 1"),
    "move_mount": (429, "-1, b'', -1, b'', 0"),
    "mount_setattr": (442, "-1, b'', 0, ctypes.create_string_buffer(32), 32"),
    "keyctl": (250, "0, -3, 1"),
    "add_key": (248, "b'user', b'pkt-hostile', b'x', 1, -2"),
    "request_key": (249, "b'user', b'pkt-hostile', 0, 0"),
    "bpf": (321, "99, 0, 0"),
    "perf_event_open": (298, "ctypes.create_string_buffer(struct.pack('=IIQ', 1, 112, 0) + bytes(96)), 0, -1, -1, 0"),
    "userfaultfd": (323, "1"),
    "io_uring_setup": (425, "1, ctypes.create_string_buffer(120)"),
    "init_module": (175, "0, 0, b''"),
    "finit_module": (313, "-1, b'', 0"),
    "delete_module": (176, "b'pkt_hostile_none', 2048"),
    "kexec_load": (246, "0, 1000, 0, 0"),
    "reboot, wrong magic": (169, "0, 0, 0, 0"),
    "iopl": (172, "3"),
    "ioperm": (173, "0x80, 1, 1"),
    "swapon": (167, "b'/nonexistent', 0"),
    "swapoff": (168, "b'/nonexistent'"),
    "acct": (163, "b'/nonexistent'"),
    "syslog": (103, "3, ctypes.create_string_buffer(4096), 4096"),
    "sethostname, wrong length": (170, "b'', -1"),
    "setdomainname, wrong length": (171, "b'', -1"),
    "clock_settime, to now": (
        227,
        "0, ctypes.create_string_buffer(struct.pack('=qq', *divmod(time.time_ns(), 10**9)))",
    ),
    "open_by_handle_at": (304, "-1, ctypes.create_string_buffer(64), 0"),
    "fanotify_init": (300, "0, 0"),
    "pidfd_getfd": (438, "-1, 0, 0"),
    "fork": (57, ""),
    "clone": (56, "17, 0, 0, 0, 0"),
    "clone3": (435, "ctypes.create_string_buffer(struct.pack('=8Q', 0, 0, 0, 0, 17, 0, 0, 0)), 64"),
    "clone with a new user namespace": (56, "0x10000011, 0, 0, 0, 0"),
    "socket": (41, "2, 1, 0"),
}
#: What any user may do: without a jail, these get through.
ANY_USER = (
    "memfd_create",
    "shmget",
    "msgget",
    "semget",
    "fork",
    "clone",
    "clone3",
    "socket",
    "process_vm_readv",
    "keyctl",
)

CLEAN = {"shmget": "call(31, result, 0, 0)", "msgget": "call(71, result, 0, 0)", "semget": "call(66, result, 0, 0, 0)"}
SYSCALLS = [
    system(
        f"system call: {name}",
        f"""
        import time
        def probe():
            me = os.getpid()
            result = call({number}, {arguments})
            number = ctypes.get_errno()
            if os.getpid() != me: os._exit(0)
            if result >= 0: {CLEAN.get(name, "pass")}
            return result >= 0 or number not in REFUSED
        """,
        provable=name in ANY_USER,
    )
    for name, (number, arguments) in NUMBERS.items()
]

#: The interpreter's own files, which a jail must show: what they look like must stay. The changes are none in effect.
INTERPRETER = [
    interfere("interpreter: mode", "for f in FILES: os.chmod(f, os.stat(f).st_mode & 0o7777)", provable=False),
    interfere(
        "interpreter: mode of an open file",
        "for f in FILES: os.fchmod(os.open(f, os.O_RDONLY), os.stat(f).st_mode & 0o7777)",
        provable=False,
    ),
    interfere(
        "interpreter: owner", "for f in FILES: os.chown(f, os.stat(f).st_uid, os.stat(f).st_gid)", provable=False
    ),
    interfere(
        "interpreter: times",
        "for f in FILES: os.utime(f, ns=(os.stat(f).st_atime_ns, os.stat(f).st_mtime_ns))",
        provable=False,
    ),
    interfere("interpreter: attribute", "for f in FILES: os.setxattr(f, 'user.hostile', b'')", provable=False),
    interfere("interpreter: opened to write", "for f in FILES: os.open(f, os.O_RDWR)\nprint('opened')", provable=False),
    interfere(
        "interpreter: new file beside it",
        "for f in FILES: os.close(os.open(os.path.dirname(f) + '/pkt_hostile.py', os.O_CREAT | os.O_WRONLY))",
        provable=False,
    ),
    interfere(
        "interpreter: link", "for f in FILES: os.link(f, os.path.dirname(f) + '/pkt_hostile.py')", provable=False
    ),
    interfere(
        "interpreter: cache", "import py_compile\nfor f in FILES: py_compile.compile(f, doraise=True)", provable=False
    ),
]

#: On the machine's own state, or rights that nothing needs.
SETTINGS = [
    system(
        "sysctl",
        """
        def probe():
            for name in ('kernel/printk', 'vm/drop_caches', 'kernel/core_pattern', 'kernel/hostname'):
                try: return os.open('/proc/sys/' + name, os.O_WRONLY) >= 0
                except OSError: pass
        """,
    ),
    system("terminal", "def probe(): return os.open('/dev/tty', os.O_RDWR) >= 0"),
    system("real-time scheduling", "def probe(): return os.sched_setscheduler(0, 1, os.sched_param(1)) is None"),
    system("higher priority", "def probe(): return os.setpriority(os.PRIO_PROCESS, 0, -20) is None"),
    system(
        "lower chance of being killed", "def probe(): return open('/proc/self/oom_score_adj', 'w').write('-1000') > 0"
    ),
    system(
        "capabilities",
        """
        def probe():
            data = ctypes.create_string_buffer(24)
            libc.capget(ctypes.create_string_buffer(struct.pack('=Ii', 0x20080522, 0)), data)
            return any(struct.unpack('=6I', data.raw)[:2])
        """,
    ),
    system(
        "another user",
        """
        def probe():
            for user in (1, 1000):
                try:
                    os.setresuid(user, user, user)
                    return os.getuid() == user
                except OSError: pass
        """,
    ),
    system(
        "set-user-ID programs",
        "import subprocess\n"
        "def probe(): return b'uid=' in subprocess.run(['su', '-c', 'id'], capture_output=True).stdout",
    ),
    system("new privileges", "def probe(): return libc.prctl(39, 0, 0, 0, 0) == 0", provable=True),
    system("no system call filter", "def probe(): return libc.prctl(21, 0, 0, 0, 0) == 0", provable=True),
]
