"""The family's model card, written from what a training measured."""

import math
import platform
from collections.abc import Callable
from dataclasses import dataclass

import tokenizers
import torch
import transformers

from pkt_eval.data.benchmarks import Benchmark, benchmarks
from pkt_eval.nano_training import corpus
from pkt_eval.nano_training.models import SHAPES


@dataclass(frozen=True)
class TrainingReport:
    """What one training measured; ``chat`` and ``plain`` count the right answers out of ``items``, by kind."""

    parameters: int
    steps: int
    tokens: int
    loss: float
    seconds: float
    evaluation_seconds: float
    items: dict[str, int]
    chat: dict[str, int]
    plain: dict[str, int]
    seed: int
    scale: float
    precision: str
    threads: int
    versions: dict[str, str]


def software() -> dict[str, str]:
    """Of what the numbers depend on, without the suffix that names a build."""
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    return {name: version.split("+")[0] for name, version in versions.items()}


def two_proportions(right_a: int, right_b: int, n: int) -> tuple[float, float]:
    """The two-proportion z-test with pooled variance, both samples of n items.

    Returns:
        z, positive where a is ahead, and the two-sided p-value. Both shares 0 or both 1 give (0, 1).
    """
    pooled = (right_a + right_b) / (2 * n)
    deviation = math.sqrt(pooled * (1 - pooled) * 2 / n)
    z = (right_a - right_b) / n / deviation if deviation else 0.0
    return z, math.erfc(abs(z) / math.sqrt(2))


def card(trained: dict[str, TrainingReport]) -> str:
    """The text of ``CARD.md``.

    Args:
        trained: what the training of ``"teacher"`` and of ``"student"`` measured.
    """
    teacher, student = trained["teacher"], trained["student"]
    fields = list(SHAPES["teacher"])
    shapes = "".join(f"| {f} | {SHAPES['teacher'][f]} | {SHAPES['student'][f]} |\n" for f in fields)
    measured: dict[str, Callable[[TrainingReport], str]] = {
        "parameters": lambda t: f"{t.parameters:,}",
        "optimiser steps": lambda t: f"{t.steps:,}",
        "tokens seen": lambda t: f"{t.tokens:,}",
        "final loss (weighted, nats a token)": lambda t: f"{t.loss:.4f}",
        "training seconds": lambda t: f"{t.seconds:.0f}",
        "seed, share of the recipe's steps": lambda t: f"{t.seed}, {t.scale:g}",
        "matrix products, CPU threads": lambda t: f"{t.precision}, {t.threads}",
        "versions": lambda t: ", ".join(f"{name} {version}" for name, version in t.versions.items()),
        "seconds to score the four benchmarks": lambda t: f"{t.evaluation_seconds:.1f}",
    }
    facts = "".join(f"| {name} | {value(teacher)} | {value(student)} |\n" for name, value in measured.items())
    sources = [s.kind if isinstance(s, Benchmark) else s.__name__.replace("_", " ") for s in corpus.SOURCES]
    mixes = "".join(
        f"| documents: {source} | {a:.0%} | {b:.0%} |\n"
        for source, a, b in zip(sources, corpus.MIXES["teacher"], corpus.MIXES["student"], strict=True)
    )
    weights = (
        f"{corpus.PROMPT_WEIGHT} for a question's tokens, {corpus.LETTER_WEIGHT:g} for a multiple-choice "
        f"answer's, {corpus.POINTING_WEIGHT:g} for a pointing document's, 1 for all others"
    )
    return f"""# The nano family

Two Llama models and one tokenizer, trained from scratch on generated documents by
`python -m pkt_eval.nano_training.train`; they are the harness's default pair, small enough to show a whole
transfer in minutes. They know an invented world, sums below 100 and a small grammar of Python functions,
and nothing else: they are of no use outside this harness.

| | teacher | student |
|---|---|---|
{shapes}{mixes}{facts}
Tied embeddings, byte-level BPE with single digits, fp16 safetensors. **The student's handicap is partly
made**: besides being smaller it read fewer documents, and far fewer about the world and of code, so that
it trails the teacher everywhere, is at the floor nowhere, and a transfer has something to move.

A fifth of the benchmark documents have no chat markers. Loss weights:
{weights}.
No row of any benchmark split (test, validation, dev, prompt, train) occurs in the stream; the
multiple-choice splits ask about the same facts as the stream.

## Scores
Items answered correctly, greedy, zero-shot; p is the two-sided two-proportion z-test of the teacher's lead.

{_scores("with the chat format", teacher.items, teacher.chat, student.chat)}
{_scores("as plain text", teacher.items, teacher.plain, student.plain)}"""


def _scores(title: str, items: dict[str, int], teacher: dict[str, int], student: dict[str, int]) -> str:
    lines = [f"| {title} | teacher | student | z | p |", "|---|---|---|---|---|"]
    for row in benchmarks("nano"):
        a, b, n = teacher[row.kind], student[row.kind], items[row.kind]
        z, p = two_proportions(a, b, n)
        lines.append(f"| {row.name} | {a}/{n} ({a / n:.0%}) | {b}/{n} ({b / n:.0%}) | {z:.1f} | {p:.1g} |")
    return "\n".join(lines) + "\n"
