"""SemAlign, first version (arXiv 2510.24208 v1), and the control that has the labels alone.

A LoRA in the student layers that are paired with the teacher's critical ones is trained towards the labels and towards
what the teacher's layers add to its stream, translated by what both mean in tokens.

It needs the labels and the training of a LoRA, so it is a PostPKT method here. Of its later versions, whose losses are
others, no hyper-parameter is published; they are not here. What the text leaves open is marked in docs/methods.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pkt_eval._util.files import load_tensors, save_tensors
from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import collate
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import DataError, StoreError
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import finetune, random_start
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.loss import supervised_logits, supervised_loss

log = logging.getLogger(__name__)

_PAPER = "arXiv 2510.24208 v1"
_ROWS = 1 << 13  # of the vocabulary at a time: 100 MB of float64 for a width of 1,536
_BATCH = 8

Site = Literal["block_delta", "mlp"]
"""What of a layer is matched: all that it adds to the residual stream, or what its MLP adds."""


class SemAlignConfig(FinetuneConfig):
    """Options of SemAlign: those of the fine-tuning, and what is matched."""

    site: Site = "block_delta"
    """What of a layer is matched: block_delta, all that it adds to the residual stream, or mlp, its MLP's part."""
    critical_layers: int = Field(1, ge=1, le=10_000)
    """How many of the teacher's layers count as critical; each trains the student layer that it is paired with."""


@dataclass(frozen=True)
class Terms:
    """What is minimised besides the term of the labels.

    Attributes:
        layer: Whether the term of the layers is.
    """

    layer: bool


@register(
    "semalign",
    title="SemAlign: LoRA towards the teacher's states, in the layers that they are paired with",
    reference=_PAPER,
    paradigm="PostPKT",
    uses=("teacher", "data"),
    variant=Terms(layer=True),
)
@register(
    "semalign_label_only",
    title="SemAlign without the teacher's states: the same LoRA towards the labels alone",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Terms(layer=False),
    control_of=("semalign",),
)
class SemAlign(TransferMethod[SemAlignConfig]):
    """Attribute, pair, map, fine-tune."""

    Config = SemAlignConfig
    variant: Terms

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, SemAlign. Teacher and student are in memory one after the other."""
        pair.check()
        examples = data.examples(pair.student.tokenizer, "train")
        if not examples:
            raise DataError(f"the train split of {data.splits.benchmark} is empty: {data.splits.source}")
        kept = self.work / "teacher.safetensors" if self.work else None
        found = _load(kept) if kept and kept.exists() else None
        if found is None:
            vocabulary = len(pair.student.tokenizer)
            with pair.open_student() as model:
                head = blocks.unembedding(model)[:vocabulary].to("cpu", copy=True)
            with pair.open_teacher() as teacher:
                found = self._read(teacher, head, pair, data, examples, progress)
            if kept:
                save_tensors(kept, found[0], record=found[1])
        states, record = found
        generator = torch.Generator().manual_seed(self.seed)
        layers: list[int] = record["student_layers"]
        start = {
            blocks.module_name(block, k): random_start(*pair.student.dims.shape(block), self.config.rank, generator)
            for k in layers
            for block in self.config.modules
        }
        with pair.open_student() as model:
            targets = {k: _by_example(states[str(k)].to(model.device), examples) for k in layers} if states else {}
            objective = partial(semantic_loss, decoder=model, targets=targets, site=self.config.site)
            edits, trained = finetune(
                model, start, pair, data, self.config, self.seed, progress, self.work, objective=objective
            )
        return Student(base=pair.student, edits=edits, record={"teacher": record, **trained})

    def _read(
        self,
        teacher: Any,
        head: torch.Tensor,
        pair: ModelPair,
        data: TransferData,
        examples: Sequence[Example],
        progress: Progress,
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Student layer → targets of the train split; which layers; all that is needed of the teacher."""
        name, dims, ours = self.method.name, pair.the_teacher.dims, pair.student.dims
        batches = list(data.batches(pair.student.tokenizer, "extract"))
        with progress.stage("attribution"):
            scores = layer_attribution(teacher, progress.bar(batches, f"{name}: attribution"))
        order = torch.sort(scores.abs(), descending=True, stable=True).indices[: self.config.critical_layers]
        critical = sorted(order.tolist())
        layers = sorted({paired_layer(c, dims.layers, ours.layers) for c in critical})
        depths = {k: fractional_depth(k, dims.layers, ours.layers) for k in layers}
        record = {
            "site": self.config.site,
            "attribution": [float(f"{score:.6g}") for score in scores.tolist()],
            "critical_teacher_layers": critical,
            "student_layers": layers,
            "teacher_depths": [[*depths[k]] for k in layers],
        }
        if not self.variant.layer:
            return {}, record
        with progress.stage("teacher states"):
            to_ours = semantic_map(head, blocks.unembedding(teacher)[: len(head)].cpu()).float().to(teacher.device)
            rows: dict[int, list[torch.Tensor]] = {k: [] for k in layers}
            wanted = {layer for low, high, _ in depths.values() for layer in (low, high)}
            starts = range(0, len(examples), _BATCH)
            for first in progress.bar(starts, f"{name}: teacher states"):
                batch = collate(examples[first : first + _BATCH], 0)
                keep = _supervised(batch).to(teacher.device)
                with torch.no_grad(), added_by(teacher, wanted, self.config.site) as added:
                    blocks.decoder(teacher)(
                        input_ids=batch["input_ids"].to(teacher.device),
                        attention_mask=batch["attention_mask"].to(teacher.device),
                        use_cache=False,
                    )
                    here = {layer: reduce(torch.add, parts)[:, :-1][keep].float() for layer, parts in added.items()}
                for k, (low, high, share) in depths.items():
                    state = (1 - share) * here[low] + share * here[high]
                    # Directions alone: float16 holds those of unit vectors to 5e-4.
                    rows[k].append(torch.nn.functional.normalize(state @ to_ours.T, dim=-1).half().cpu())
        return {str(k): torch.cat(parts) for k, parts in rows.items()}, record


