"""LaTen's static neuron attribution: how much one neuron raises the log-probability of the right token.

With ``v`` a residual stream, the score of a neuron that adds ``n`` to it is ``logp(v + n) − logp(v)``, where
``logp(v) = log softmax(U(c·v∘γ))[w]``. Logits are linear in ``v``, so with ``p = softmax`` at ``v``, ``ε = U(c·n∘γ)``
and the mean ``ε̄ = Σ p·ε``,

    score = (ε_w − ε̄) − log(1 + Σ_tokens p·expm1(ε − ε̄)).

The first term is a dot product. The second is at least zero, and loses no digits for the many neurons that hardly
matter. For all neurons of a layer at once it is one matrix product ``(V×d)·(d×n)``, in pieces of bounded memory.

The fast path evaluates it on 512 tokens. Since ``Σ p(ε − ε̄) = 0``, it may be written ``Σ p·h(ε − ε̄)`` with
``h(t) = expm1(t) − t ≥ 0``, in which nothing is left of first order. The target and the 255 most probable tokens are
taken one by one, and the others, of probability ``P`` together, are represented by 256 of them, drawn evenly along the
sum of their probabilities; nothing is random. Both the omitted part and what stands for it lie in ``[0, P·h(R)]``,
where ``R = ‖c·n∘γ‖·max‖U_v − ū‖`` over those tokens bounds ``|ε − ε̄|``; so a score is off by no more than ``P·h(R)``
(without soft-capped logits), and by far less in practice (benchmarks/test_attribution_speed.py). The neurons nearest
the cut, one in 250 of a layer's, are then scored on the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.locate.reading import Attribution, Reading, read_activations
from pkt_eval.locate.select import Counts, channels_of_values, near_cut, neuron_counts, value_scores
from pkt_eval.models import blocks

Scoring = Literal["full", "fast"]

_ROWS = 2048  # tokens of a matrix product
_COLUMNS = 2048  # neurons of a matrix product: with _ROWS, 16 MB of float32
_NARROW = 512  # neurons below which layers are taken together
_TOP = 256  # most probable tokens, taken one by one by the fast path
_REST = 256  # tokens that stand for all others
_NEAR = 500  # the fast path scores one neuron in so many again, on each side of the cut


@dataclass(frozen=True)
class NeuronScores:
    """Attribution scores, float32, of one sequence or, added up, of several.

    Attributes:
        ffn: ``(L, f)`` of FFN neurons.
        attention: ``(L, h·e)`` of attention neurons, i.e. input channels of ``o``.
        layer_ffn: ``(L,)`` of whole FFNs.
        layer_attention: ``(L,)`` of whole attention blocks.
    """

    ffn: torch.Tensor
    attention: torch.Tensor
    layer_ffn: torch.Tensor
    layer_attention: torch.Tensor

    def __add__(self, other: NeuronScores) -> NeuronScores:
        """The scores of both."""
        return NeuronScores(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def neuron_attribution(
    model: Any,
    input_ids: torch.Tensor,
    target_id: int,
    *,
    attribution: Attribution = "exact",
    scoring: Scoring = "full",
    rate: float = 0.1,
) -> NeuronScores:
    """Scores of every neuron and layer for one sequence (arXiv 2505.14436, §3.2).

    Args:
        model: A decoder of a known family, on one device.
        input_ids: ``(T,)`` or ``(1, T)``: the tokens before the target.
        target_id: The token whose log-probability is attributed.
        attribution: ``"exact"``, or ``"published"``: the released code's ``c`` and attention term.
        scoring: ``"full"`` evaluates the whole vocabulary, ``"fast"`` 512 tokens of it; see the head of this file for
            the bound.
        rate: Share of the neurons that are going to be kept; only the fast path looks at it, to score those near the
            cut again.

    Returns:
        Unrounded scores on the model's device.

    Raises:
        ConfigError: An unknown ``attribution`` or ``scoring``.
        DataError: No token, or scores that are not finite.
        IncompatiblePairError: An unknown family.
    """
    keep = neuron_counts(blocks.dims(model.config), rate) if scoring == "fast" else None
    return attribute(model, [(input_ids, target_id)], attribution=attribution, scoring=scoring, keep=keep)


@torch.no_grad()
def attribute(
    model: Any,
    samples: Iterable[tuple[torch.Tensor, int]],
    *,
    keep: Counts | None = None,
    attribution: Attribution = "exact",
    scoring: Scoring = "full",
) -> NeuronScores:
    """Scores summed over samples; in fast scoring, the neurons near the cut *of the sum* are scored again.

    Args:
        model: As ``neuron_attribution``.
        samples: ``(input_ids, target_id)`` each.
        keep: How many neurons of a layer are going to be kept; only fast scoring looks at it. None: nobody knows, so
            there is no cut, and no neuron is scored again.
        attribution: As ``neuron_attribution``.
        scoring: As ``neuron_attribution``.

    Raises:
        DataError: No sample, or as ``neuron_attribution``.
    """
    if scoring not in ("full", "fast"):
        raise ConfigError(f"scoring is 'full' or 'fast', not {scoring!r}")
    readout, total, readings = _Readout(model), None, []
    for number, (input_ids, target_id) in enumerate(samples):
        reading = read_activations(model, input_ids, target_id, attribution)
        sample = _Sample(readout, reading)
        scores = NeuronScores(
            ffn=sample.scores("ffn", scoring),
            attention=sample.scores("attention", scoring),
            layer_ffn=sample.layer_ffn,
            layer_attention=sample.layer_attention,
        )
        if not all(t.isfinite().all() for t in vars(scores).values()):
            raise DataError(
                f"sample {number}: an attribution score is not finite, so the model's activations are not; try "
                "transfer_dtype=float32"
            )
        total = scores if total is None else total + scores
        readings.append(reading)
    if total is None:
        raise DataError("attribution was given no sample")
    if scoring == "fast" and keep is not None:
        dims = blocks.dims(model.config)
        values = near_cut(value_scores(total.attention, dims), keep.value, _NEAR)
        again = {
            "ffn": near_cut(total.ffn, keep.ffn, _NEAR),
            "attention": torch.cat(
                [near_cut(total.attention, keep.attention, _NEAR), channels_of_values(values, dims)], dim=1
            ),
        }
        exact = {kind: torch.zeros_like(indices, dtype=torch.float32) for kind, indices in again.items()}
        for reading in readings:
            sample = sample if len(readings) == 1 else _Sample(readout, reading)
            for kind, indices in again.items():
                exact[kind] += sample.scores(kind, "full", indices)
        for kind, indices in again.items():
            getattr(total, kind).scatter_(1, indices, exact[kind])
    return total


class _Readout:
    """The way from a model's residual stream to its logits."""

    def __init__(self, model: Any) -> None:
        layers = range(blocks.dims(model.config).layers)
        self.U = blocks.unembedding(model)
        self.gain = blocks.norm_gain(blocks.final_norm(model), blocks.norm_eps(model)).to(self.U.device)
        self.cap = blocks.logit_cap(model)
        self.weights = {
            kind: [model.get_parameter(blocks.weight_name(block, k)).detach() for k in layers]
            for kind, block in (("ffn", "down"), ("attention", "o"))
        }

    def rows(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """The output embedding in float32, a piece at a time."""
        for start in range(0, len(self.U), _ROWS):
            piece = slice(start, start + _ROWS)
            yield piece, self.U[piece].float()

    def capped(self, logits: torch.Tensor) -> torch.Tensor:
        """Soft-cap logits in place, where the model does."""
        return logits.div_(self.cap).tanh_().mul_(self.cap) if self.cap else logits


class _Sample:
    """One reading, and the token probabilities at each of its residual streams."""

    def __init__(self, readout: _Readout, reading: Reading) -> None:
        self.readout, self.target, self.layers = readout, reading.target, len(reading.r)
        self.to_logits = reading.scale * readout.gain  # (d,)
        streams = torch.cat([reading.x, reading.r]) * self.to_logits  # (2L+1, d)
        raw = torch.cat([rows @ streams.T for _, rows in readout.rows()]).T.contiguous()  # (2L+1, V)
        logits = readout.capped(raw.clone()) if readout.cap else raw
        logp = logits.log_softmax(-1)
        of_target = logp[:, self.target]
        at_x, at_r = of_target[: self.layers + 1], of_target[self.layers + 1 :]
        self.layer_attention, self.layer_ffn = at_r - at_x[:-1], at_x[1:] - at_r
        # Attention adds to the input of a layer, an FFN to the stream behind the attention.
        parts = {"attention": slice(0, self.layers), "ffn": slice(self.layers + 1, None)}
        self.logp = {kind: logp[part] for kind, part in parts.items()}
        self.p = {kind: logp[part].exp() for kind, part in parts.items()}
        self.raw, self.logits = ({kind: t[part] for kind, part in parts.items()} for t in (raw, logits))
        self.u = {kind: torch.zeros_like(reading.r) for kind in parts}  # ū: (L, d), the gradient of log Σ exp
        for piece, rows in readout.rows():
            for kind, u in self.u.items():
                u += (self.p[kind][:, piece] * self._slope(kind, slice(None), piece)) @ rows
        self.inputs = {"attention": reading.z, "ffn": reading.m}
        self.gains = {"attention": reading.attention_gain, "ffn": reading.ffn_gain}

    def scores(self, kind: str, scoring: Scoring, indices: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``(L, n)`` of all neurons of a kind, or of those at ``indices (L, n)``."""
        spread = (self._on_all_tokens(kind, indices) if scoring == "full" else self._on_few_tokens(kind)).log1p_()
        target = torch.tensor([self.target], device=spread.device)
        row = self.readout.U[target].float()
        for k in range(self.layers):
            layer = slice(k, k + 1)
            columns = self._columns(kind, layer, slice(None), indices)
            score = self._shift(kind, layer, target, row, columns)[0, 0] - spread[k]
            if not spread[k].isfinite().all():
                self._without_overflow(kind, layer, columns, score)
            spread[k] = score
        return spread

    def _columns(self, kind: str, layers: slice, part: slice, indices: torch.Tensor | None) -> torch.Tensor:
        """``c·n∘γ`` of some neurons of some layers, ``(d, layers·n)``: what they add before the output embedding."""
        made = []
        for k in range(layers.start, layers.stop):
            which = part if indices is None else indices[k, part]
            scaled = self.readout.weights[kind][k][:, which].float() * (self.to_logits * self.gains[kind][k])[:, None]
            made.append(scaled.mul_(self.inputs[kind][k, which]))
        return torch.cat(made, dim=1) if len(made) > 1 else made[0]

    def _slope(self, kind: str, layers: int | slice, tokens: slice | torch.Tensor) -> torch.Tensor | float:
        """Derivative of capped logits by raw ones at the base; 1 without a cap."""
        cap = self.readout.cap
        return 1 - (self.logits[kind][layers, tokens] / cap) ** 2 if cap else 1.0

    def _shift(
        self, kind: str, layers: slice, tokens: slice | torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """``ε − ε̄ (tokens, layers, n)``: by how much neurons move logits, less the mean."""
        u = self.u[kind][layers]  # (layers, d)
        if len(u) == 1 and not self.readout.cap:  # ε̄ = ū·c, so that one product has it too
            return torch.mm(rows - u, columns)[:, None]
        mean = torch.einsum("ld,dln->ln", u, columns.reshape(len(u.T), len(u), -1))
        if not self.readout.cap:
            return torch.addmm(mean.flatten(), rows, columns, beta=-1).reshape(-1, *mean.shape)
        raw, logits = (t[kind][layers, tokens].T[..., None] for t in (self.raw, self.logits))
        moved = (rows @ columns).reshape(-1, *mean.shape).add_(raw)
        return self.readout.capped(moved).sub_(logits).sub_(mean)

    def _on_all_tokens(self, kind: str, indices: torch.Tensor | None) -> torch.Tensor:
        """``Σ p·expm1(ε − ε̄)`` over the vocabulary, ``(L, n)``."""
        n = self.inputs[kind].shape[1] if indices is None else indices.shape[1]
        # A product of few columns is slow, so that layers are taken together.
        together = 1 if n >= _NARROW else max(1, _COLUMNS // n)
        total = torch.zeros(self.layers, n, device=self.readout.U.device)
        for piece, rows in self.readout.rows():
            for k in range(0, self.layers, together):
                layers = slice(k, min(k + together, self.layers))
                for start in range(0, n, _COLUMNS):
                    part = slice(start, start + _COLUMNS)
                    columns = self._columns(kind, layers, part, indices)
                    shift = self._shift(kind, layers, piece, rows, columns).expm1_()
                    total[layers, part] += (self.p[kind][layers, None, piece] @ shift.transpose(0, 1))[:, 0]
        return total

    def _on_few_tokens(self, kind: str) -> torch.Tensor:
        """The same, to first order on all tokens and beyond it on representatives."""
        total = torch.empty_like(self.inputs[kind])
        for k in range(self.layers):
            tokens, weights = representatives(self.p[kind][k], _TOP, _REST, self.target)
            rows = self.readout.U[tokens].float()
            first = (weights * self._slope(kind, k, tokens)) @ rows - weights.sum() * self.u[kind][k]  # (d,)
            for start in range(0, total.shape[1], _COLUMNS):
                part, layer = slice(start, start + _COLUMNS), slice(k, k + 1)
                columns = self._columns(kind, layer, part, None)
                shift = self._shift(kind, layer, tokens, rows, columns)[:, 0].expm1_()
                total[k, part] = weights @ shift - first @ columns
        return total

    def _without_overflow(self, kind: str, layer: slice, columns: torch.Tensor, out: torch.Tensor) -> None:
        """Score the neurons again that move some logit by more than float32 can exponentiate."""
        for i in out.isfinite().logical_not().nonzero().flatten().tolist():
            column = columns[:, i : i + 1]
            pieces = [self._shift(kind, layer, piece, rows, column).flatten() for piece, rows in self.readout.rows()]
            shift = torch.cat(pieces)
            out[i] = shift[self.target] - (self.logp[kind][layer.start] + shift).logsumexp(0)


def representatives(p: torch.Tensor, top: int, rest: int, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and weights that stand for a whole distribution: the most probable ones, and a sample of the others.

    Args:
        p: ``(V,)`` probabilities.
        top: How many of the most probable tokens are taken with their own probability; the target is one of them
            whatever its own, for it is the one that neurons are judged by.
        rest: How many tokens stand for the others, in equal parts; a token of much probability may stand twice.
        target: Id of the target.

    Returns:
        Ids and weights, ``(top + rest,)`` each, or all of the vocabulary if it is no larger.
    """
    if len(p) <= top + rest:
        return torch.arange(len(p), device=p.device), p
    best = p.index_fill(0, torch.tensor([target], device=p.device), torch.inf).topk(top).indices
    left = p.double().index_fill(0, best, 0.0)
    sums = left.cumsum(0)
    steps = (torch.arange(rest, device=p.device, dtype=sums.dtype) + 0.5) / rest
    drawn = torch.searchsorted(sums, steps * sums[-1]).clamp_(max=len(p) - 1)
    return torch.cat([best, drawn]), torch.cat([p[best], (sums[-1] / rest).to(p.dtype).expand(rest)])
