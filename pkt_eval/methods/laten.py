"""LaTen (arXiv 2505.14436, ACL 2025), a PrePKT method, and the controls that share its path.

The neurons that matter most for a task are located in teacher and student by attribution; the teacher's vectors,
aligned by a hypernetwork, are added to the student's. Nothing is fine-tuned afterwards.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.align import AlignmentExamples, AlignmentOptions, Checkpoint, align, injected, located_edits
from pkt_eval.align.loop import Deltas, mean_loss
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.errors import ConfigError, DataError
from pkt_eval.extract.neurons import neuron_vectors
from pkt_eval.locate.attribution import NeuronScores, attribute
from pkt_eval.locate.layers import map_layers
from pkt_eval.locate.memo import remembered
from pkt_eval.locate.select import AXIS, Counts, Located, best, neuron_counts, value_scores
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.edits import LocatedEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student

log = logging.getLogger(__name__)

_PAPER = "arXiv 2505.14436"
_STEPS = {"mmlu": 2, "gsm8k": 4, "humaneval": 3, "mbpp": 8}  # published, by kind of benchmark
# Validation chooses among the steps, so that one too many costs its time alone: about the published mean.
_STEPS_OF_OTHERS = 4
_STRIPPED = '." )\n,]'  # not the last token that anything should be attributed to


class LaTenConfig(MethodConfig):
    """Options of LaTen; the defaults are the published protocol, with exact attribution."""

    modules: Annotated[tuple[str, ...], BeforeValidator(plus_separated)] = ("up", "down", "v", "o")
    """Blocks that are edited, joined by +: out of up, down, v, o."""
    rate: float = Field(0.1, gt=0, le=1)
    """Share of a student layer's neurons that are edited."""
    attribution: Literal["exact", "published"] = "exact"
    """Scores as they are meant, or with the released code's deviations."""
    scoring: Literal["fast", "full"] = "fast"
    """Evaluate each neuron on 512 well-chosen tokens, or on the whole vocabulary (20 and more times slower)."""
    locate_with: Literal["all", "one"] = "all"
    """Sum the scores of all extract samples, or take one sample at random, as published."""
    steps: int | None = Field(None, ge=1, le=10**8)
    """Optimizer steps of the alignment; default 2, 4, 3, 8 for MMLU, GSM8K, HumanEval, MBPP, and 4 for others."""
    samples_per_step: int = Field(16, ge=2, le=2**20)
    """Samples of a step: one of extract, the others of align."""
    learning_rate: float = Field(3e-5, gt=0, le=100)
    """Peak rate of the alignment."""
    scale: float | None = None
    """``unaligned`` alone: factor of the teacher's vectors (default 1)."""

    @model_validator(mode="after")
    def _names(self) -> "LaTenConfig":
        blocks.check_blocks(self.modules)
        if wrong := set(self.modules) - set(AXIS):
            raise ValueError(f"LaTen edits {', '.join(AXIS)}, not {', '.join(sorted(wrong))}")
        return self


@dataclass(frozen=True)
class Variant:
    """What tells LaTen from its controls.

    Attributes:
        neurons: Whose are edited: those of the best scores; the same, with the teacher's in random order; random ones.
        delta: What is added to them: the teacher's vectors aligned, as they are, or nothing.
    """

    neurons: Literal["located", "shuffled", "random"]
    delta: Literal["aligned", "zero", "teacher"]


