"""The extractor on answers of every shape: what it makes of each is run, and compared where the text matters.

Each case is an answer to one of three small tasks; ``passes`` says whether the tests pass on the program
extracted.
"""

import time
from textwrap import dedent, indent

import pytest

from pkt_eval.code import extract_code

# Task "evens": a prompt in the manner of HumanEval, whose import an answer may leave out.
PROMPT = '''from typing import List


def evens(numbers: List[int]) -> int:
    """ Sum of the even numbers.
    >>> evens([1, 2, 4])
    6
    """
'''
BODY = """    result = 0
    for number in numbers:
        if number % 2 == 0:
            result += number
    return result
"""
WHOLE = "def evens(numbers: List[int]) -> int:\n" + BODY
WRONG = "def evens(numbers: List[int]) -> int:\n    return -1\n"
EVENS_TESTS = "assert evens([1, 2, 4]) == 6\nassert evens([]) == 0\n"

# Task "squares": the prompt defines a helper before the function, and the tests use it as well.
HELPER_PROMPT = '''import math


def is_square(n: int) -> bool:
    """ Whether n is a square. """
    return math.isqrt(n) ** 2 == n


def squares(numbers):
    """ The squares among the numbers. """
'''
HELPER_BODY = "    return [n for n in numbers if is_square(n)]\n"
SQUARES_TESTS = "assert squares([1, 2, 4]) == [1, 4]\nassert is_square(9)\n"

# Task "cube": no prompt, as in MBPP.
CUBE_TESTS = "assert cube(2) == 8\nassert cube(-1) == -1\n"

TABBED = BODY.replace("    ", "\t")
FIRST_LINE_STRIPPED = BODY.lstrip()
DOUBLE_FENCE = '''def evens(numbers):
    """
    Example:
    ```python
    evens([2])
    ```
    """
    return sum(n for n in numbers if n % 2 == 0)
'''

