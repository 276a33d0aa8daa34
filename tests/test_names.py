"""A public name means one thing: it is defined in one file of the package."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("pkt_eval", "model_wrappers", "tasks")

#: Name → why several files define it.
SEVERAL = {
    "Site": "what a method calls a place in a layer; methods do not import each other",
    "T": "a type variable of the file",
    "TYPE_CHECKING": "False, where importing typing would cost each start of Python",
    "app": "Typer's applications: the command, and its group of commands on data",
    "check": "a command is called as its function: pkt-eval data check; the other checks a method's contract",
    "gate": "a command is called as its function: pkt-eval gate; the other is the function that it calls",
    "log": "the logger of the file",
    "main": "what a file does as a script",
    "pass_at_k": "process_results of an lm-eval task, which is called as its metric; the other is the estimator",
    "show": "a command is called as its function: pkt-eval data show; the other prints a gate",
}


def public(file: Path) -> Iterator[str]:
    """Functions, classes and constants that a file defines at module level."""
    for node in ast.parse(file.read_text("utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


@pytest.fixture(scope="module")
def places() -> dict[str, list[str]]:
    """Name → files that define it."""
    places = defaultdict(list)
    for file in (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))):
        for name in {name for name in public(file) if not name.startswith("_")}:
            places[name].append(str(file.relative_to(ROOT)))
    return places


def test_a_public_name_is_defined_once(places):
    several = {name: files for name, files in places.items() if len(files) > 1}
    assert {name: files for name, files in several.items() if name not in SEVERAL} == {}


def test_what_is_allowed_is_needed(places):
    assert [name for name in SEVERAL if len(places[name]) < 2] == []