@register(
    "laten",
    title="LaTen: the teacher's neurons, aligned by a hypernetwork, added to the student's",
    reference=_PAPER,
    paradigm="PrePKT",
    uses=("teacher", "data"),
    variant=Variant("located", "aligned"),
)
@register(
    "laten_shuffled",
    title="LaTen with the teacher's neurons in random order",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Variant("shuffled", "aligned"),
)
@register(
    "laten_random",
    title="LaTen with random neurons of random layers",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Variant("random", "aligned"),
)
@register(
    "laten_zero",
    title="LaTen that adds zero: the vanilla student",
    reference=_PAPER,
    paradigm="control",
    uses=("data",),
    variant=Variant("located", "zero"),
)
@register(
    "unaligned",
    title="LaTen without alignment: the teacher's vectors, cut to the student's width",
    reference=_PAPER,
    paradigm="control",
    uses=("teacher", "data"),
    variant=Variant("located", "teacher"),
)
class LaTen(TransferMethod[LaTenConfig]):
    """Locate, extract, align, inject."""

    Config = LaTenConfig
    variant: Variant

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, LaTen. Teacher and student are in memory one after the other."""
        config, delta = self.config, self.variant.delta
        if config.scale is not None and delta != "teacher":
            raise ConfigError(f"scale= has no effect on method={self.method.name}; use method=unaligned")
        tokenizer, dims = pair.student.tokenizer, pair.student.dims
        keep = neuron_counts(dims, config.rate)
        samples, skipped = attribution_samples(data, tokenizer)
        if config.locate_with == "one":
            samples = [random.Random(self.seed).choice(samples)]
        record: dict[str, Any] = {"kept_per_layer": vars(keep), "extract_samples": len(samples), "skipped": skipped}
        vectors: Deltas = {}
        if delta != "zero":
            pair.check()
            with pair.open_teacher() as teacher:
                located = self.locate(teacher, pair, "teacher", keep, samples, record, progress)
                vectors = {block: t.cpu() for block, t in neuron_vectors(teacher, located).items()}
            record["teacher_layers"] = {block: list(layers) for block, layers in located.layers.items()}
        # In 16 bits the student would not notice deltas of this size, and validation could not tell steps apart.
        with pair.student.open(torch.float32, pair.device) as model:
            located = self.locate(model, pair, "student", keep, samples, record, progress)
            if delta == "zero":
                deltas = {block: torch.zeros(*i.shape, dims.hidden) for block, i in located.indices.items()}
            else:
                vectors = {block: t.to(model.device) for block, t in vectors.items()}
                if self.variant.neurons == "shuffled":
                    vectors = _shuffled(vectors, self.seed)
                encoded = AlignmentExamples(
                    *(examples(data, tokenizer, split, skipped) for split in ("extract", "align", "validation"))
                )
                deltas, record["alignment"] = self._deltas(model, located, vectors, encoded, data, progress)
            edits = located_edits(located, deltas)
            record["delta_norm_per_layer"] = {
                block: [round(n, 9) for n in d.float().flatten(1).norm(dim=1).tolist()] for block, d in deltas.items()
            }
            record["changed_share"] = _changed_share(model, edits, pair)
        return Student(base=pair.student, edits=edits, record=record)

    def locate(
        self,
        model: Any,
        pair: ModelPair,
        role: Literal["teacher", "student"],
        keep: Counts,
        samples: Sequence[tuple[torch.Tensor, int]],
        record: dict[str, Any],
        progress: Progress,
    ) -> Located:
        """As many layers as the student has and the best neurons in each, or random ones, by the row."""
        source = pair.student if role == "student" else pair.the_teacher
        assert source is not None  # ``uses`` names it
        dims, layers = source.dims, pair.student.dims.layers
        if self.variant.neurons == "random":
            dice, generator = random.Random(self.seed), torch.Generator().manual_seed(self.seed)
            ffn_layers, attention_layers = (map_layers(dims.layers, layers, dice) for _ in range(2))
            ffn, attention, value = (
                torch.stack([torch.randperm(n, generator=generator)[:k] for _ in range(dims.layers)])
                for n, k in (
                    (dims.ffn, keep.ffn),
                    (dims.heads * dims.head_dim, keep.attention),
                    (dims.kv_heads * dims.head_dim, keep.value),
                )
            )
        else:
            config = self.config
            bar = progress.bar(samples, f"{self.method.name}: locate in {role}", total=len(samples))
            decided_by = {
                "attribution": config.attribution,
                "scoring": config.scoring,
                "model": source.digest,
                "samples": [[*ids.tolist(), target] for ids, target in samples],
                "keep": vars(keep),
                "dtype": str(model.dtype),
                "device": model.device.type,
            }

            def compute() -> NeuronScores:
                return attribute(model, bar, keep=keep, attribution=config.attribution, scoring=config.scoring)

            with progress.stage(f"locate in {role}"):
                scores, stored = remembered(decided_by, compute)
            if stored:
                record.setdefault("located_before", []).append(role)
            ffn_layers = map_layers(dims.layers, layers, scores.layer_ffn)
            attention_layers = map_layers(dims.layers, layers, scores.layer_attention)
            ffn, attention = best(scores.ffn, keep.ffn), best(scores.attention, keep.attention)
            value = best(value_scores(scores.attention, dims), keep.value)
        places = {
            "up": (ffn_layers, ffn),
            "down": (ffn_layers, ffn),
            "v": (attention_layers, value),
            "o": (attention_layers, attention),
        }
        chosen = {block: places[block] for block in self.config.modules}
        return Located(
            {block: layers for block, (layers, _) in chosen.items()},
            {block: indices[layers] for block, (layers, indices) in chosen.items()},
        )

    def _deltas(
        self,
        model: Any,
        located: Located,
        vectors: Deltas,
        examples: AlignmentExamples,
        data: TransferData,
        progress: Progress,
    ) -> tuple[Deltas, dict[str, Any]]:
        """Aligned deltas of the step with the lowest validation loss, or the teacher's vectors, by the row."""
        config = self.config
        with progress.stage("validation"):
            bar = progress.bar(examples.validation, f"{self.method.name}: validation of the base")
            record: dict[str, Any] = {"validation_loss_of_base": _json(mean_loss(model, bar))}
        if self.variant.delta == "teacher":
            scale = 1.0 if config.scale is None else config.scale
            deltas = {block: scale * t[..., : model.config.hidden_size] for block, t in vectors.items()}
            with progress.stage("validation"), injected(model, located, deltas):
                record |= {"scale": scale, "validation_loss": _json(mean_loss(model, examples.validation))}
            return deltas, record
        options = AlignmentOptions(
            steps=config.steps or _STEPS.get(data.kind, _STEPS_OF_OTHERS),
            samples=config.samples_per_step,
            learning_rate=config.learning_rate,
            seed=self.seed,
        )
        chosen: Checkpoint | None = None
        record["steps"] = []
        with progress.stage("align"):
            for checkpoint in align(model, located, vectors, examples, options, progress, self.work):
                record["steps"].append({k: _json(v) for k, v in vars(checkpoint).items() if k != "deltas"})
                # The earlier step wins a tie; with no validation at all, the last step is taken.
                if chosen is None or not checkpoint.validation_loss >= chosen.validation_loss:
                    chosen = checkpoint
        assert chosen is not None  # there is a step at least
        record |= {"chosen_step": chosen.step, "chosen_by": "validation" if examples.validation else "being the last"}
        return chosen.deltas, record