EVENS = {
    # Continuations
    "continuation": (BODY, True),
    "continuation, blank line first": ("\n" + BODY, True),
    "continuation, first indentation lost": (FIRST_LINE_STRIPPED, True),
    "continuation, first indentation one blank": (" " + FIRST_LINE_STRIPPED, True),
    "continuation, all indentation lost": (dedent(BODY), True),
    "continuation, two-blank indentation": (BODY.replace("    ", "  "), True),
    "continuation, eight-blank margin": (indent(BODY, "    "), True),
    "continuation, one line at the margin": ("return sum(n for n in numbers if n % 2 == 0)", True),
    "continuation in tabs": (TABBED, True),
    "continuation in tabs, first lost": (TABBED.lstrip(), True),
    "continuation, CRLF": (BODY.replace("\n", "\r\n"), True),
    "continuation with an import": ("    import operator\n" + BODY, True),
    "continuation with an inner function": ("    def even(n):\n        return n % 2 == 0\n" + BODY, True),
    "continuation, prose after": (BODY + "\nThis function adds up the even numbers.\n", True),
    "continuation, prose with a quote after": (BODY + "\nIt's done, isn't it?\n", True),
    "continuation, one word after": (BODY + "\nExplanation\n", True),
    "continuation, closing fence after": (BODY + "```\n\nNote that the list may be empty.", True),
    "continuation, closing fence glued": (BODY.rstrip() + "```", True),
    "continuation, example block after": (BODY + "```\nExample:\n```python\nprint(evens([2]))\n```\n", True),
    "continuation, doctest after": (BODY + "\n>>> evens([2])\n2\n", True),
    "continuation, main guard after": (
        BODY + '\nif __name__ == "__main__":\n    evens(int(input()))\n',
        True,
    ),
    "continuation, print after": (BODY + "\nprint(evens([1, 2, 4]))\n", True),
    "continuation, helper after": (
        "    return add(numbers)\n\n\ndef add(ns):\n" + BODY.replace("numbers", "ns"),
        True,
    ),
    "continuation, unfinished function after": (BODY + "\n\ndef odds(numbers: List[int", True),
    "continuation, last line cut": (BODY + "    return (result +", True),
    "continuation cut before its end": ("    result = 0\n    for number in numbers:\n        if numb", False),
    "continuation in a fence": (f"```python\n{BODY}```", True),
    "continuation in a fence, dedented": (f"```python\n{dedent(BODY)}```", True),
    "continuation in a fence, first lost": (f"The body:\n```\n{FIRST_LINE_STRIPPED}```", True),
    "continuation after words": ("Here is the body:\n" + BODY, True),
    "continuation, fence in its docstring": ('    """\n    ```\n    x\n    ```\n    """\n' + BODY, True),
    # Whole functions
    "whole": (WHOLE, True),
    "whole with the prompt": (PROMPT + BODY, True),
    "whole, prompt twice": (PROMPT + PROMPT + BODY, True),
    "whole, indented": (indent(WHOLE, "    "), True),
    "whole, indented, prose after": (indent(WHOLE, "    ") + "\nThat is all.", True),
    "whole, prose before": ("Here's the function:\n\n" + WHOLE, True),
    "whole, prose before and after": ("Sure! I'll do it.\n\n" + WHOLE + "\nThe end, isn't it?\n", True),
    "whole, indented amid prose": ("The solution:\n\n" + indent(WHOLE, "    ") + "\nThat is all.", True),
    "whole, other argument names": ("def evens(xs):\n    return sum(x for x in xs if x % 2 == 0)", True),
    "whole, without annotations": ("def evens(numbers):\n" + BODY, True),
    "whole, __future__ import": ("from __future__ import annotations\n\n" + WHOLE, True),
    "whole, helper first": ("def even(n):\n    return n % 2 == 0\n\n\n" + WHOLE, True),
    "whole, decorated": ("import functools\n\n@functools.wraps(print)\n" + WHOLE, True),
    "whole, as a lambda": ("evens = lambda numbers: sum(n for n in numbers if n % 2 == 0)", True),
    "whole, cut in its last line": (WHOLE + "\nprint(evens([1, 2", True),
    "whole, thought about first": (f"<think>\nMaybe:\n{WRONG}\n</think>\n\n```python\n{WHOLE}```", True),
    # Fences
    "fenced": (f"```python\n{WHOLE}```", True),
    "fenced with the prompt": (f"```python\n{PROMPT}{BODY}```", True),
    "fenced, text around": (f"Sure!\n\n```python\n{WHOLE}```\n\nIt's O(n).", True),
    "fenced, no tag": (f"```\n{WHOLE}```", True),
    "fenced, tag py": (f"```py\n{WHOLE}```", True),
    "fenced, tag Python3": (f"```Python3\n{WHOLE}```", True),
    "fenced, wrong tag": (f"```java\n{WHOLE}```", True),
    "fenced, attributes": (f'```python title="evens.py"\n{WHOLE}```', True),
    "fenced, tildes": (f"~~~python\n{WHOLE}~~~", True),
    "fenced, four ticks": (f"````python\n{WHOLE}````", True),
    "fenced, never closed": (f"The code:\n```python\n{WHOLE}", True),
    "fenced, cut off": (f"```python\n{WHOLE}\nprint(evens([1,", True),
    "fenced, indented": ("1. Like this:\n\n" + indent(f"```python\n{WHOLE}```", "   ") + "\n\n2. Done", True),
    "fenced, opening glued": (f"Solution: ```python\n{WHOLE}```", True),
    "fenced, closing glued": (f"```python\n{WHOLE.rstrip()}```", True),
    "fenced, CRLF": (f"Sure:\n```python\n{WHOLE}```\nBye".replace("\n", "\r\n"), True),
    "fenced, tabs": (f"```python\n{WHOLE.replace('    ', chr(9))}```", True),
    "fenced on one line": ("```python evens = lambda ns: sum(n for n in ns if n % 2 == 0)```", True),
    "fenced, fence in its docstring": (f"Code:\n```python\n{DOUBLE_FENCE}```\nBye", True),
    "bare, fence in its docstring": (DOUBLE_FENCE, True),
    "fence opened by the prompt": (WHOLE + "```\n\nThis works because it's right.", True),
    "fence opened by the prompt, example after": (
        WHOLE + "```\n\nExample:\n\n```python\nprint(evens([2]))\n```\n",
        True,
    ),
    "fenced, prose inside": (f"```python\n{WHOLE}\nThis isn't code.\n```", True),
    # Several blocks
    "example block after": (f"```python\n{WHOLE}```\nUse:\n```python\nassert evens([1]) == 7\n```", True),
    "example block before": (
        f"Given:\n```python\nprint(evens([1]))\n```\nWrite:\n```python\n{WHOLE}```",
        True,
    ),
    "install block before": (f"```bash\npip install evens\n```\n```python\n{WHOLE}```", True),
    "output block after": (f"```python\n{WHOLE}```\nOutput:\n```\n6\n```", True),
    "signature quoted before": (f"Complete this:\n```python\n{PROMPT}```\nSo:\n```python\n{WHOLE}```", True),
    "helper in another block": (
        "```python\ndef even(n):\n    return n % 2 == 0\n```\nthen\n"
        "```python\ndef evens(numbers):\n    return sum(filter(even, numbers))\n```",
        True,
    ),
    "import in another block": (
        "```python\nimport operator\n```\nthen\n```python\ndef evens(numbers):\n"
        "    return operator.add(0, sum(n for n in numbers if n % 2 == 0))\n```",
        True,
    ),
    "first of two versions": (f"```python\n{WHOLE}```\nDon't write:\n```python\n{WRONG}```", True),
    "body in a block, example in another": (f"```python\n{BODY}```\n```python\nprint(evens([2]))\n```", True),
    "block not closed before the next": (f"```python\n{WHOLE}\nAnd:\n```python\nprint(1)\n```", True),
    # Classes
    "class wrapper": ("class Solution:\n" + indent(WHOLE.replace("(n", "(self, n"), "    "), True),
    "class wrapper, fenced": (
        "```python\nclass Solution:\n" + indent(WHOLE.replace("(n", "(self, n"), "    ") + "```",
        True,
    ),
    "class wrapper, static": ("class Solution:\n    @staticmethod\n" + indent(WHOLE, "    "), True),
    "class wrapper, no self": ("class Solution:\n" + indent(WHOLE, "    "), True),
    # Not the answer
    "nothing": ("", False),
    "blanks": (" \n\t\n", False),
    "refusal": ("I'm sorry, but I can't help with that.", False),
    "one word": ("Sorry", False),
    "prose that parses as a body": ("None", False),
    "empty fence": ("```python\n```", False),
    "comment only": ("    # TODO\n", False),
    "pass only": ("    pass\n", False),
    "prompt only": (PROMPT, False),
    "signature only": ("def evens(numbers: List[int]) -> int:", False),
    "wrong": (WRONG, False),
    "other name": (WHOLE.replace("evens", "sum_evens"), False),
    "other language": ("```js\nfunction evens(xs) { return 6; }\n```", False),
    "exits": ("    import os\n    os._exit(0)\n", False),
}
SQUARES = {
    "helper kept, continuation": (HELPER_BODY, True),
    "helper kept, whole": ("def squares(numbers):\n" + HELPER_BODY, True),
    "helper kept, fenced": (f"```python\ndef squares(numbers):\n{HELPER_BODY}```", True),
    "helper repeated": (HELPER_PROMPT + HELPER_BODY, True),
    "helper replaced": (
        f"def is_square(n):\n    return n in (1, 4, 9)\n\ndef squares(numbers):\n{HELPER_BODY}",
        True,
    ),
}
CUBE = {
    "bare": ("def cube(x):\n    return x ** 3", True),
    "upstream's markers": ("[BEGIN]\ndef cube(x):\n    return x ** 3\n[DONE]\n\nYou are an expert", True),
    "leading blank": (" def cube(x):\n    return x ** 3", True),
    "fenced": ("Here:\n```python\ndef cube(x):\n    return x ** 3\n```\nBye!", True),
    "rest of a fence": ("def cube(x):\n    return x ** 3\n```", True),
    "several functions": (
        "def square(x):\n    return x * x\n\ndef cube(x):\n    return x * square(x)\n",
        True,
    ),
    "functions in two blocks": (
        "```python\ndef square(x):\n    return x * x\n```\nand\n```python\ndef cube(x):\n    return x * square(x)\n```",
        True,
    ),
    "functions apart in prose": (
        "First:\n\ndef square(x):\n    return x * x\n\nThen it's easy:\n\ndef cube(x):\n    return x * square(x)\n",
        True,
    ),
    "constant before": ("It's simple.\n\nPOWER = 3\n\ndef cube(x):\n    return x ** POWER\n", True),
    "example block before": ("```\ncube(2) = 8\n```\n```python\ndef cube(x):\n    return x ** 3\n```", True),
    "carriage returns": ("def cube(x):\r\n\treturn x ** 3\r\n", True),
    "own asserts": ("def cube(x):\n    return x ** 3\n\nassert cube(3) == 27\n", True),
    "input() at the end": (
        "def cube(x):\n    return x ** 3\n\nif __name__ == '__main__':\n    cube(input())\n",
        True,
    ),
    "never renamed": ("def cubed(x):\n    return x ** 3", False),
    "prose": ("To cube a number, multiply it by itself twice.", False),
}

