"""Seeking's sensitivity: how much the loss would change if a weight were removed, to first order.

Does not choose blocks: see ``pkt_eval.extract``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.errors import DataError
from pkt_eval.locate.layers import map_layers
from pkt_eval.models import blocks
from pkt_eval.models.states import KeptStates
from pkt_eval.models.stream import Passage, StreamedModel
from pkt_eval.tune.loss import supervised_loss


def parameter_sensitivity(
    model: Any, batches: Iterable[Mapping[str, torch.Tensor]], modules: Iterable[str]
) -> dict[str, torch.Tensor]:
    """``S = Σ_samples |W ∘ ∂loss/∂W|`` for the targeted matrices (arXiv 2310.11451, eq. 3).

    One backward pass a sample: rows of a batch are taken apart and their padding is cut off, so that the sum does not
    depend on how samples were batched. A gradient is folded into its score, in fp32, and freed as soon as it appears;
    memory is the weights, the scores, the activations of one sample and the gradient of one matrix.

    Args:
        model: A decoder of a known family; its mode, ``requires_grad`` flags and gradients are left as found.
        batches: ``input_ids (B, T)``, ``labels (B, T)`` with -100 where nothing is supervised, and optionally
            ``attention_mask (B, T)``.
        modules: Block names, e.g. ``("up", "down", "v", "o")``.

    Returns:
        Full parameter name → float32 score of the weight's shape, on the weight's device, layers in depth order.

    Raises:
        ConfigError: An unknown block name.
        DataError: No batch; a sample without a supervised token; a loss that is not finite.
    """
    modules = blocks.check_blocks(modules)
    layers = blocks.dims(model.config).layers
    names = [blocks.weight_name(b, layer) for layer in range(layers) for b in modules]
    training = model.training
    samples = 0
    try:
        model.eval()
        with _folded(dict(model.named_parameters()), names) as scores:
            for batch in batches:
                for sample in _rows(batch):
                    with torch.enable_grad():
                        loss = _mean_loss(model, {k: v.to(model.device) for k, v in sample.items()})
                        torch.autograd.backward(loss)
                    _check_loss(loss, samples)
                    samples += 1
    finally:
        model.train(training)
    if not samples:
        raise DataError("parameter_sensitivity was given no sample")
    return scores


@dataclass(frozen=True)
class LayerSensitivity:
    """The targeted matrices of a layer, and how much the loss hangs on each of their weights.

    Attributes:
        layer: Its number.
        weights: Block → ``(out, in)``.
        scores: Block → float32 of the weight's shape.
    """

    layer: int
    weights: dict[str, torch.Tensor]
    scores: dict[str, torch.Tensor]

    @property
    def total(self) -> float:
        """By which layers are chosen."""
        return float(sum(score.sum(dtype=torch.float64) for score in self.scores.values()))


def layer_sensitivities(
    model: Any, batches: Iterable[Mapping[str, torch.Tensor]], modules: Iterable[str]
) -> Iterator[LayerSensitivity]:
    """``parameter_sensitivity``, a layer at a time, in the order that suits the model.

    Of a model that is whole they have been computed at once, and the most sensitive layer is first. Of a streamed one
    the last layer is first, and what is yielded is gone when the next is asked for. So who wants the most sensitive
    layers drops those that are beaten by as many as are wanted. Scores are the same, and so are blocks chosen by them:
    a layer is computed again from the states before it, which are kept, and gradients go back through it alone.

    Args:
        model: A decoder of a known family, loaded or streamed.
        batches: As for ``parameter_sensitivity``.
        modules: Block names.

    Raises:
        ConfigError: An unknown block name.
        DataError: As for ``parameter_sensitivity``.
    """
    modules = blocks.check_blocks(modules)
    if isinstance(model, StreamedModel):
        return _streamed(model, [row for batch in batches for row in _rows(batch)], modules)
    return _in_order(model, parameter_sensitivity(model, batches, modules), modules)


def _in_order(model: Any, scores: dict[str, torch.Tensor], modules: Sequence[str]) -> Iterator[LayerSensitivity]:
    found = {}
    for layer in range(blocks.dims(model.config).layers):
        names = {block: blocks.weight_name(block, layer) for block in modules}
        weights = {block: model.get_parameter(name).detach() for block, name in names.items()}
        found[layer] = LayerSensitivity(layer, weights, {block: scores.pop(name) for block, name in names.items()})
    order = sorted(found, key=lambda layer: (-found[layer].total, layer))
    return (found.pop(layer) for layer in order)  # which frees its scores


def _streamed(
    model: StreamedModel, samples: Sequence[dict[str, torch.Tensor]], modules: Sequence[str]
) -> Iterator[LayerSensitivity]:
    """The forward pass now; the way back, a layer at a time, as it is asked for."""
    if not samples:
        raise DataError("parameter_sensitivity was given no sample")
    passages = model.begin([{"input_ids": sample["input_ids"]} for sample in samples])
    before = KeptStates()
    for number, layer in model.layers(range(model.count), "forward"):
        before.put(number, [passage.states for passage in passages])
        model.forward(passages, number, layer)
    # Who counts what passes cost asks which weights are trained.
    model.skeleton.requires_grad_(False)
    for number in range(model.count):
        for block in modules:
            blocks.block(model.skeleton, block, number).weight.requires_grad_(True)
    gradients = []
    with model.head():
        for number, (passage, sample) in enumerate(zip(passages, samples, strict=True)):
            with torch.enable_grad():
                states = passage.states.to(model.device).requires_grad_()
                with model.ending_in(states) as ending:
                    loss = _mean_loss(ending, {k: v.to(model.device) for k, v in sample.items()})
                torch.autograd.backward(loss)
            _check_loss(loss, number)
            assert states.grad is not None
            gradients.append(states.grad.cpu())
    return _backward(model, passages, before, gradients, modules)


def _backward(
    model: StreamedModel,
    passages: Sequence[Passage],
    before: KeptStates,
    gradients: list[torch.Tensor],
    modules: Sequence[str],
) -> Iterator[LayerSensitivity]:
    for number, layer in model.layers(reversed(range(model.count)), "backward"):
        names = {b: blocks.weight_name(b, number).removeprefix(f"{blocks.layer_name(number)}.") for b in modules}
        with _folded(dict(layer.named_parameters()), list(names.values())) as scores:
            for i, (passage, before_layer) in enumerate(zip(passages, before.take(number), strict=True)):
                with torch.enable_grad():
                    # Nothing before the first layer has a gradient.
                    states = before_layer.to(model.device).requires_grad_(number > 0)
                    made = passage.through(layer, number, states)
                    torch.autograd.backward(made, gradients[i].to(model.device))
                if states.grad is not None:
                    gradients[i] = states.grad.cpu()
        weights = {block: layer.get_parameter(name).detach() for block, name in names.items()}
        found = LayerSensitivity(number, weights, {block: scores[name] for block, name in names.items()})
        del scores
        yield found
        # Who has it may hold it until the next one comes.
        found.weights.clear()
        found.scores.clear()


def _mean_loss(model: Any, sample: dict[str, torch.Tensor]) -> torch.Tensor:
    total, count = supervised_loss(model, sample)
    return total / count


def _check_loss(loss: torch.Tensor, sample: int) -> None:
    # One read a sample, after the work was queued: a NaN must not end as a score of NaN for everything.
    if not torch.isfinite(loss):
        raise DataError(f"extract sample {sample}: the loss is {loss.item()}, so its gradients mean nothing")


@contextmanager
def _folded(parameters: Mapping[str, Any], names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
    """``Σ |W ∘ g|`` of some parameters over the backward passes of the body; whole when it ends.

    No other parameter has a gradient meanwhile; flags and gradients are left as found.
    """
    targets = {name: parameters[name] for name in names}
    scores = {n: torch.zeros_like(p, dtype=torch.float32) for n, p in targets.items()}

    def fold(name: str) -> Any:
        def hook(weight: torch.Tensor) -> None:
            assert weight.grad is not None  # that is when it is called
            # |W∘g| = |W|∘|g|, and W does not change from sample to sample: it is multiplied in once, at the end.
            scores[name].add_(weight.grad.abs_().float())
            weight.grad = None

        return hook

    flags = {n: p.requires_grad for n, p in parameters.items()}
    kept = {n: p.grad for n, p in targets.items()}
    handles = []
    try:
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in targets)
        for name, parameter in targets.items():
            parameter.grad = None
            handles.append(parameter.register_post_accumulate_grad_hook(fold(name)))
        yield scores
    finally:
        for handle in handles:
            handle.remove()
        for name, parameter in parameters.items():
            parameter.requires_grad_(flags[name])
        for name, parameter in targets.items():
            parameter.grad = kept[name]
    for name, score in scores.items():
        score.mul_(targets[name].detach().abs())


def _rows(batch: Mapping[str, torch.Tensor]) -> Iterable[dict[str, torch.Tensor]]:
    """The samples of a batch, each ``(1, T)``, without padding."""
    ids, labels = batch["input_ids"], batch["labels"]
    mask = batch.get("attention_mask")
    for row in range(ids.shape[0]):
        keep = slice(None) if mask is None else mask[row].bool()
        sample = {"input_ids": ids[row][keep][None], "labels": labels[row][keep][None]}
        if (sample["labels"][:, 1:] == -100).all():
            raise DataError(f"row {row} of a batch has no supervised token, so it has no gradient")
        yield sample


def select_layers(sensitivity: Mapping[str, torch.Tensor], k: int) -> list[int]:
    """The ``k`` layers with the largest summed sensitivity, in depth order (arXiv 2310.11451, §3.2).

    Args:
        sensitivity: Full parameter name → score, as from ``parameter_sensitivity``.
        k: How many layers to keep. The lower layer wins a tie.

    Returns:
        ``k`` layer indices, ascending: the i-th feeds student layer i.

    Raises:
        ConfigError: There are fewer than ``k`` layers.
    """
    totals: dict[int, torch.Tensor] = {}
    for name, score in sensitivity.items():
        layer = blocks.layer_of(name)
        total = score.sum(dtype=torch.float64)
        totals[layer] = totals[layer] + total if layer in totals else total
    order = sorted(totals)
    sums = torch.stack([totals[layer] for layer in order]) if order else torch.empty(0)
    return [order[i] for i in map_layers(len(order), k, sums)]
