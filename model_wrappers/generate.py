"""Greedy generation in which an answer leaves its batch when it has ended.

transformers computes every row of a batch until the last one has ended, and lm-eval's stop sequences end a batch only
when each row has met one: of 20 answers, one that rambles to its limit makes 20 of that length. Here the rows that have
ended are taken out of the batch and its cache, so that a step costs what is still being written. Tokens are the same,
but for ties that a matrix product of another shape decides otherwise (as another batch size does).
"""

import inspect
import itertools
import json
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any

import torch

from pkt_eval.inference.greedy import Ending, refuse_nan
from pkt_eval.lm.answers import Answer

Ended = Callable[[torch.Tensor], torch.Tensor]


_OTHER_LOOPS = ("num_beams", "num_return_sequences", "num_beam_groups")


def applies(model: Any, options: dict[str, Any]) -> bool:
    """Whether ``model.generate(**options)`` would be greedy, and the model can be asked as ``shrinking`` does."""
    own = model.generation_config  # what a checkpoint asks for counts where the call is silent
    dynamic = own.cache_implementation in (None, "dynamic")
    one = all((options.get(name, getattr(own, name, None)) or 1) == 1 for name in _OTHER_LOOPS)
    greedy = one and not options.get("do_sample") and options.get("temperature", 0.0) == 0.0
    return dynamic and greedy and "logits_to_keep" in inspect.signature(model.forward).parameters


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
    """Which rows of tokens, behind their (padded) prompts of ``start`` tokens, have met a stop sequence."""
    met = stop_texts(tokenizer, stop)
    return lambda tokens: torch.tensor(met(tokens[:, start:].tolist()), device=tokens.device)


def stop_texts(tokenizer: Any, stop: Sequence[str]) -> Callable[[list[list[int]]], list[bool]]:
    """Which answers so far have met one of lm-eval's stop sequences, i.e. texts that end an answer."""
    # As lm-eval: two tokens more than the sequence takes, since it may be written with others.
    window = max((len(tokenizer.encode(text, add_special_tokens=False)) for text in stop), default=0) + 2

    def met(answers: list[list[int]]) -> list[bool]:
        last = tokenizer.batch_decode([tokens[-window:] for tokens in answers])
        found = [any(text in end for text in stop) for end in last]
        for row in (row for row, one in enumerate(found) if one):
            # The end alone may read otherwise than the whole does.
            whole = tokenizer.decode(answers[row])
            found[row] = any(text in whole for text in stop)
        return found

    return met


def endings(
    rows: Sequence[Sequence[int]], ends: Set[int], pad: int, met: Callable[[Sequence[int]], bool]
) -> list[Ending]:
    """How each answer of a batch ended.

    Args:
        rows: The new tokens of each, as long as the longest.
        ends: Tokens that end an answer.
        pad: What fills a row behind its end.
        met: Whether tokens hold a stop sequence.
    """
    found = []
    for row in rows:
        own = list(itertools.takewhile(lambda token: token not in ends, row))
        while own and own[-1] == pad:
            own.pop()
        # A row that is shorter than the batch's longest has left it, which none does but at its end.
        ended = len(own) < len(row) or met(own)
        found.append(Ending.of(own, ended))
    return found


class Endings:
    """An lm-eval cache hook that learns how each answer ended.

    lm-eval calls it for every answer in the order of the batch that it has just generated, so the endings of that batch
    come in the same order.

    Args:
        hook: The hook that was there, which is called as before.
    """

    def __init__(self, hook: Any) -> None:
        self.hook = hook
        self._batch: Iterator[Ending] = iter(())
        self._found: dict[str, list[Ending]] = {}

    def begin(self, batch: Sequence[Ending]) -> None:
        """The endings of the batch whose answers come next."""
        self._batch = iter(batch)

    def add_partial(self, attribute: str, request: tuple[Any, ...], answer: str) -> None:
        """Called by the model for each answer."""
        self.hook.add_partial(attribute, request, answer)
        self._found.setdefault(_asked(request), []).append(next(self._batch))

    def answers(self, requests: Sequence[Any], texts: Sequence[str], length: Callable[[str], int]) -> list[str]:
        """The texts with what was learnt of them.

        Args:
            requests: lm-eval's instances.
            texts: The answer to each; those to the same request came in the same order.
            length: Tokens of a text.
        """
        left = {asked: iter(found) for asked, found in self._found.items()}
        pairs = [(text, next(left[_asked(request.args)])) for request, text in zip(requests, texts, strict=True)]
        return [Answer(text, ending.ended, ending.looped, length(text)) for text, ending in pairs]


def _asked(request: tuple[Any, ...]) -> str:
    return json.dumps(request, sort_keys=True, default=str)