CASES = {
    **{f"evens: {name}": (a, PROMPT, "evens", EVENS_TESTS, ok) for name, (a, ok) in EVENS.items()},
    **{f"squares: {name}": (a, HELPER_PROMPT, "squares", SQUARES_TESTS, ok) for name, (a, ok) in SQUARES.items()},
    **{f"cube: {name}": (a, None, None, CUBE_TESTS, ok) for name, (a, ok) in CUBE.items()},
    **{f"cube, named: {name}": (a, None, "cube", CUBE_TESTS, ok) for name, (a, ok) in CUBE.items()},
}


@pytest.fixture(scope="module")
def judged(verdicts):
    jobs = [(extract_code(a, prompt=p, entry_point=e), tests) for a, p, e, tests, _ in CASES.values()]
    return dict(zip(CASES, zip(jobs, verdicts(jobs), strict=True), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_answer(name, judged):
    (program, _), verdict = judged[name]
    assert verdict.passed is CASES[name][-1], f"{verdict.status} {verdict.message}\n{program}"


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][-1]])
def test_entry_point_may_be_left_to_the_prompt(name, judged):
    answer, prompt, _, _, _ = CASES[name]
    if prompt:
        assert extract_code(answer, prompt=prompt) == judged[name][0][0]


def test_what_comes_out_compiles(judged):
    for (program, _), _ in judged.values():
        compile(program, "program", "exec")


