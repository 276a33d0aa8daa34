"""What passes through a model cost: tokens, and floating-point operations by the usual estimate.

Every pass of a model that a transfer opens is counted where its body begins, so that a method need not say what it
spends. Operations: ``2·N`` a token forward and as much again for the gradients of activations, and ``2·N'`` for those
of the ``N'`` weights that are trained (arXiv 2001.08361), where ``N`` are the weights of the body's layers:
embeddings, the head and the products of attention are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pkt_eval.models import blocks

Role = Literal["teacher", "student"]


Meter = Callable[[Role, Mapping[str, float]], None]
"""Is told whose pass it was, and its ``tokens``, padding left out, its ``trained_tokens``, which were followed back for
gradients, and its ``flops``."""


def count_passes(model: Any, tell: Callable[[Mapping[str, float]], None]) -> None:
    """Tell of every pass through a loaded model, as long as it lives.

    Args:
        model: A decoder.
        tell: Is called before the pass.
    """
    import torch

    body = blocks.decoder(model)
    size = sum(p.numel() for layer in blocks.layers(model) for p in layer.parameters())

    def count(_: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        fed = kwargs.get("input_ids", args[0] if args else None)
        fed = kwargs["inputs_embeds"] if fed is None else fed
        length, mask = fed.shape[1], kwargs.get("attention_mask")
        # A mask has the cached tokens, too; what else stands for one has four dimensions.
        tokens = fed.shape[0] * length
        if isinstance(mask, torch.Tensor) and mask.ndim == 2:
            tokens = int(mask[:, -length:].sum())
        if not torch.is_grad_enabled():
            tell({"tokens": tokens, "trained_tokens": 0, "flops": 2.0 * size * tokens})
            return
        trained = sum(p.numel() for p in body.parameters() if p.requires_grad)
        flops = (4.0 * size + 2.0 * trained) * tokens
        tell({"tokens": tokens, "trained_tokens": tokens, "flops": flops})

    body.register_forward_pre_hook(count, with_kwargs=True)
