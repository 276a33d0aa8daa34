"""Which sources a student's fingerprint has: its method's own, what every transfer runs through, and no others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pkt_eval
from pkt_eval._util import sources
from pkt_eval.methods.base import _registry
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer

METHODS = ("lora", "seeking", "laten", "base")
CODE = """
import json, sys
from pkt_eval._util import sources
print(json.dumps({m: sources.module_digest("pkt_eval.methods." + m) for m in sys.argv[1:]}
      | {"transfer": sources.digest(sources.TRANSFER)}))
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    """The package, of links but for the folder of methods, which is a copy."""
    ours = Path(pkt_eval.__file__).parent
    there = tmp_path / "tree" / "pkt_eval"
    there.mkdir(parents=True)
    for room in ours.iterdir():
        if room.name != "methods":
            (there / room.name).symlink_to(room)
    shutil.copytree(ours / "methods", there / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    return there


def digests(tree: Path) -> dict[str, str]:
    words = [sys.executable, "-c", CODE, *METHODS]
    # An interpreter imports the package at its start, from where PYTHONPATH says.
    env = {**os.environ, "PYTHONPATH": str(tree.parent)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_method_has_its_own_source_and_no_other_methods(tree):
    before = digests(tree)
    (tree / "methods" / "a_new_one.py").write_text("# a method of somebody\n")
    assert digests(tree) == before
    with (tree / "methods" / "laten.py").open("a") as file:
        file.write("# changed\n")
    after = digests(tree)
    assert {name for name in before if after[name] != before[name]} == {"laten"}
    with (tree / "methods" / "base.py").open("a") as file:
        file.write("# changed\n")
    assert digests(tree)["transfer"] != before["transfer"]  # which everybody has


PLUGIN = """
from dataclasses import replace
from pkt_eval.methods import MethodConfig, Student, TransferMethod, register
from {package}.helper import scale

@register("plugged", title="t", reference="r", paradigm="control", uses=("data",))
class Plugged(TransferMethod[MethodConfig]):
    Config = MethodConfig
    def transfer(self, pair, data, progress):
        return Student(pair.student)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A method in a package of its own, with a file that it imports and one that nobody does."""
    package = tmp_path / "plugged_method"
    (package / "inner").mkdir(parents=True)
    for name, text in {"__init__": "", "method": PLUGIN.format(package=package.name), "helper": "scale = 1\n"}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(_registry)
    __import__("plugged_method.method")
    yield package
    _registry.clear()
    _registry.update(before)
    for name in [name for name in sys.modules if name.partition(".")[0] == package.name]:
        del sys.modules[name]
    sources.module_digest.cache_clear()


def test_a_plug_in_whose_source_changed_makes_another_student(plugin, small):
    words = {k: v for k, v in small.items() if k.endswith(("_task", "_samples"))}

    def identities() -> list[Transfer]:
        sources.module_digest.cache_clear()
        return [Transfer(make_recipe({"method": name, **words})) for name in ("plugged", "lora")]

    ours, lora = (transfer.fingerprint for transfer in identities())
    seen = {ours}
    for name in ("method", "helper", "inner/new"):  # what it imports of its package, and what it may
        with (plugin / f"{name}.py").open("a") as file:
            file.write("# changed\n")
        changed, unchanged = (transfer.fingerprint for transfer in identities())
        assert changed not in seen and unchanged == lora, name
        seen.add(changed)
    (plugin / "notes.txt").write_text("no source")
    assert identities()[0].fingerprint == changed
