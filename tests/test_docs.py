"""What is written about the code: examples in docstrings run, the picture of the house is that of the imports."""

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def has_examples(path: Path) -> bool:
    text = path.read_text("utf-8")
    if "    >>> " not in text:
        return False
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, DOCUMENTED))
    return any(">>> " in (ast.get_docstring(node) or "") for node in nodes)


WITH_EXAMPLES = sorted(path.relative_to(ROOT) for path in (ROOT / "pkt_eval").rglob("*.py") if has_examples(path))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_the_examples_in_docstrings_are_true(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    ran = doctest.testmod(module)
    assert ran.attempted and not ran.failed


def test_there_are_examples():
    assert len(WITH_EXAMPLES) >= 8


def test_the_picture_of_the_house_is_drawn_from_the_imports():
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "house.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
