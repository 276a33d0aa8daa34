"""What the hook costs at the start of every Python, and how long a command takes to say what it does."""

import subprocess
import sys
import time
from statistics import median

import pytest
from typer.main import get_command

from pkt_eval.cli import app

LINE = (
    "import time; t = time.perf_counter(); import os, pkt_eval.plugin as p; p.install(); print(time.perf_counter() - t)"
)


@pytest.mark.benchmark(group="interpreter start")
@pytest.mark.parametrize("autoload", ["0", "1"])
def test_start(benchmark, autoload):
    import os

    env = {**os.environ, "PKT_EVAL_AUTOLOAD": autoload}
    benchmark.pedantic(subprocess.run, ([sys.executable, "-c", "pass"],), {"env": env}, rounds=30, warmup_rounds=3)


def test_the_hook_alone(capsys):
    """Importing ``pkt_eval.plugin`` and installing the finder, in an interpreter where it has not happened yet."""
    import os

    env = {**os.environ, "PKT_EVAL_AUTOLOAD": "0"}
    code = LINE.replace(
        "import os, pkt_eval",
        "import sys; [sys.modules.pop(m, 0) for m in ('pkt_eval.plugin', 'pkt_eval')]; import os, pkt_eval",
    )
    took = []
    for _ in range(15):
        took.append(
            float(subprocess.run([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True).stdout)
        )
        time.sleep(0.01)
    with capsys.disabled():
        print(f"\nthe hook itself: median {1000 * median(took):.2f} ms, worst {1000 * max(took):.2f} ms of 15 starts")
    assert len(took) == 15


def commands(group, before=""):
    """Every command, and those within it."""
    for name, command in group.commands.items():
        yield f"{before}{name}"
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")


COMMANDS = [*commands(get_command(app))]


@pytest.mark.benchmark(group="asking for help")
@pytest.mark.parametrize("words", ["", "--help", "--version", *(f"{name} --help" for name in COMMANDS)])
def test_help(benchmark, words):
    """Beside an interpreter that does nothing."""
    code = "pass" if not words else "from pkt_eval.cli import main; main()"
    command = [sys.executable, "-c", code, *words.split()]
    benchmark.pedantic(subprocess.run, (command,), {"stdout": subprocess.DEVNULL}, rounds=5, warmup_rounds=1)
