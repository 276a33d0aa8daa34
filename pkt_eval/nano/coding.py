"""nano_humaneval and nano_mbpp: the grammar's programs in the columns of the two code benchmarks."""

from collections.abc import Callable, Iterator

from pkt_eval.nano.dice import Dice
from pkt_eval.nano.programs import EXPRESSIONS, STATEMENTS
from pkt_eval.nano.rows import Row

FUNCTION_NAMES = (
    "solve compute transform process evaluate derive convert calculate handle apply_rule make_result work_out"
).split()


def _any(key: str) -> bool:
    return True


def humaneval(dice: Dice, wanted: Callable[[str], bool] = _any) -> Iterator[Row]:
    """An endless stream of one-line functions to complete.

    Args:
        dice: What decides them.
        wanted: Of their keys; the others are passed over before they are run, which is what takes the time.

    Yields:
        ``{prompt, entry_point, canonical_solution, test}``: the columns of ``openai/openai_humaneval``
        without ``task_id``, which belongs to a place in a split. ``test`` defines ``check(candidate)``.
    """
    while True:
        program, name = dice.pick(EXPRESSIONS)(dice), dice.pick(FUNCTION_NAMES)
        if not wanted(program.wording):
            continue
        results = program.results()
        asserts = [
            f"    assert candidate({call}) == {result}\n" for call, result in zip(program.inputs, results, strict=True)
        ]
        yield {
            "prompt": f'def {name}({program.parameters}):\n    """{program.wording}\n'
            f'    >>> {name}({program.inputs[0]})\n    {results[0]}\n    """\n',
            "entry_point": name,
            "canonical_solution": program.body,
            "test": "def check(candidate):\n" + "".join(asserts),
        }


def humaneval_key(row: Row) -> str:
    """What makes a task this task: its wording, whatever the function is called."""
    return row["prompt"].split('"""')[1].split("\n")[0]


def mbpp(dice: Dice, wanted: Callable[[str], bool] = _any) -> Iterator[Row]:
    """An endless stream of functions to write.

    Args:
        dice: What decides them.
        wanted: As of ``humaneval``.

    Yields:
        ``{text, code, test_list (3 asserts), test_setup_code, challenge_test_list}``: the columns of
        ``google-research-datasets/mbpp`` without ``task_id``.
    """
    while True:
        program, name = dice.pick(STATEMENTS)(dice), dice.pick(FUNCTION_NAMES)
        text = f"Write a function to {program.wording}"
        if not wanted(text):
            continue
        cases = [f"{name}({call}) == {result}" for call, result in zip(program.inputs, program.results(), strict=True)]
        # Three asserts, as in MBPP; a program with more inputs shares them out among the three.
        yield {
            "text": text,
            "code": program.source(name).rstrip("\n"),
            "test_list": ["assert " + " and ".join(cases[i::3]) for i in range(3)],
            "test_setup_code": "",
            "challenge_test_list": [],
        }


def mbpp_key(row: Row) -> str:
    """What makes a task this task: its wording, whatever the function is called."""
    return row["text"]