def semantic_loss(
    model: Any,
    batch: dict[str, torch.Tensor],
    *,
    decoder: Any,
    targets: dict[int, dict[tuple[int, ...], torch.Tensor]],
    site: Site,
) -> tuple[torch.Tensor, int]:
    """``Σ_t [1 − cos(logits_t, one-hot_t)] + mean over layers of Σ_t [1 − cos(added_t, target_t)]``, an ``Objective``.

    Args:
        model: The student, wrapped by peft.
        batch: As for ``supervised_loss``.
        decoder: The student itself, whose layers are read.
        targets: Layer → ids of an example → ``(supervised tokens, d_S)``; without any the second term is none.
        site: What of a layer is compared.
    """
    with added_by(decoder, targets, site) as added:
        logits, labels = supervised_logits(model, batch)
    right = logits.gather(1, labels[:, None])[:, 0]
    total = (1 - right / logits.norm(dim=-1).clamp_min(1e-12)).sum()
    keep = _supervised(batch)
    for layer, of_example in targets.items():
        ids = (row[mask.bool()] for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True))
        goal = torch.cat([of_example[tuple(row.tolist())] for row in ids]).float()
        state = reduce(torch.add, added[layer])[:, :-1][keep].float()
        total = total + (1 - (torch.nn.functional.normalize(state, dim=-1) * goal).sum(-1)).sum() / len(targets)
    return total, len(labels)


def layer_attribution(model: Any, batches: Iterable[dict[str, torch.Tensor]]) -> torch.Tensor:
    """``(L,)`` float64: gradient times activation of each layer's output, summed over tokens, channels and samples.

    The gradient is of a sample's mean supervised loss. The model's flags and gradients are left as found.

    Args:
        model: A decoder, in eval mode.
        batches: One sample each.

    Raises:
        DataError: There is no sample, or a score is no number.
    """
    parameters = list(model.parameters())
    flags = [p.requires_grad for p in parameters]
    layers = blocks.layers(model)
    total = torch.zeros(len(layers), dtype=torch.float64)
    count = 0
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        for batch in batches:
            outputs: list[torch.Tensor] = []
            with ExitStack() as stack, torch.enable_grad():
                # Nothing below the first layer has a gradient: its input begins the graph.
                stack.callback(layers[0].register_forward_pre_hook(_begin_graph).remove)
                for layer in layers:
                    stack.callback(layer.register_forward_hook(partial(_keep_output, outputs)).remove)
                loss, tokens = supervised_loss(model, {k: v.to(model.device) for k, v in batch.items()})
                gradients = torch.autograd.grad(loss / tokens, outputs)
            products = [(g.double() * o.detach().double()).sum() for g, o in zip(gradients, outputs, strict=True)]
            total += torch.stack(products).cpu()
            count += 1
    finally:
        for parameter, flag in zip(parameters, flags, strict=True):
            parameter.requires_grad_(flag)
    if not count or not torch.isfinite(total).all():
        raise DataError(f"the teacher's layers cannot be attributed with {count} extract samples: scores {total}")
    return total


