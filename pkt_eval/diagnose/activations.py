"""Which tokens two models are compared on, and a stream of what every layer makes of them.

A comparison sees the same tokens in both models, in the same batches, and only one model is in memory at a time. So the
tokens are drawn first (``draw_tokens``), and each model is then run over them (``stream``), which yields a batch of
tokens at a time and keeps no more than one window of texts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.errors import DataError
from pkt_eval.models import blocks
from pkt_eval.models.activations import Look, Tap, tapped_each

#: What is looked at: the outputs of four blocks, and of the whole layer, which is the residual stream behind it.
KINDS = ("up", "down", "v", "o", "residual")

_PER_TEXT = 64  # tokens of a text at most: tokens of one text resemble each other
_WINDOW = 4  # batches whose tokens are mixed, so that a batch has tokens of many texts
_HELD_OUT = 4  # one text of a task in so many is held out


@dataclass(frozen=True)
class Text:
    """A text, and the tokens of it that are looked at.

    Attributes:
        task: Where it comes from.
        ids: ``(T,)``.
        positions: ``(n,)`` ascending, distinct.
        held_out: Whether it is for testing what was fitted on the others.
    """

    task: str
    ids: torch.Tensor
    positions: torch.Tensor
    held_out: bool


@dataclass(frozen=True)
class Window:
    """Texts whose tokens are mixed into batches.

    Attributes:
        texts: In the order in which they are run.
        picks: ``(batches, n)`` places in the window's concatenated positions.
    """

    texts: tuple[Text, ...]
    picks: torch.Tensor


@dataclass(frozen=True)
class TokenSample:
    """The tokens that a comparison is made on.

    Attributes:
        windows: At least one, each with batches of the same size.
    """

    windows: tuple[Window, ...]

    @property
    def batch(self) -> int:
        """Tokens a batch."""
        return self.windows[0].picks.shape[1]

    @property
    def batches(self) -> int:
        """Number of batches."""
        return sum(len(w.picks) for w in self.windows)

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.batches * self.batch

    @property
    def held_out(self) -> torch.Tensor:
        """``(tokens,)`` bool in the order of the stream: whether a token is of a held-out text."""
        flags = []
        for window in self.windows:
            of_text = torch.cat([torch.full((len(t.positions),), t.held_out) for t in window.texts])
            flags.append(of_text[window.picks].flatten())
        return torch.cat(flags)


def draw_tokens(texts: Mapping[str, Sequence[list[int]]], tokens: int, *, seed: int, batch: int = 256) -> TokenSample:
    """Draw the tokens: from all tasks in turn, at most 64 of a text, at random.

    The beginning that all texts of a task share is left out. It is the same input every time, so the same activation;
    and the first token of all is one whose activation is often hundreds of times as large as any other (arXiv
    2402.17762), which would make a similarity of two models one of that single token.

    Args:
        texts: Task → token ids of each text.
        tokens: How many; rounded down to whole batches. Fewer are drawn where the texts do not have as many.
        seed: Decides which.
        batch: Tokens a batch.

    Raises:
        DataError: The texts are too few for a batch.
    """
    generator = torch.Generator().manual_seed(seed)
    starts = {task: _shared_beginning(of_task) for task, of_task in texts.items()}
    wanted = max(1, tokens // batch)
    windows: list[Window] = []
    pending: list[Text] = []
    drawn = available = 0

    def close() -> None:
        nonlocal drawn, available
        n = min(available // batch, _WINDOW, wanted - drawn)
        picks = torch.randperm(available, generator=generator)[: n * batch].view(n, batch)
        windows.append(Window(tuple(pending), picks))
        drawn, available = drawn + n, 0
        pending.clear()

    for number in range(max(map(len, texts.values()))):
        for task, of_task in texts.items():
            if number < len(of_task) and len(of_task[number]) > starts[task] and drawn < wanted:
                ids, start = torch.tensor(of_task[number]), starts[task]
                positions = start + torch.randperm(len(ids) - start, generator=generator)[:_PER_TEXT].sort().values
                pending.append(Text(task, ids, positions, held_out=number % _HELD_OUT == _HELD_OUT - 1))
                available += len(positions)
                if available >= min(_WINDOW, wanted - drawn) * batch:
                    close()
    if available >= batch:
        close()
    if not windows:
        counts = ", ".join(f"{task} {len(of_task)}" for task, of_task in texts.items())
        raise DataError(
            f"the texts ({counts}) hold {available} tokens that can be compared, and a batch is of {batch}: "
            "name more tasks by --data"
        )
    return TokenSample(tuple(windows))


def _shared_beginning(texts: Sequence[list[int]]) -> int:
    """Number of tokens that all texts begin with; at least the first, and no more where there is one text alone."""
    first, *others = texts
    shared = 1
    while others and shared < len(first) and all(t[: shared + 1] == first[: shared + 1] for t in others):
        shared += 1
    return shared


@torch.no_grad()
def layer_batches(
    model: Any, sample: TokenSample, progress: Progress, desc: str
) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Run a model over the texts and yield what its layers make of each batch of tokens.

    One window of activations is held at a time, in the model's dtype, whatever the number of tokens: 1,024 tokens of
    ``Σ kinds`` × layers, i.e. 0.8 GB for 28 layers of width 1536 and FFN width 8960 in bf16.

    Args:
        model: A decoder of a known family, in eval mode; a streamed one is read once a window.
        sample: Which texts and tokens.
        progress: For the bar.
        desc: Of the bar.

    Yields:
        Kind → a tensor ``(batch, width)`` a layer, in the order of ``sample``'s batches.
    """
    layers = blocks.dims(model.config).layers
    taps = [Tap(kind, layer) for kind in KINDS for layer in range(layers)]
    bar = iter(progress.bar([t for w in sample.windows for t in w.texts], desc))
    for window in sample.windows:
        rows: dict[Tap, list[torch.Tensor]] = {tap: [] for tap in taps}
        for found in tapped_each(model, (_look(next(bar)) for _ in window.texts), taps):
            for tap, states in found.items():
                rows[tap].append(states)
        # One at a time, so that the window is not there twice.
        whole = {kind: [torch.cat(rows.pop(Tap(kind, layer))) for layer in range(layers)] for kind in KINDS}
        for picks in window.picks.to(model.device):
            yield {kind: [t[picks] for t in of_kind] for kind, of_kind in whole.items()}
        del whole  # before the next window is gathered
    next(bar, None)  # lets the bar end


def _look(text: Text) -> Look:
    keep = torch.zeros(1, len(text.ids), dtype=torch.bool)
    keep[0, text.positions] = True
    return Look(text.ids[None], keep)


def on_disk(path: Path, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor whose memory is a new file: the system keeps of it what it has room for."""
    size = 1
    for n in shape:
        size *= n
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype).view(*shape)


def keep_residual(
    batches: Iterator[dict[str, list[torch.Tensor]]], store: torch.Tensor
) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Pass batches through and write their residual streams to ``store (L, tokens, d)``."""
    done = 0
    for batch in batches:
        for layer, rows in enumerate(batch["residual"]):
            store[layer, done : done + len(rows)] = rows.to(store)
        done += len(batch["residual"][0])
        yield batch
