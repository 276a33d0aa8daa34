"""LoRA (arXiv 2106.09685) and its variants as peft has them: fine-tuning without a teacher.

They differ in where the product starts, how it is scaled and what of it is trained; each is a row. Starts are made by
peft's own code, and each is exact in any dtype here, since the base is never rounded to ``W − BA`` (see
``pkt_eval.tune.adapter``). Those that read records do so once: their products are kept in the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from pkt_eval._util import sources
from pkt_eval._util.kept import kept_tensors
from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data import benchmarks
from pkt_eval.data.splits import canonical_task
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import PLAIN_FORM, Factors, Form, finetune, random_start
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.starts import READING, Init, peft_start


class LoRAConfig(FinetuneConfig):
    """Options of LoRA and its variants."""

    start_records: int = Field(128, ge=1, le=2**20)
    """Train records that eva, corda_ipm, corda_kpm and lora_ga read for their start, at most."""
    preserve: str | None = None
    """``corda_kpm`` alone: the task whose knowledge is to be kept (default: the next benchmark)."""
    b_rate: float = Field(16.0, gt=0, le=2**20)
    """``lora_plus`` alone: the learning rate of B over that of A."""


@dataclass(frozen=True)
class Start:
    """What tells a variant from LoRA.

    Attributes:
        init: peft's initialisation; None: ``A`` is drawn and ``B`` zero.
        form: What is trained of the product, and how it is scaled.
        faster_b: Whether ``B`` has a learning rate of its own.
    """

    init: Init | None = None
    form: Form = PLAIN_FORM
    faster_b: bool = False


@register(
    "lora",
    title="LoRA fine-tuning",
    reference="arXiv 2106.09685",
    paradigm="baseline",
    uses=("data",),
    variant=Start(),
)
@register(
    "rslora",
    title="LoRA scaled by alpha/√r",
    reference="arXiv 2312.03732",
    paradigm="baseline",
    uses=("data",),
    variant=Start(form=Form(rslora=True)),
)
@register(
    "dora",
    title="DoRA: LoRA for the directions of rows, and their magnitudes beside it",
    reference="arXiv 2402.09353",
    paradigm="baseline",
    uses=("data",),
    variant=Start(form=Form(dora=True)),
)
@register(
    "lora_plus",
    title="LoRA+: LoRA whose B learns faster than its A",
    reference="arXiv 2402.12354",
    paradigm="baseline",
    uses=("data",),
    variant=Start(faster_b=True),
)
@register(
    "pissa",
    title="LoRA started from the student's principal components",
    reference="arXiv 2404.02948",
    paradigm="baseline",
    uses=("data",),
    variant=Start("pissa"),
)
@register(
    "olora",
    title="LoRA started from the QR decomposition of the student's weights",
    reference="arXiv 2406.01775",
    paradigm="baseline",
    uses=("data",),
    variant=Start("olora"),
)
@register(
    "orthogonal",
    title="LoRA started from random orthogonal factors whose product is zero",
    reference="datta0.github.io/posts/rethink-lora-init",
    paradigm="baseline",
    uses=("data",),
    variant=Start("orthogonal"),
)
@register(
    "mica",
    title="MiCA: LoRA whose B is fixed to the student's minor components",
    reference="arXiv 2604.01694",
    paradigm="baseline",
    uses=("data",),
    variant=Start("mica", Form(only_a=True)),
)
@register(
    "eva",
    title="EVA: LoRA started from the principal components of activations",
    reference="arXiv 2410.07170",
    paradigm="baseline",
    uses=("data",),
    variant=Start("eva"),
)
@register(
    "corda_ipm",
    title="CorDA: LoRA started from the components that the task's inputs use most",
    reference="arXiv 2406.05223",
    paradigm="baseline",
    uses=("data",),
    variant=Start("corda_ipm"),
)
@register(
    "corda_kpm",
    title="CorDA: LoRA started from the components that another task's inputs use least",
    reference="arXiv 2406.05223",
    paradigm="baseline",
    uses=("data",),
    variant=Start("corda_kpm"),
)
@register(
    "lora_ga",
    title="LoRA-GA: LoRA started from the components of the first gradient",
    reference="arXiv 2407.05000",
    paradigm="baseline",
    uses=("data",),
    variant=Start("lora_ga"),
)
class LoRA(TransferMethod[LoRAConfig]):
    """Fine-tune a low-rank product on the train split."""

    Config = LoRAConfig
    #: Extract is Seeking's, which is to be fine-tuned on the same records, however small the pool.
    splits = ("extract", "train", "validation")
    variant: Start

    def other_tasks(self, benchmark: str) -> tuple[str, ...]:
        """``corda_kpm`` reads another task's records, whose knowledge it is to keep."""
        if self.variant.init != "corda_kpm":
            return ()
        asked = self.config.preserve
        return (canonical_task(asked) if asked else benchmarks.benchmark(benchmark).contrast,)

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """Start, fine-tune, and keep the product as the edit."""
        self._check_rank(pair)
        form = self.variant.form
        if self.variant.faster_b:
            form = Form(b_rate=self.config.b_rate)
        # The norms of a DoRA's rows, in 16 bits, would be off by as much as its magnitudes move.
        with pair.open_student(torch.float32 if form.dora else None) as model:
            with progress.stage("start"):
                start, told = self._start(model, pair, data, progress)
            edits, record = finetune(model, start, pair, data, self.config, self.seed, progress, self.work, form=form)
        return Student(base=pair.student, edits=edits, record=record | told)

    def _check_rank(self, pair: ModelPair) -> None:
        rank, init = self.config.rank, self.variant.init
        if init == "orthogonal" and rank % 2:
            raise ConfigError(f"rank={rank} is odd: orthogonal makes two halves of it")
        most = min(min(pair.student.dims.shape(block)) for block in self.config.modules) // 2
        if init == "lora_ga" and rank > most:
            raise ConfigError(f"rank={rank}: lora_ga takes twice as many directions, so that {most} is the most here")

    def _start(
        self, model: Any, pair: ModelPair, data: TransferData, progress: Progress
    ) -> tuple[dict[str, Factors], dict[str, Any]]:
        """Module → ``(B, A)``, the scale inside; and what is to be said of it."""
        config, dims, init = self.config, pair.student.dims, self.variant.init
        places = [(block, layer) for layer in range(dims.layers) for block in config.modules]
        if init is None:
            generator = torch.Generator().manual_seed(self.seed)
            return {
                blocks.module_name(*place): random_start(*dims.shape(place[0]), config.rank, generator)
                for place in places
            }, {}
        names = [blocks.module_name(*place) for place in places]
        task = next(iter(self.other_tasks(data.splits.benchmark)), None)
        examples = []
        if init in READING:
            examples = data.examples(pair.student.tokenizer, "train", task=task)[: config.start_records]

        def make() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
            start = peft_start(model, names, init, config.rank, self.seed, examples)
            return {f"{name}/{part}": t for name, pair in start.items() for part, t in zip("BA", pair, strict=True)}, {}

        if init not in READING:
            tensors, told = make()[0], {}
        else:
            decided_by = {
                "init": init,
                "model": pair.student.transfer_digest,
                "names": names,
                "rank": config.rank,
                "seed": self.seed,
                "examples": examples,
                "dtype": str(model.dtype),
                "device": model.device.type,
            }
            tensors, _, stored = kept_tensors("starts", decided_by, make, code=sources.TUNING, progress=progress)
            told = {"start": {"records": len(examples), "of": task or data.splits.benchmark, "stored": stored}}
        return {name: (tensors[f"{name}/B"], tensors[f"{name}/A"]) for name in names}, told
