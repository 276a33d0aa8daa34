"""Seeking (arXiv 2310.11451, ICLR 2024), a PostPKT method, and the controls that share its path.

The teacher's most sensitive block of the student's shape becomes, by SVD, the start of a LoRA on the student, from
which fine-tuning goes on. The controls take the block from elsewhere, so that what the *teacher's knowledge*
contributes can be told from what any such start does.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pkt_eval._util.files import load_tensors, save_tensors
from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data import benchmarks
from pkt_eval.data.chat import collate
from pkt_eval.data.splits import canonical_task
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError, StoreError
from pkt_eval.extract import densest_block, truncated_svd
from pkt_eval.locate import map_layers
from pkt_eval.locate.sensitivity import LayerSensitivity, layer_sensitivities
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.blocks import Dims
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import Factors, finetune
from pkt_eval.tune.config import FinetuneConfig

_PAPER = "arXiv 2310.11451"

_Blocks: TypeAlias = "Mapping[str, tuple[int, int, Factors]]"
"""Block → row and column of its upper left corner in the teacher's matrix, and its factors."""


class SeekingConfig(FinetuneConfig):
    """Options of Seeking: those of the fine-tuning, and where to look."""

    wrong_task: str | None = None
    """``seeking_wrong_task`` alone: the task whose samples locate the block (default: the next benchmark)."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where the block comes from.

    Attributes:
        place: The teacher's most sensitive place for the task, or for another task; a random place of the teacher; the
            student itself.
    """

    place: Literal["sensitive", "wrong_task", "random", "self"]


