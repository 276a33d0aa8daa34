"""The system calls that a candidate may make: a list of those allowed, as seccomp filters in classic BPF.

Everything else fails with EPERM, which Python shows as ``PermissionError``: new processes and programs, sockets other
than stream pairs, shared and secret memory, tracing, namespaces, mounts, keyrings, io_uring, signals to others. Threads
work. See seccomp(2) and bpf(2) of Linux.

There are two filters, of which the kernel takes the stricter answer. The long list is put on once, by the zygote, and
inherited; each candidate adds a short one, which looks at arguments and names its process. To take in a filter the
kernel runs it for every call that there is: the long one in each candidate cost a quarter of a millisecond.
"""

import ctypes
import platform
import struct
from functools import cache

# name:x86_64:aarch64; empty where an architecture has no such call.
_ALWAYS = """
read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70
preadv2:327:286 pwritev2:328:287 close:3:57 close_range:436:436 fstat:5:80 stat:4: lstat:6: newfstatat:262:79
statx:332:291 lseek:8:62 mmap:9:222 mprotect:10:226 munmap:11:215 mremap:25:216 madvise:28:233 mincore:27:232
brk:12:214 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigtimedwait:128:137
rt_sigpending:127:136 rt_sigsuspend:130:133 sigaltstack:131:132 access:21: faccessat:269:48 faccessat2:439:439
pipe:22: pipe2:293:59 select:23: pselect6:270:72 poll:7: ppoll:271:73 epoll_create:213: epoll_create1:291:20
epoll_ctl:233:21 epoll_wait:232: epoll_pwait:281:22 epoll_pwait2:441:441 eventfd:284: eventfd2:290:19
timerfd_create:283:85 timerfd_settime:286:86 timerfd_gettime:287:87 sched_yield:24:124 nanosleep:35:101
clock_nanosleep:230:115 clock_gettime:228:113 clock_getres:229:114 gettimeofday:96:169 time:201: getitimer:36:102
setitimer:38:103 alarm:37: pause:34: timer_create:222:107 timer_settime:223:110 timer_gettime:224:108
timer_delete:226:111 getpid:39:172 gettid:186:178 getppid:110:173 getuid:102:174 geteuid:107:175 getgid:104:176
getegid:108:177 getresuid:118:148 getresgid:120:150 getgroups:115:158 getpgrp:111:
uname:63:160 getcwd:79:17 chdir:80:49 fchdir:81:50 open:2: openat:257:56 dup:32:23 dup2:33: dup3:292:24
flock:73:32 fsync:74:82 fdatasync:75:83 ftruncate:77:46 getdents:78: getdents64:217:61 readlink:89:
readlinkat:267:78 umask:95:166 getrlimit:97:163 setrlimit:160:164 getrusage:98:165 sysinfo:99:179 times:100:153
futex:202:98 set_robust_list:273:99 rseq:334:293 set_tid_address:218:96 arch_prctl:158:
exit:60:93 exit_group:231:94 getrandom:318:278 membarrier:324:283
sched_get_priority_max:146:125 sched_get_priority_min:147:126
recvfrom:45:207 recvmsg:47:212 sendmsg:46:211 shutdown:48:210 getsockname:51:204 getpeername:52:205
getsockopt:55:209 setsockopt:54:208 restart_syscall:219:128 copy_file_range:326:285 sendfile:40:71 statfs:137:43
fstatfs:138:44 wait4:61:260 waitid:247:95 getcpu:309:168 fadvise64:221:223 capget:125:90
"""
# Only where the file system is the jail's own: Landlock, for one, does not restrict chmod.
_WITH_FILES = """
mkdir:83: mkdirat:258:34 rmdir:84: unlink:87: unlinkat:263:35 rename:82: renameat:264:38 renameat2:316:276 link:86:
linkat:265:37 symlink:88: symlinkat:266:36 chmod:90: fchmod:91:52 fchmodat:268:53 utimensat:280:88 utime:132:
utimes:235: futimesat:261: truncate:76:45 fallocate:285:47 creat:85:
"""
_BY_ARGUMENT = """
kill:62:129 tgkill:234:131 clone:56:220 clone3:435:435 socketpair:53:199 sendto:44:206 prlimit64:302:261
prctl:157:167 ioctl:16:29 fcntl:72:25 getpgid:121:155 getsid:124:156 getpriority:140:141
sched_getaffinity:204:123 sched_getparam:143:121 sched_getscheduler:145:120
getxattr:191:8 lgetxattr:192:9 fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13
"""
# What the zygote makes its children with; a candidate may not.
_ZYGOTE = "setsid:112:157 pidfd_open:434:434"
_ARCHITECTURES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}  # AUDIT_ARCH_*, column above

_LOAD, _JUMP_EQUAL, _JUMP_BITS, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _ENOTSUP = 1, 38, 95

