"""What a model computes inside: the residual stream, and the inputs and outputs of its blocks, a batch at a time.

Methods and the diagnosis read models through this file alone, loaded ones and streamed ones. Of a loaded model nothing
is kept between batches, and hooks stand for the
time of one forward pass only, so that those of a user stay as they are and a stream that is left early leaves none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

from pkt_eval._util.lazy import torch
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.models import blocks
from pkt_eval.models.stream import StreamedModel

_IGNORE = -100  # label of what is not supervised

RESIDUAL = "residual"
"""The residual stream before (``"input"``) or behind (``"output"``) a whole layer."""
MIDDLE = "middle"
"""The residual stream between a layer's attention and its FFN."""
LAST_KEY = "last_key"
"""The weight that each head's attention gives the last token of the row; of a model that attends eagerly."""


class Tap(NamedTuple):
    """A place in a model: ``Tap("down", 3, "input")``, ``Tap("residual", 3)``.

    Attributes:
        name: A block (``up``, ``gate``, ``down``, ``q``, ``k``, ``v``, ``o``), ``residual``, ``middle`` or
            ``last_key``.
        layer: 0 for the first.
        side: ``"input"`` or ``"output"`` of the block or layer; ``middle`` and ``last_key`` have one side, whatever it
            is called.
    """

    name: str
    layer: int
    side: Literal["input", "output"] = "output"


def activations(
    model: Any,
    batches: Iterable[Mapping[str, torch.Tensor]],
    taps: Sequence[Tap],
    *,
    positions: Literal["supervised", "all"] = "supervised",
) -> Iterator[dict[Tap, torch.Tensor]]:
    """Run a model over batches and yield what is at some places, a row a token.

    Args:
        model: A decoder of a known family, loaded or streamed; its mode is left as found.
        batches: ``input_ids (B, T)``, ``labels (B, T)`` with ``-100`` where nothing is supervised, and
            ``attention_mask (B, T)`` where rows are padded: as from ``TransferData.batches``.
        taps: The places.
        positions: ``"supervised"``: where the loss is, i.e. the positions that predict a supervised token. ``"all"``:
            every token that is no padding.

    Yields:
        Tap → ``(tokens, width)`` in the model's dtype and on its device, row by row of the batch.

    Raises:
        ConfigError: A place that the model does not have, or unknown ``positions``.
        DataError: Supervised positions of a batch without labels.
    """
    if positions not in ("supervised", "all"):
        raise ConfigError(f"positions are 'supervised' or 'all', not {positions!r}")
    return tapped_each(model, (_look(batch, positions) for batch in batches), taps)


class Look(NamedTuple):
    """A pass, and where it is looked at.

    Attributes:
        input_ids: ``(B, T)``.
        keep: ``(B, T)`` bool, the positions that are wanted.
        attention_mask: ``(B, T)``, 0 for padding; None where there is none.
    """

    input_ids: torch.Tensor
    keep: torch.Tensor
    attention_mask: torch.Tensor | None = None

    def inputs(self, device: Any) -> dict[str, torch.Tensor]:
        """What a model is given."""
        masked = {} if self.attention_mask is None else {"attention_mask": self.attention_mask.to(device)}
        return {"input_ids": self.input_ids.to(device), **masked}


def _look(batch: Mapping[str, torch.Tensor], positions: str) -> Look:
    mask = batch.get("attention_mask")
    if positions == "all":
        keep = torch.ones_like(batch["input_ids"], dtype=torch.bool) if mask is None else mask.bool()
    elif "labels" in batch:
        keep = torch.zeros_like(batch["labels"], dtype=torch.bool)
        keep[:, :-1] = batch["labels"][:, 1:] != _IGNORE  # position t predicts token t+1
    else:
        raise DataError("supervised positions need the labels of a batch; there are none: give positions='all'")
    return Look(batch["input_ids"], keep, mask)


