"""Distillation: a LoRA that learns from what the teacher says, for as many student tokens as ``lora`` has.

``seqkd`` has the teacher's greedy answers, ``kd`` the teacher's next tokens after the prefixes of the labels, ``gkd``
after those of the student itself, too. Only outputs of the teacher are used. What it says is made once and kept in
the store; ``gkd`` alone has both models in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Literal

from pydantic import Field

from pkt_eval._util import sources
from pkt_eval._util.kept import kept_tensors
from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data.benchmarks import benchmark
from pkt_eval.data.chat import IGNORE, collate
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.inference.greedy import ending_tokens
from pkt_eval.inference.pick import likeliest
from pkt_eval.methods.base import TransferMethod, register
from pkt_eval.models import blocks
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student
from pkt_eval.tune.adapter import finetune, random_start
from pkt_eval.tune.config import FinetuneConfig
from pkt_eval.tune.distillation import KLDirection, kept_divergence
from pkt_eval.tune.loss import supervised_logits
from pkt_eval.tune.on_policy import OnPolicy, answered_example

_BATCH = 16


class DistillConfig(FinetuneConfig):
    """Options of distillation: those of the fine-tuning, and what is learnt of the teacher."""

    answer_tokens: int | None = Field(None, ge=1, le=2**20)
    """Longest answer of teacher or student; default: the task's own limit, of a choice the longest label."""
    top_k: int = Field(64, ge=1, le=2**20)
    """``kd`` alone: how many of the teacher's likeliest tokens are kept at each position."""
    divergence: KLDirection = "forward"
    """``kd`` alone: forward, KL(teacher‖student), or reverse."""
    on_policy: float = Field(0.5, ge=0, le=1)
    """``gkd`` alone: share of the steps that learn from the student's own answers; the others have the labels'."""
    beta: float = Field(0.5, ge=0, le=1)
    """``gkd`` alone: of the generalised Jensen-Shannon divergence: 0 is KL(teacher‖student), 1 KL(student‖teacher)."""
    temperature: float = Field(1.0, gt=0, le=100)
    """``gkd`` alone: at which the student draws its answers."""


@dataclass(frozen=True)
class Lesson:
    """What is learnt of the teacher: its answers; its next tokens in the labels; those in the student's answers."""

    of: Literal["answers", "labels", "own"]


