"""One model after the other, everything that is looked at.

One model is in memory at a time: the teacher first, of which Gram matrices and residual streams stay on disk, then the
student, then each transferred one.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.diagnose import activations, cka, overlap, parametric
from pkt_eval.diagnose.findings import Diagnosis, Pair
from pkt_eval.diagnose.stitching import stitch
from pkt_eval.locate.samples import Sample, attribution_samples
from pkt_eval.locate.select import neuron_counts
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student
from pkt_eval.transfer.transfer import versions

log = logging.getLogger(__name__)

_MAX_LENGTH = 1024  # tokens of a text, as in a transfer


class Examination:
    """A pair, the texts that it is looked at with, and a folder for what does not stay in memory."""

    def __init__(
        self,
        pair: ModelPair,
        splits: Sequence[Mapping[str, Splits]],
        chat: ChatFormat,
        tokens: int,
        samples: int,
        seed: int,
        scratch: Path,
    ) -> None:
        self.pair, self.teacher, self.scratch, self.seed, self.count = pair, pair.the_teacher, scratch, seed, samples
        self.progress = Progress(owner="diagnose")
        tokenizer = pair.student.tokenizer
        # Validation records: nobody's fine-tuning has seen them, so a transferred student is not at home there.
        texts = {
            task: [e["input_ids"] for e in chat.encode_all(tokenizer, s["validation"], max_length=_MAX_LENGTH)]
            for task, s in splits[0].items()
        }
        self.tokens = activations.draw_tokens(texts, tokens, seed=seed)
        if self.tokens.tokens < tokens // self.tokens.batch * self.tokens.batch:
            log.warning("the texts have only %d of the %d tokens asked for", self.tokens.tokens, tokens)
        self.samples = [
            {task: _samples(s, chat, tokenizer, samples) for task, s in of_seed.items()} for of_seed in splits
        ]

    def all(self, transferred: Mapping[str, Student]) -> Diagnosis:
        """Everything, one model after the other."""
        pair, progress, dims = self.pair, self.progress, self.teacher.dims
        n = self.tokens.batch
        shape = (self.tokens.batches, len(activations.KINDS), dims.layers, n, n)
        grams = activations.on_disk(self.scratch / "grams", shape, torch.float32)
        similar: dict[Pair, dict[str, torch.Tensor]] = {}
        overlaps = {}
        pair.progress = progress
        with pair.read_teacher() as model:
            residual_teacher = self._residual(model, "teacher")
            teacher = self._represent(model, "teacher", keep=grams, residual=residual_teacher)
            overlaps["teacher"] = self._overlap(model, self.teacher, "teacher")
        similar["teacher", "teacher"] = cka.own_matrices(teacher)
        weights = {}
        with pair.open_student() as model:
            residual_student = self._residual(model, "student")
            student = self._represent(model, "student", against=grams, residual=residual_student)
            overlaps["student"] = self._overlap(model, pair.student, "student")
            with progress.stage("weights"):
                for name, made in transferred.items():
                    weights[name] = parametric.examine(
                        made, model.get_parameter, pair.student.dims.layers, progress, f"{name}: weights"
                    )
        similar["teacher", "student"] = cka.pair_matrices(teacher, student)
        similar["student", "student"] = cka.own_matrices(student)
        for name, made in transferred.items():
            with pair.open_student() as model:
                made.attach(model)  # beside the weights: in 16 bits a merged edit is mostly rounded away
                after = self._represent(model, name, against=grams)
            similar["teacher", name] = cka.pair_matrices(teacher, after)
            similar[name, name] = cka.own_matrices(after)
        with progress.stage("stitching"):
            stitching = stitch(residual_teacher, residual_student, self.tokens.held_out, progress)
        return Diagnosis(self._facts(transferred), similar, stitching, overlaps, weights)

    def _residual(self, model: Any, name: str) -> torch.Tensor:
        """Room for a model's residual streams ``(L, tokens, d)``, on disk."""
        shape = model.config.num_hidden_layers, self.tokens.tokens, model.config.hidden_size
        return activations.on_disk(self.scratch / f"residual {name}", shape, model.dtype)

    def _represent(
        self,
        model: Any,
        name: str,
        *,
        keep: torch.Tensor | None = None,
        against: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
    ) -> cka.Measured:
        """HSICs of a model's layers; its residual streams go into ``residual`` on the way."""
        with self.progress.stage(f"represent {name}"):
            batches = activations.layer_batches(model, self.tokens, self.progress, f"{name}: layers")
            if residual is not None:
                batches = activations.keep_residual(batches, residual)
            return cka.measure(batches, keep=keep, against=against)

    def _overlap(self, model: Any, source: ModelSource, role: str) -> dict[str, overlap.Overlap]:
        keep = neuron_counts(self.pair.student.dims, 0.1)
        with self.progress.stage(f"locate in {role}"):
            first, second = (
                {
                    task: overlap.score_samples(
                        model, source.digest, of_task, keep, self.progress, f"{role}: locate {task}"
                    )
                    for task, of_task in of_seed.items()
                }
                for of_seed in self.samples
            )
        return overlap.overlaps(first, second, source.dims, keep)

    def _facts(self, transferred: Mapping[str, Student]) -> dict[str, Any]:
        pair = self.pair
        return {
            "teacher": Path(self.teacher.path).name,
            "student": Path(pair.student.path).name,
            "digests": {"teacher": self.teacher.digest, "student": pair.student.digest},
            "transferred": {name: s.provenance and s.provenance.fingerprint for name, s in transferred.items()},
            "tasks": list(self.samples[0]),
            "tokens": self.tokens.tokens,
            "texts": sum(len(w.texts) for w in self.tokens.windows),
            "batch": self.tokens.batch,
            "samples": self.count,
            "seed": self.seed,
            "versions": versions(),
            "seconds": self.progress.seconds,
            "peak_memory_bytes": self.progress.peak_memory_bytes,
        }


def _samples(splits: Splits, chat: ChatFormat, tokenizer: Any, count: int) -> list[Sample]:
    """The first records that a transfer would locate with."""
    first = replace(splits, extract=splits.extract[:count])
    data = TransferData(first, chat, "answer", _MAX_LENGTH, lambda task: splits)
    return attribution_samples(data, tokenizer)[0]
