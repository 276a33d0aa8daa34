"""The real benchmarks: every canonical solution passes in whatever shape it comes, broken ones do not."""

import ast

import pytest

from pkt_eval.code import extract_code
from pkt_eval.data.records import code_job

SHAPES = {
    "body": "{body}",
    "whole": "{prompt}{body}",
    "fenced whole": "Here is the completed function:\n\n```python\n{prompt}{body}```\n\nIt's done.",
    "fenced body": "```python\n{body}```",
    "body, prose": "{body}\nThis function doesn't need more.",
    "body, opened by the prompt": "{body}```\n\nNote that it's short.",
}


class Wrong(ast.NodeTransformer):
    """Negates what a function returns; functions inside it are left alone, lest two wrongs make a right."""

    def visit_FunctionDef(self, node):
        if getattr(self, "inside", False):
            return node
        self.inside = True
        self.generic_visit(node)
        self.inside = False
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Return(self, node):
        return ast.Return(ast.UnaryOp(ast.Not(), node.value or ast.Constant(None)))


def broken(program: str, name: str) -> str:
    tree = ast.parse(program)
    tree.body = [Wrong().visit(n) if getattr(n, "name", None) == name else n for n in tree.body]
    return ast.unparse(ast.fix_missing_locations(tree))


def assert_all_pass(labels, results):
    wrong = [f"{label}: {v.status} {v.message}" for label, v in zip(labels, results, strict=True) if not v.passed]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("shape", SHAPES)
def test_humaneval_solutions_pass_in_every_shape(shape, humaneval, verdicts):
    assert len(humaneval) == 164
    jobs = []
    for row in humaneval:
        answer = SHAPES[shape].format(prompt=row["prompt"], body=row["canonical_solution"])
        program = extract_code(answer, prompt=row["prompt"], entry_point=row["entry_point"])
        if shape == "body":
            assert program == row["prompt"] + row["canonical_solution"]
        jobs.append(code_job("humaneval", row, program.rstrip()))  # most shapes give one program: it runs once
    assert_all_pass([row["task_id"] for row in humaneval], verdicts(jobs))


def test_humaneval_prompt_alone_fails(humaneval, verdicts):
    """No problem is passed by a function that returns nothing, as an answer without code would."""
    jobs = [code_job("humaneval", row, row["prompt"] + "    pass\n") for row in humaneval]
    assert not any(v.passed for v in verdicts(jobs))


def test_mbpp_solutions_pass(mbpp, verdicts):
    assert len({row["task_id"] for row in mbpp}) == 974
    judged = verdicts([code_job("mbpp", row, extract_code(row["code"])) for row in mbpp])
    assert_all_pass([row["task_id"] for row in mbpp], judged)
    # The only ones whose values are not plain data.
    inside = {row["task_id"] for row, v in zip(mbpp, judged, strict=True) if v.verify == "inproc"}
    assert inside == {367, 533, 601, 927}


def test_the_limits_are_calibrated(humaneval, mbpp, verdicts):
    """Ten times what a reference solution takes: of CPU time, and of memory beside the interpreter's own."""
    jobs = [code_job("humaneval", row, (row["prompt"] + row["canonical_solution"]).rstrip()) for row in humaneval]
    jobs += [code_job("mbpp", row, extract_code(row["code"])) for row in mbpp]
    for job, verdict in zip(jobs, verdicts(jobs), strict=True):
        # 10 on an idle machine; a core that is shared by two threads counts more seconds for the same work.
        assert 3 * verdict.cpu_seconds < job.limits.cpu_seconds, job.candidate
        assert 10 * (verdict.peak_memory_mb - 13) < job.limits.memory_mb, job.candidate


def test_mbpp_fenced_solutions_give_the_same_program(mbpp):
    for row in mbpp:
        fenced = f"Sure, here you go:\n```python\n{row['code']}\n```\nHope it helps!"
        assert extract_code(fenced).strip() == extract_code(row["code"]).strip(), row["task_id"]


def test_broken_solutions_fail(humaneval, mbpp, verdicts):
    jobs = []
    for row in humaneval:
        program = broken(row["prompt"] + row["canonical_solution"], row["entry_point"])
        jobs.append(code_job("humaneval", row, program))
    for row in mbpp:
        name = next(n.func.id for n in ast.walk(ast.parse(row["test_list"][0])) if called(n, row["code"]))
        jobs.append(code_job("mbpp", row, broken(row["code"], name)))
    assert len(jobs) == 164 + 974
    survivors = [job.candidate for job, v in zip(jobs, verdicts(jobs), strict=True) if v.passed]
    assert not survivors, "\n\n".join(survivors)


def called(node, code):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and f"def {node.func.id}" in code
