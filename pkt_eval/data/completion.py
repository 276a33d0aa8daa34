"""MBPP row → function completion in the manner of HumanEval: the offline stand-in for HumanEval's missing
training data.

The reference code is cut below the signature of the function under test; what stands above becomes the
prompt, with the task as docstring, and the rest the solution.
"""

import ast
import warnings

from pkt_eval.data.code_rows import mbpp_entry_point
from pkt_eval.data.rows import Row


def as_completion(row: Row) -> Row | None:
    """A HumanEval-like row made of an MBPP row.

    Args:
        row: An MBPP row.

    Returns:
        A row with ``prompt``, ``canonical_solution`` and ``entry_point``; None where the code does not parse,
        or does not define the function under test on lines of its own.
    """
    code = row["code"].replace("\r\n", "\n").rstrip() + "\n"
    name = mbpp_entry_point(row)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the reference code's bad escapes
            functions = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError:  # a few reference solutions are Python 2
        return None
    function = next((node for node in reversed(functions) if node.name == name), None)
    if function is None or function.body[0].lineno == function.lineno:
        return None
    first = function.body[0].lineno - 1
    lines = code.splitlines(keepends=True)
    indent = lines[first][: function.body[0].col_offset]
    task = row["text"].strip().replace("\\", "\\\\")
    return {
        "prompt": "".join(lines[:first]) + f'{indent}"""{task}"""\n',
        "canonical_solution": "".join(lines[first:]),
        "entry_point": name,
    }
