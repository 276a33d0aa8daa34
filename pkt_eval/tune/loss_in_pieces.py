"""The loss of many tokens of a large vocabulary, some at a time; a file of its own, since it needs torch at once."""

from typing import Any

import torch

from pkt_eval.models import blocks


class InPieces(torch.autograd.Function):
    """The loss whose gradients are computed with it, so that the logits of one piece alone are ever there.

    The products are those of a backward pass behind it. The head has no gradients.
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, labels: torch.Tensor, model: Any, step: int) -> torch.Tensor:
        total = torch.zeros((), device=states.device)
        gradients: list[torch.Tensor] = []
        for start in range(0, len(labels), step):
            piece = slice(start, start + step)
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                part = states[piece].detach().requires_grad_(ctx.needs_input_grad[0])
                loss = negative_log_likelihood(model, part, labels[piece])
            if ctx.needs_input_grad[0]:
                gradients += torch.autograd.grad(loss, part)
            total += loss.detach()
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (factor,) = gradients
        return torch.cat(ctx.saved_tensors) * factor, None, None, None


def negative_log_likelihood(model: Any, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Summed over ``labels (N,)``, in nats, of what a model says from its last states ``(N, d)``."""
    return torch.nn.functional.cross_entropy(blocks.logits(model, states).float(), labels, reduction="sum")