def attribution_samples(data: TransferData, tokenizer: Any) -> tuple[list[tuple[torch.Tensor, int]], dict[str, int]]:
    """Extract records as ``(ids before the target, target)``, and how many were skipped, by reason.

    The target is the last token of the answer without trailing punctuation, brackets and spaces.

    Raises:
        DataError: No record is left.
    """
    samples, skipped = [], {"extract: empty answer": 0, "extract: too long": 0}
    for record in data.splits.extract:
        *before, answer = record["messages"]
        stripped = answer["content"].rstrip(_STRIPPED)
        if not stripped.strip():
            skipped["extract: empty answer"] += 1
            continue
        ids = data.chat.encode(tokenizer, {"messages": [*before, {**answer, "content": stripped}]})["input_ids"]
        *ids, target, _ = ids  # the last is the end of the sequence
        if len(ids) + 2 > data.max_length:
            skipped["extract: too long"] += 1
        else:
            samples.append((torch.tensor(ids), target))
    if not samples:
        raise DataError(
            f"no extract record of {data.splits.benchmark} can be located with: {skipped} of "
            f"{len(data.splits.extract)}, at transfer_max_length={data.max_length}"
        )
    return samples, skipped


def examples(data: TransferData, tokenizer: Any, split: str, skipped: dict[str, int]) -> list[Example]:
    """Encoded records of a split; those too long are left out and counted, not cut."""
    encoded = [data.chat.encode(tokenizer, record, loss_on=data.loss_on) for record in data.splits[split]]
    kept = [example for example in encoded if len(example["input_ids"]) <= data.max_length]
    skipped[f"{split}: too long"] = len(encoded) - len(kept)
    if too_long := len(encoded) - len(kept):
        log.warning("%d of %d %s records are over %d tokens: skipped", too_long, len(encoded), split, data.max_length)
    return kept


def _shuffled(vectors: Deltas, seed: int) -> Deltas:
    """The teacher's vectors of each layer in random order, the same in all blocks of the same neurons."""
    generator = torch.Generator().manual_seed(seed)
    orders: dict[tuple[int, int, bool], torch.Tensor] = {}
    shuffled = {}
    for block, t in vectors.items():
        key = (*t.shape[:2], block in ("up", "down"))
        if key not in orders:
            orders[key] = torch.stack([torch.randperm(t.shape[1], generator=generator) for _ in t])
        shuffled[block] = torch.take_along_dim(t, orders[key][..., None].to(t.device), dim=1)
    return shuffled


def _changed_share(model: Any, edits: Sequence[LocatedEdit], pair: ModelPair) -> dict[str, float]:
    """Share of the deltas that change their weight in the checkpoint's own dtype: the rest round away."""
    stored = getattr(pair.student.config, "dtype", None) or torch.float32
    changed = meant = 0
    for edit in edits:
        before = model.get_parameter(edit.name).detach().to("cpu", stored, copy=True)
        after = before.clone()
        edit.apply(after)
        changed += int((after != before).sum())
        meant += int(edit.delta.count_nonzero())
    share, name = changed / max(meant, 1), str(stored).removeprefix("torch.")
    if meant and share < 0.9:
        log.warning("%.1f %% of the deltas round away in %s: evaluate in float32", 100 * (1 - share), name)
    return {name: round(share, 4)}


def _json(value: float) -> float | None:
    """NaN, which stands for no validation, is no JSON."""
    return value if value == value else None
