"""What of a test set a training record holds: a run of n words, or a whole question.

A word is a run of ASCII letters or digits, in lower case. What more than ten items of a test set have in common is the
set's own phrasing and counts for nothing, as in GPT-3's analysis (arXiv 2005.14165, appendix C): all 895
moral_scenarios of MMLU open with the same 30 words, and 121 of its items ask "which of the following is true".

Nothing is decided here: ``splits`` drops records where it is asked to, ``decontaminate`` reports.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from pkt_eval.data.rows import ChatRecord

PHRASING = 10
"""What more test items than this have in common is the test set's phrasing."""
DROPPED_N = 13
"""Words of a run that a record is dropped for."""
_FEWEST = 3
"""Words of a question: fewer are a term, which any text may have."""

NGram = tuple[str, ...]


def words(text: str) -> list[str]:
    """The words of a text, as the head of this file defines them."""
    return re.findall(r"[a-z0-9]+", text.lower())


def ngrams(text: str, n: int) -> set[NGram]:
    """The n-grams of a text; none where it has fewer than ``n`` words."""
    tokens = words(text)
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def record_ngrams(records: Iterable[ChatRecord], n: int) -> set[NGram]:
    """All n-grams of the turns of ``records``; none spans two turns."""
    return {gram for record in records for message in record["messages"] for gram in ngrams(message["content"], n)}


def distinctive(items: Sequence[set[NGram]]) -> list[set[NGram]]:
    """The n-grams of each test item without those that are the test set's phrasing."""
    counts = Counter(gram for item in items for gram in item)
    phrasing = {gram for gram, count in counts.items() if count > PHRASING}
    return [item - phrasing for item in items]


class HeldOut:
    """A test set, to be asked whether a record holds something of it.

    Args:
        items: The question alone and the whole text of each test item, as ``Benchmark.compared`` gives them.
    """

    def __init__(self, items: Sequence[tuple[str, str]]) -> None:
        of_items = Counter(gram for _, text in items for gram in ngrams(text, DROPPED_N))
        self.grams = {gram for gram, count in of_items.items() if count <= PHRASING}
        wholes = {whole for question, _ in items if len(whole := tuple(words(question))) >= _FEWEST}
        # By first words, then by length: thousands of MMLU's questions begin with "which of the".
        self._starting: dict[NGram, dict[int, set[NGram]]] = {}
        for whole in wholes:
            self._starting.setdefault(whole[:_FEWEST], {}).setdefault(len(whole), set()).add(whole)
        counts = Counter(whole for _, text in items for whole in set(self._within(text)))
        self.questions = {whole for whole in wholes if counts[whole] <= PHRASING}

    def has(self, record: ChatRecord) -> bool:
        """Whether a turn of a record shares 13 words in a row, or a whole question, with a test item."""
        return any(
            not self.grams.isdisjoint(ngrams(message["content"], DROPPED_N)) or self.has_question(message["content"])
            for message in record["messages"]
        )

    def has_question(self, text: str) -> bool:
        """Whether a text holds all words of a test question, in a row."""
        return any(whole in self.questions for whole in self._within(text))

    def _within(self, text: str) -> Iterator[NGram]:
        """The questions that a text holds, phrasing included."""
        tokens = words(text)
        for i in range(len(tokens) - _FEWEST + 1):
            for length, wholes in self._starting.get(tuple(tokens[i : i + _FEWEST]), {}).items():
                if (found := tuple(tokens[i : i + length])) in wholes:
                    yield found


@lru_cache(maxsize=4)
def held_out(items: tuple[tuple[str, str], ...]) -> HeldOut:
    """``HeldOut``, kept: MMLU's takes seconds, and a suite asks for it with every student."""
    return HeldOut(items)
