"""Log-likelihoods of continuations at the price of what is new in each text.

lm-eval computes every text from its first token, and logits for all of it. Here what many texts begin with (few-shot
examples) is computed once, what the answers of a question share once a question, and logits only where they are read.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from pkt_eval.inference.prefixes import SHORTEST, Prefix, common, fitting, padded
from pkt_eval.models import blocks

_LOGITS = 1 << 25  # entries at a time: 128 MB of float32

Likelihood = tuple[float, bool]
"""Log-likelihood in nats, and whether every token was the likeliest."""


class JudgedText(NamedTuple):
    """What is judged.

    Attributes:
        context: Tokens of the prompt, at least one.
        targets: Tokens of the continuation, at least one.
    """

    context: tuple[int, ...]
    targets: tuple[int, ...]


@torch.no_grad()
def likelihoods(
    model: PreTrainedModel,
    texts: Sequence[JudgedText],
    *,
    rows: int,
    dtype: torch.dtype | None = None,
    done: Callable[[int], object] = lambda _: None,
) -> list[Likelihood]:
    """Judge texts, in whatever order is cheapest.

    Args:
        model: A decoder of full attention and a known family, in eval mode on its device.
        texts: What is judged.
        rows: Prompts, or continuations, of a pass, at most.
        dtype: Of the softmax; default the model's own, as lm-eval.
        done: Called with the number of texts that have been judged since.

    Returns:
        An answer for each text.
    """
    questions: dict[tuple[int, ...], list[int]] = {}
    for i, text in enumerate(texts):
        questions.setdefault(text.context, []).append(i)
    judge = _Judge(model, texts, rows, dtype)
    for shared, contexts in runs(sorted(questions)):
        prefix = Prefix.computed(model, list(contexts[0][:shared])) if shared else Prefix()
        waiting = sorted(contexts, key=len)
        while waiting:
            count = fitting((len(context) - prefix.length for context in waiting), rows)
            batch, waiting = waiting[:count], waiting[count:]
            asked = [questions[context] for context in batch]
            judge(prefix, batch, asked)
            done(sum(map(len, asked)))
    return judge.answers()


class _Judge:
    def __init__(
        self, model: PreTrainedModel, texts: Sequence[JudgedText], rows: int, dtype: torch.dtype | None
    ) -> None:
        self.model, self.texts, self.rows, self.dtype = model, texts, rows, dtype
        # On the CPU: float64 is not everywhere.
        self._sums = torch.zeros(len(texts), dtype=torch.float64)
        self._others = torch.zeros(len(texts), dtype=torch.long)  # tokens that were not the likeliest

    def answers(self) -> list[Likelihood]:
        """Of each text, once all of its tokens are counted."""
        return list(zip(self._sums.tolist(), (self._others == 0).tolist(), strict=True))

    def __call__(self, prefix: Prefix, contexts: Sequence[tuple[int, ...]], asked: Sequence[Sequence[int]]) -> None:
        """Judge the texts ``asked`` of each context; all begin with the prefix."""
        ids, mask = padded([context[prefix.length :] for context in contexts], self.model.device, left=False)
        cache, mask = prefix.cache(len(ids)), prefix.masked(mask)
        hidden = self._hidden(ids, mask, prefix.length, cache)
        last = hidden[torch.arange(len(ids), device=ids.device), mask.sum(1) - prefix.length - 1]
        row_of = [row for row, of in enumerate(asked) for _ in of]
        of = [i for each in asked for i in each]
        # The first token of every continuation is predicted by its prompt's last position.
        self._add(last, row_of, of, [self.texts[i].targets[0] for i in of])
        longer = sorted(
            ((row, i) for row, i in zip(row_of, of, strict=True) if len(self.texts[i].targets) > 1),
            key=lambda pair: len(self.texts[pair[1]].targets),
        )
        for some in (longer[start : start + self.rows] for start in range(0, len(longer), self.rows)):
            self._continue(cache, mask, [row for row, _ in some], [i for _, i in some])

    def _continue(self, cache: Cache, mask: torch.Tensor, rows: Sequence[int], of: Sequence[int]) -> None:
        """The tokens behind the first, each row of the cache going on as often as its context has such texts."""
        tails = [self.texts[i].targets for i in of]
        ids, more = padded([tail[:-1] for tail in tails], self.model.device, left=False)
        index = torch.tensor(rows, device=ids.device)
        mine = Prefix(0, [(layer.keys[index], layer.values[index]) for layer in cache.layers])
        begun = mask[index]
        hidden = self._hidden(ids, torch.cat([begun, more], 1), begun.sum(1, keepdim=True), mine.cache(len(ids)))
        places = more.bool()
        texts = [i for i, tail in zip(of, tails, strict=True) for _ in tail[1:]]
        targets = [token for tail in tails for token in tail[1:]]
        self._add(hidden[places], range(len(targets)), texts, targets)

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor, start: int | torch.Tensor, cache: Cache) -> torch.Tensor:
        """States behind the final norm ``(rows, T, d)``; the rows go on at the position ``start``."""
        positions = start + torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
        output = blocks.decoder(self.model)(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        states: torch.Tensor = output.last_hidden_state
        return states

    def _add(self, states: torch.Tensor, row_of: Sequence[int], of: Sequence[int], targets: Sequence[int]) -> None:
        """Count ``targets[k]`` of text ``of[k]``, predicted by the state ``row_of[k]``, some logits at a time."""
        device, vocabulary = states.device, self.model.config.get_text_config().vocab_size
        step = max(1, _LOGITS // vocabulary)
        where, what = (torch.tensor(list(values), device=device) for values in (row_of, targets))
        text = torch.tensor(of)
        for start in range(0, len(states), step):
            logits = blocks.logits(self.model, states[start : start + step])
            mine = ((where >= start) & (where < start + step)).nonzero()[:, 0]
            rows, wanted = where[mine] - start, what[mine]
            value = torch.log_softmax(logits, -1, dtype=self.dtype)[rows, wanted].float()
            other = logits.argmax(-1)[rows] != wanted
            self._sums.index_add_(0, text[mine.cpu()], value.cpu().double())
            self._others.index_add_(0, text[mine.cpu()], other.cpu().long())


def runs(texts: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, Sequence[tuple[int, ...]]]]:
    """Sorted texts in runs, and how many tokens each run begins with that are computed once.

    A run ends where going on would shorten what it shares by more than the next text would save.

    >>> a, b = tuple(range(40)), tuple(range(100, 140))
    >>> [(shared, len(run)) for shared, run in runs([(*a, 1), (*a, 2), (*a, 3), (*b, 1), (*b, 2, 3)])]
    [(40, 3), (40, 2)]
    """
    start = 0
    while start < len(texts):
        shared, stop = len(texts[start]) - 1, start + 1
        while stop < len(texts):
            same = min(shared, common(texts[stop - 1 : stop + 1]))
            if (shared - same) * (stop - start - 1) > same:
                break
            shared, stop = same, stop + 1
        yield shared if shared >= SHORTEST and stop - start > 1 else 0, texts[start:stop]
        start = stop