@register(
    "seqkd",
    title="SeqKD: LoRA fine-tuning on the teacher's greedy answers",
    reference="arXiv 1606.07947",
    paradigm="baseline",
    uses=("teacher", "data"),
    variant=Lesson("answers"),
)
@register(
    "kd",
    title="KD: LoRA towards the teacher's next tokens in the labels",
    reference="arXiv 1503.02531",
    paradigm="baseline",
    uses=("teacher", "data"),
    variant=Lesson("labels"),
)
@register(
    "gkd",
    title="GKD: LoRA towards the teacher's next tokens, also in the student's own answers",
    reference="arXiv 2306.13649",
    paradigm="baseline",
    uses=("teacher", "data"),
    variant=Lesson("own"),
)
class Distill(TransferMethod[DistillConfig]):
    """Ask the teacher, fine-tune a LoRA on what it says."""

    Config = DistillConfig
    #: Those of LoRA: it is fine-tuned on the same records, for as many tokens.
    splits = ("extract", "train", "validation")
    variant: Lesson

    def transfer(self, pair: ModelPair, data: TransferData, progress: Progress) -> Student:
        """docs/methods.md, Distillation."""
        pair.check()
        tokenizer = pair.student.tokenizer
        examples = data.examples(tokenizer, "train")
        if self.variant.of == "labels":
            return self._next_tokens(pair, data, examples, progress)
        prompts = self._prompts(data, tokenizer)
        if self.variant.of == "answers":
            return self._answers(pair, data, prompts, progress)
        with pair.open_teacher() as teacher:
            config = self.config
            loop = OnPolicy(
                teacher, tokenizer, examples, prompts, config.on_policy, config.beta, config.temperature, progress
            )
            return self._tuned(pair, data, progress, {}, run=loop.run)

    def _prompts(self, data: TransferData, tokenizer: Any) -> list[tuple[list[int], int]]:
        """The prompts of the train records, and the longest answer to each."""
        encoded = data.chat.encode_all(tokenizer, data.splits.train, max_length=data.max_length)
        starts = [next(i for i, label in enumerate(e["labels"]) if label != IGNORE) for e in encoded]
        longest = max(len(e["input_ids"]) - start for e, start in zip(encoded, starts, strict=True))
        asked = benchmark(data.splits.benchmark)
        limit = self.config.answer_tokens or (longest if asked.scoring == "choice" else asked.answer_tokens)
        return [
            (e["input_ids"][:start], max(1, min(limit, data.max_length - start)))
            for e, start in zip(encoded, starts, strict=True)
        ]

    def _tuned(
        self, pair: ModelPair, data: TransferData, progress: Progress, told: dict[str, Any], **how: Any
    ) -> Student:
        dims, config = pair.student.dims, self.config
        generator = torch.Generator().manual_seed(self.seed)
        start = {
            blocks.module_name(block, layer): random_start(*dims.shape(block), config.rank, generator)
            for layer in range(dims.layers)
            for block in config.modules
        }
        with pair.open_student() as model:
            edits, record = finetune(model, start, pair, data, config, self.seed, progress, self.work, **how)
        return Student(base=pair.student, edits=edits, record=record | told)

    def _answers(
        self, pair: ModelPair, data: TransferData, prompts: list[tuple[list[int], int]], progress: Progress
    ) -> Student:
        """Sequence-level: the teacher's answers in place of the labels."""
        vocabulary = len(pair.student.tokenizer)

        def ask() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
            from pkt_eval.inference.slots import decode  # with transformers, which takes its time

            said: dict[int, list[int]] = {}
            order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i][0]))
            asked, limits = zip(*(prompts[i] for i in order), strict=True)
            with pair.open_teacher() as teacher:
                stop = ending_tokens(teacher, pair.student.tokenizer.eos_token_id)
                pick = partial(likeliest, vocabulary=vocabulary)
                found = decode(teacher, asked, slots=_BATCH, most=limits, stops=stop, pick=pick)
                for _, answer in zip(
                    progress.bar(order, f"{self.method.name}: answers of the teacher"), found, strict=True
                ):
                    said[order[answer.prompt]] = answer.tokens
            answers = [said[i] for i in range(len(prompts))]
            tensors = {
                "ids": torch.tensor([token for ids in answers for token in ids]),
                "lengths": torch.tensor([len(ids) for ids in answers]),
            }
            return tensors, {"ended": round(sum(ids[-1] in stop for ids in answers) / len(answers), 4)}

        decided_by = {**self._asked(pair), "prompts": prompts}
        with progress.stage("teacher"):
            kept, told, stored = kept_tensors("answers", decided_by, ask, code=sources.TUNING, progress=progress)
        answers = [t.tolist() for t in torch.split(kept["ids"], kept["lengths"].tolist())]
        taught = [answered_example(prompt, ids) for (prompt, _), ids in zip(prompts, answers, strict=True)]
        if data.loss_on == "all":
            taught = [{**example, "labels": example["input_ids"]} for example in taught]
        told |= {"records": len(answers), "answer_tokens": int(kept["lengths"].sum()), "stored": stored}
        return self._tuned(pair, data, progress, {"teacher": told}, examples=taught)

    def _next_tokens(self, pair: ModelPair, data: TransferData, examples: list[Example], progress: Progress) -> Student:
        """Token-level: the teacher's likeliest next tokens at every supervised position of the labels."""
        vocabulary = len(pair.student.tokenizer)
        k = min(self.config.top_k, vocabulary)

        def ask() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
            ids, logs = [], []
            with pair.open_teacher() as teacher:
                starts = range(0, len(examples), _BATCH)
                for first in progress.bar(starts, f"{self.method.name}: next tokens of the teacher"):
                    batch = collate(examples[first : first + _BATCH], 0)
                    with torch.no_grad():
                        logits, _ = supervised_logits(teacher, {n: t.to(teacher.device) for n, t in batch.items()})
                    top = logits[:, :vocabulary].log_softmax(-1).topk(k)
                    ids.append(top.indices.int().cpu())
                    logs.append(top.values.half().cpu())
            return {"ids": torch.cat(ids), "logs": torch.cat(logs)}, {}

        decided_by = {**self._asked(pair), "examples": examples, "top_k": k}
        with progress.stage("teacher"):
            kept, told, stored = kept_tensors("next_tokens", decided_by, ask, code=sources.TUNING, progress=progress)
        told |= {"top_k": k, "answer_tokens": len(kept["ids"]), "stored": stored}
        told["mass"] = round(float(kept["logs"].float().exp().sum(1).mean()), 6)
        ends = list(accumulate(map(_supervised, examples)))
        places = {
            tuple(e["input_ids"]): slice(end - _supervised(e), end) for e, end in zip(examples, ends, strict=True)
        }
        objective = partial(_objective, kept, places, vocabulary, self.config.divergence)
        return self._tuned(pair, data, progress, {"teacher": told}, objective=objective)

    def _asked(self, pair: ModelPair) -> dict[str, Any]:
        """Of whom, and where."""
        return {
            "teacher": pair.the_teacher.transfer_digest,
            "dtype": str(pair.dtype(pair.the_teacher)),
            "device": pair.device.split(":")[0],
        }


def _supervised(example: Example) -> int:
    return sum(label != IGNORE for label in example["labels"][1:])


def _objective(
    kept: dict[str, torch.Tensor],
    places: dict[tuple[int, ...], slice],
    vocabulary: int,
    direction: KLDirection,
    model: Any,
    batch: dict[str, torch.Tensor],
) -> tuple[torch.Tensor, int]:
    """The summed divergence from what was kept, as an ``Objective``; ``places`` are the rows of an example's ids."""
    logits, labels = supervised_logits(model, batch)
    ids = (row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True))
    rows = [places[tuple(of_example)] for of_example in ids]
    top, logs = (torch.cat([kept[part][at] for at in rows]).to(logits.device) for part in ("ids", "logs"))
    return kept_divergence(top.long(), logs, logits[:, :vocabulary], direction), len(labels)
