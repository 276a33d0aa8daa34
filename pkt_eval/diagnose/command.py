"""``pkt-eval diagnose``: look at a pair, and at students transferred between them, and write what was found.

One model is in memory at a time: the teacher first, of which Gram matrices and residual streams stay on disk, then the
student, then each transferred one.
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from pkt_eval._util.console import console
from pkt_eval._util.devices import default_device
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits, build_splits, canonical_task
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.diagnose import activations, cka, overlap, parametric, report
from pkt_eval.diagnose.stitching import stitch
from pkt_eval.errors import ConfigError, PrerequisiteError
from pkt_eval.locate.select import neuron_counts
from pkt_eval.methods.laten import attribution_samples
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student, load_student
from pkt_eval.transfer.recipe import make_recipe, versions

log = logging.getLogger(__name__)

_MAX_LENGTH = 1024  # tokens of a text, as in a transfer


def diagnose(
    data: Annotated[list[str], typer.Option(help="Task whose texts are looked at, e.g. gsm8k; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")],
    teacher: Annotated[str, typer.Option(help="Folder or hub name; with no --student either: the nano family.")] = "",
    student: Annotated[str, typer.Option(help="The student's base: folder or hub name.")] = "",
    transferred: Annotated[
        list[Path] | None,
        typer.Option(help="A student made by `pkt-eval transfer … --out DIR`; may be repeated.", metavar="DIR"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=256, help="Tokens to compare on, of all tasks together.")] = 4096,
    samples: Annotated[int, typer.Option(min=1, help="Records a task and seed that neurons are located with.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the splits and the tokens; that of the transfers.")] = 0,
    chat_format: Annotated[
        str, typer.Option(help="Format of the texts, that of the transfers: paper or model.")
    ] = "paper",
    data_dir: Annotated[str | None, typer.Option(help="Local folder of the benchmarks, as for a transfer.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute, e.g. cuda:0; default: a GPU if there is one.")] = "",
) -> None:
    """Find out why a transfer fails: figures, matrices, a report and a summary.

    Writes the similarity of every teacher and student layer (debiased CKA, affine stitching), what locations of neurons
    have in common, and, for --transferred students, what the transfer did to the weights and to the similarity.
    """
    try:
        import matplotlib  # noqa: F401  # asked for before the work, not after it
    except ImportError:
        raise PrerequisiteError("figures need matplotlib: pip install 'pkt-eval[figures]'") from None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} is there already and not empty: choose another folder, or remove it")
    if bool(teacher) != bool(student):
        raise ConfigError("--teacher and --student go together; with neither, the nano family is looked at")
    named = {"teacher": teacher or None, "pretrained": student or None, "chat_format": chat_format}
    recipe = make_recipe(named)
    pair = recipe.pair(device or default_device())
    pair.check()
    students = [load_student(folder) for folder in transferred or ()]
    names = parametric.labels(students)
    for name, made in zip(names, students, strict=True):
        _check_transferred(name, made, pair, chat_format)
    tasks = list(dict.fromkeys(map(canonical_task, data)))
    splits = [{t: build_splits(t, seed=s, data_dir=data_dir) for t in tasks} for s in (seed, seed + 1)]

    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    scratch = out.with_name(f".{out.name}.{os.getpid()}.scratch")
    try:
        for folder in (temporary / "figures", scratch):
            folder.mkdir(parents=True)
        found = _Run(pair, splits, ChatFormat(recipe.chat_format), tokens, samples, seed, scratch).all(
            dict(zip(names, students, strict=True))
        )
        from pkt_eval.diagnose import figures

        captions = figures.draw(found, temporary / "figures")
        report.write(found, captions, temporary)
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        for folder in (temporary, scratch):
            shutil.rmtree(folder, ignore_errors=True)
    console().print(
        f"Written to {out}: report.md, summary.json, matrices.npz, *.csv and {len(captions)} figures", soft_wrap=True
    )


def _check_transferred(name: str, student: Student, pair: ModelPair, chat_format: str) -> None:
    """A student must have edits of this pair's student; another text format is said."""
    made_for = student.provenance.get("student_digest")
    if made_for != pair.student.digest:
        raise ConfigError(
            f"--transferred {name} was made for another student than --student {pair.student}: name its base, "
            f"{student.provenance.get('student', student.base)}"
        )
    if not student.edits:
        raise ConfigError(f"--transferred {name} has no edits, it is its base {student.base}: leave it out")
    theirs = student.provenance.get("chat_format", chat_format)
    if theirs != chat_format:
        log.warning("%s was transferred with chat_format=%s; it is looked at with %s", name, theirs, chat_format)


class _Run:
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
        assert pair.teacher is not None  # a pair that was checked has one
        self.pair, self.teacher, self.scratch, self.seed, self.count = pair, pair.teacher, scratch, seed, samples
        self.progress = Progress()
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

    def all(self, transferred: Mapping[str, Student]) -> report.Diagnosis:
        """Everything, one model after the other."""
        pair, progress, dims = self.pair, self.progress, self.teacher.dims
        n = self.tokens.batch
        shape = (self.tokens.batches, len(activations.KINDS), dims.layers, n, n)
        grams = activations.on_disk(self.scratch / "grams", shape, torch.float32)
        found: dict[report.Pair, dict[str, torch.Tensor]] = {}
        overlaps = {}
        with pair.open_teacher() as model:
            residual_teacher = self._residual(model, "teacher")
            teacher = self._represent(model, "teacher", keep=grams, residual=residual_teacher)
            overlaps["teacher"] = self._overlap(model, self.teacher, "teacher")
        found["teacher", "teacher"] = cka.own_matrices(teacher)
        weights = {}
        # Located deltas round away in 16 bits; all students in one dtype, or before and after would differ by it too.
        wide = any(s.needs_float32 for s in transferred.values())
        dtype = torch.float32 if wide else pair.dtype(pair.student)
        with pair.student.open(dtype, pair.device) as model:
            residual_student = self._residual(model, "student")
            student = self._represent(model, "student", against=grams, residual=residual_student)
            overlaps["student"] = self._overlap(model, pair.student, "student")
            with progress.stage("weights"):
                for name, made in transferred.items():
                    weights[name] = parametric.examine(
                        made, model.get_parameter, pair.student.dims.layers, progress, f"{name}: weights"
                    )
        found["teacher", "student"] = cka.pair_matrices(teacher, student)
        found["student", "student"] = cka.own_matrices(student)
        for name, made in transferred.items():
            with pair.student.open(dtype, pair.device) as model:
                made.apply(model)
                after = self._represent(model, name, against=grams)
            found["teacher", name] = cka.pair_matrices(teacher, after)
            found[name, name] = cka.own_matrices(after)
        with progress.stage("stitching"):
            stitching = stitch(residual_teacher, residual_student, self.tokens.held_out, progress)
        return report.Diagnosis(self._facts(transferred), found, stitching, overlaps, weights)

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
            batches = activations.stream(model, self.tokens, self.progress, f"{name}: layers")
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
            "transferred": {name: s.provenance.get("fingerprint") for name, s in transferred.items()},
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


def _samples(splits: Splits, chat: ChatFormat, tokenizer: Any, count: int) -> list[overlap.Sample]:
    """The first records that a transfer would locate with."""
    first = replace(splits, extract=splits.extract[:count])
    data = TransferData(first, chat, "answer", _MAX_LENGTH, lambda task: splits)
    return attribution_samples(data, tokenizer)[0]
