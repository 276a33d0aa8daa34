"""What a student forgets: its cross-entropy on text that no transfer is about, to be compared with its base's.

The text is the same for all students of a family: eight passages on everyday things, written for this package and
dedicated to the public domain (CC0), which no model has read before 2026; for the nano family, whose models know no
English but that of their world, plain documents as they were trained on. Only the difference to the unadapted base says
anything, and only in one tokenizer and dtype; the leaderboard makes it.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from pkt_eval import nano
from pkt_eval.nano import stories, world
from pkt_eval.nano.dice import Dice

NANO_DOCUMENTS = 64
"""Half of them about the world, half sums."""


class GenericEntropy(TypedDict):
    """What a results JSON says of it, as ``config.pkt_generic``.

    Attributes:
        text: ``english`` or ``nano``.
        digest: sha256 of the text.
        tokens: That were predicted.
        cross_entropy: Nats a token.
    """

    text: str
    digest: str
    tokens: int
    cross_entropy: float


@dataclass(frozen=True)
class GenericText:
    """A text in documents, each of which is read from its own start."""

    name: str
    documents: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 of the documents."""
        return hashlib.sha256("\n\n".join(self.documents).encode()).hexdigest()


@cache
def generic_text(model: str) -> GenericText:
    """The text for a model.

    Args:
        model: Path or name of the student's base.
    """
    if Path(model).parent == Path(nano.__file__).parent / "weights":
        dice = Dice("generic text")
        kinds = (world.fact_sheet, stories.sum_sheet)
        return GenericText("nano", tuple(kinds[i % len(kinds)](dice)[1] for i in range(NANO_DOCUMENTS)))
    text = (Path(__file__).parent / "generic.txt").read_text("utf-8")
    return GenericText("english", tuple(text.strip().split("\n\n")))


def generic_entropy(model: Any, tokenizer: Any, text: GenericText) -> GenericEntropy:
    """Mean of ``-log p(token | what stands before it in its document)`` over all tokens, in float32.

    A document begins with what the tokenizer puts before a text; where that is nothing, its first token is given and
    not predicted.

    Args:
        model: A causal language model; its mode is left as it was.
        tokenizer: Its own.
        text: What is read, a document at a time.
    """
    import torch

    total, tokens, training = 0.0, 0, model.training
    model.eval()
    try:
        with torch.inference_mode():
            for document in text.documents:
                ids = torch.tensor([tokenizer(document)["input_ids"]], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
                total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:].to(logits.device), reduction="sum"))
                tokens += ids.shape[1] - 1
    finally:
        model.train(training)
    return {"text": text.name, "digest": text.digest, "tokens": tokens, "cross_entropy": total / tokens}
