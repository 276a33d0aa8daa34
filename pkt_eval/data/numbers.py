"""The number that an answer in words comes to, and whether two numbers are the same.

What an answer says to be its result counts before the last number in it: models go on talking. Numbers are compared as
numbers, exactly, not as text. How a task scores with it is not decided here.
"""

import re
import unicodedata
from decimal import Context, Decimal
from fractions import Fraction

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!,?\d)|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{{1,2}}(?![\w.]))?"
# Not two parts of a date: "12/25/2024".
_FRACTION = rf"(?<!/)(?:{_DIGITS} +)?{_DIGITS} ?/ ?{_DIGITS}(?![\d/.]*/)(?!\.?\d)"
_CURRENCY = "[$€£¥]"
_NUMBER = re.compile(
    # A minus between two terms is no sign: "10-5", "10 - 5", "(a)-5". Nor is a number what ends a word: "x2".
    rf"(?<![\w.])(?P<sign>(?<![\w)\]%])[-+](?=[\d.$€£¥]))?(?:{_CURRENCY} ?)?(?P<inner>(?<={_CURRENCY})-)?"
    rf"(?P<value>{_FRACTION}|{_DECIMAL})"
)
_HASHES = re.compile(
    # Markdown's headings of the fourth level announce nothing: "#### Step 2: add", "#### 1. Count".
    r"####(?!#)(?! *[*_]*(?:(?:step|part|case) *\d|\d+[.)][*_]* +[^\W\d]))",
    re.I,
)
_BOXED = re.compile(r"\\boxed *\{")
_ANSWER_IS = re.compile(
    r"\b(?:the|final|my|correct) +(?:(?:final|correct|numerical|numeric) +)?answer"
    r"(?: (?:to|for|of) [^\n.=:]{1,80}?)?[*_]* *(?:is\b(?!n['’]t)|would be|should be|=|:)"
    # "Answer:" begins every answer of the chat tasks; with a number alone on its line it announces that.
    r"|^[ *_#]*answer[*_]* *[:=](?=[ *_]*-?[$€£¥]?-?\d[\d.,]*(?: \d{3})*(?: ?\d* ?/ ?\d+)?[ *_]*$)",
    re.I | re.M,
)
_WHY = re.compile(r"\b(?:because|since)\b", re.I)
_CALCULATES = re.compile(r" *(?:[-+*/×÷^]|\\(?:times|cdot|div)\b|x\b) *[(]?[\d.$€£¥]")
_TEXT = re.compile(r"\\(?:text|textrm|mathrm|mbox) *\{([^{}]*)\}")
_MINUS = dict.fromkeys(map(ord, "−–‐‑﹣－"), "-")
_VULGAR = re.compile("[¼-¾⅐-⅞]")
# Blanks that keep a number together, LaTeX's among them: "1 200", "1\ 200".
_TYPESET = re.compile(r"(?<![\d.,])([1-9]\d{0,2})((?:(?:[\u00a0\u2005-\u2009\u202f]|\\[ ;:])\d{3})+)(?!\d)(?! ?/)")
_GROUPS = re.compile(r"(?<![\d.,/])(?<!\d )([1-9]\d{0,2})((?: \d{3})+)(?!\d| \d| ?/)")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_LETTERS = {"k": 3, "m": 6, "mn": 6, "mln": 6, "b": 9, "bn": 9, "t": 12, "tn": 12}
_SCALED = re.compile(
    rf"(?<![\w.])(?P<value>{_FRACTION}|{_DECIMAL})(?:(?: *|-)(?P<word>{'|'.join(_SCALES)})\b"
    # A letter alone may be a unit ("a 5k race", "3m of rope"): not after a currency sign.
    rf"|(?<=[\d])(?P<letter>{'|'.join(_LETTERS)})\b)",
    re.I,
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac *(?:\{([^{}]*)\}|(\d)) *(?:\{([^{}]*)\}|(\d))")
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.I)
_FARTHEST = 1000  # characters after an announcement
_LONGEST = 400  # characters of a number; a longer one is none


def final_number(answer: str) -> str | None:
    r"""The number that an answer gives as its result.

    That is the last one that it announces: after ``####``, in ``\boxed{}``, after "the answer is" or "final answer:",
    or alone on a line after "Answer:". Of what follows, up to the end of the line or a "because", the last part of an
    equation that is no calculation counts, else the last part; of it, the first number. Where the line has none, the
    next is looked at. Without an announcement it is the last number of the answer. What comes before a ``</think>``
    does not count.

    Args:
        answer: What the model wrote.

    Returns:
        The number as digits, with its sign, decimals, commas or fraction, without currency, per cent sign, unit and the
        blanks that set its thousands apart: ``-1,200.50``, ``3/4``, ``1 1/2``, ``1200000`` of ``1 200 000``,
        ``1500000`` of ``1.5 million``. None where there is no number.

    Example:
        >>> final_number("2 + 2 = 4 apples a day. So the answer is $1,200.50. Check: 300 * 4.")
        '1,200.50'
    """
    if (number := announced_number(answer)) is not None:
        return number
    numbers = _numbers(_plain(_unthought(answer)))
    return numbers[-1] if numbers else None


