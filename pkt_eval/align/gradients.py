"""What the loss would have of each activation: gradients at the outputs of blocks, a row a token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from pkt_eval._util.lazy import torch
from pkt_eval.data.chat import IGNORE
from pkt_eval.errors import DataError
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap
from pkt_eval.tune.loss import supervised_loss


def output_gradients(
    model: Any, batches: Iterable[Mapping[str, torch.Tensor]], taps: Sequence[Tap]
) -> dict[Tap, torch.Tensor]:
    """``∂loss/∂y`` at the outputs of some blocks, at every position at which ``maps.collect`` takes an activation.

    The loss is the summed negative log-likelihood of the supervised tokens, so that a token counts alike in every
    batch. One forward and one backward pass a batch; parameters collect no gradient.

    Args:
        model: A decoder of a known family; its ``requires_grad`` flags are left as found.
        batches: ``input_ids``, ``labels`` and ``attention_mask`` ``(B, T)``. Labels say what is supervised; ``rows``
            ``(B, T)``, where it is given, are the labels that say at which positions a row is wanted.
        taps: Outputs of blocks.

    Returns:
        Tap → ``(n, width)`` in the model's dtype, on the CPU.

    Raises:
        DataError: A gradient is not finite.
    """
    found: dict[Tap, list[torch.Tensor]] = {tap: [] for tap in taps}
    flags = [(p, p.requires_grad) for p in model.parameters()]
    model.requires_grad_(False)
    try:
        for batch in batches:
            inputs = {k: v.to(model.device) for k, v in batch.items() if k != "rows"}
            wanted = batch.get("rows", batch["labels"])[:, 1:] != IGNORE  # position t predicts token t+1
            places = wanted.to(model.device).nonzero(as_tuple=True)
            for tap, rows in _of_batch(model, inputs, taps, places).items():
                found[tap].append(rows)
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)
    return {tap: torch.cat(rows) if rows else torch.empty(0) for tap, rows in found.items()}


def _of_batch(
    model: Any, inputs: dict[str, torch.Tensor], taps: Sequence[Tap], places: tuple[torch.Tensor, ...]
) -> dict[Tap, torch.Tensor]:
    rows: dict[Tap, torch.Tensor] = {}

    def listen(tap: Tap) -> Any:
        def keep(gradient: torch.Tensor) -> None:
            rows[tap] = gradient[places].cpu()

        def hook(_: Any, __: Any, out: torch.Tensor) -> None:
            out.register_hook(keep)  # type: ignore[no-untyped-call]  # torch has no types for it

        return blocks.block(model, tap.name, tap.layer).register_forward_hook(hook)

    with ExitStack() as stack, torch.enable_grad():
        # With every weight frozen it is the embedded tokens that a graph has to begin at.
        start = model.get_input_embeddings().register_forward_hook(lambda _, __, out: out.requires_grad_())
        stack.callback(start.remove)
        for tap in taps:
            stack.callback(listen(tap).remove)
        total, _ = supervised_loss(model, inputs)
        torch.autograd.backward(total)
    if not torch.isfinite(total):
        raise DataError(f"the loss of a batch is {total.item()}, so its gradients mean nothing")
    return rows
