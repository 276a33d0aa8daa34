"""The formulas of LaTen's attribution, at many places at once; what they are is said in ``attribution``.

A place is a layer of a sample: all layers of one sample, or one layer of many samples. Both are rows of the same
products.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.locate.reading import Reading
from pkt_eval.models import blocks
from pkt_eval.models.stream import output_embedding, skeleton

Scoring = Literal["full", "fast"]

_ROWS = 2048  # tokens of a matrix product
_COLUMNS = 2048  # neurons of a matrix product: with _ROWS, 16 MB of float32
_NARROW = 512  # neurons below which places are taken together
_TOP = 256  # most probable tokens, taken one by one by the fast path
_REST = 256  # tokens that stand for all others


class ToLogits:
    """The way from a model's residual stream to its logits."""

    def __init__(self, model: Any) -> None:
        self.U = output_embedding(model)
        norm = blocks.final_norm(skeleton(model))
        self.gain = blocks.norm_gain(norm, blocks.norm_eps(model)).to(self.U.device)
        self.cap = blocks.logit_cap(model)

    def rows(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """The output embedding in float32, a piece at a time."""
        for start in range(0, len(self.U), _ROWS):
            piece = slice(start, start + _ROWS)
            yield piece, self.U[piece].float()

    def capped(self, logits: torch.Tensor) -> torch.Tensor:
        """Soft-cap logits in place, where the model does."""
        return logits.div_(self.cap).tanh_().mul_(self.cap) if self.cap else logits


class Places:
    """Layers of samples, and the token probabilities at each of their residual streams.

    Args:
        readout: Of the model.
        weights: Kind → the matrix by whose columns its neurons write, of each layer.
        layers: Which.
        readings: Of samples; the samples of a layer stand together.
        owner: Of each place, the number of the sum that its scores are part of.
        sums: How many there are.

    Attributes:
        owner: As given.
        layer_attention: ``(P,)`` scores of whole attention blocks.
        layer_ffn: ``(P,)`` scores of whole FFNs.
    """

    def __init__(
        self,
        readout: ToLogits,
        weights: Mapping[str, Sequence[torch.Tensor]],
        layers: Sequence[int],
        readings: Sequence[Reading],
        owner: Sequence[int],
        sums: int,
    ) -> None:
        self.readout, self.owner, self._sums = readout, list(owner), sums
        self.weights = {kind: [W for W in of_kind for _ in readings] for kind, of_kind in weights.items()}
        places = [(layer, s) for layer in layers for s in range(len(readings))]
        self.targets = [readings[s].target for _, s in places]

        def rows(name: str, of: Sequence[tuple[int, int]]) -> torch.Tensor:
            return torch.stack([getattr(readings[s], name)[layer] for layer, s in of])

        # A layer's output is the next one's input: each depth of a sample is one row.
        depths = list(dict.fromkeys(d for layer, s in places for d in ((layer, s), (layer + 1, s))))
        row = {depth: i for i, depth in enumerate(depths)}
        before, behind = ([row[layer + step, s] for layer, s in places] for step in (0, 1))
        r = rows("r", places)
        of_rows = [s for _, s in depths] + [s for _, s in places]
        to_logits = torch.stack([reading.scale * readout.gain for reading in readings])[of_rows]  # (rows, d)
        self.to_logits = to_logits[len(depths) :]
        streams = torch.cat([rows("x", depths), r]) * to_logits
        raw = torch.cat([rows @ streams.T for _, rows in readout.rows()]).T.contiguous()  # (rows, V)
        logits = readout.capped(raw.clone()) if readout.cap else raw
        logp = logits.log_softmax(-1)
        targets = torch.tensor([readings[s].target for s in of_rows], device=logp.device)
        of_target = logp.gather(1, targets[:, None])[:, 0]
        at_x, at_r = of_target[: len(depths)], of_target[len(depths) :]
        self.layer_attention, self.layer_ffn = at_r - at_x[before], at_x[behind] - at_r
        # Attention adds to the input of a layer, an FFN to the stream behind the attention.
        parts: dict[str, list[int] | slice] = {"attention": before, "ffn": slice(len(depths), None)}
        self.logp = {kind: logp[part] for kind, part in parts.items()}
        self.p = {kind: of_kind.exp() for kind, of_kind in self.logp.items()}
        self.raw, self.logits = ({kind: t[part] for kind, part in parts.items()} for t in (raw, logits))
        self.u = {kind: torch.zeros_like(r) for kind in parts}  # ū: (P, d), the gradient of log Σ exp
        for piece, of_piece in readout.rows():
            for kind, u in self.u.items():
                u += (self.p[kind][:, piece] * self._slope(kind, slice(None), piece)) @ of_piece
        self.inputs = {"attention": rows("z", places), "ffn": rows("m", places)}
        self.gains = {"attention": rows("attention_gain", places), "ffn": rows("ffn_gain", places)}

    def summed(self, scores: torch.Tensor) -> torch.Tensor:
        """``(P, …)`` added up by owner, one place after the other: ``(sums, …)``."""
        total = scores.new_zeros(self._sums, *scores.shape[1:])
        for row, owner in enumerate(self.owner):
            total[owner] += scores[row]
        return total

    def scores(self, kind: str, scoring: Scoring, indices: torch.Tensor | None = None) -> torch.Tensor:
        """Scores ``(P, n)`` of all neurons of a kind, or of those at ``indices (P, n)``."""
        spread = (self._on_all_tokens(kind, indices) if scoring == "full" else self._on_few_tokens(kind)).log1p_()
        for k, its in enumerate(self.targets):
            place = slice(k, k + 1)
            target = torch.tensor([its], device=spread.device)
            row = self.readout.U[target].float()
            columns = self._columns(kind, place, slice(None), indices)
            score = self._shift(kind, place, target, row, columns)[0, 0] - spread[k]
            if not spread[k].isfinite().all():
                self._without_overflow(kind, place, columns, score)
            spread[k] = score
        return spread

    def _columns(self, kind: str, places: slice, part: slice, indices: torch.Tensor | None) -> torch.Tensor:
        """``c·n∘γ`` of some neurons of some places, ``(d, places·n)``: what they add before the output embedding."""
        made = []
        for k in range(places.start, places.stop):
            which = part if indices is None else indices[k, part]
            scaled = self.weights[kind][k][:, which].float() * (self.to_logits[k] * self.gains[kind][k])[:, None]
            made.append(scaled.mul_(self.inputs[kind][k, which]))
        return torch.cat(made, dim=1) if len(made) > 1 else made[0]

    def _slope(self, kind: str, places: int | slice, tokens: slice | torch.Tensor) -> torch.Tensor | float:
        """Derivative of capped logits by raw ones at the base; 1 without a cap."""
        cap = self.readout.cap
        return 1 - (self.logits[kind][places, tokens] / cap) ** 2 if cap else 1.0

    def _shift(
        self, kind: str, places: slice, tokens: slice | torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """``ε − ε̄ (tokens, places, n)``: by how much neurons move logits, less the mean."""
        u = self.u[kind][places]  # (places, d)
        if len(u) == 1 and not self.readout.cap:  # ε̄ = ū·c, so that one product has it too
            return torch.mm(rows - u, columns)[:, None]
        mean = torch.einsum("ld,dln->ln", u, columns.reshape(len(u.T), len(u), -1))
        if not self.readout.cap:
            return torch.addmm(mean.flatten(), rows, columns, beta=-1).reshape(-1, *mean.shape)
        raw, logits = (t[kind][places, tokens].T[..., None] for t in (self.raw, self.logits))
        moved = (rows @ columns).reshape(-1, *mean.shape).add_(raw)
        return self.readout.capped(moved).sub_(logits).sub_(mean)

    def _on_all_tokens(self, kind: str, indices: torch.Tensor | None) -> torch.Tensor:
        """``Σ p·expm1(ε − ε̄)`` over the vocabulary, ``(P, n)``."""
        n = self.inputs[kind].shape[1] if indices is None else indices.shape[1]
        # A product of few columns is slow, so that places are taken together.
        together = 1 if n >= _NARROW else max(1, _COLUMNS // n)
        total = torch.zeros(len(self.targets), n, device=self.readout.U.device)
        for piece, rows in self.readout.rows():
            for k in range(0, len(self.targets), together):
                places = slice(k, min(k + together, len(self.targets)))
                for start in range(0, n, _COLUMNS):
                    part = slice(start, start + _COLUMNS)
                    columns = self._columns(kind, places, part, indices)
                    shift = self._shift(kind, places, piece, rows, columns).expm1_()
                    total[places, part] += (self.p[kind][places, None, piece] @ shift.transpose(0, 1))[:, 0]
        return total

    def _on_few_tokens(self, kind: str) -> torch.Tensor:
        """The same, to first order on all tokens and beyond it on representatives."""
        total = torch.empty_like(self.inputs[kind])
        for k in range(len(self.targets)):
            tokens, weights = representatives(self.p[kind][k], _TOP, _REST, self.targets[k])
            rows = self.readout.U[tokens].float()
            first = (weights * self._slope(kind, k, tokens)) @ rows - weights.sum() * self.u[kind][k]  # (d,)
            for start in range(0, total.shape[1], _COLUMNS):
                part, place = slice(start, start + _COLUMNS), slice(k, k + 1)
                columns = self._columns(kind, place, part, None)
                shift = self._shift(kind, place, tokens, rows, columns)[:, 0].expm1_()
                total[k, part] = weights @ shift - first @ columns
        return total

    def _without_overflow(self, kind: str, place: slice, columns: torch.Tensor, out: torch.Tensor) -> None:
        """Score the neurons again that move some logit by more than float32 can exponentiate."""
        for i in out.isfinite().logical_not().nonzero().flatten().tolist():
            column = columns[:, i : i + 1]
            pieces = [self._shift(kind, place, piece, rows, column).flatten() for piece, rows in self.readout.rows()]
            shift = torch.cat(pieces)
            out[i] = shift[self.targets[place.start]] - (self.logp[kind][place.start] + shift).logsumexp(0)


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