def tapped_each(model: Any, looks: Iterable[Look], taps: Sequence[Tap]) -> Iterator[dict[Tap, torch.Tensor]]:
    """Several passes, as by ``tapped``: one after the other; of a streamed model all of them, before the first yields.

    Its layers behind the last tap are not read. Until they are yielded, rows are kept on the CPU.

    Raises:
        ConfigError: A place that the model does not have.
    """
    if not isinstance(model, StreamedModel):
        for look in looks:
            yield tapped(model, look.input_ids, taps, look.keep, attention_mask=look.attention_mask)
        return
    kept: list[dict[Tap, torch.Tensor]] = []
    looks = list(looks)
    passages = model.begin([look.inputs(model.device) for look in looks])
    places = [look.keep.to(model.device).nonzero(as_tuple=True) for look in looks]
    kept = [{} for _ in looks]
    for number, layer in model.layers(range(1 + max((tap.layer for tap in taps), default=-1)), "layers"):
        here = [tap for tap in taps if tap.layer == number]
        for passage, where, rows in zip(passages, places, kept, strict=True):
            found: dict[Tap, torch.Tensor] = {}
            with ExitStack() as stack:
                for tap in here:
                    stack.callback(_listen(model.skeleton, tap, where, found).remove)
                model.forward([passage], number, layer)
            rows |= {tap: states.cpu() for tap, states in found.items()}
    for rows in kept:
        yield {tap: rows.pop(tap).to(model.device) for tap in taps}


@torch.no_grad()
def tapped(
    model: Any,
    input_ids: torch.Tensor,
    taps: Sequence[Tap],
    keep: torch.Tensor,
    *,
    attention_mask: torch.Tensor | None = None,
) -> dict[Tap, torch.Tensor]:
    """One forward pass, without the output embedding, and what is at some places.

    Only the kept positions are copied, as they appear: memory is that of the pass and ``Σ taps`` rows.

    Args:
        model: A decoder of a known family; its mode is left as found.
        input_ids: ``(B, T)``.
        taps: The places.
        keep: ``(B, T)`` bool, the positions that are wanted.
        attention_mask: ``(B, T)``, 0 for padding; None where there is none.

    Returns:
        Tap → ``(keep.sum(), width)`` in the model's dtype and on its device.

    Raises:
        ConfigError: A place that the model does not have.
    """
    rows: dict[Tap, torch.Tensor] = {}
    # Places rather than the mask: a GPU would be waited for at each tap, to learn how many there are.
    places = keep.to(model.device).nonzero(as_tuple=True)
    training = model.training
    with ExitStack() as stack:
        for tap in taps:
            stack.callback(_listen(model, tap, places, rows).remove)
        stack.callback(model.train, training)
        model.eval()
        inputs = Look(input_ids, keep, attention_mask).inputs(model.device)
        blocks.decoder(model)(**inputs, use_cache=False)
    return rows


def _listen(model: Any, tap: Tap, places: tuple[torch.Tensor, ...], rows: dict[Tap, torch.Tensor]) -> Any:
    """Hook the place, so that a pass writes it into ``rows``; returns the hook's handle."""
    count = len(blocks.layers(model))
    if not 0 <= tap.layer < count or tap.side not in ("input", "output"):
        raise ConfigError(f"{tap}: the model has layers 0 to {count - 1}, each with an 'input' and an 'output'")
    if tap.name == LAST_KEY:

        def weigh(_: Any, __: Any, out: Any) -> None:
            rows[tap] = out[1].transpose(1, 2)[places][..., -1].clone()  # (tokens, h); a view would keep all keys

        return blocks.attention(blocks.layers(model)[tap.layer]).register_forward_hook(weigh)
    if tap.name in (RESIDUAL, MIDDLE):
        layer = blocks.layers(model)[tap.layer]
        module = layer if tap.name == RESIDUAL else blocks.norm_before_ffn(layer)
    else:
        (name,) = blocks.check_blocks([tap.name])
        module = blocks.block(model, name, tap.layer)

    def take(states: torch.Tensor) -> None:
        rows[tap] = states[places]  # (B, T, width) → (tokens, width), a copy

    if tap.name == MIDDLE or tap.side == "input":
        return module.register_forward_pre_hook(lambda _, args: take(args[0]))
    return module.register_forward_hook(lambda _, args, out: take(out[0] if isinstance(out, tuple) else out))