_ANY_PID = 0x7FEDCBA9  # no process has so high a number
_CLONE_THREAD = 0x10000
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
# F_SETOWN and its like are missing: a file's owner is sent signals.
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)
_IOCTL = (
    0x5401,
    0x5413,
    0x541B,
    0x5421,
    0x5450,
    0x5451,
)  # is it a terminal, its size, FIONREAD, FIONBIO, close-on-exec
_PRCTL = (3, 15, 16)  # get dumpable, set and get the thread's name

_LIBC = ctypes.CDLL(None, use_errno=True)

Instructions = list[tuple[int, int, int, int]]
_ALLOWED, _REFUSED = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | _EPERM)


def supported() -> bool:
    """Whether there is a table for this machine's architecture."""
    return platform.machine() in _ARCHITECTURES


def outer(*, files: bool) -> bytes:
    """The filter of a zygote: the calls that it or a candidate may make at all.

    Args:
        files: Whether a candidate may create, change and delete files, as far as it can reach any.
    """
    code: Instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[platform.machine()][0]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in _numbers(_ALWAYS, _WITH_FILES if files else "", _BY_ARGUMENT, _ZYGOTE).values():
        code += [(_JUMP_EQUAL, 0, 1, number), _ALLOWED]
    return _packed([*code, _REFUSED])


def inner(pid: int) -> bytes:
    """The filter that a candidate adds.

    Args:
        pid: Its process, the only one that it may signal.
    """
    return _inner().replace(struct.pack("=I", _ANY_PID), struct.pack("=I", pid))


@cache
def _inner() -> bytes:
    """The filter for the process ``_ANY_PID``, kept: a program has milliseconds in all."""
    pid = _ANY_PID
    zero = [(_LOAD, 0, 0, _ARGUMENTS + 8 * 4), (_JUMP_EQUAL, 1, 0, 0), _REFUSED]
    zero += [(_LOAD, 0, 0, _ARGUMENTS + 8 * 4 + 4), (_JUMP_EQUAL, 1, 0, 0), _REFUSED]
    conditions: dict[str, Instructions] = {
        "kill": _argument(0, (pid,)),
        "tgkill": _argument(0, (pid,)),
        "clone": [(_LOAD, 0, 0, _ARGUMENTS), (_JUMP_BITS, 1, 0, _CLONE_THREAD), _REFUSED],
        # Its flags lie in memory, where a filter cannot look; the C library then falls back to clone.
        "clone3": [(_RETURN, 0, 0, _ERRNO | _ENOSYS)],
        # Datagram sockets, even of a pair, can be sent from to any address.
        "socketpair": _argument(0, (_AF_UNIX,)) + _argument(1, (_SOCK_STREAM,), _SOCK_TYPE),
        "sendto": zero,
        "prlimit64": _argument(0, (0, pid)),
        "prctl": _argument(0, _PRCTL),
        "ioctl": _argument(1, _IOCTL),
        "fcntl": _argument(1, _FCNTL),
        "getpriority": _argument(0, (0,)) + _argument(1, (0, pid)),
    }
    for name in ("getpgid", "getsid", "sched_getaffinity", "sched_getparam", "sched_getscheduler"):
        conditions[name] = _argument(0, (0, pid))
    for name in ("getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"):
        conditions[name] = [(_RETURN, 0, 0, _ERRNO | _ENOTSUP)]  # as if there were none: copying a file asks for them
    for name in _numbers(_ZYGOTE):
        conditions[name] = [_REFUSED]
    code: Instructions = [(_LOAD, 0, 0, _NUMBER)]
    for name, number in _numbers(_BY_ARGUMENT, _ZYGOTE).items():
        body = [*conditions[name], _ALLOWED]
        code += [(_JUMP_EQUAL, 0, len(body), number), *body]
    return _packed([*code, _ALLOWED])


def _numbers(*tables: str) -> dict[str, int]:
    """The calls of tables by name, as far as this architecture has them."""
    column = _ARCHITECTURES[platform.machine()][1]
    rows = (entry.split(":") for table in tables for entry in table.split())
    return {row[0]: int(row[column]) for row in rows if row[column]}


def _argument(index: int, values: tuple[int, ...], mask: int | None = None) -> Instructions:
    """Falls through where the low half of an argument is one of the values, and refuses elsewhere."""
    code: Instructions = [(_LOAD, 0, 0, _ARGUMENTS + 8 * index)]
    code += [(_AND, 0, 0, mask)] if mask else []
    code += [(_JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [*code, _REFUSED]


def _packed(code: Instructions) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def install_filter(program: bytes) -> None:
    """Bind this thread and all that come from it to the filter, for good.

    Raises:
        OSError: The kernel does not take it.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    # PR_SET_NO_NEW_PRIVS, without which only root may; then PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    for call in ((38, 1, 0, 0, 0), (22, 2, ctypes.c_char_p(header), 0, 0)):
        if _LIBC.prctl(*(ctypes.c_ulong(a) if isinstance(a, int) else a for a in call)):
            raise OSError(ctypes.get_errno(), "prctl: the seccomp filter was not installed")
