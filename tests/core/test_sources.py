"""Which sources a student's fingerprint has: its method's own, what every transfer runs through, and no others."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pkt_eval
from pkt_eval._util import sources
from pkt_eval.methods.base import _registry, methods
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer

METHODS = ("lora", "seeking", "laten")
#: Answers each line with the digests as the files are now.
CODE = """
import json, sys
from pkt_eval._util import sources
from pkt_eval.methods import methods
for line in sys.stdin:
    sources.module_digest.cache_clear(), sources.digest.cache_clear()
    own = {m: sources.class_digest(methods()[m].cls, methods()[m].cls.Config) for m in sys.argv[1:]}
    print(json.dumps(own | {"transfer": sources.digest(sources.TRANSFER)}), flush=True)
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    """The package, of links but for the folders of methods and reports, which are copies."""
    ours = Path(pkt_eval.__file__).parent
    there = tmp_path / "tree" / "pkt_eval"
    there.mkdir(parents=True)
    for room in ours.iterdir():
        if room.name in ("methods", "report"):
            shutil.copytree(room, there / room.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (there / room.name).symlink_to(room)
    return there


@pytest.fixture
def digests(tree: Path) -> Iterator[Callable[[], dict[str, str]]]:
    # An interpreter imports the package at its start, from where PYTHONPATH says.
    env = {**os.environ, "PYTHONPATH": str(tree.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CODE, *METHODS], env=env, **pipes) as process:

        def now() -> dict[str, str]:
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield now
        process.stdin.close()


def test_a_method_has_its_own_source_and_no_other_methods(tree, digests):
    def changed(*name: str) -> set[str]:
        before = digests()
        with tree.joinpath(*name).open("a") as file:
            file.write("# changed\n")
        after = digests()
        return {name for name in before if after[name] != before[name]}

    assert changed("methods", "a_new_one.py") == set()
    assert changed("report", "cli.py") == set()
    assert changed("methods", "laten.py") == {"laten"}
    assert "transfer" in changed("methods", "base.py")  # which everybody has


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
    methods()  # all that there are, which else would be gone with the plug-in
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
    (plugin / "constants.json").write_text("[1]")
    assert identities()[0].fingerprint not in seen
    before = identities()[0].fingerprint
    (plugin / "notes.md").write_text("no source")
    (plugin / "__pycache__").mkdir(exist_ok=True)
    (plugin / "__pycache__" / "method.cpython.pyc").write_bytes(b"compiled")
    assert identities()[0].fingerprint == before


def digest_of(module: str) -> str:
    sources.module_digest.cache_clear()
    importlib.invalidate_caches()
    return sources.module_digest(module)


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder from which modules are imported."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    sources.module_digest.cache_clear()


def test_a_package_in_a_namespace_counts_and_its_neighbours_do_not(site):
    for name in ("ours", "theirs"):
        (site / "shared_space" / name).mkdir(parents=True)
        (site / "shared_space" / name / "__init__.py").write_text("")
    source = site / "shared_space" / "ours" / "method.py"
    source.write_text("scale = 1\n")
    before = digest_of("shared_space.ours.method")
    (site / "shared_space" / "theirs" / "__init__.py").write_text("# changed\n")
    assert digest_of("shared_space.ours.method") == before
    source.write_text("scale = 2\n")
    assert digest_of("shared_space.ours.method") != before


def test_a_module_that_lies_beside_a_plug_in_counts_and_one_that_is_installed_beside_it_does_not(site):
    """A plug-in that is read where it is written has no list of its modules."""
    (site / "written_beside.py").write_text("F = 1\n", "utf-8")
    (site / "written.py").write_text("def f():\n    import written_beside\n", "utf-8")
    importlib.invalidate_caches()
    digests = []
    for text in ("F = 1\n", "F = 2\n"):
        (site / "written_beside.py").write_text(text, "utf-8")
        sources.module_digest.cache_clear()
        digests.append(sources.module_digest("written"))
    assert digests[0] != digests[1]
    (site / "other-1.0.dist-info").mkdir()  # so packages are installed here, each with a list of its own
    sources.module_digest.cache_clear()
    assert sources.module_digest("written") not in digests


@pytest.mark.parametrize(
    "how",
    [
        "from pkt_eval.methods.lora import LoRA",
        "from pkt_eval.methods import lora",
        "import pkt_eval.methods.lora as l",
        "def f():\n    from pkt_eval.methods.lora import LoRA",
    ],
)
def test_a_method_of_ours_that_a_plug_in_imports_counts_with_it(site, monkeypatch, how):
    (site / "builds_on_ours.py").write_text(f"{how}\n")
    changed = tmp_copy(site, "pkt_eval.methods.lora")
    before = digest_of("builds_on_ours")
    with monkeypatch.context() as patched:
        origin = sources._origin
        patched.setattr(sources, "_origin", lambda m: changed if m == "pkt_eval.methods.lora" else origin(m))
        assert digest_of("builds_on_ours") != before
        (site / "builds_on_ours.py").write_text("from pkt_eval.methods import register\n")
        alone = digest_of("builds_on_ours")
    assert digest_of("builds_on_ours") == alone


def tmp_copy(site: Path, module: str) -> Path:
    """A copy of a module's source, with a line more."""
    copy = site / "changed.txt"
    copy.write_text(sources._origin(module).read_text("utf-8") + "# changed\n", "utf-8")
    return copy.rename(copy.with_suffix(".py"))


def test_relative_imports_are_followed():
    """Whoever puts a file into our folder of methods may write them so."""
    name = "pkt_eval.methods.one"
    source = "from .lora import LoRA\nfrom . import laten\nfrom ..methods import seeking\n"
    found = sources._imported(source.encode(), name.rpartition(".")[0])
    assert {f"pkt_eval.methods.{m}" for m in ("lora", "laten", "seeking")} <= found


def test_a_class_that_a_method_derives_from_counts_with_it(site):
    (site / "their_base.py").write_text("class Base:\n    scale = 1\n")
    (site / "their_method.py").write_text("from their_base import Base\nclass Mine(Base):\n    pass\n")
    mine = importlib.import_module("their_method").Mine
    sources.module_digest.cache_clear()
    before = sources.class_digest(mine)
    (site / "their_base.py").write_text("class Base:\n    scale = 2\n")
    sources.module_digest.cache_clear()
    assert sources.class_digest(mine) != before
    for name in ("their_base", "their_method"):
        del sys.modules[name]