def test_well_formed_continuation_is_left_alone():
    for answer in (BODY, "\n" + BODY, BODY + "\nprint(evens([2]))\n", BODY.rstrip(), BODY + "\n\n\nX = 1\n"):
        assert extract_code(answer, prompt=PROMPT, entry_point="evens") == PROMPT + answer


def test_prompt_that_ends_inside_a_line_is_continued():
    prompt = "def evens(numbers):\n    return"
    answer = " sum(n for n in numbers if n % 2 == 0)\n"
    assert extract_code(answer, prompt=prompt, entry_point="evens") == prompt + answer


def test_prompt_without_docstring_is_continued():
    prompt = "def evens(numbers):\n"
    assert extract_code(BODY, prompt=prompt, entry_point="evens") == prompt + BODY


def test_prompt_in_prose_is_ignored():
    assert extract_code(WHOLE, prompt="Write a function evens.", entry_point="evens") == WHOLE


def test_prompt_is_not_repeated():
    program = extract_code(f"```python\n{PROMPT}{BODY}```", prompt=PROMPT, entry_point="evens")
    assert program == PROMPT + BODY
    program = extract_code(WHOLE, prompt=PROMPT, entry_point="evens")
    assert program == "from typing import List\n\n\n" + WHOLE


def test_no_code_is_the_empty_program():
    for name in ("nothing", "blanks", "refusal", "one word", "empty fence", "other language"):
        assert extract_code(EVENS[name][0], prompt=PROMPT, entry_point="evens") == "", name
        assert extract_code(EVENS[name][0]) == "", name


def test_odd_characters_neither_crash_nor_change_strings():
    for answer in ("\0", "def f():\n    return '\0'", "\ufeff" + WHOLE, "\udc80", "def f(\x0c):\n\x0c"):
        extract_code(answer, prompt=PROMPT, entry_point="evens")
    strings = "def f():\n    return '''a\n    \n\tb\u2028c\x0cd'''\n"
    assert extract_code(strings, entry_point="f") == strings


def test_warnings_of_the_answer_stay_away(recwarn):
    extract_code("def f(x):\n    return '\\d' if x is 1 else x\n", entry_point="f")
    assert not recwarn.list


# --- What is not the answer: lines on which no parser comes to an end, thoughts, versions that were corrected ---

CUBED = "def cube(x):\n    return x ** 3\n"
TRIPLED = "def cube(x):\n    return x * 3\n"
RAMBLES = {
    "dashes": "-" * 6000,
    "a sum": "1" + "+1" * 6000,
    "a comparison in words": "not " * 6000 + "1",
    "attributes": "x" + ".a" * 6000,
    "calls": "x" + "()" * 6000,
    "an assignment": "total = 1" + "+1" * 6000,
    "a condition": "if 1" + "+1" * 6000 + ":",
    "NUL": "and so on\0",
    "NULs alone": "\0" * 50,
    "NUL in a comment": "# \0",
}


