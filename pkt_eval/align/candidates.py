"""Which of several ready edits a student gets: strengths, layers, ridges, chosen on the validation split alone.

The candidates act one after the other beside the weights of one loaded base. What chooses is what chooses LaTen's
steps (``choice``): the benchmark's own score where there is one, and the loss among equals. A method must make an edit,
so the base is measured and recorded, and never chosen.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pkt_eval._util.kept import KeptAnswers
from pkt_eval._util.progress import Progress
from pkt_eval.align.loop import mean_loss
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import DataError
from pkt_eval.locate.samples import examples
from pkt_eval.models.beside import Beside
from pkt_eval.models.edits import Edit
from pkt_eval.tune.selection import (
    Criterion,
    Question,
    as_json,
    criterion,
    generate_answers,
    merit,
    told,
    validation_items,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CandidateEdit:
    """An edit of the student that may be made.

    Attributes:
        settings: What tells it from the others, JSON-able.
        make: Makes its edits; called once, when its turn comes, with the base unedited.
    """

    settings: Mapping[str, Any]
    make: Callable[[], Sequence[Edit]]


@dataclass(frozen=True)
class Jury:
    """What candidates are judged with.

    Attributes:
        model: The student's base, loaded.
        tokenizer: Its tokenizer.
        items: Questions that are answered.
        validation: Examples of the loss; without one the first candidate is taken.
        by: What chooses.
        why: Why that is not what was asked for; empty where it is.
    """

    model: Any
    tokenizer: Any
    items: Sequence[Question]
    validation: Sequence[Example]
    by: Criterion
    why: str

    @classmethod
    def of(cls, model: Any, tokenizer: Any, data: TransferData, asked: Criterion | None) -> "Jury":
        """The validation split of a transfer; ``asked`` as of ``criterion``."""
        by, why = criterion(data.splits.benchmark, asked)
        if why:
            log.info("candidates are chosen by loss: %s", why)
        items = validation_items(data, tokenizer)
        return cls(model, tokenizer, items, examples(data, tokenizer, "validation", {}), by, why)

    def measure(self, edits: Sequence[Edit], progress: Progress, what: str) -> dict[str, Any]:
        """Validation loss, nats a supervised token, and answers of the model with these edits, for the record."""
        beside = Beside(self.model, edits)
        try:
            loss = mean_loss(self.model, progress.bar(self.validation, f"{what}: loss"))
            # A model whose logits are NaN has no answers.
            items = [] if self.validation and math.isnan(loss) else self.items
            said = generate_answers(
                self.model, self.tokenizer, items, lambda asked: progress.bar(asked, f"{what}: answers")
            )
        finally:
            beside.remove()
        return {"validation_loss": as_json(loss), "answers": told(said)}


def choose_candidate(
    candidates: Iterable[CandidateEdit], jury: Jury, progress: Progress, name: str, work: Path | None = None
) -> tuple[int, tuple[Edit, ...], dict[str, Any]]:
    """Measure the base and each candidate, and take the best; the earlier wins a tie.

    Args:
        candidates: In the order in which the earlier is to be preferred: the gentler first.
        jury: Judges.
        progress: Bars and the stage ``choose``.
        name: Of the method, for the bars.
        work: Folder in which measurements are kept; those that are there are not taken again.

    Returns:
        Index of the chosen candidate, its edits, and the record: ``base``, all ``candidates``, ``chosen``,
        ``chosen_by`` and ``select_by``.

    Raises:
        DataError: There is no candidate.
    """
    kept = KeptAnswers(work / "candidates.json" if work else None, progress.save)
    best: tuple[tuple[float, float], int, tuple[Edit, ...]] | None = None
    measured: list[dict[str, Any]] = []
    with progress.stage("choose"):
        base = kept.get("base", partial(jury.measure, (), progress, f"{name}: base"))
        for number, candidate in enumerate(candidates):
            edits = tuple(candidate.make())
            settings = dict(candidate.settings)
            bar = f"{name}: candidate {number + 1}"
            found = kept.get(str(number), partial(jury.measure, edits, progress, bar))
            measured.append(settings | found)
            score = found["answers"]["accuracy"] if found["answers"] else None
            progress.measure(number + 1, validation_loss=found["validation_loss"], validation_score=score)
            of_candidate = merit(found if jury.by == "score" else {**found, "answers": None})
            if best is None or (jury.validation and of_candidate > best[0]):
                best = of_candidate, number, edits
    if best is None:
        raise DataError(f"{name}: there is no candidate to choose from")
    _, chosen, edits = best
    return (
        chosen,
        edits,
        {
            "base": base,
            "candidates": measured,
            "chosen": chosen,
            "chosen_by": "validation" if jury.validation else "being the first",
            "select_by": jury.by if jury.validation else None,
            **({"select_by_loss_because": jury.why} if jury.why else {}),
            "answers": measured[chosen]["answers"],
        },
    )
