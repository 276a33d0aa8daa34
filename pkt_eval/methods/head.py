"""``head``: the teacher's logits of answer tokens, read off the student's last state; and ``prior``, its control.

Some rows of the output embedding are changed, by ridge regression. This is calibration: it changes what is said of a
state, and no state. ``prior`` has no teacher and does as much as can be done by how frequent the answers are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.lazy import torch
from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align import contexts
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.align.editing import relative_sizes
from pkt_eval.align.maps import collect
from pkt_eval.data.chat import IGNORE
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import RESIDUAL, Tap
from pkt_eval.models.edits import LocatedEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.selection import Criterion

_ROUNDS = 200  # of proportional fitting; each raises the likelihood
_CHUNK = 512  # rows whose logits over the whole vocabulary are in memory


class HeadConfig(MethodConfig):
    """Options of the readout; of several values, joined by +, validation chooses."""

    ridge: Annotated[tuple[float, ...], BeforeValidator(plus_separated)] = (10.0, 1.0, 0.1, 1e-2)
    """Of the regression, over the last states' mean square: the larger, the smaller is the edit."""
    tokens: int = Field(1024, ge=1)
    """Answer tokens that are read, at most: the most frequent ones, the smaller id first among equals."""
    select_by: Criterion | None = None
    """What chooses on validation; default score where the answer is a number, else loss."""

    @model_validator(mode="after")
    def _values(self) -> HeadConfig:
        if not self.ridge or any(r <= 0 for r in self.ridge):
            raise ValueError("ridges are positive")
        return self


@dataclass(frozen=True)
class Readout:
    """What tells the readout from its control.

    Attributes:
        of: The teacher's logits; a constant for each token.
    """

    of: Literal["teacher", "prior"]


@register(
    "head",
    title="Readout: the teacher's logits of answer tokens, from the student's last state",
    reference="ridge regression",
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Readout("teacher"),
)
@register(
    "prior",
    title="Biases of answer tokens, fitted on train labels",
    reference="logistic regression without inputs",
    paradigm="control",
    uses=("data",),
    control_of=("head", "ridge", "steer"),
    variant=Readout("prior"),
)
class Head(TransferMethod[HeadConfig]):
    """Regress, and change rows of the output embedding."""

    Config = HeadConfig
    variant: Readout

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Readout. Teacher and student are in memory one after the other."""
        name, tokenizer = self.method.name, pair.student.tokenizer
        splits = ("align", "extract") if self.variant.of == "teacher" else ("train",)
        examples = contexts.texts(data, tokenizer, splits, rows="answer")
        fitted, held_out = contexts.fitted_and_held_out(examples)
        examples, judged = [*fitted, *held_out], sum(map(_rows, held_out))
        tokens = answer_tokens(examples, self.config.tokens)
        theirs: torch.Tensor | None = None
        if self.variant.of == "teacher":
            pair.check()
            with progress.stage("teacher"), pair.open_teacher() as teacher:
                bar = progress.bar(list(contexts.text_batches(examples)), f"{name}: teacher")
                theirs = _logits(teacher, final_states(teacher, bar), tokens)
        with pair.open_student() as model:
            with progress.stage("fit"):
                bar = progress.bar(list(contexts.text_batches(examples)), f"{name}: student")
                states = final_states(model, bar)
                if theirs is None:
                    biases = fit_biases(_probabilities(model, states, tokens), _counts(examples, tokens))
                    wanted = biases.expand(len(states), -1)
                else:
                    wanted = _centred(theirs) - _centred(_logits(model, states, tokens))
            record: dict[str, Any] = {
                "tokens": len(tokens),
                "rows": len(states),
                "r2": [
                    round(_r2(states[:-judged], wanted[:-judged], states[-judged:], wanted[-judged:], ridge), 6)
                    for ridge in self.config.ridge
                ],
            }
            if theirs is None:
                record["projection"] = [_projection(states, ridge) for ridge in self.config.ridge]
            jury = Jury.of(model, tokenizer, data, self.config.select_by)
            candidates = self._candidates(states, wanted, tokens)
            _, edits, chosen = choose_candidate(candidates, jury, progress, name, self.work)
            record |= {**chosen, "delta_over_weight": relative_sizes(model, edits)}
        return Student(base=pair.student, edits=edits, record=record)

    def _candidates(self, states: torch.Tensor, wanted: torch.Tensor, tokens: torch.Tensor) -> Iterator[CandidateEdit]:
        """The smaller edit first."""
        for ridge in sorted(self.config.ridge, reverse=True):
            yield CandidateEdit({"ridge": ridge}, partial(_edits, states, wanted, tokens, ridge))


def _edits(states: torch.Tensor, wanted: torch.Tensor, tokens: torch.Tensor, ridge: float) -> list[LocatedEdit]:
    return [LocatedEdit(blocks.HEAD, "rows", tokens, readout(states, wanted, ridge).float())]


def answer_tokens(examples: Sequence[Example], most: int) -> torch.Tensor:
    """Ids of the supervised tokens, ascending: the most frequent, and of equals the smaller."""
    counts = Counter(label for e in examples for label in e["labels"] if label != IGNORE)
    frequent = sorted(counts, key=lambda token: (-counts[token], token))[:most]
    return torch.tensor(sorted(frequent))


@torch.no_grad()
def final_states(model: Any, batches: Iterable[Mapping[str, torch.Tensor]]) -> torch.Tensor:
    """What the output embedding gets at the supervised positions, ``(n, d)`` float64 on the CPU."""
    tap = Tap(RESIDUAL, len(blocks.layers(model)) - 1)
    rows = collect(model, batches, [tap])[tap]
    return torch.cat([blocks.final_norm(model)(part.to(model.device)).cpu() for part in _parts(rows)]).double()


def _parts(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))


def readout(states: torch.Tensor, wanted: torch.Tensor, ridge: float) -> torch.Tensor:
    """``Δ = YᵀH (HᵀH + λI)⁻¹ (k, d)``, ``λ = ridge · tr(HᵀH)/d``, in float64: no intercept, for a head has none.

    Args:
        states: ``H (n, d)``.
        wanted: ``Y (n, k)``: what is to be added to the logits.
        ridge: Positive.
    """
    square = states.T @ states
    shrunk = square + ridge * square.trace() / len(square) * torch.eye(len(square), dtype=square.dtype)
    return torch.cholesky_solve(states.T @ wanted, torch.linalg.cholesky(shrunk)).T


def fit_biases(p: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Biases of tokens that make labels likeliest, ``(k,)``: ``b ← b + log(counts / expected)``, time and again.

    Iterative proportional fitting of a log-linear model whose features are exclusive; half a token is added to both.

    Args:
        p: ``(n, k)`` the model's probabilities of the tokens.
        counts: ``(k,)`` how often each is the label.
    """
    biases = torch.zeros_like(counts)
    others = 1 - p.sum(1)
    for _ in range(_ROUNDS):
        weighted = p * biases.exp()
        expected = (weighted / (others + weighted.sum(1)).clamp_min(1e-12)[:, None]).sum(0)
        biases = biases + ((counts + 0.5) / (expected + 0.5)).log()
    return biases


