"""The number that an answer comes to, and numbers that are the same."""

import json
import os
import time
from pathlib import Path

import pytest

from pkt_eval.data.numbers import final_number, same_number
from pkt_eval.data.records import assistant_turn

ANSWERS = {
    # Announced: before whatever is said later.
    "#### 18": "18",
    "He has 3.\n#### 18\nCheck: 3 * 6 = 18, as 20 - 2": "18",
    "#### $1,200 dollars in 3 years": "1,200",
    "####\n18": "18",
    "#### -3": "-3",
    "So the answer is 18. Then there are 5 more.": "18",
    "So the answer is $1,200.50.": "1,200.50",
    "The answer is 5 + 3 = 8 dollars, of 10.": "8",
    "The answer is:\n\n$$18$$\n\nof 20": "18",
    "The final answer is $\\boxed{12}$. I took 5 minutes.": "12",
    "**Final answer:** 7 apples, of 9": "7",
    "The answer is **18**, not 20.": "18",
    "THE ANSWER IS .5 of 3": ".5",
    "$\\boxed{\\$1{,}200}$ in 3 years": "1,200",
    "\\boxed{x = 5}, since 5 < 6": "5",
    "\\boxed{12\\text{ apples}} for 3": "12",
    "\\boxed{\\frac{3}{4}} of 8": "3/4",
    "\\boxed{18": "18",
    # The last announcement counts.
    "The answer is 5. Wait. The answer is 6. Of 7.": "6",
    "#### 5\n#### 6\n7": "6",
    "\\boxed{5}, so the answer is 6; 7": "6",
    "The answer is 6.\n#### 5\n7": "5",
    # An equation's result, on whichever side; what comes after a reason is none.
    "The answer is 12 = 3*4": "12",
    "The answer is 18, because 9 * 2 = 18 and 18/2 = 9": "18",
    "The answer is: for day 3, total = 12 per 2 days": "12",
    "The answer to the third question is 12. Of 3": "12",
    "Answer: 12\nThere were 3 others": "12",
    "**Answer:** $1,200\nin 3 years": "1,200",
    "\\boxed{-\\frac{1}{2}} of 8": "-1/2",
    "\\boxed{\\frac12} of 8": "1/2",
    "\\boxed{1\\frac{1}{2}} of 8": "1 1/2",
    "The answer is negative 5, of 3": "-5",
    # A heading of Markdown's announces nothing.
    "#### Step 1: count the 3 apples\nSo she has 12": "12",
    "#### 1. Count\n3 apples\n#### 2. Add\n3+4=7": "7",
    # One that announces nothing does not.
    "The answer isn't 5, it's 6": "6",
    "The answer is not 5, it is 6": "6",
    "The answer is unclear.\nPerhaps\n6 of 7": "7",
    "#### none\nno\n4": "4",
    # Not announced: the last number.
    "He has 3 apples and buys 15, so 18.": "18",
    "Answer: He has 3. He buys 15. That makes 18": "18",
    "10-5 = 5": "5",
    "2 - 3 = -1": "-1",
    "10 - 5": "5",
    "It costs -$5": "-5",
    "It costs $-5": "-5",
    "a loss of (−7)": "-7",
    "3/4 of it": "3/4",
    "1 1/2 cups": "1 1/2",
    "on 12/25/2024": "2024",
    "1,2,3": "3",
    "12,345,678.90": "12,345,678.90",
    "50% of it": "50",
    "1.5e3 m": "1.5e3",
    "x2 and y3 make 7": "7",
    "<think>the answer is 3. #### 4</think> So 18": "18",
    "<think>3": "3",
    "": None,
    "no number at all": None,
    # Thousands set apart by blanks: where they can be nothing else.
    "So 1 200 000 people": "1200000",
    "It is 1\u00a0200": "1200",
    "1\u202f200\u202f000 of 3": "3",
    "= 1\u2009200.50": "1200.50",
    "She earns $118 000": "118000",
    "Of 12: 3 005 000": "3005000",
    "1\\ 200 m and \\(1\\;200\\)": "1200",
    "\\boxed{1\\,200\\,000} of 3": "1200000",
    "#### 1 200\nof 7": "1200",
    "The answer is 118 200 dollars, of 7": "118200",
    "Answer: 1 200\nof 7": "1200",
    "The answer is 4. It was 1 200 000": "4",
    "He buys 3 200 gram bags": "200",
    "100 200 300": "300",
    "in 2024 300 people": "300",
    "5 6": "6",
    # Fractions that are one character.
    "½ of it": "1/2",
    "2½": "2 1/2",
    "it takes 2 ¾ hours": "2 3/4",
    "-⅓": "-1/3",
    "1⁄2": "1/2",
    "- ½ cup": "1/2",
    "\\boxed{½} of 8": "1/2",
    "Answer: ½\nof 7": "1/2",
    # Whatever is a minus.
    "The answer is –5, of 3": "-5",
    "It is −$5": "-5",
    "a loss of ‑7": "-7",
    "The answer is minus 5, of 3": "-5",
    "10–5 = 5": "5",
    "on pages 3–5": "5",
    "5 – 3": "3",
    "10 minus 5": "5",
    # Words and letters that multiply.
    "$1.5 million in 3 years\n#### $1.5 million": "1500000",
    "It costs 1.5 million": "1500000",
    "2½ million": "2500000",
    "-$1.5 million": "-1500000",
    "1/3 million": "1000000/3",
    "1,200 thousand": "1200000",
    "\\boxed{1.5\\text{ million}} of 3": "1500000",
    "Answer: 2.50 Million\nof 7": "2500000",
    "$1.5k": "1500",
    "$1.2345k": "1234.5",
    "€3M": "3000000",
    "$1.2bn": "1200000000",
    "1.5k": "1.5",
    "a 5k race": "5",
    "3m of rope": "3",
    "a 401k plan": "401",
    "5 thousandths": "5",
    "2 millions": "2",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_final_number(answer):
    assert final_number(answer) == ANSWERS[answer]


SAME = [
    ("1,200.0", "1200"),
    ("$5", "5"),
    ("5.00", "$5"),
    ("3/4", "0.75"),
    ("6/8", "3 / 4"),
    ("1 1/2", "1.5"),
    ("-1 1/2", "-1.5"),
    ("50%", "50"),
    ("-0", "0"),
    ("+5", "5"),
    ("−5", "-5"),
    ("-$5", "$-5"),
    ("1e3", "1,000"),
    (".5", "0.50"),
    ("\\$1{,}200", "1200.00"),
    ("\\frac{1}{3}", "2/6"),
    (" 7 ", "007"),
    ("9" * 300, "9" * 300 + ".0"),
    ("1 200", "1200"),
    ("1\u00a0200\u00a0000", "1.2 million"),
    ("½", "0.5"),
    ("2½", "2.50"),
    ("–5", "-5"),
    ("$1.5 million", "1,500,000.00"),
    ("$1.5k", "1,500"),
]
DIFFERENT = [
    ("5", "6"),
    ("5", "-5"),
    ("0.33", "1/3"),
    ("50%", "0.5"),
    ("1,20", "120"),
    ("1/0", "1/0"),
    ("five", "five"),
    ("5 dollars", "5"),
    ("5 6", "56"),
    ("", ""),
    ("9" * 5000, "9" * 5000),
    ("1e99999999", "1e99999999"),
    ("0.1000000000000000000001", "0.1"),
    ("1.5k", "1500"),
    ("1 2000", "12000"),
    ("1.200.000", "1200000"),
    ("1.200,50", "1200.50"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_same_number(first, second):
    assert same_number(first, second) and same_number(second, first)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_different_number(first, second):
    assert not same_number(first, second) and not same_number(second, first)


def test_every_reference_answer_gives_its_own_number():
    root = Path(os.environ.get("PKT_EVAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "benchmarks")
    rows = [json.loads(line) for file in sorted((root / "gsm8k").glob("*.jsonl")) for line in file.open()]
    if not rows:
        pytest.skip(f"no gsm8k rows in {root}: set PKT_EVAL_DATA to a folder of the benchmarks")
    for row in rows:
        reference = row["answer"].rpartition("#### ")[2].strip()
        for answer in (row["answer"], assistant_turn("gsm8k", row), assistant_turn("gsm8k", row) + " Or 123456?"):
            assert same_number(final_number(answer), reference), answer


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1,",
        "1 ",
        "1/",
        "-",
        "1.",
        "#### ",
        "\\boxed{",
        "the answer is ",
        "the answer is 1=\n",
        "1 000 ",
        "½",
        "1 million ",
        "-–",
    ],
)
def test_time_is_bounded(unit):
    text = unit * (20_000 // len(unit))
    start = time.process_time()
    final_number(text)
    same_number(text, text)
    assert time.process_time() - start < 2
