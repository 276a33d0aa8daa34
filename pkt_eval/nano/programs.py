"""Small Python functions drawn from a grammar, each with a wording, a body and inputs to test it on.

Two kinds: ``expression`` programs are one ``return`` line (nano_humaneval), ``statement`` programs are a
loop or a branch (nano_mbpp). Wordings compose, so that a held-out program is a new combination of known
parts. Inputs sweep the neighbourhood of every constant, so that a wrong constant fails a test.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pkt_eval.nano.dice import Dice

ALPHABET = "abcde"
FILTERS = (
    ("", ""),
    (" that is even", "x % 2 == 0"),
    (" that is odd", "x % 2 == 1"),
    (" above {k}", "x > {k}"),
    (" below {k}", "x < {k}"),
    (" divisible by {k}", "x % {k} == 0"),
)
MAPS = (
    ("x", "x"),
    ("x squared", "x * x"),
    ("x plus {k}", "x + {k}"),
    ("x minus {k}", "x - {k}"),
    ("x times {k}", "x * {k}"),
)


@dataclass(frozen=True)
class Program:
    """A function without a name.

    Attributes:
        wording: what it does, in words; also its identity.
        parameters: the parameter list, as written between the parentheses.
        body: the indented lines, each ending in a newline.
        inputs: argument lists to call it with, as source text.
    """

    wording: str
    parameters: str
    body: str
    inputs: tuple[str, ...]

    def source(self, name: str) -> str:
        """The whole function under a name, ending in a newline."""
        return f"def {name}({self.parameters}):\n{self.body}"

    def results(self) -> list[str]:
        """What the function returns for each input, as source text."""
        scope: dict[str, object] = {}
        exec(self.source("program"), scope)  # our own grammar's text, never a model's
        return [repr(eval(f"program({call})", scope)) for call in self.inputs]


def _fill(dice: Dice, pair: tuple[str, str], low: int = 2) -> tuple[str, str]:
    k = dice.roll(low, 9)
    return pair[0].format(k=k), pair[1].format(k=k)


def _number_lists(dice: Dice) -> tuple[str, ...]:
    """The first is short, to be shown as an example; the second holds every number up to 12."""
    sweep = repr(dice.shuffled(range(1, 13)))
    return (repr(dice.sample(range(10), 3)), sweep, *(repr(dice.sample(range(20), 6)) for _ in range(2)))


def _words(dice: Dice, count: int, low: int, high: int) -> list[str]:
    return ["".join(dice.pick(ALPHABET) for _ in range(dice.roll(low, high))) for _ in range(count)]


def comprehension(dice: Dice) -> Program:
    """Filter, map and reduce a list of numbers in one expression."""
    kept, condition = _fill(dice, dice.pick(FILTERS), low=3)
    mapped, value = _fill(dice, dice.pick(MAPS))
    each = f"{value} for x in xs" + (f" if {condition}" if condition else "")
    reduced, expression = dice.pick(
        (
            ("list", f"[{each}]"),
            ("sum", f"sum({each})"),
            ("sorted list", f"sorted({each})"),
            ("largest", f"max([{each}], default=0)"),
        )
    )
    wording = f"Return the {reduced} of {mapped} for each x in xs{kept}."
    return Program(wording, "xs", f"    return {expression}\n", _number_lists(dice))


def string_chain(dice: Dice) -> Program:
    """One to three string operations, one after the other."""
    operations: tuple[Callable[[], tuple[str, str]], ...] = (
        lambda: ("reversed", "[::-1]"),
        lambda: ("in upper case", ".upper()"),
        lambda: (f"cut to the first {(k := dice.roll(2, 7))} letters", f"[:{k}]"),
        lambda: (f"cut to the last {(k := dice.roll(2, 7))} letters", f"[-{k}:]"),
        lambda: (f"without the letter {(c := dice.pick(ALPHABET))}", f'.replace("{c}", "")'),
        lambda: (
            f"with {(c := dice.pick(ALPHABET))} changed to {(d := dice.pick('xyz'))}",
            f'.replace("{c}", "{d}")',
        ),
    )
    parts = [make() for make in dice.sample(operations, dice.roll(1, 3))]
    wording = "Return s " + ", then ".join(words for words, _ in parts) + "."
    body = "    return s" + "".join(code for _, code in parts) + "\n"
    inputs = (*_words(dice, 1, 4, 6), *_words(dice, 1, 8, 8), *_words(dice, 2, 9, 12))
    return Program(wording, "s", body, tuple(f'"{word}"' for word in inputs))


def arithmetic_chain(dice: Dice) -> Program:
    """Two to four arithmetic operations on one number."""
    wordings, expression = [], "n"
    signs = {"add {k}": "+", "subtract {k}": "-", "multiply by {k}": "*", "take the remainder by {k}": "%"}
    for step in range(dice.roll(2, 4)):
        words, k = dice.pick(list(signs)), dice.roll(2, 9)
        expression = f"({expression})" if step else expression
        expression = f"{expression} {signs[words]} {k}"
        wordings.append(words.format(k=k))
    wording = f"Take n, {', then '.join(wordings)}, and return it."
    return Program(wording, "n", f"    return {expression}\n", tuple(map(str, dice.sample(range(30), 6))))


def loop(dice: Dice) -> Program:
    """A loop over a list of numbers with a filter and an accumulator."""
    kept, condition = _fill(dice, dice.pick(FILTERS), low=3)
    mapped, value = _fill(dice, dice.pick(MAPS))
    goal, start, step = dice.pick(
        (
            ("collect", "[]", f"out.append({value})"),
            ("add up", "0", f"out += {value}"),
            ("multiply together", "1", f"out *= {value}"),
        )
    )
    inner = f"        if {condition}:\n            {step}\n" if condition else f"        {step}\n"
    body = f"    out = {start}\n    for x in xs:\n{inner}    return out\n"
    return Program(f"{goal} {mapped} for every number x{kept} in a list.", "xs", body, _number_lists(dice))


def branch(dice: Dice) -> Program:
    """Two numbers, a condition and two outcomes."""
    conditions = (
        ("a is larger than b", "a > b"),
        ("a is even", "a % 2 == 0"),
        ("b is even", "b % 2 == 0"),
        ("a is below {k}", "a < {k}"),
        ("b is below {k}", "b < {k}"),
    )
    outcomes = (
        ("the sum", "a + b"),
        ("the product", "a * b"),
        ("a minus b", "a - b"),
        ("a plus {k}", "a + {k}"),
        ("b plus {k}", "b + {k}"),
        ("{k} times a", "{k} * a"),
        ("{k} times b", "{k} * b"),
    )
    asked, condition = _fill(dice, dice.pick(conditions))
    then, otherwise = (_fill(dice, pair) for pair in dice.sample(outcomes, 2))
    body = f"    if {condition}:\n        return {then[1]}\n    return {otherwise[1]}\n"
    # Every value of each argument occurs once, so both sides of every threshold are visited.
    inputs = tuple(f"{a}, {b}" for a, b in zip(dice.shuffled(range(12)), dice.shuffled(range(12)), strict=True))
    return Program(f"return {then[0]} if {asked}, else {otherwise[0]}.", "a, b", body, inputs)


def word_loop(dice: Dice) -> Program:
    """A loop over a list of words with a filter and a change."""
    c, k = dice.pick(ALPHABET), dice.roll(2, 6)
    kept, condition = dice.pick(
        (
            (f"starting with {c}", f'w[0] == "{c}"'),
            (f"ending with {c}", f'w[-1] == "{c}"'),
            (f"containing {c}", f'"{c}" in w'),
            (f"longer than {k}", f"len(w) > {k}"),
            (f"shorter than {k}", f"len(w) < {k}"),
        )
    )
    d, m = dice.pick("xyz"), dice.roll(2, 5)
    changed, value = dice.pick(
        (
            ("as they are", "w"),
            ("reversed", "w[::-1]"),
            ("in upper case", "w.upper()"),
            ("repeated {m} times", "w * {m}"),
            ("cut to {m} letters", "w[:{m}]"),
            ("with {d} added", 'w + "{d}"'),
        )
    )
    changed, value = changed.format(m=m, d=d), value.format(m=m, d=d)
    goal, start, step = dice.pick((("collect", "[]", f"out.append({value})"), ("join", '""', f"out += {value}")))
    body = f"    out = {start}\n    for w in ws:\n        if {condition}:\n            {step}\n    return out\n"
    inputs = tuple(repr(_words(dice, 8, 1, 7) + [c * n for n in range(1, 8)]) for _ in range(3))
    return Program(f"{goal} the words {kept}, {changed}.", "ws", body, inputs)


ProgramMaker = Callable[[Dice], Program]
EXPRESSIONS: tuple[ProgramMaker, ...] = (comprehension, string_chain, arithmetic_chain)
STATEMENTS: tuple[ProgramMaker, ...] = (loop, branch, word_loop)
