"""Row → question and answer, of the benchmarks that ask for a letter or a number; ``code_rows`` has the others.

Facts of the published records that this file reproduces, odd as some are:

- MMLU questions keep the whitespace of the row (upstream's task strips it);
- GSM8K steps are joined by one space and end in a full stop before "So the answer is N.".
"""

import re
from collections.abc import Sequence

from pkt_eval.data.rows import Row
from pkt_eval.errors import DataError

LETTERS = "ABCD"
CHOICE_ANSWER = "The answer is:"
"""What precedes the letter; a chat task gives it as the assistant's prefix and compares the letters."""

_MORE_LETTERS = "ABCDE"


def mmlu_question(row: Row) -> str:
    """The four choices under the subject's header."""
    return _choices(str(row["subject"]).replace("_", " "), row["question"], row["choices"], LETTERS)


def mmlu_answer(row: Row) -> str:
    """The letter of the right choice."""
    return f"{CHOICE_ANSWER} {LETTERS[row['answer']]}"


def mmlu_text(row: Row) -> str:
    """Question and choices, as they are compared with training data."""
    return "\n".join([row["question"], *row["choices"]])


def arc_question(row: Row) -> str:
    """The three to five choices, in MMLU's words; the rows' own labels (some are 1 to 4) give way to letters."""
    texts = row["choices"]["text"]
    return _choices("science", row["question"], texts, _MORE_LETTERS[: len(texts)])


def arc_answer(row: Row) -> str:
    """The letter of the right choice, whatever the row's own labels are.

    Raises:
        DataError: The key is none of the row's labels.
    """
    labels, key = list(row["choices"]["label"]), row["answerKey"]
    if key not in labels:
        raise DataError(f"an ARC row's answerKey is one of its choices' labels: {key!r} is none of {', '.join(labels)}")
    return f"{CHOICE_ANSWER} {_MORE_LETTERS[labels.index(key)]}"


def arc_text(row: Row) -> str:
    """Question and choices, as they are compared with training data."""
    return "\n".join([row["question"], *row["choices"]["text"]])


def gsm8k_question(row: Row) -> str:
    """The question under the papers' header."""
    return f"Answer the following question.\n\nQuestion: {row['question']}"


def gsm8k_answer(row: Row) -> str:
    """The steps on one line, and "So the answer is N.".

    Raises:
        DataError: The answer does not end in a line ``#### N``.
    """
    steps, mark, number = _plain_steps(row["answer"]).rpartition("\n####")
    if not mark:
        raise DataError(f"a GSM8K answer ends in a line '#### N'; this one does not: {row['answer'][-80:]!r}")
    text = " ".join(line.strip() for line in steps.split("\n")).strip()
    if not text.endswith("."):
        text += "."
    return f"Answer: {text} So the answer is {number.strip()}."


def gsm8k_answer_with_hashes(row: Row) -> str:
    """The steps on lines of their own and the ending ``#### N``: one ending for both protocols."""
    return f"Answer: {_plain_steps(row['answer'])}"


def _choices(topic: str, question: str, texts: Sequence[str], letters: str) -> str:
    choices = "".join(f"{letter}. {text}\n" for letter, text in zip(letters, texts, strict=True))
    header = f"The following are multiple choice questions (with answers) about {topic}."
    return f"{header}\n\n{question}\n{choices}Answer:"


def _plain_steps(answer: str) -> str:
    """A GSM8K answer without its calculator annotations ``<<48/2=24>>``."""
    return re.sub(r"<<[^>]*>>", "", answer)
