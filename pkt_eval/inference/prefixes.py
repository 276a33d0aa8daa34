"""What texts begin with, computed once: few-shot examples, a system prompt, a question with several answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

SHORTEST = 16
"""Tokens of a prefix at least: a pass of its own costs more than fewer save."""
_CHUNK = 2048  # tokens of a pass over one text
_PASS = 4096  # tokens of a pass over several, padding included: more gain no speed, and take memory


@dataclass(frozen=True)
class Prefix:
    """Tokens that texts begin with, and their keys and values; without any, nothing.

    Attributes:
        length: Number of tokens.
        layers: Keys and values ``(1, g, length, e)`` of each layer.
    """

    length: int = 0
    layers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    @classmethod
    def of(cls, model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> "Prefix":
        """What all texts begin with, each having at least one token more; nothing where that is not worth it.

        Args:
            model: A decoder of full attention, in eval mode on its device.
            texts: Tokens.
        """
        length = common(texts)
        return cls.computed(model, list(texts[0][:length])) if len(texts) > 1 and length >= SHORTEST else cls()

    @classmethod
    def computed(cls, model: PreTrainedModel, tokens: list[int]) -> "Prefix":
        """Keys and values of tokens, in passes of some at a time."""
        cache = DynamicCache()
        for start in range(0, len(tokens), _CHUNK):
            ids = torch.tensor([tokens[start : start + _CHUNK]], device=model.device)
            positions = torch.arange(start, start + ids.shape[1], device=model.device)[None]
            mask = torch.ones(1, start + ids.shape[1], dtype=torch.long, device=model.device)
            model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return cls(len(tokens), [(layer.keys, layer.values) for layer in cache.layers])

    def cache(self, rows: int) -> Cache:
        """A cache of so many rows that begin with it; nothing is copied before a row goes on."""
        layers = [
            _Begun(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in self.layers
        ]
        return Cache(layers=layers) if layers else DynamicCache()

    def masked(self, mask: torch.Tensor) -> torch.Tensor:
        """The mask ``(rows, T)`` of what follows, with ones for the prefix."""
        return torch.nn.functional.pad(mask, (self.length, 0), value=1)

    def extend(
        self, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, Cache, torch.Tensor]:
        """Let rows go on.

        Args:
            model: The model of the prefix.
            ids: ``(rows, T)``, padded on the left.
            mask: ``(rows, T)``, 0 for padding.

        Returns:
            Logits of the last position ``(rows, V)``, the cache of the rows, and its mask.
        """
        cache, mask = self.cache(len(ids)), self.masked(mask)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, self.length :]
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1], cache, mask


class _Begun(DynamicLayer):
    """A layer of a cache that begins with given keys and values."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values


def common(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens all texts begin with, so that each has at least one more.

    >>> common([[1, 2, 3], [1, 2, 4, 5]]), common([[1, 2], [1, 2]]), common([])
    (2, 1, 0)
    """
    if not texts:
        return 0
    first, last = min(texts, key=tuple), max(texts, key=tuple)  # what these two share, all do
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return min(same, min(map(len, texts)) - 1)


def fitting(lengths: Iterable[int], rows: int) -> int:
    """How many of some texts, the first ones, are computed in one pass: at least one.

    >>> fitting([100] * 50, 64), fitting([100] * 50, 16), fitting([9000, 1], 16)
    (40, 16, 1)
    """
    longest = count = 0
    for length in islice(lengths, rows):
        longest = max(longest, length)
        if count and longest * (count + 1) > _PASS:
            break
        count += 1
    return count


def padded(texts: Sequence[Sequence[int]], device: torch.device, *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask ``(rows, T)`` of texts, the mask 0 where a row is padded."""
    width = max(map(len, texts))
    gaps = [[0] * (width - len(text)) for text in texts]
    ids = [[*gap, *text] if left else [*text, *gap] for gap, text in zip(gaps, texts, strict=True)]
    ones = [[1] * len(text) for text in texts]
    mask = [gap + one if left else one + gap for gap, one in zip(gaps, ones, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
