"""What the package is made of, as far as no build is needed to see it; ``.ci/package`` builds, installs and uses it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import pkt_eval
from pkt_eval import cli

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
try:
    from build_backend import page
finally:
    sys.path.remove(str(ROOT))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_room_is_packed():
    rooms = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "pkt_eval").rglob("__init__.py")}
    assert {*PROJECT["tool"]["setuptools"]["packages"]} >= rooms | {"pkt_eval.model_wrappers", "pkt_eval.tasks"}


def test_what_building_reads_is_in_the_source_distribution():
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8")
    for name in ("build_backend.py", "setup.py", "constraints.txt"):
        assert name in manifest and (ROOT / name).is_file()


def test_the_version_is_one_everywhere():
    version = PROJECT["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    assert pkt_eval.__version__ == version


def test_the_version_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pkt-eval", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out == f"pkt-eval {pkt_eval.__version__}\n"


def test_the_classifiers_begin_with_the_python_that_is_required():
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    named = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert named[0] == least and f"Python ≥ {least}" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("readme", "alone", "with_repository"),
    [
        ("[a](b/c.md)", "a (`b/c.md`)", "[a](https://host/r/b/c.md)"),
        ("![a](b/c.png)", "a (`b/c.png`)", "![a](https://host/r/b/c.png?raw=true)"),
        ("[b/c.md](b/c.md)", "`b/c.md`", "[b/c.md](https://host/r/b/c.md)"),
        ("[a](https://x.y/z)", "[a](https://x.y/z)", "[a](https://x.y/z)"),
        ("[a](#heading) f(x)[1]", "[a](#heading) f(x)[1]", "[a](#heading) f(x)[1]"),
    ],
)
def test_links_of_a_package_page_lead_somewhere(readme, alone, with_repository):
    assert page(readme, None).split("\n")[0] == alone
    assert page(readme, "https://host/r") == with_repository


def test_the_readme_has_no_link_left_that_leads_nowhere():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "](" in readme
    left = [target for target in re.findall(r"\]\(([^)]+)\)", page(readme, None)) if not target.startswith("http")]
    assert [target for target in left if not target.startswith("#")] == []
    for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", readme):
        path, _, heading = target.partition("#")
        assert (ROOT / path).exists(), target
        headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text("utf-8"), re.M) if heading else []
        assert not heading or heading in {text.lower().replace(" ", "-") for text in headings}, target


def test_python_minus_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "pkt_eval", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"pkt-eval {pkt_eval.__version__}\n")
