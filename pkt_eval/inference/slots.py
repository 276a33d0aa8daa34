"""Decoding in slots: an answer that ends gives its place to the next prompt.

lm-eval's batches wait for their longest answer. Here a number of rows is always being written: of those that end, the
last rows take the place, and waiting prompts, prefilled apart, take the places that are free. What all prompts begin
with, as few-shot examples are, is computed once. Rows are held in one block of memory for each layer and written in
place, where transformers' cache copies itself for each token.

Not here: penalties and processors of logits, which see other rows beside theirs; that is left to
``model_wrappers/generate.py``.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from pkt_eval.inference.greedy import Ending, refuse_nan
from pkt_eval.inference.pick import Pick, likeliest
from pkt_eval.inference.prefixes import Prefix, fitting, padded
from pkt_eval.models import blocks

_COLUMNS = 128  # by so many the memory grows

HaveEnded = Callable[[list[list[int]]], list[bool]]
"""Of answers so far, which have met a stop sequence."""


class DecodedAnswer(NamedTuple):
    """What was said.

    Attributes:
        prompt: Index of the prompt.
        tokens: Of the answer, what ended it included.
        ending: Whether it ended by itself, and if not, whether it goes round.
    """

    prompt: int
    tokens: list[int]
    ending: Ending


class _Rows(DynamicLayer):
    """Keys and values of the slots, ``(rows, g, columns, e)``: each row's last column is its last token's."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots, self.rows, self.used = slots, 0, 0
        self.store: tuple[torch.Tensor, ...] = ()

    def get_seq_length(self) -> int:
        return self.used

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next column of every row; returns views of what is there."""
        self._reserve(key_states, self.used + 1)
        for store, new in zip(self.store, (key_states, value_states), strict=True):
            store[: self.rows, :, self.used : self.used + 1] = new
        self.used += 1
        keys, values = (store[: self.rows, :, : self.used] for store in self.store)
        return keys, values

    def add(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """New rows ``(n, g, length, e)`` behind those that are there, the last columns side by side."""
        count, length = len(keys), keys.shape[-2]
        if length > self.used:
            self._shift(keys, length - self.used)
        self._reserve(keys, self.used)
        for store, new in zip(self.store, (keys, values), strict=True):
            store[self.rows : self.rows + count, :, self.used - length : self.used] = new
        self.rows += count

    def drop(self, rows: Sequence[int]) -> None:
        """The last rows take the place of those."""
        for into, last in moves(rows, self.rows):
            for store in self.store:
                store[into, :, : self.used] = store[last, :, : self.used]
        self.rows -= len(rows)

    def trim(self, columns: int) -> None:
        """Forget the first columns, which no row needs any more."""
        for store in self.store:
            store[: self.rows, :, : self.used - columns] = store[: self.rows, :, columns : self.used].clone()
        self.used -= columns

    def _shift(self, like: torch.Tensor, columns: int) -> None:
        """Make room for a longer row on the left."""
        self._reserve(like, self.used + columns)
        for store in self.store:
            store[: self.rows, :, columns : columns + self.used] = store[: self.rows, :, : self.used].clone()
            store[: self.rows, :, :columns] = 0
        self.used += columns

    def _reserve(self, like: torch.Tensor, columns: int) -> None:
        there = self.store[0].shape[-2] if self.store else 0
        if columns <= there:
            return
        # Zeros, since what is masked must still be a number.
        shape = (self.slots, like.shape[1], columns + _COLUMNS, like.shape[-1])
        grown = tuple(like.new_zeros(shape) for _ in range(2))
        for new, old in zip(grown, self.store, strict=False):
            new[: self.rows, :, : self.used] = old[: self.rows, :, : self.used]
        self.store = grown


def moves(rows: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Where the last of ``count`` rows go, so that the given ones are gone and no gap is left.

    >>> moves([1, 4], 5), moves([0, 1], 5), moves([3, 4], 5)
    ([(1, 3)], [(0, 3), (1, 4)], [])
    """
    gone, left = set(rows), count - len(rows)
    staying = [row for row in range(left, count) if row not in gone]
    return list(zip(sorted(row for row in gone if row < left), staying, strict=True))


