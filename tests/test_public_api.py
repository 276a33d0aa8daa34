"""What ``import pkt_eval`` offers, and that it costs nothing."""

import importlib
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import pkt_eval


def test_the_names_are_those_of_their_rooms():
    assert pkt_eval.__version__ == version("pkt-eval")
    for name, home in pkt_eval._HOMES.items():
        assert getattr(pkt_eval, name) is getattr(importlib.import_module(home), name)
    assert {*pkt_eval.__all__} == {*pkt_eval._HOMES, "__version__"} <= {*dir(pkt_eval)}


def test_a_star_import_gives_them_and_nothing_else():
    given: dict[str, object] = {}
    exec("from pkt_eval import *", given)
    assert {*given} - {"__builtins__"} == {*pkt_eval.__all__}


def test_a_wrong_name_is_an_error_and_a_room_is_a_submodule():
    with pytest.raises(AttributeError, match="'pkt_eval' has no attribute 'make_teacher'"):
        _ = pkt_eval.make_teacher
    with pytest.raises(ImportError):
        exec("from pkt_eval import make_teacher")
    from pkt_eval import errors

    assert errors.PKTError


def test_importing_it_imports_nothing():
    """In an interpreter without site-packages' start-up files, which load the door."""
    root = os.path.dirname(os.path.dirname(pkt_eval.__file__))
    code = (
        f"import sys; sys.path.insert(0, {root!r}); before = set(sys.modules); import pkt_eval; dir(pkt_eval); "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["pkt_eval"]
    assert not {"torch", "transformers", "pydantic", "typing"} & {*done.stdout.split()}
