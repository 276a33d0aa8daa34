"""A model of which one decoder layer at a time is in memory: for a teacher that is larger than that.

Texts go through a layer together, and then through the next: so the weights are read once for a pass of all texts. What
a model does before its first layer and behind its last one, and what it hands each layer besides the states (masks,
rotary embeddings), is computed by the model itself: it is built without weights, its layers stand aside while it runs,
and what each was called with is kept. A layer is transformers' own, filled with its weights for the time that it
computes; the next one's are read by a thread meanwhile. So two layers are held at most, and the embeddings where texts
enter and leave.

It does not generate and is not trained. Who reads a model through ``activations`` or ``locate`` need not know which of
the two it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from pkt_eval._util.devices import trim_heap
from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.models import blocks
from pkt_eval.models.source import WRONG, ModelSource, finite, refuse
from pkt_eval.models.tensors import stored_tensors

Tensors: TypeAlias = "dict[str, torch.Tensor]"


@dataclass
class Passage:
    """A batch of texts on its way through the layers.

    Attributes:
        states: The residual stream ``(B, T, d)`` before the next layer, on the CPU.
        arguments: What the model hands each layer besides: positional and named.
    """

    states: torch.Tensor
    arguments: Sequence[tuple[tuple[Any, ...], Mapping[str, Any]]]

    def through(self, layer: Any, number: int, states: torch.Tensor) -> torch.Tensor:
        """What a layer, filled, makes of states ``(B, T, d)``."""
        args, kwargs = self.arguments[number]
        out = layer(states, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out


class StreamedModel:
    """A decoder that is read a layer at a time.

    Args:
        source: Of the model.
        dtype: ``torch.dtype`` in which it computes.
        device: Where.
        progress: Shows a bar of the layers.

    Attributes:
        skeleton: The model as transformers builds it: eval mode, all weights but the final norm's on ``meta``.
        config: Its configuration.
        dtype: As given.
        device: As a ``torch.device``.

    Raises:
        IncompatiblePairError: An unknown family; or the weights are not those of the configuration, or are no numbers.
    """

    def __init__(self, source: ModelSource, dtype: Any, device: str = "cpu", progress: Progress | None = None) -> None:
        from transformers import AutoModelForCausalLM

        self.count = blocks.dims(source.config).layers
        self.source, self.dtype, self.device = source, dtype, torch.device(device)
        self._progress = progress
        with source.named(AutoModelForCausalLM), torch.device("meta"):
            # A copy: building one model must not decide how another attends.
            self.skeleton: Any = AutoModelForCausalLM.from_config(
                deepcopy(source.config), trust_remote_code=source.trust_remote_code, dtype=dtype
            ).eval()
        self.config = self.skeleton.config
        self._stored = stored_tensors(source.folder)
        self._check()
        self._seen: set[str] = set()
        self._fill_buffers()
        self._fill(blocks.final_norm(self.skeleton), self._read(blocks.FINAL_NORM))

    def begin(self, batches: Iterable[Mapping[str, torch.Tensor]]) -> list[Passage]:
        """Texts before the first layer.

        Args:
            batches: ``input_ids (B, T)``, and ``attention_mask (B, T)`` where rows are padded.
        """
        embedding = self.skeleton.get_input_embeddings()
        with self._filled(embedding, blocks.EMBEDDING), torch.no_grad():
            return [self._begin({name: t.to(self.device) for name, t in batch.items()}) for batch in batches]

    def layers(self, order: Iterable[int], desc: str) -> Iterator[tuple[int, Any]]:
        """Layers, each filled with its weights until the next is asked for.

        Args:
            order: Which, in which order.
            desc: Of the bar.
        """
        numbers = list(order)
        following: list[int | None] = [*numbers[1:], None]
        bar = self._progress.bar(numbers, desc) if self._progress else numbers
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[Tensors] | None = pool.submit(self._read, blocks.layer_name(numbers[0])) if numbers else None
            for number, then in zip(bar, following, strict=True):
                assert ahead is not None
                tensors = ahead.result()
                ahead = None if then is None else pool.submit(self._read, blocks.layer_name(then))
                layer = blocks.layers(self.skeleton)[number]
                self._fill(layer, tensors)
                try:
                    yield number, layer
                finally:
                    _empty(layer)
                    trim_heap()

    @torch.no_grad()
    def forward(self, passages: Sequence[Passage], number: int, layer: Any) -> None:
        """Take texts through a layer, filled."""
        for passage in passages:
            passage.states = passage.through(layer, number, passage.states.to(self.device)).cpu()

    @contextmanager
    def head(self) -> Iterator[None]:
        """With the output embedding, in the body."""
        with self._filled(self.skeleton.get_output_embeddings(), self._head):
            yield

    @contextmanager
    def ending_in(self, states: torch.Tensor) -> Iterator[Any]:
        """The model whose layers, all of them, make ``states (B, T, d)`` of whatever text it is given.

        Its body then ends as it does, under ``head`` its logits and its loss are the model's, and gradients are those
        of ``states``.
        """
        embedding = self.skeleton.get_input_embeddings()
        embedding.forward = lambda *_, **__: states
        try:
            with self._aside(lambda *_, **__: states):
                yield self.skeleton
        finally:
            del embedding.forward

    def get_parameter(self, name: str) -> torch.Tensor:
        """A parameter, read now, in the dtype and on the device of computing."""
        return self._stored[name].read().to(self.device, self.dtype)

    def parameters(self, names: Mapping[str, Sequence[str]]) -> Iterator[tuple[int, dict[str, list[torch.Tensor]]]]:
        """Some parameters of each layer, without the others: its number, and key → a list of the one.

        Args:
            names: Key → full name in each layer, in depth order.
        """
        numbers = range(self.count)
        for number in self._progress.bar(numbers, "layers again") if self._progress else numbers:
            yield number, {key: [self.get_parameter(of_key[number])] for key, of_key in names.items()}
            trim_heap()

    @contextmanager
    def filled(self, module: Any) -> Iterator[None]:
        """With the weights of a module of the skeleton, in the body."""
        prefix = next(name for name, other in self.skeleton.named_modules() if other is module)
        self._fill(module, self._read(prefix))
        try:
            yield
        finally:
            _empty(module)

    def unembedding(self) -> torch.Tensor:
        """The output embedding ``(V, d)``, read now."""
        return self.get_parameter(self._head)

    def _begin(self, batch: Mapping[str, torch.Tensor]) -> Passage:
        called: list[tuple[torch.Tensor, tuple[Any, ...], Mapping[str, Any]]] = []

        def note(_: int, states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            called.append((states, args, kwargs))
            return states

        with self._aside(note):
            blocks.decoder(self.skeleton)(**batch, use_cache=False)
        return Passage(called[0][0].cpu(), [(args, kwargs) for _, args, kwargs in called])

    @contextmanager
    def _aside(self, instead: Callable[..., torch.Tensor]) -> Iterator[None]:
        """In the body, layers do not compute: ``instead`` is called with a layer's number and what it is handed."""
        with ExitStack() as stack:
            for number, layer in enumerate(blocks.layers(self.skeleton)):
                layer.forward = partial(instead, number)
                stack.callback(delattr, layer, "forward")
            yield

    @contextmanager
    def _filled(self, module: Any, name: str) -> Iterator[None]:
        """With a module's weight, of that full name, in the body."""
        self._fill(module, {"weight": self._stored[name].read()})
        try:
            yield
        finally:
            _empty(module)

    def _read(self, prefix: str) -> Tensors:
        """The parameters of a module by their names in it, as they are stored."""
        names = [name for name in self._stored if name.startswith(f"{prefix}.")]
        tensors = {name.removeprefix(f"{prefix}."): self._stored[name].read() for name in names}
        if prefix not in self._seen:
            if wrong := [f"{prefix}.{name}" for name, t in tensors.items() if not finite(t)]:
                refuse(self.source, "has numbers that are none (NaN or infinite) in", wrong)
            self._seen.add(prefix)
        return tensors

    def _fill(self, module: Any, tensors: Tensors) -> None:
        """Give a module its weights; what was read is let go of one by one, so that it is not there twice."""
        for name in list(tensors):
            owner, _, own = name.rpartition(".")
            part = module.get_submodule(owner)
            flag = getattr(part, own).requires_grad
            weight = tensors.pop(name).to(self.device, self.dtype)
            setattr(part, own, torch.nn.Parameter(weight, requires_grad=flag))

    def _fill_buffers(self) -> None:
        """Compute what is no weight and is not stored, as loading does: rotary frequencies, scales of embeddings."""
        for module in self.skeleton.modules():
            if empty := {name: b for name, b in module.named_buffers(recurse=False) if b.is_meta}:
                for name, buffer in empty.items():
                    setattr(module, name, torch.empty_like(buffer, device=self.device))
                with torch.no_grad():
                    self.skeleton._init_weights(module)

    def _check(self) -> None:
        """Check that the files have the weights that the configuration asks for, and no others."""
        wanted = {name: tuple(p.shape) for name, p in self.skeleton.named_parameters()}
        tied = self.skeleton.get_output_embeddings().weight is self.skeleton.get_input_embeddings().weight
        # A checkpoint may have both although they are tied.
        self._head = blocks.EMBEDDING if tied and blocks.HEAD not in self._stored else blocks.HEAD
        if tied:
            wanted |= {blocks.EMBEDDING: wanted.get(blocks.EMBEDDING) or wanted[blocks.HEAD]}
            wanted |= {self._head: wanted[blocks.EMBEDDING]}
        shapes = {name: tensor.shape for name, tensor in self._stored.items()}
        # As where a model is loaded: old checkpoints repeat in each layer what is computed now.
        ignored = [*(self.skeleton._keys_to_ignore_on_load_unexpected or ()), r"rotary_emb\.inv_freq"]
        wrong = {
            "missing_keys": wanted.keys() - shapes.keys(),
            "unexpected_keys": {n for n in shapes.keys() - wanted.keys() if not any(re.search(k, n) for k in ignored)},
            "mismatched_keys": {name for name in wanted.keys() & shapes.keys() if wanted[name] != shapes[name]},
        }
        for kind, names in wrong.items():
            if names:
                refuse(self.source, WRONG[kind], sorted(names))


def _empty(module: Any) -> None:
    """Let go of a module's weights; its buffers stay."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            empty = torch.empty_like(weight, device="meta")
            setattr(part, name, torch.nn.Parameter(empty, requires_grad=weight.requires_grad))


def output_embedding(model: Any) -> torch.Tensor:
    """The output embedding ``(V, d)`` of a model, loaded or streamed."""
    return model.unembedding() if isinstance(model, StreamedModel) else blocks.unembedding(model)


def skeleton(model: Any) -> Any:
    """The modules of a model, loaded or streamed: of a streamed one without their weights."""
    return model.skeleton if isinstance(model, StreamedModel) else model


@contextmanager
def filled(model: Any, module: Any) -> Iterator[Any]:
    """A module of a model with its weights, in the body."""
    with model.filled(module) if isinstance(model, StreamedModel) else nullcontext():
        yield module