class Slots:
    """Rows that are being written.

    Args:
        model: A decoder, in eval mode on its device.
        slots: Rows at a time.
        pick: Chooses the next token of each row.
    """

    def __init__(self, model: PreTrainedModel, slots: int, pick: Pick = likeliest) -> None:
        self.model, self.slots, self.pick = model, slots, pick
        self.cache = Cache(layers=[_Rows(slots) for _ in range(model.config.get_text_config().num_hidden_layers)])
        self.mask = torch.zeros(0, 0, dtype=torch.long, device=model.device)
        self.length = torch.zeros(0, dtype=torch.long, device=model.device)  # tokens of each row, in the cache
        self.last = torch.zeros(0, dtype=torch.long, device=model.device)  # tokens that were chosen, not in the cache
        self.which: list[int] = []  # the prompts of the rows

    def add(self, which: Sequence[int], prompts: Sequence[list[int]], prefix: Prefix) -> list[int]:
        """Prefill prompts into free slots; returns the first token of each."""
        ids, mask = padded([prompt[prefix.length :] for prompt in prompts], self.model.device, left=True)
        logits, cache, mask = prefix.extend(self.model, ids, mask)
        first = self.pick(refuse_nan(ids, logits))
        for layer, new in zip(self.cache.layers, cache.layers, strict=True):
            layer.add(new.keys, new.values)
        width = max(self.mask.shape[1], mask.shape[1])
        self.mask = torch.cat([_widened(self.mask, width), _widened(mask, width)])
        self.length = torch.cat([self.length, mask.sum(1)])
        self.last = torch.cat([self.last, first])
        self.which.extend(which)
        return first.tolist()

    def step(self) -> list[int]:
        """The next token of each row."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.last[:, None])], 1)
        logits = self.model(
            input_ids=self.last[:, None],
            attention_mask=self.mask,
            position_ids=self.length[:, None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        self.length = self.length + 1
        self.last = self.pick(refuse_nan(self.last, logits[:, -1]))
        return self.last.tolist()

    def drop(self, rows: Sequence[int]) -> None:
        """Rows that have ended leave, and with them the columns that only they needed."""
        keep = list(range(len(self.which)))
        for into, last in moves(rows, len(self.which)):
            keep[into] = last
        keep = keep[: len(self.which) - len(rows)]
        for layer in self.cache.layers:
            layer.drop(rows)
        self.mask, self.length, self.last = (t[keep] for t in (self.mask, self.length, self.last))
        self.which = [self.which[row] for row in keep]
        columns = self.mask.shape[1] - (int(self.length.max()) if keep else 0)
        # Not for every column: what is there is moved.
        if not keep or columns > max(_COLUMNS, self.mask.shape[1] // 4):
            for layer in self.cache.layers:
                layer.trim(columns)
            self.mask = self.mask[:, columns:]


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    *,
    slots: int,
    most: int | Sequence[int],
    stops: set[int],
    ended: HaveEnded | None = None,
    pick: Pick = likeliest,
) -> Iterator[DecodedAnswer]:
    """Answers, each as soon as it has ended.

    A window that slides counts columns, between which no row may have a gap: there, nothing is shared.

    Args:
        model: A decoder, in eval mode on its device.
        prompts: Tokens of each prompt, none empty; they begin in the order given.
        slots: Answers that are written at a time.
        most: Tokens of an answer, or of each; at least 1.
        stops: Tokens that end one.
        ended: Of answers so far, which have met a stop sequence; None: there is none.
        pick: Chooses the next token of each answer. One that draws is asked for the answers in the order of the slots,
            which is the same each time.

    Yields:
        An answer.

    Raises:
        DataError: The logits are NaN.
    """
    if not prompts:
        return
    slots = min(slots, len(prompts))
    limits = [most] * len(prompts) if isinstance(most, int) else most
    prefix = Prefix.of(model, prompts) if blocks.full_attention(model) else Prefix()
    waiting, room = deque(range(len(prompts))), Slots(model, slots, pick)
    said: dict[int, list[int]] = {}
    while waiting or room.which:
        free = slots - len(room.which)
        # A pass over few prompts costs nearly that over some, so that they wait for one another.
        if waiting and (not room.which or free >= min(len(waiting), max(1, slots // 8))):
            count = fitting((len(prompts[i]) - prefix.length for i in waiting), free)
            taken = [waiting.popleft() for _ in range(count)]
            tokens = room.add(taken, [prompts[i] for i in taken], prefix)
            new = range(len(room.which) - len(taken), len(room.which))
            said |= {i: [] for i in taken}
        else:
            tokens, new = room.step(), range(len(room.which))
        for row, token in zip(new, tokens, strict=True):
            said[room.which[row]].append(token)
        answers = [said[room.which[row]] for row in new]
        met = ended(answers) if ended else [False] * len(answers)
        ends = [stopped or answer[-1] in stops for answer, stopped in zip(answers, met, strict=True)]
        over = [k for k, answer in enumerate(answers) if ends[k] or len(answer) >= limits[room.which[new[k]]]]
        gone = [(room.which[new[k]], ends[k]) for k in over]
        if over:
            room.drop([new[k] for k in over])
        for i, by_itself in gone:
            answer = said.pop(i)
            yield DecodedAnswer(i, answer, Ending.of(answer, by_itself))


def _widened(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Columns of zeros on the left."""
    return torch.nn.functional.pad(mask, (width - mask.shape[1], 0))
