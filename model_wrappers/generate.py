"""Greedy generation in which an answer leaves its batch when it has ended.

transformers computes every row of a batch until the last one has ended, and lm-eval's stop sequences end a batch only
when each row has met one: of 20 answers, one that rambles to its limit makes 20 of that length. Here the rows that have
ended are taken out of the batch and its cache, so that a step costs what is still being written. Tokens are the same,
but for ties that a matrix product of another shape decides otherwise (as another batch size does).
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pkt_eval.errors import DataError

Ended = Callable[[torch.Tensor], torch.Tensor]


_OTHER_LOOPS = ("num_beams", "num_return_sequences", "num_beam_groups")


def applies(model: Any, options: dict[str, Any]) -> bool:
    """Whether ``model.generate(**options)`` would be greedy, and the model can be asked as ``shrinking`` does."""
    own = model.generation_config  # what a checkpoint asks for counts where the call is silent
    dynamic = own.cache_implementation in (None, "dynamic")
    one = all((options.get(name, getattr(own, name, None)) or 1) == 1 for name in _OTHER_LOOPS)
    greedy = one and not options.get("do_sample") and options.get("temperature", 0.0) == 0.0
    return dynamic and greedy and "logits_to_keep" in inspect.signature(model.forward).parameters


def refuse_nan(tokens: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """A logits processor that changes nothing.

    Raises:
        DataError: The logits are no numbers: the largest of them would still be some token.
    """
    if scores.isnan().any():
        raise DataError("the model's logits are NaN: its weights are broken, or overflow in its dtype")
    return scores


def shrinking(ended: Ended) -> Callable[..., torch.Tensor]:
    """A decoding loop for transformers' ``generate(custom_generate=…)``.

    Args:
        ended: From the tokens ``(rows, length)`` so far, prompts included, to the rows that have met a stop sequence.
    """

    @torch.no_grad()
    def decode(
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **given: Any,
    ) -> torch.Tensor:
        pad = int(generation_config.pad_token_id)
        mask, cache = given.get("attention_mask"), given["past_key_values"]
        if mask is None:  # nothing is padded
            mask = torch.ones_like(input_ids)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        tokens = new = input_ids
        rows = torch.arange(len(tokens), device=tokens.device)  # that are still being written
        while len(rows):
            scores = (
                model(
                    input_ids=new,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                .logits[:, -1]
                .float()
            )
            if logits_processor:  # some know the rows by their place, so that they have to see them all
                everybody = scores.new_zeros(len(tokens), scores.shape[-1]).index_copy_(0, rows, scores)
                scores = logits_processor(tokens, everybody)[rows]
            new = refuse_nan(tokens, scores).argmax(-1, keepdim=True)
            column = new.new_full((len(tokens), 1), pad).index_copy_(0, rows, new)
            tokens = torch.cat([tokens, column], -1)
            mask = torch.cat([mask, torch.ones_like(new)], -1)
            positions = positions[:, -1:] + 1
            written = tokens[rows]
            over = stopping_criteria(written, None) | ended(written)
            if over.any():
                left = (~over).nonzero().squeeze(-1)
                rows, new, mask, positions = (t[left] for t in (rows, new, mask, positions))
                cache.batch_select_indices(left)
        return tokens

    return decode


def stop_sequences(tokenizer: Any, stop: Sequence[str], start: int) -> Ended:
    """Which rows have met one of lm-eval's stop sequences in what they have written.

    Args:
        tokenizer: Of the model.
        stop: Texts that end an answer.
        start: Tokens of the (padded) prompts.
    """
    # As lm-eval: two tokens more than the sequence takes, since it may be written with others.
    window = max((len(tokenizer.encode(text, add_special_tokens=False)) for text in stop), default=0) + 2

    def ended(tokens: torch.Tensor) -> torch.Tensor:
        written = tokens[:, start:]
        last = tokenizer.batch_decode(written[:, -window:])
        met = [any(text in end for text in stop) for end in last]
        for row in (row for row, one in enumerate(met) if one):
            # The end alone may read otherwise than the whole does.
            whole = tokenizer.decode(written[row])
            met[row] = any(text in whole for text in stop)
        return torch.tensor(met, device=tokens.device)

    return ended