@pytest.mark.parametrize("name", RAMBLES)
def test_a_rambling_line_goes_and_the_program_stays(name):
    bad = RAMBLES[name] + "\n"
    for answer in (
        CUBED + bad,
        bad + CUBED,
        CUBED + "\n" + bad * 3,
        f"```python\n{CUBED}{bad}```\n",
        bad + f"```\n{CUBED}```\n{bad}",
    ):
        assert extract_code(answer, entry_point="cube").strip("\n") + "\n" == CUBED, answer[:50]
    inside = "def cube(x):\n    y = x * x\n" + bad + "    return x * y\n"
    assert extract_code(inside, entry_point="cube") == inside.replace(bad, "")
    assert extract_code(indent(inside, "    "), entry_point="cube") == inside.replace(bad, "")
    assert extract_code(BODY + bad, prompt=PROMPT, entry_point="evens").rstrip() == (PROMPT + BODY).rstrip()
    assert extract_code(BODY + "\n" + bad + "print(1)\n", prompt=PROMPT).startswith(PROMPT + BODY)
    assert extract_code(f"{bad}```python\n{WHOLE}```\n", prompt=PROMPT, entry_point="evens").endswith(WHOLE)


@pytest.mark.parametrize("levels", [60, 110, 300])
@pytest.mark.parametrize("prompt", [None, "def f(x):\n"])
def test_blocks_without_end_go_and_the_program_stays(levels, prompt):
    margin = "    " if prompt else ""
    endless = "".join(f"{margin}{'    ' * level}if x:\n" for level in range(levels))
    program = "    return x + 1\n" if prompt else "def f(x):\n    return x + 1\n"
    space: dict = {}
    exec(extract_code(program + endless, prompt=prompt, entry_point="f"), space)
    assert space["f"](3) == 4


def test_a_long_line_that_python_reads_stays():
    """In a string, in a comment, or no deeper than it is long."""
    for line in ("-" * 6000, "1" + "+1" * 6000):
        program = f'def cube(x):\n    """Cube.\n    {line}\n    """\n    # {line}\n    return x ** 3\n'
        assert extract_code(program, entry_point="cube") == program
        assert extract_code(f"Here:\n```python\n{program}```\n", entry_point="cube") == program
        assert extract_code(f"Here:\n```python\n{program}```\n{line}\n", entry_point="cube") == program
    program = CUBED + f"TABLE = {list(range(3000))}\n"
    assert extract_code(program, entry_point="cube") == program


def test_an_expression_too_deep_over_several_lines_ends_the_program_before_it():
    deep = "x = (1\n" + "+1\n" * 6000 + ")\n"
    assert extract_code(CUBED + deep, entry_point="cube") == CUBED


