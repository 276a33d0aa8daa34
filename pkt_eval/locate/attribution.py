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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.locate.reading import Attribution, Reading, read_each
from pkt_eval.locate.scoring import Places, Scoring, ToLogits
from pkt_eval.locate.select import Counts, channels_of_values, near_cut, neuron_counts, value_scores
from pkt_eval.models import blocks
from pkt_eval.models.stream import StreamedModel

_TOGETHER = 16  # samples of a streamed layer that are taken together: of each, six rows of the vocabulary are there
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
    (scores,) = attribute_sets(model, [samples], keep=keep, attribution=attribution, scoring=scoring)
    return scores


@torch.no_grad()
def attribute_sets(
    model: Any,
    sets: Iterable[Iterable[tuple[torch.Tensor, int]]],
    *,
    keep: Counts | None = None,
    attribution: Attribution = "exact",
    scoring: Scoring = "full",
) -> list[NeuronScores]:
    """``attribute`` of several sets of samples; a streamed model is read twice for all of them.

    Of a loaded model the samples are taken one by one, each with all layers; of a streamed one the layers are, each
    with many samples. Sums are of the same numbers in the same order, but for the rounding of the products.

    Args:
        model: As ``neuron_attribution``.
        sets: Of ``(input_ids, target_id)`` each.
        keep: As ``attribute``.
        attribution: As ``neuron_attribution``.
        scoring: As ``neuron_attribution``.

    Raises:
        DataError: A set without a sample, or as ``neuron_attribution``.
    """
    if scoring not in ("full", "fast"):
        raise ConfigError(f"scoring is 'full' or 'fast', not {scoring!r}")
    dims = blocks.dims(model.config)
    if not isinstance(model, StreamedModel):
        readout = ToLogits(model)
        weights = {kind: [model.get_parameter(n).detach() for n in names] for kind, names in _names(dims).items()}
        layers = list(range(dims.layers))
        return [
            _summed(
                partial(Places, readout, weights, layers, sums=dims.layers),
                (([reading], layers) for reading in read_each(model, samples, attribution)),
                dims,
                keep,
                scoring,
            )
            for samples in sets
        ]
    flat = [list(samples) for samples in sets]
    owner = [number for number, samples in enumerate(flat) for _ in samples]
    if set(owner) != set(range(len(flat))):
        raise DataError("attribution was given no sample")
    readings = list(read_each(model, [sample for samples in flat for sample in samples], attribution))
    parts = [slice(start, start + _TOGETHER) for start in range(0, len(readings), _TOGETHER)]
    readout = ToLogits(model)
    of_layers = [
        _summed(
            partial(Places, readout, weights, [layer], sums=len(flat)),
            ((readings[part], owner[part]) for part in parts),
            dims,
            keep,
            scoring,
        )
        for layer, weights in model.parameters(_names(dims))
    ]
    stacked = NeuronScores(*map(torch.stack, zip(*(vars(of).values() for of in of_layers), strict=True)))
    return [NeuronScores(*(t[:, number] for t in vars(stacked).values())) for number in range(len(flat))]


def _names(dims: blocks.Dims) -> dict[str, list[str]]:
    """Kind → full names of the matrices by whose columns its neurons write, in depth order."""
    writes = {"ffn": "down", "attention": "o"}
    return {kind: [blocks.weight_name(b, k) for k in range(dims.layers)] for kind, b in writes.items()}


def _summed(
    places_of: Callable[..., Places],
    batches: Iterable[tuple[Sequence[Reading], Sequence[int]]],
    dims: blocks.Dims,
    keep: Counts | None,
    scoring: Scoring,
) -> NeuronScores:
    """Scores summed over readings by the owners of their places; a batch of readings is taken at a time."""
    total: NeuronScores | None = None
    taken: list[tuple[Sequence[Reading], Sequence[int]]] = []
    number = 0
    for readings, owner in batches:
        places = places_of(readings=readings, owner=owner)
        scores = NeuronScores(
            ffn=places.summed(places.scores("ffn", scoring)),
            attention=places.summed(places.scores("attention", scoring)),
            layer_ffn=places.summed(places.layer_ffn),
            layer_attention=places.summed(places.layer_attention),
        )
        if not all(t.isfinite().all() for t in vars(scores).values()):
            several = len(readings) > 1
            which = f"one of samples {number} to {number + len(readings) - 1}" if several else f"sample {number}"
            raise DataError(
                f"{which}: an attribution score is not finite, so the model's activations are not; try "
                "transfer_dtype=float32"
            )
        total = scores if total is None else total + scores
        taken.append((readings, owner))
        number += len(readings)
    if total is None:
        raise DataError("attribution was given no sample")
    if scoring == "fast" and keep is not None:
        values = near_cut(value_scores(total.attention, dims), keep.value, _NEAR)
        again = {
            "ffn": near_cut(total.ffn, keep.ffn, _NEAR),
            "attention": torch.cat(
                [near_cut(total.attention, keep.attention, _NEAR), channels_of_values(values, dims)], dim=1
            ),
        }
        exact = {kind: torch.zeros_like(indices, dtype=torch.float32) for kind, indices in again.items()}
        for readings, owner in taken:
            places = places if len(taken) == 1 else places_of(readings=readings, owner=owner)
            for kind, indices in again.items():
                exact[kind] += places.summed(places.scores(kind, "full", indices[places.owner]))
        for kind, indices in again.items():
            getattr(total, kind).scatter_(1, indices, exact[kind])
    return total
