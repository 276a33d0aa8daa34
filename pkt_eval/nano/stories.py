"""nano_gsm8k: word problems of one to three steps on small whole numbers, with worked answers.

A story follows one person's pile of things through events; each event changes the pile, and the answer
states each step as ``3+4=7`` before the final ``#### 7``.
"""

from collections.abc import Iterator

from pkt_eval.nano.dice import Dice
from pkt_eval.nano.rows import Row

FIRST_NAMES = ("Mia", "Leo", "Ava", "Max", "Zoe", "Sam", "Eva", "Ben", "Ida", "Tom", "Amy", "Dan")
THINGS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps", "stones", "toys")
LARGEST = 99

# (sentence, operation, smallest n, largest n); {who} is repeated as written, {n} is the event's number.
EVENTS = (
    ("{who} buys {n} more.", "+", 2, 40),
    ("{who} finds {n} more.", "+", 2, 40),
    ("A friend gives {who} {n}.", "+", 2, 40),
    ("{who} loses {n}.", "-", 2, 40),
    ("{who} sells {n}.", "-", 2, 40),
    ("{who} gives away {n}.", "-", 2, 40),
    ("Then the number grows {n} times.", "*", 2, 5),
    ("{who} shares them equally among {n} boxes and keeps one box.", "/", 2, 5),
)
CALCULATE = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}


def story(dice: Dice, steps: int) -> Row:
    """One problem.

    Args:
        dice: where the draws come from.
        steps: number of events, each one line of the answer.

    Returns:
        ``{question, answer}``, the columns of ``openai/gsm8k``; the answer ends in ``\\n#### N``.
    """
    who, things = dice.pick(FIRST_NAMES), dice.pick(THINGS)
    total = dice.roll(3, 40)
    told: list[str] = [f"{who} has {total} {things}."]
    worked: list[str] = []
    while len(worked) < steps:
        sentence, sign, low, high = dice.pick(EVENTS)
        n = dice.roll(low, high)
        after = CALCULATE[sign](total, n)
        if not 0 < after <= LARGEST or (sign == "/" and total % n):
            continue
        told.append(sentence.format(who=who, n=n))
        worked.append(f"{total}{sign}{n}={after}")
        total = after
    told.append(f"How many {things} does {who} have?")
    return {"question": " ".join(told), "answer": "\n".join([*worked, f"#### {total}"])}


def problems(dice: Dice) -> Iterator[Row]:
    """An endless stream of problems; one, two and three steps are equally frequent."""
    while True:
        yield story(dice, dice.roll(1, 3))


def story_key(row: Row) -> str:
    """What makes a problem this problem: its text."""
    return row["question"]


def sum_sheet(dice: Dice) -> tuple[str, str]:
    """A plain document of bare sums, for pretraining; it has no prompt."""
    lines = []
    for _ in range(4):
        while True:
            sign = dice.pick(("+", "-", "*", "/"))
            a, b = dice.roll(2, LARGEST), dice.roll(2, 40 if sign in "+-" else 5)
            c = CALCULATE[sign](a, b)
            if 0 < c <= LARGEST and (sign != "/" or a % b == 0):
                break
        lines.append(f"{a}{sign}{b}={c}")
    return "", "\n".join(lines)