@register(
    "seeking",
    title="Seeking: LoRA started from the teacher's most sensitive blocks",
    reference=_PAPER,
    paradigm="PostPKT",
    uses=("teacher", "data"),
    variant=Place("sensitive"),
)
@register(
    "seeking_wrong_task",
    title="Seeking, located with another task's samples",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Place("wrong_task"),
    control_of=("seeking",),
)
@register(
    "seeking_random",
    title="Seeking from random layers and places of the teacher",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Place("random"),
    control_of=("seeking",),
)
@register(
    "seeking_self",
    title="Seeking from the student's own weights",
    reference=_PAPER,
    paradigm="control",
    uses=("data",),
    variant=Place("self"),
    control_of=("seeking",),
)
class Seeking(TransferMethod[SeekingConfig]):
    """Extract by sensitivity, start a LoRA by SVD, fine-tune."""

    Config = SeekingConfig
    splits = ("extract", "train", "validation")
    streams = True
    variant: Place

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Seeking, steps 1 to 6."""
        place = self.variant.place
        record: dict[str, Any] = {}
        start: dict[str, Factors] = {}
        if place != "self":
            pair.check()
            kept = self.work / "start.safetensors" if self.work else None
            if extracted := _load_start(kept) if kept and kept.exists() else None:
                start, record["blocks"] = extracted
            else:
                with pair.read_teacher() as teacher:
                    start, record["blocks"] = self.extract(teacher, pair, data, progress)
                if kept:
                    _save_start(kept, start, record["blocks"])
        with pair.open_student() as model:
            if place == "self":
                for name in progress.bar(self._modules(pair), f"{self.method.name}: extract"):
                    start[name] = truncated_svd(model.get_parameter(f"{name}.weight").detach(), self.config.rank)
            edits, trained = finetune(model, start, pair, data, self.config, self.seed, progress, self.work)
        return Student(base=pair.student, edits=edits, record={**record, **trained})

    def other_tasks(self, benchmark: str) -> tuple[str, ...]:
        """The wrong task, where one is looked at."""
        place, wrong = self.variant.place, self.config.wrong_task
        if place != "wrong_task":
            if wrong:
                raise ConfigError(f"wrong_task= has no effect on method={self.method.name}; use seeking_wrong_task")
            return ()
        wrong = canonical_task(wrong) if wrong else next_task(benchmark)
        if wrong == benchmark:
            raise ConfigError(f"wrong_task={wrong} is the task that is transferred; choose another")
        return (wrong,)

    def _modules(self, pair: ModelPair) -> list[str]:
        return [blocks.module_name(b, k) for k in range(pair.student.dims.layers) for b in self.config.modules]

    def extract(
        self, teacher: Any, pair: ModelPair, data: TransferData, progress: Progress
    ) -> tuple[dict[str, Factors], dict[str, Any]]:
        """Steps 1 to 4: what the student is to start from.

        Returns:
            Student module → ``(B, A)``; and the teacher's layers and the blocks' places, for the record.
        """
        task = next(iter(self.other_tasks(data.splits.benchmark)), None)
        if self.variant.place == "random":
            with progress.stage("extract"):
                chosen = self._random(teacher, pair, progress)
        else:
            examples = data.examples(pair.the_teacher.tokenizer, "extract", task=task)
            batches = (collate([example], 0) for example in examples)
            with progress.stage("sensitivity"):
                bar = progress.bar(batches, f"{self.method.name}: sensitivity", total=len(examples))
                layers = layer_sensitivities(teacher, bar, self.config.modules)
            with progress.stage("extract"):
                chosen = self._most_sensitive(layers, pair.student.dims, progress)
        start, places = {}, {}
        for k, layer in enumerate(sorted(chosen)):
            for block, (row, column, factors) in chosen[layer].items():
                start[blocks.module_name(block, k)] = factors
                places[blocks.weight_name(block, k)] = [layer, row, column]
        return start, {
            "teacher_layers": sorted(chosen),
            "layer_row_column": places,
            "located_with": task or data.splits.benchmark,
        }

    def _random(self, teacher: Any, pair: ModelPair, progress: Progress) -> dict[int, _Blocks]:
        """Layers and places by the seed alone."""
        dice, ours = random.Random(self.seed), pair.student.dims
        layers = map_layers(pair.the_teacher.dims.layers, ours.layers, dice)
        chosen: dict[int, _Blocks] = {}
        for layer in progress.bar(layers, f"{self.method.name}: extract"):
            of_layer = {}
            for block in self.config.modules:
                weight, shape = teacher.get_parameter(blocks.weight_name(block, layer)).detach(), ours.shape(block)
                row, column = (dice.randint(0, size - own) for size, own in zip(weight.shape, shape, strict=True))
                of_layer[block] = self._cut(weight, shape, row, column)
            chosen[layer] = of_layer
        return chosen

    def _most_sensitive(self, layers: Iterator[LayerSensitivity], ours: Dims, progress: Progress) -> dict[int, _Blocks]:
        """As many layers as the student has, those that ``select_layers`` chooses, and the densest blocks of each.

        A layer is looked into where it may yet be one of them: what is not wanted of it now is gone with it.
        """
        chosen: dict[int, _Blocks] = {}
        ranks: dict[int, tuple[float, int]] = {}
        with progress.counter(f"{self.method.name}: extract", ours.layers) as bar:
            for found in layers:
                rank = found.total, -found.layer  # the lower layer wins a tie
                if len(ranks) == ours.layers:
                    worst = min(ranks, key=lambda layer: ranks[layer])
                    if rank < ranks[worst]:
                        continue
                    del ranks[worst], chosen[worst]
                of_layer = {}
                for block in self.config.modules:
                    shape = ours.shape(block)
                    place = densest_block(found.scores[block], shape)
                    of_layer[block] = self._cut(found.weights[block], shape, *place)
                ranks[found.layer], chosen[found.layer] = rank, of_layer
                bar.update(len(chosen) - bar.n)
        return chosen

    def _cut(self, weight: torch.Tensor, shape: tuple[int, int], row: int, column: int) -> tuple[int, int, Factors]:
        block = weight[row : row + shape[0], column : column + shape[1]]
        return row, column, truncated_svd(block, self.config.rank)


_WITHIN = 2  # the student that a file is of is its folder's name


def _save_start(path: Path, start: dict[str, Factors], record: dict[str, Any]) -> None:
    tensors = {f"{name}/{part}": t for name, pair in start.items() for part, t in zip("BA", pair, strict=True)}
    save_tensors(path, tensors, within=_WITHIN, record=record)


def _load_start(path: Path) -> tuple[dict[str, Factors], dict[str, Any]] | None:
    """What an interrupted transfer had extracted; None, and a warning, where it is damaged."""
    try:
        tensors, metadata = load_tensors(path, within=_WITHIN)
    except StoreError as error:
        log.warning("the teacher's blocks are extracted anew: %s", error)
        return None
    names = dict.fromkeys(key.rpartition("/")[0] for key in tensors)
    return {name: (tensors[f"{name}/B"], tensors[f"{name}/A"]) for name in names}, metadata["record"]


def next_task(benchmark: str) -> str:
    """Another benchmark of the same family, for the wrong-task control."""
    return benchmarks.benchmark(benchmark).contrast
