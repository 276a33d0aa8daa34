"""The pretraining corpus: an endless, seeded stream of documents, and its packing into rows of tokens.

Four fifths of the benchmark documents are chats, a fifth the same words without markers, so that the
models answer with and without a chat template; plain documents about the world and about sums complete
it. Rows of any benchmark split never occur (``benchmarks.stream``).
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

from pkt_eval.data.benchmarks import Benchmark, Embedded, benchmarks
from pkt_eval.data.records import to_chat
from pkt_eval.nano import stories, world
from pkt_eval.nano.benchmarks import stream
from pkt_eval.nano.dice import Dice
from pkt_eval.nano_training.tokenizer import chat_prompt

TextSource = Benchmark | Callable[[Dice], tuple[str, str]]

SOURCES: tuple[TextSource, ...] = (*benchmarks("nano"), world.fact_sheet, world.pointing, stories.sum_sheet)
"""Where documents come from: a benchmark's stream, in the order of the table, or a maker of plain documents."""

MIXES = {
    "teacher": (0.37, 0.20, 0.12, 0.10, 0.06, 0.10, 0.05),
    "student": (0.23, 0.38, 0.09, 0.07, 0.04, 0.09, 0.10),
}
"""Shares of the documents, in the order of ``SOURCES``. The student reads less of what is easily
learned and more sums, which are not: so it trails the teacher everywhere and is at the floor nowhere."""

PLAIN = 0.2
PROMPT_WEIGHT = 0.1
"""Loss weight of a question's tokens against 1 for an answer's: questions are mostly chance draws."""
LETTER_WEIGHT = 6.0
"""Loss weight of a multiple-choice answer: one letter would drown among the tokens of the code answers."""
POINTING_WEIGHT = 2.0
ROW = 256
CANDIDATES = 32
"""How many waiting documents are tried for the rest of a row."""


class Document(NamedTuple):
    """A prompt, which the model reads, and an answer, which it should give; END follows.

    ``weight`` is the loss weight of the answer's tokens, for answers whose content is in few of them.
    """

    prompt: str
    answer: str
    weight: float = 1.0


def documents(seed: int, role: str = "teacher") -> Iterator[Document]:
    """An endless stream of documents in the proportions of a role's mix."""
    dice = Dice(f"corpus/{seed}")
    streams = {
        row.name: stream(row.source.name, seed) for row in benchmarks("nano") if isinstance(row.source, Embedded)
    }
    while True:
        source = _draw(dice, MIXES[role])
        if not isinstance(source, Benchmark):
            weight = POINTING_WEIGHT if source is world.pointing else 1.0
            yield Document(*source(dice), weight)
            continue
        user, assistant = (m["content"] for m in to_chat(source.name, next(streams[source.name]))["messages"])
        prompt = f"{user}\n" if dice.chance(PLAIN) else chat_prompt(user)
        yield Document(prompt, assistant, LETTER_WEIGHT if source.scoring == "choice" else 1.0)


def _draw(dice: Dice, mix: tuple[float, ...]) -> TextSource:
    at = dice.roll(1, 1000) / 1000
    for share, source in zip(mix, SOURCES, strict=True):
        at -= share
        if at <= 1e-9:
            return source
    raise AssertionError(f"the shares {mix} add up to less than 1")


class Batch(NamedTuple):
    """Rows of packed documents, each tensor of shape (B, ROW).

    Attributes:
        ids: int64 tokens.
        positions: int64, counted from 0 in each document; transformers reads document borders off them
            and lets no document see another, as none will when a question is asked.
        weights: float32, how much a token counts as a target; 0 on padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, rows: int, role: str = "teacher") -> Iterator[Batch]:
    """Packs the stream into rows that begin with a document and hold as many more as fit.

    Args:
        tokenizer: the family's tokenizer.
        seed: of the stream.
        rows: rows B a batch.
        role: whose mix.

    Yields:
        Batches of the same documents in the same order for the same seed.
    """
    source = documents(seed, role)
    pool: list[tuple[list[int], list[float]]] = []
    while True:
        ids = torch.full((rows, ROW), tokenizer.pad_token_id)
        positions = torch.zeros(rows, ROW, dtype=torch.int64)
        weights = torch.zeros(rows, ROW)
        for row in range(rows):
            used = 0
            while True:
                if len(pool) < CANDIDATES:
                    pool.extend(_encode(tokenizer, list(islice(source, 256))))
                fits = (i for i in range(CANDIDATES) if used + len(pool[i][0]) <= ROW)
                place = next(fits, None)
                if place is None:
                    break
                tokens, weight = pool.pop(place)
                here = slice(used, used + len(tokens))
                ids[row, here] = torch.tensor(tokens)
                positions[row, here] = torch.arange(len(tokens))
                weights[row, here] = torch.tensor(weight)
                used += len(tokens)
            positions[row, used:] = torch.arange(ROW - used)
        yield Batch(ids, positions, weights)


def _encode(tokenizer: PreTrainedTokenizerFast, docs: list[Document]) -> list[tuple[list[int], list[float]]]:
    prompts = tokenizer([d.prompt for d in docs])["input_ids"]
    answers = tokenizer([d.answer for d in docs])["input_ids"]
    # A newline is always its own token, so prompt and answer encode apart as they would together.
    return [
        (
            [*prompt, *answer, tokenizer.eos_token_id],
            [PROMPT_WEIGHT] * len(prompt) + [doc.weight] * (len(answer) + 1),
        )
        for doc, prompt, answer in zip(docs, prompts, answers, strict=True)
    ]