def _rows(example: Example) -> int:
    return sum(label != IGNORE for label in example["labels"][1:])


def _logits(model: Any, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """``(n, k)`` float64, before any soft cap: what a row of the embedding says."""
    return states @ blocks.unembedding(model)[tokens.to(model.device)].cpu().double().T


def _centred(logits: torch.Tensor) -> torch.Tensor:
    """Less their mean over tokens: a softmax knows no constant, and no weight goes to or from the other tokens."""
    return logits - logits.mean(1, keepdim=True)


@torch.no_grad()
def _probabilities(model: Any, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """``(n, k)`` float64 probabilities of the tokens among all."""
    cap, U = blocks.logit_cap(model), blocks.unembedding(model).float()
    found = []
    for part in _parts(states):
        logits = part.to(model.device, torch.float32) @ U.T
        logits = cap * torch.tanh(logits / cap) if cap else logits
        found.append((logits[:, tokens.to(model.device)] - logits.logsumexp(1, keepdim=True)).exp().cpu())
    return torch.cat(found).double()


def _counts(examples: Sequence[Example], tokens: torch.Tensor) -> torch.Tensor:
    labels = torch.tensor([label for e in examples for label in e["labels"] if label != IGNORE])
    return (labels[:, None] == tokens).sum(0).double()


def _r2(states: torch.Tensor, wanted: torch.Tensor, H: torch.Tensor, Y: torch.Tensor, ridge: float) -> float:
    """Held-out share of ``Y`` that the readout of the fitted rows gives; 0 is what no edit gives."""
    residual = Y - H @ readout(states, wanted, ridge).T
    return float(1 - residual.square().sum() / Y.square().sum().clamp_min(1e-30))


def _projection(states: torch.Tensor, ridge: float) -> dict[str, float]:
    """How constant the "constant" is: mean and deviation over states of what a bias of 1 becomes."""
    direction = readout(states, torch.ones(len(states), 1, dtype=states.dtype), ridge)[0]
    along = states @ direction
    return {"ridge": ridge, "mean": round(float(along.mean()), 6), "deviation": round(float(along.std()), 6)}