DRAFT = f"Perhaps:\n\n```python\n{TRIPLED}```\n\nNo, wait.\n"
THOUGHTS = {
    "closed": (f"<think>\n{DRAFT}</think>\n\n{CUBED}", CUBED),
    "closed, thinking": (f"<thinking>\n{DRAFT}</thinking>\n```python\n{CUBED}```\n", CUBED),
    "closed, in capitals": (f"<Thinking>{DRAFT}</Thinking>\n{CUBED}", CUBED),
    "closed, reasoning": (f"<reasoning>\n{DRAFT}</reasoning>\n```python\n{CUBED}```\n", CUBED),
    "closed, thought": (f"<|begin_of_thought|>\n{DRAFT}<|end_of_thought|>\n\n{CUBED}", CUBED),
    "closed on its last line": (f"<think>\n{DRAFT}I am sure.</think>\n\n{CUBED}", CUBED),
    "closed before the program on one line": (f"<think>{DRAFT}</think>{CUBED}", CUBED),
    "closed, and empty": (f"<think>\n\n</think>\n\n{CUBED}", CUBED),
    "closed, after words": (f"Let me see.\n<think>\n{DRAFT}</think>\n```python\n{CUBED}```\n", CUBED),
    "closed, bare code in it": (f"<think>\n{TRIPLED}</think>\n{CUBED}", CUBED),
    "two": (f"<think>\n{DRAFT}</think>\nor\n<think>\n{DRAFT}</think>\n{CUBED}", CUBED),
    "one that speaks of its end": (f"<think>\nI close it with </think> later.\n{DRAFT}</think>\n{CUBED}", CUBED),
    "after the program": (f"```python\n{CUBED}```\n<think>\n{DRAFT}</think>\n", CUBED),
    "never closed, after the program": (f"```python\n{CUBED}```\n<think>\n{DRAFT}", CUBED),
    "never closed": (f"<think>\n{DRAFT}", ""),
    "never closed, thinking": (f"<thinking>\n{DRAFT}", ""),
    "never closed, bare code in it": (f"<think>\n{TRIPLED}", ""),
    "never closed, words before": (f"Well.\n<think>{TRIPLED}", ""),
    "begun by the prompt": (f"{DRAFT}</think>\n\n{CUBED}", CUBED),
    "begun by the prompt, thinking": (f"{DRAFT}That is it.</thinking>\n\n{CUBED}", CUBED),
    "begun by the prompt, nothing after": (f"{DRAFT}</think>\n", ""),
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_a_draft_in_a_thought_is_not_the_answer(name):
    answer, program = THOUGHTS[name]
    assert extract_code(answer, entry_point="cube") == program


def test_a_thought_before_a_continuation_goes():
    for thought in (f"<think>\n{WRONG}</think>\n", f"<thinking>{WRONG}</thinking>\n", f"{WRONG}</think>\n"):
        assert (
            extract_code(thought + BODY, prompt=PROMPT, entry_point="evens").rstrip() == (PROMPT + "\n" + BODY).rstrip()
        )
    assert extract_code(f"<think>\n{BODY}", prompt=PROMPT, entry_point="evens") == ""


def test_a_programs_own_tags_are_no_thought():
    for program in (
        'def strip(s):\n    return s.split("</think>")[-1]\n',
        'import re\n\ndef strip(s):\n    # <think> and </think>\n    return re.sub("<think>.*</think>", "", s)\n',
        'TEXT = """\n<think>\n"""\n\ndef strip(s):\n    return s.replace(TEXT, "")\n',
    ):
        assert extract_code(program, entry_point="strip") == program
    fenced = 'def strip(s):\n    return s.split("</think>")[-1]\n'
    assert extract_code(f"<think>\nHm.\n</think>\n```python\n{fenced}```\n", entry_point="strip") == fenced


FIRST, SECOND = f"```python\n{TRIPLED}```\n", f"```python\n{CUBED}```\n"
CORRECTIONS = {
    "wait": (f"{FIRST}Wait, that is three times x. It has to be:\n{SECOND}", CUBED),
    "corrected version": (f"{FIRST}\nHere is the corrected version:\n\n{SECOND}", CUBED),
    "sorry": (f"{FIRST}I'm sorry, I made a mistake. \n{SECOND}\nThis works.", CUBED),
    "said in a comment": (f"{FIRST}And:\n```python\n# Fixed: a power\n{CUBED}```\n", f"# Fixed: a power\n{CUBED}"),
    "without fences": (f"{TRIPLED}\nOops, that's wrong. Again:\n\n{CUBED}", CUBED),
    "prose, then without fences": (f"It's this:\n\n{TRIPLED}\nActually it's this:\n\n{CUBED}", CUBED),
    "don't worry": (f"{FIRST}There is a bug. Don't worry, here is the fix:\n{SECOND}", CUBED),
    "never ends": (f"{FIRST}The wrong version above never ends. Corrected:\n{SECOND}", CUBED),
    "to avoid an error": (f"{FIRST}To avoid the error, I rewrote it:\n{SECOND}", CUBED),
    "better": (f"{FIRST}The naive solution is not right. Better:\n{SECOND}", CUBED),
    "twice": (f"{FIRST}No, wait.\n{FIRST}Still wrong. The fix:\n{SECOND}", CUBED),
    "with tests between": (f"{FIRST}```python\nassert cube(2) == 8\n```\nThis fails. Corrected:\n{SECOND}", CUBED),
    "in one block": (f"```python\n{TRIPLED}\n{CUBED}```\n", f"{TRIPLED}\n{CUBED}"),
    "with an example after": (f"{FIRST}Wrong! Corrected:\n{SECOND}Try:\n```python\nprint(cube(2))\n```\n", CUBED),
    "said to be wrong beforehand": (f"A wrong implementation would be:\n{FIRST}So use:\n{SECOND}", CUBED),
    # The last whole one counts.
    "naive, then cut off": (f"The naive version:\n{SECOND}Faster:\n```python\ndef cube(x):\n    return (x *", CUBED),
    "cut off in its body": (f"{SECOND}Wait, a bug. Fixed:\n```python\ndef cube(x):\n    y = x\n    return (y *", CUBED),
    "cut off before it returns": (f"{SECOND}Wait, a bug. Fixed:\n```python\ndef cube(x):\n    y = x * x\n", CUBED),
    "cut off after its body": (f"{FIRST}Fixed:\n```python\n{CUBED}\nprint(cube(", CUBED),
    "a signature alone": (f"{SECOND}A fix would begin so:\n```python\ndef cube(x):\n    ...\n```\n", CUBED),
    # No correction: the first counts, as ever.
    "two ways": (f"{SECOND}Another way:\n{FIRST}", CUBED),
    "not to be written": (f"{SECOND}Don't write this, it's wrong:\n{FIRST}", CUBED),
    "a wrong way": (f"{SECOND}A wrong implementation would be:\n{FIRST}", CUBED),
    "not to be used": (f"{SECOND}Never use this wrong one:\n{FIRST}", CUBED),
    "would be wrong": (f"{SECOND}This would be wrong, though:\n{FIRST}", CUBED),
    "the following is wrong": (f"{SECOND}Note that the following is incorrect for 2:\n{FIRST}", CUBED),
    "a common mistake": (f"{SECOND}A common mistake is:\n{FIRST}", CUBED),
}  # fmt: skip


@pytest.mark.parametrize("name", CORRECTIONS)
def test_of_a_version_and_its_correction_the_last_whole_one_counts(name):
    answer, program = CORRECTIONS[name]
    assert extract_code(answer, entry_point="cube") == program


def test_a_continuation_that_is_corrected_afterwards():
    wrong = "    return sum(numbers)\n"
    corrected = f"{wrong}```\n\nWait, that's wrong. The corrected function:\n\n```python\n{WHOLE}```\n"
    assert extract_code(corrected, prompt=PROMPT, entry_point="evens") == "from typing import List\n\n\n" + WHOLE
    bare = f"{wrong}\nWait, that's wrong. The corrected function:\n\n{WHOLE}"
    assert extract_code(bare, prompt=PROMPT, entry_point="evens") == "from typing import List\n\n\n" + WHOLE
    cut = f"{BODY}```\nWait, that's wrong. Corrected:\n```python\ndef evens(numbers):\n    return (1 +"
    assert extract_code(cut, prompt=PROMPT, entry_point="evens").rstrip() == (PROMPT + BODY).rstrip()
    other = f"{BODY}```\nDon't write the wrong\n```python\n{WRONG}```\n"
    assert extract_code(other, prompt=PROMPT, entry_point="evens").rstrip() == (PROMPT + BODY).rstrip()


OLD_ONES = [
    "The original had a bug:", "The original code had a bug, namely x * 3:",
    "For reference, the original (buggy) code was:",
    "Before the fix:", "**Before:**", "### Original code", "Your code was:", "The bug was in the old version:",
    "Explanation: the original had a bug: it multiplied.\n\nOriginal:", "What was wrong:", "instead of:",
    "The earlier attempt, without the fix:", "I fixed the error in your code, which was:", "The incorrect code:",
    "Compare with the version that was not correct:", "The mistake was here:",
]  # fmt: skip
NEW_ONES = [
    "Wait, the original had a bug:", "The original had a bug, so here is the corrected one:", "Sorry, that was wrong:",
    "The previous version was wrong. Here is the fix:", "The bug in the original is fixed here:",
    "This replaces the original, which has a bug:\nFixed:", "Use this instead of the original, it had a bug:",
    "Here's the original with the bug fixed:", "The corrected version of the original code:",
    "Actually, it was wrong before:", "This fixes the bug in the previous version:",
]  # fmt: skip


@pytest.mark.parametrize("said", OLD_ONES)
def test_what_is_shown_for_what_was_wrong_with_it_is_not_the_answer(said):
    bare = f"{CUBED}\n> {said}\n\n{TRIPLED}"  # not as a comment of one program, whose last function counts
    for answer in (f"{SECOND}\n{said}\n{FIRST}", bare, f"{said}\n{FIRST}Corrected:\n{SECOND}"):
        assert extract_code(answer, entry_point="cube") == CUBED, answer
    comment = " ".join(said.rpartition(", ")[2].strip("*#").split())
    quoted = f"```python\n# {comment}\n{TRIPLED}```\n"
    assert extract_code(f"{SECOND}\nAnd:\n{quoted}", entry_point="cube") == CUBED
    assert extract_code(f"    return x ** 3\n```\n{said}\n{FIRST}", prompt="def cube(x):\n") == (
        "def cube(x):\n    return x ** 3"
    )


@pytest.mark.parametrize("said", NEW_ONES)
def test_a_correction_may_speak_of_what_it_corrects(said):
    assert extract_code(f"{FIRST}\n{said}\n{SECOND}", entry_point="cube") == CUBED


def test_before_and_after():
    for answer in (
        f"Before:\n{FIRST}After:\n{SECOND}",
        f"The fixed code:\n{SECOND}Before:\n{FIRST}After:\n{SECOND}",
        f"{FIRST}That has a bug. I fixed it. Before:\n{FIRST}After:\n{SECOND}",
        f"What comes before:\n{SECOND}Don't write this, it's wrong:\n{FIRST}",
    ):
        assert extract_code(answer, entry_point="cube") == CUBED


@pytest.mark.parametrize("blank", [chr(n) for n in (0xA0, 0x1680, 0x2003, 0x2009, 0x202F, 0x205F, 0x3000)])
def test_what_looks_like_a_blank_is_one(blank):
    for text in (
        CUBED.replace("    ", blank * 4),
        CUBED.replace("    ", f"{blank} {blank} "),
        CUBED.replace(" ", blank),
    ):
        for answer in (
            text,
            f"```python\n{text}```\n",
            f"Sure:{blank}it's this\n```python\n{text}```\nDone{blank}!",
            f"{blank}{blank}```python\n{text}{blank}{blank}```\n",
        ):
            assert extract_code(answer, entry_point="cube").split() == CUBED.split(), answer
    assert extract_code(f"{blank * 4}return x ** 3\n", prompt="def cube(x):\n").rstrip() == CUBED.rstrip()


@pytest.mark.parametrize("unseen", [chr(n) for n in (0xFEFF, 0x200B, 0x200D, 0x2060, 0xAD, 0x200E)])
def test_what_cannot_be_seen_is_not_there(unseen):
    for answer in (
        f"```python\n{unseen}{CUBED}```\n",
        CUBED.replace("return", f"return{unseen}"),
        f"{unseen}```python\n{CUBED}{unseen}```\n",
        CUBED.replace("    ", f"  {unseen}  "),
    ):
        assert extract_code(answer, entry_point="cube").split() == CUBED.split(), answer


@pytest.mark.parametrize("end", ["\r\n", "\r", "\u2028", "\u2029", "\x85"])
def test_lines_may_end_otherwise(end):
    for answer in (CUBED, f"```python\n{CUBED}```\n"):
        assert extract_code(answer.replace("\n", end), entry_point="cube") == CUBED


def test_strings_and_comments_keep_their_blanks():
    program = 'def cube(x):\n    s = "a\u00a0b\u200dc"  # \u00a0d\n    return x ** 3\n'
    assert extract_code(program, entry_point="cube") == program
    assert extract_code(f"Es\u00a0ist:\n```python\n{program}```\n\u00a0Ende", entry_point="cube") == program
    assert extract_code(program.replace("    ", "\u00a0" * 4), entry_point="cube") == program
    # What is no Python but to the eye is left as it is.
    assert extract_code("def cube(x)：\n    return x ** 3\n", entry_point="cube") == ""


ADVERSARIAL = {
    "prose": "lorem ipsum dolor\n",
    "bad imports": "import x y\n",
    "bad functions": "    def evens(x):\n        return 1 1\n",
    "fences": "```\n",
    "fences glued": "abc ```\n",
    "fenced": "```python\nx = 1 2\n```\n",
    "ticks": "`",
    "parentheses": "(",
    "braces": "x = {",
    "minus signs": "-",
    "sum": "a+",
    "attributes": "a.",
    "calls": "a()",
    "blanks": " ",
    "tabs": "\t\n",
    "no-break blanks": "\u00a0",
    "unseen": "\u200b\n",
    "quoted, no-break": "'\u00a0\"",
    "shown as old": "def evens(x):\n    return 1\nThe original had a bug, namely:\n",
    "clauses": "so, before ",
    "quotes": "'\n",
    "triple quotes": "'''\n",
    "decorators": "@a\n",
    "lambdas": "lambda:",
    "conditions": "1 if a else ",
    "body": "    x = 1\n",
    "statements": "x = 1\ny y\n",
    "NUL": "\0",
    "long lines": "1" + "+1" * 1500 + "\n",
    "thoughts": "<think>\n",
    "thoughts closed": "<think>x</think>\n",
    "ends of thoughts": "x</think>\n",
    "corrections": "def evens(x):\n    return 1\nWait, wrong. Corrected:\n",
    "cascade": "def g{0}():\n    return g{1}()\ny y\n",
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_time_is_bounded(name):
    unit = ADVERSARIAL[name]
    if "{0}" in unit:
        text = "".join(unit.format(i, i + 1) for i in range(50_000 // len(unit)))
    else:
        text = unit * (50_000 // len(unit))
    for answer in (text, text + "x", BODY + text):
        start = time.process_time()
        extract_code(answer, prompt=PROMPT, entry_point="evens")
        assert time.process_time() - start < 4  # about 0.5 s at worst; quadratic work takes 20


def test_usual_answers_take_milliseconds():
    start = time.process_time()
    for answer, prompt, entry_point, _, _ in CASES.values():
        extract_code(answer, prompt=prompt, entry_point=entry_point)
    assert (time.process_time() - start) / len(CASES) < 0.02  # about 0.0005; the rest is for slow machines
