"""The pytest plug-in, in a pytest of its own: docs/gate.md's example, real runs of nano students, what fails how."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pkt_eval.report.gate import gate, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"
TESTS = """
import pytest
from pkt_eval.testing import InconclusiveError, Runner, assert_not_worse

SETTINGS = {"tasks": ["nano_mmlu"], "limit": 150, "apply_chat_template": True, "batch_size": 16}

def test_two_runs_of_the_same_student_hold(pkt_run, tmp_path):
    first, second = pkt_run("method=vanilla", **SETTINGS), Runner(tmp_path)("method=vanilla", **SETTINGS)
    assert first[0].results != second[0].results
    assert_not_worse(first, second, margin=0.02)
    assert_not_worse(first, str(tmp_path))

def test_a_call_is_made_once(pkt_run):
    first = pkt_run("method=teacher", **SETTINGS)
    assert pkt_run({"method": "teacher"}, **SETTINGS) is first
    assert first[0].task == "nano_mmlu" and len(first[0].items) == 150

def test_worse_fails(pkt_run):
    assert_not_worse(pkt_run("method=vanilla", **SETTINGS), pkt_run("method=teacher", **SETTINGS), margin=0.05)

def test_too_few_items_fail(pkt_run):
    few = pkt_run("method=vanilla", **{**SETTINGS, "limit": 20})
    assert_not_worse(few, few)

def test_inconclusive_can_be_told_from_worse(pkt_run):
    few = pkt_run("method=vanilla", **{**SETTINGS, "limit": 20})
    with pytest.raises(InconclusiveError):
        assert_not_worse(few, few)
"""


def example() -> str:
    """The Python block of the page that uses the plug-in."""
    (block,) = [text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S) if "pkt_run" in text]
    return block


@pytest.fixture(scope="module")
def ran(tmp_path_factory, lean_lm_eval) -> tuple[dict[str, ET.Element], Path]:
    """Test → its JUnit element, of one pytest run in a process of its own, and the folder of the records."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_readme.py").write_text(example())
    (folder / "test_cases.py").write_text(TESTS)
    words = ["-p", "no:cacheprovider", "-W", "error::pytest.PytestAssertRewriteWarning", "--junitxml=junit.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--pkt-eval-dir=records"],
        cwd=folder,
        env={**os.environ, "PKT_EVAL_STORE": str(folder / "store"), "PYTEST_ADDOPTS": ""}
        | {"PYTHONPATH": lean_lm_eval},
        capture_output=True,
        text=True,
    )
    assert (folder / "junit.xml").exists(), done.stdout + done.stderr
    cases = {case.get("name"): case for case in ET.parse(folder / "junit.xml").iter("testcase")}
    return cases, folder / "records"


def message(case: ET.Element) -> str:
    return "".join(element.get("message", "") + (element.text or "") for element in case if element.tag != "system-out")


def test_the_plug_in_is_installed():
    names = {point.name for point in importlib.metadata.entry_points(group="pytest11")}
    assert "pkt_eval" in names, "install the package again: its entry points have changed"


def test_the_example_of_the_readme_passes(ran):
    assert len(example().strip().splitlines()) <= 15
    tests = re.findall(r"def (test_\w+)", example())
    assert tests and [message(ran[0][name]) for name in tests] == [""] * len(tests)


def test_what_holds_passes(ran):
    for name in (
        "test_two_runs_of_the_same_student_hold",
        "test_a_call_is_made_once",
        "test_inconclusive_can_be_told_from_worse",
    ):
        assert message(ran[0][name]) == "", name


def test_what_is_worse_fails_with_the_table_and_the_documents(ran):
    said = message(ran[0]["test_worse_fails"])
    assert "AssertionError: gate fails: vanilla against teacher: nano_mmlu: −" in said
    assert "difference, 90 %" in said and re.search(r"nano_mmlu, documents lost: \d+, \d+", said)
    assert "testing.py" not in said  # the traceback is the test's own


def test_too_few_items_fail_and_say_how_many_it_takes(ran):
    said = message(ran[0]["test_too_few_items_fail"])
    assert "InconclusiveError" in said and "with 20" in said and "about 133 items" in said


def test_kept_records_are_records_like_any_other(ran):
    folder = ran[1]
    teacher = next(folder.glob("method=teacher-*"))
    records, _ = load(str(teacher))
    vanilla = next(path for path in folder.glob("method=vanilla-*") if len(load(str(path))[0][0].items) == 150)
    assert gate(load(str(vanilla))[0], records).exit_code == 0
    assert gate(records, load(str(vanilla))[0]).exit_code == 1


def test_loading_the_plug_in_imports_nothing_heavy():
    heavy = "{'torch', 'numpy', 'transformers', 'lm_eval', 'rich', 'typer', 'scipy'}"
    code = f"import pkt_eval.pytest_plugin, sys; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ""})
