"""The extractor against upstream's on the answers of ``corpus.py``: the program to the letter, and who loses it.

Upstream is not described but run: its YAMLs say which strings end an answer and which function makes the program of
it, and both are the installed lm-eval's. Our side sees the whole answer, as the ``pkt_*_chat`` tasks do.

``python tests/code/test_code_corpus.py`` prints how many answers pass with each, by shape and by task. These are counts
of shapes, not rates: no model gives them all equally often.
"""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import yaml
from corpus import CASES, SHAPES, Case

from pkt_eval.code.extract import extract_code

UPSTREAM = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0]) / "tasks"
SETTINGS = ("humaneval", "humaneval_instruct", "mbpp", "mbpp_instruct")
# The programs are our own and harmless: as in upstream's metric, but one process runs them all.
RUN = """
import json, os, sys
programs = json.load(sys.stdin)
results, sys.stdout = sys.stdout, open(os.devnull, "w")
passed = []
for program in programs:
    try:
        exec(program, {})
        passed.append(True)
    except BaseException:
        passed.append(False)
json.dump(passed, results)
"""


class _Yaml(yaml.SafeLoader):
    """Reads a task, with the names of its functions instead of the functions."""


_Yaml.add_constructor("!function", lambda loader, node: node.value)


@cache
def upstream_task(name: str) -> dict:
    """Upstream's configuration of a task."""
    file = UPSTREAM / name.partition("_")[0] / f"{name}.yaml"
    config = yaml.load(file.read_text("utf-8"), _Yaml)
    included = config.pop("include", None)
    return {**upstream_task(included.removesuffix(".yaml")), **config} if included else config


@cache
def upstream_utils(benchmark: str) -> ModuleType:
    """The module of upstream's functions; what it fetches from the network to judge with is left out."""
    metric = mock.Mock()
    metric.load.return_value.compute.return_value = [{}, {}]
    spec = importlib.util.spec_from_file_location(f"upstream_{benchmark}", UPSTREAM / benchmark / "utils.py")
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, evaluate=metric):
        spec.loader.exec_module(module)
    return module


def upstream_program(case: Case) -> str:
    """What upstream's task runs for the answer."""
    from lm_eval.models.utils import postprocess_generated_text

    config = upstream_task(case.setting)
    response = postprocess_generated_text(case.answer, config["generation_kwargs"]["until"], None)
    if "filter_list" not in config:
        return response
    name = config["filter_list"][0]["filter"][0]["filter_fn"].removeprefix("utils.")
    build = getattr(upstream_utils(case.setting.partition("_")[0]), name)
    return build([[response]], [{"prompt": case.task.prompt}])[0][0]


def our_program(case: Case) -> str:
    """What our task of the same form makes of the answer."""
    opened = "```python\n" if case.setting == "mbpp_instruct" else ""
    prompt = case.task.prompt if case.setting.startswith("humaneval") else None
    return extract_code(opened + case.answer, prompt=prompt, entry_point=case.task.entry_point)


@cache
def passed() -> dict[str, tuple[bool, bool]]:
    """Whether the tests pass on the corpus' program and on upstream's, for each id."""
    programs = [f"{p}\n{case.task.tests}" for case in CASES for p in (case.program, upstream_program(case))]
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", RUN],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    results = json.loads(done.stdout)
    return {case.id: pair for case, pair in zip(CASES, zip(results[::2], results[1::2], strict=True), strict=True)}


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)


@each_case
def test_the_program_is_found_to_the_letter(case):
    assert our_program(case) == case.program


@each_case
def test_the_program_passes_as_claimed(case):
    assert passed()[case.id][0] is case.passes, case.program


@each_case
def test_upstream_loses_the_answer_as_claimed(case):
    assert passed()[case.id][1] is (case.upstream == "same"), upstream_program(case)


def test_corpus_is_large_and_sound():
    """Every shape and every task has its cases, and each loss of upstream's has its reason."""
    assert len(CASES) >= 70
    assert len({case.id for case in CASES}) == len({case.answer for case in CASES}) == len(CASES)
    assert {case.setting for case in CASES} == set(SETTINGS)
    shapes = Counter(case.shape for case in CASES)
    assert set(shapes) == set(SHAPES) and min(shapes.values()) >= 5
    for case in CASES:
        assert case.upstream == "same" or (len(case.upstream.split()) > 3 and case.upstream[-1] == "."), case.id


def table() -> str:
    """Counts of the answers that pass: of all, with our extractor, with upstream's."""
    lines = [f"{'':20} {'answers':>7} {'ours':>5} {'upstream':>8}"]
    for field, names in (("shape", SHAPES), ("setting", SETTINGS), (None, ("all",))):
        lines.append("")
        for name in names:
            pairs = [passed()[case.id] for case in CASES if field is None or getattr(case, field) == name]
            ours, theirs = (sum(pair[i] for pair in pairs) for i in (0, 1))
            lines.append(f"{name:20} {len(pairs):7} {ours:5} {theirs:8}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
