"""Seeking's sensitivity: how much the loss would change if a weight were removed, to first order.

Does not choose blocks: see ``pkt_eval.extract``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.errors import DataError
from pkt_eval.locate.layers import map_layers
from pkt_eval.models import blocks
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
    parameters = dict(model.named_parameters())
    layers = blocks.dims(model.config).layers
    targets = {n: parameters[n] for layer in range(layers) for n in (blocks.weight_name(b, layer) for b in modules)}
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
    training = model.training
    handles = []
    samples = 0
    try:
        model.eval()
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in targets)
        for name, parameter in targets.items():
            parameter.grad = None
            handles.append(parameter.register_post_accumulate_grad_hook(fold(name)))
        for batch in batches:
            for sample in _rows(batch):
                with torch.enable_grad():
                    total, count = supervised_loss(model, {k: v.to(model.device) for k, v in sample.items()})
                    loss = total / count
                    torch.autograd.backward(loss)
                # One read a sample, after the work was queued: a NaN must not end as a score of NaN for everything.
                if not torch.isfinite(loss):
                    raise DataError(
                        f"extract sample {samples}: the loss is {loss.item()}, so its gradients mean nothing"
                    )
                samples += 1
    finally:
        for handle in handles:
            handle.remove()
        for name, parameter in parameters.items():
            parameter.requires_grad_(flags[name])
        for name, parameter in targets.items():
            parameter.grad = kept[name]
        model.train(training)
    if not samples:
        raise DataError("parameter_sensitivity was given no sample")
    for name, score in scores.items():
        score.mul_(targets[name].detach().abs())
    return scores


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
