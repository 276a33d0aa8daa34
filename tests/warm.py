"""``pkt-eval``, ``lm_eval`` and ``python -c`` from a shell without the seconds of their imports: forks of one process.

``python warm.py SOCKET`` imports everything once and then serves: a client sends its words, folder, environment and
standard streams, a fork of the server is the command, and the client ends with its exit code. The clients are
scripts in a folder for PATH, so that pipes, ``||`` and redirections of a shell are those of a user's.
"""

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("pkt-eval", "lm_eval", "python")
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes(4)], [0, 1, 2])
    server.sendall(asked)
    sys.exit(server.recv(1)[0])
"""


@contextmanager
def commands(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A folder for PATH, in which ``pkt-eval`` and ``lm_eval`` are warm for as long as the context is open."""
    bin, address = folder / "bin", str(folder / "socket")
    bin.mkdir()
    for name in NAMES:
        script = bin / name
        script.write_text(CLIENT.format(python=sys.executable, address=address, name=name))
        script.chmod(0o755)
    with subprocess.Popen([sys.executable, __file__, address], env=environment) as server:
        try:
            while not os.path.exists(address):
                assert server.poll() is None, "the server of warm commands has ended"
                time.sleep(0.05)
            yield bin
        finally:
            server.kill()


def serve(address: str) -> None:
    # ruff: noqa: F401
    import lm_eval.loggers
    import peft
    import scipy.stats
    import transformers.generation.utils
    import transformers.models.llama.modeling_llama
    from lm_eval.__main__ import cli_evaluate
    from torch.utils import collect_env

    import pkt_eval.diagnose.command
    import pkt_eval.model_wrappers.student
    import pkt_eval.suite.run
    from pkt_eval.cli import main

    collect_env.get_pip_packages = lambda *_: ("pip", "")  # lm-eval asks pip for a list, which takes it seconds
    entries = dict(zip(NAMES, (main, cli_evaluate, lambda: exec(sys.argv[2], {"__name__": "__main__"})), strict=True))
    gc.collect()
    gc.freeze()  # else a fork that looks for garbage copies every page
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address + ".new")
        door.listen()
        os.rename(address + ".new", address)
        while True:
            client, _ = door.accept()
            with client:
                size, streams, _, _ = socket.recv_fds(client, 4, 3)
                asked = b""
                while len(asked) < int.from_bytes(size):
                    asked += client.recv(1 << 16)
                name, words, folder, environment = json.loads(asked)
                child = os.fork()
                if not child:
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                    # Those of the server know of a file whether it seeks, and these are other files.
                    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)
                    os.chdir(folder)
                    os.environ.clear()
                    os.environ.update(environment)
                    sys.argv = [name, *words]
                    _end(entries[name])
                for stream in streams:
                    os.close(stream)
                _, status = os.waitpid(child, 0)
                client.sendall(bytes([os.waitstatus_to_exitcode(status) & 255]))


def _end(entry: Callable[[], object]) -> None:
    """Run a command, and end without taking down what all of them share."""
    try:
        code = entry()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


if __name__ == "__main__":
    serve(sys.argv[1])