def _begin_graph(layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].detach().requires_grad_(True), *args[1:])


def _keep_output(outputs: list[torch.Tensor], layer: Any, args: Any, out: Any) -> None:
    outputs.append(out[0] if isinstance(out, tuple) else out)


def paired_layer(critical: int, teacher_layers: int, student_layers: int) -> int:
    """The student layer of a critical teacher layer, both counted from 0.

    The first ``k`` whose ``l_T(k) = max(1, ⌊L_T·k/L_S⌋)``, counted from 1, is the critical layer or behind it.

    >>> [paired_layer(c, 6, 4) for c in range(6)]
    [0, 1, 1, 2, 3, 3]
    """
    for k in range(1, student_layers + 1):
        if max(1, teacher_layers * k // student_layers) >= critical + 1:
            return k - 1
    return student_layers - 1


def fractional_depth(layer: int, teacher_layers: int, student_layers: int) -> tuple[int, int, float]:
    """Where a student layer lies in the teacher: two layers, from 0, and the share of the second.

    ``u = L_T·k/L_S``, ``a = clip(⌊u⌋, 1, L_T − 1)``, ``λ = clip(u − a, 0, 1)``, counted from 1.

    >>> [fractional_depth(k, 6, 4) for k in range(4)]
    [(0, 1, 0.5), (2, 3, 0.0), (3, 4, 0.5), (4, 5, 1.0)]
    """
    u = teacher_layers * (layer + 1) / student_layers
    low = max(1, min(int(u), teacher_layers - 1))
    return low - 1, min(low, teacher_layers - 1), min(max(u - low, 0.0), 1.0)


def semantic_map(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """``M = B_S·B_Tᵀ (d_S, d_T)``, float64: from the teacher's states to the student's by what they mean in tokens.

    ``B (d, V)`` are the columns of the pseudo-inverse of an output embedding, each of unit norm. Since
    ``pinv(U) = (UᵀU)⁺Uᵀ``, some rows of the vocabulary at a time do, and nothing is ``(V, V)``.

    Args:
        ours: The student's output embedding ``(V, d_S)``.
        theirs: The teacher's, ``(V, d_T)``, of the same tokens.
    """
    inverses = [torch.linalg.pinv(_gram(head), hermitian=True) for head in (ours, theirs)]
    total = torch.zeros(ours.shape[1], theirs.shape[1], dtype=torch.float64)
    for first in range(0, len(ours), _ROWS):
        mine, others = (
            torch.nn.functional.normalize(head[first : first + _ROWS].double() @ inverse, dim=-1)
            for head, inverse in zip((ours, theirs), inverses, strict=True)
        )
        total += mine.T @ others
    return total


def _gram(head: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(head.shape[1], head.shape[1], dtype=torch.float64)
    for first in range(0, len(head), _ROWS):
        rows = head[first : first + _ROWS].double()
        total += rows.T @ rows
    return total


@contextmanager
def added_by(model: Any, layers: Iterable[int], site: Site) -> Iterator[dict[int, list[torch.Tensor]]]:
    """What layers add to the residual stream in a pass of the body: layer → the parts ``(B, T, d)``, to be summed.

    Read where it is added, behind Gemma 2's norms: the difference of two streams in 16 bits would be coarse.
    """
    added: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    with ExitStack() as stack:
        for k, parts in added.items():
            layer = blocks.layers(model)[k]
            modules = [blocks.norm_after_ffn(layer) or blocks.block(model, "down", k)]
            if site == "block_delta":
                modules.append(blocks.norm_after_attention(layer) or blocks.block(model, "o", k))
            for module in modules:
                stack.callback(module.register_forward_hook(partial(_keep_output, parts)).remove)
        yield added


def _supervised(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """``(B, T−1)``: whether the position predicts a supervised token."""
    return batch["labels"][:, 1:] != -100


def _by_example(states: torch.Tensor, examples: Sequence[Example]) -> dict[tuple[int, ...], torch.Tensor]:
    """Ids of an example → its rows of ``states``, which are those of all examples in their order."""
    counts = [int(_supervised(collate([example], 0)).sum()) for example in examples]
    ends = list(accumulate(counts))
    return {
        tuple(example["input_ids"]): states[end - count : end]
        for example, count, end in zip(examples, counts, ends, strict=True)
    }


def _load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """What an interrupted transfer had read of the teacher; None, and a warning, where it is damaged."""
    try:
        tensors, metadata = load_tensors(path)
    except StoreError as error:
        log.warning("the teacher is read anew: %s", error)
        return None
    return tensors, metadata["record"]