def announced_number(answer: str) -> str | None:
    """As ``final_number``, but None where the answer announces no result, whatever other numbers it has."""
    text = _plain(_unthought(answer))
    announced = [(m.end(), False) for mark in (_HASHES, _ANSWER_IS) for m in mark.finditer(text)]
    announced += [(m.end(), True) for m in _BOXED.finditer(text)]
    for start, boxed in sorted(announced, reverse=True):
        rest = text[start : start + _FARTHEST]
        if (number := _announced(_in_braces(rest) if boxed else rest)) is not None:
            return number
    return None


def same_number(first: str, second: str) -> bool:
    """Whether two texts are the same number, exactly: ``1,200.0`` and ``1200``, ``$5`` and ``5``, ``3/4`` and ``0.75``.

    A currency sign and a per cent sign are units, as in GSM8K's references, and say nothing: ``50%`` is ``50``, not
    ``0.5``. No rounding: ``0.33`` is not ``1/3``. A text that is no number, or more than one, is the same as none.

    Args:
        first: E.g. from ``final_number``.
        second: E.g. the reference.
    """
    one, other = _value(first), _value(second)
    return one is not None and one == other


def _unthought(answer: str) -> str:
    """What follows the thoughts, where they have an end: a result that is tried there is none."""
    return _THOUGHT_END.split(answer)[-1]


def _plain(text: str) -> str:
    """Without what LaTeX and typesetting put into numbers."""
    text = _TYPESET.sub(lambda m: m[1] + re.sub(r"\D", "", m[2]), text)
    text = re.sub(r"\{,\}", ",", text).replace("\\!", "").replace("\\,", "").replace("\\$", "$").replace("\\%", "%")
    text = _TEXT.sub(r"\1", text).translate(_MINUS).replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")
    text = re.sub(r"\bnegative (?=[$€£¥]?\d)|(?<=\bis )minus (?=[$€£¥]?\d)", "-", text)
    text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]), text).replace("\u2044", "/")
    text = _LATEX_FRACTION.sub(r" \1\2/\3\4", text)
    text = re.sub(r"(?<![\w.)])- (?=\d+/)", "-", text)
    return _SCALED.sub(_multiplied, _joined(text, surely=True))


def _joined(text: str, surely: bool) -> str:
    """A text in which a number whose thousands are set apart by blanks is one.

    Args:
        text: It.
        surely: Leave what may be two numbers, as in "3 200 g bags" or "100 200".
    """

    def join(match: re.Match[str]) -> str:
        groups = match[2].split()
        sure = any(group[0] == "0" for group in groups) or (len(groups) > 1 and len(match[1]) < 3)
        return match[1] + "".join(groups) if sure or not surely else match[0]

    return _GROUPS.sub(join, text)


def _multiplied(match: re.Match[str]) -> str:
    """The number that "1.5 million" is, in digits."""
    letter = (match["letter"] or "").lower()
    money = re.search(rf"{_CURRENCY} ?-?$", match.string[max(0, match.start() - 3) : match.start()])
    if len(match["value"]) > _LONGEST or (letter and not money):
        return match[0]
    power = _LETTERS[letter] if letter else _SCALES[match["word"].lower()]
    digits = match["value"].replace(",", "")
    if "/" in digits:
        value = _fraction(digits)
        return match[0] if value is None else str(value * 10**power)
    shifted = Context(prec=2 * _LONGEST).scaleb(Decimal(digits), power)
    text = format(shifted, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _in_braces(text: str) -> str:
    """The text up to the brace that closes it."""
    depth = 1
    for i, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:i]
    return text


def _announced(rest: str) -> str | None:
    """The number in what follows an announcement, if there is one; "is not 5" announces none."""
    lines = [line for line in rest.split("\n") if re.search(r"\w", line)]
    for line in (_joined(line, surely=False) for line in lines[:2]):
        if re.match(r"[\s*_:]*(?:not|never)\b", line, re.I):
            return None
        sentence = re.split(r"(?<=[^\s.])\.(?=\s|$)", line, maxsplit=1)[0]
        parts = [part for part in reversed(_WHY.split(sentence)[0].split("=")) if _NUMBER.search(part)]
        for part in [*(part for part in parts if not _calculates(part)), *parts]:
            return _numbers(part)[0]
    return None


def _calculates(part: str) -> bool:
    """Whether a part of an equation begins with a calculation, "3 * 4", and is no result."""
    first = _NUMBER.search(part)
    return first is not None and _CALCULATES.match(part, first.end()) is not None


def _numbers(text: str) -> list[str]:
    return [_written(match) for match in _NUMBER.finditer(text)]


def _written(match: re.Match[str]) -> str:
    sign = "-" if "-" in ((match["sign"] or "") + (match["inner"] or "")) else ""
    return sign + re.sub(r" +", " ", re.sub(r" ?/ ?", "/", match["value"]))


def _value(text: str) -> Fraction | None:
    text = _joined(_plain(text).strip(), surely=False).rstrip("%").strip()
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    return None if match is None else _fraction(_written(match).replace(",", ""))


def _fraction(written: str) -> Fraction | None:
    """The value of digits without commas: ``-1 1/2``, ``.5``; None where it divides by nothing."""
    sign = -1 if written.startswith("-") else 1
    parts = re.sub(r" ?/ ?", "/", written.lstrip("-")).split()
    try:
        return sign * sum((Fraction(part) for part in parts), Fraction(0))
    except ZeroDivisionError:
        return None
