"""Programs that talk to somebody.

Planted: TCP, TCP6 and UDP (ports), STREAM and DATAGRAM (paths), ABSTRACT and ABSTRACT_DATAGRAM (abstract names).
``probe`` returns whether a message went out; the test's listeners say whether one came in.
"""

from hostile.program import Program, system


def talk(name: str, source: str, *, provable: bool = True) -> Program:
    """``source`` is the body of ``probe``."""
    body = "".join(f"    {line}\n" for line in source.strip().splitlines())
    return Program(
        name, f"import os, socket\ndef probe():\n{body}    return True\n", "assert probe()\n", provable=provable
    )


PROGRAMS = [
    talk("TCP", "socket.create_connection(('127.0.0.1', TCP), 2).sendall(b'hostile')"),
    talk("TCP, at all addresses", "socket.create_connection(('0.0.0.0', TCP), 2).sendall(b'hostile')"),
    talk("TCP, without waiting", "s = socket.socket(); s.setblocking(False)\ns.connect_ex(('127.0.0.1', TCP))"),
    talk(
        "TCP, with data in the handshake",
        "s = socket.socket()\ns.sendto(b'hostile', 0x20000000, ('127.0.0.1', TCP))",
    ),
    talk("TCP, IPv6", "s = socket.socket(socket.AF_INET6)\ns.connect(('::1', TCP6))\ns.sendall(b'hostile')"),
    talk("TCP, IPv4 in IPv6", "s = socket.socket(socket.AF_INET6)\ns.connect(('::ffff:127.0.0.1', TCP))"),
    talk("UDP", "socket.socket(type=socket.SOCK_DGRAM).sendto(b'hostile', ('127.0.0.1', UDP))"),
    talk(
        "UDP, connected", "s = socket.socket(type=socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', UDP))\ns.send(b'hostile')"
    ),
    talk("MPTCP", "s = socket.socket(proto=262)\ns.connect(('127.0.0.1', TCP))", provable=False),
    talk("listens on TCP", "s = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()"),
    talk("listens on UDP", "s = socket.socket(type=socket.SOCK_DGRAM)\ns.bind(('127.0.0.1', 0))"),
    talk("unix socket in a file", "s = socket.socket(socket.AF_UNIX)\ns.connect(STREAM)\ns.sendall(b'hostile')"),
    talk("unix socket, abstract", "s = socket.socket(socket.AF_UNIX)\ns.connect(ABSTRACT)\ns.sendall(b'hostile')"),
    talk("unix datagram to a file", "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'hostile', DATAGRAM)"),
    talk(
        "unix datagram, abstract",
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'hostile', ABSTRACT_DATAGRAM)",
    ),
    talk(
        "socketpair, sent to a file",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'hostile', DATAGRAM)",
    ),
    talk(
        "socketpair, sent to an abstract name",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendto(b'hostile', ABSTRACT_DATAGRAM)",
    ),
    talk(
        "socketpair, reconnected",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.connect(ABSTRACT_DATAGRAM)\na.send(b'hostile')",
    ),
    talk(
        "socketpair, message with an address",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.sendmsg([b'hello'], [], 0, ABSTRACT_DATAGRAM)",
    ),
    talk(
        "socketpair, bound",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\na.bind('\\0pkt-hostile-bound')",
    ),
    talk(
        "inherited descriptors",
        "for fd in range(3, 256):\n"
        "    try: s = socket.socket(fileno=fd); s.sendto(b'hostile', ABSTRACT_DATAGRAM); break\n"
        "    except OSError: pass\nelse: return False",
        provable=False,
    ),
    talk(
        "asyncio",
        "import asyncio\nasync def go():\n    r, w = await asyncio.open_connection('127.0.0.1', TCP)\n"
        "    w.write(b'hostile'); await w.drain()\nasyncio.run(go())",
    ),
    talk(
        "asyncio server",
        "import asyncio\nasync def go(): return (await asyncio.start_server(print, '127.0.0.1', 0)).sockets\n"
        "if not asyncio.run(go()): return False",
    ),
    talk(
        "urllib",
        "import urllib.request\nurllib.request.urlopen(f'http://127.0.0.1:{TCP}/hostile', timeout=0.3)",
        provable=False,
    ),
    talk(
        "HTTP server",
        "import http.server\nhttp.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)",
    ),
    talk("multiprocessing's listener", "from multiprocessing.connection import Listener\nListener(family='AF_UNIX')"),
    talk("raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", provable=False),
    talk("raw Ethernet", "socket.socket(17, socket.SOCK_RAW, 768)", provable=False),
    talk("netlink", "s = socket.socket(16, socket.SOCK_RAW, 0)\ns.bind((0, 0))"),
    talk("netlink: the kernel's events", "s = socket.socket(16, socket.SOCK_RAW, 15)\ns.bind((0, 1))", provable=False),
    talk("Bluetooth", "socket.socket(31, socket.SOCK_RAW, 1)", provable=False),
    talk("virtual machine's socket", "socket.socket(40, socket.SOCK_STREAM)", provable=False),
    talk("kernel's cryptography", "socket.socket(38, socket.SOCK_SEQPACKET)", provable=False),
    talk(
        "every socket family",
        "made = 0\nfor family in range(46):\n    for kind in (1, 2, 3, 5):\n"
        "        try: socket.socket(family, kind).close(); made += 1\n        except OSError: pass\nreturn made > 0",
    ),
    system(
        "socket by number",
        "def probe():\n    return call({'x86_64': 41, 'aarch64': 198}[os.uname().machine], 2, 1, 0) >= 0",
        provable=True,
    ),
    system(
        "socket by number of the x32 table",
        "def probe():\n    return os.uname().machine == 'x86_64' and call(0x40000000 + 41, 2, 1, 0) >= 0",
    ),
    system(
        "socket by number with high bits set",
        "def probe():\n    return os.uname().machine == 'x86_64' and call((1 << 32) + 41, 2, 1, 0) >= 0",
        provable=True,
    ),
    system(
        "socket with high bits set in the family",
        "def probe():\n    return os.uname().machine == 'x86_64' and call(41, (1 << 32) + 2, 1, 0) >= 0",
        provable=True,
    ),
    system(
        "socketpair of the Internet family",
        "def probe():\n    return libc.socketpair(2, 1, 0, ctypes.create_string_buffer(8)) == 0",
    ),
    system(
        "io_uring",
        "def probe():\n    return call(425, 4, ctypes.create_string_buffer(120)) >= 0",
        provable=True,
    ),
    system(
        "socket by the 32-bit table",
        """
        import mmap
        def i386(number, *arguments):
            # eax, ebx, ecx, edx from rdi, rsi, rdx, rcx; int 0x80
            code = bytes.fromhex('53 89f8 89f3 4189c8 89d1 4489c2 cd80 5b c3')
            page = mmap.mmap(-1, 4096, prot=7)
            page.write(code)
            function = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_long] * 4)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            return function(address)(number, *arguments, *[0] * (3 - len(arguments)))
        def probe():
            return os.uname().machine == 'x86_64' and i386(359, 2, 1, 0) >= 0
        """,
        provable=True,
    ),
]
