"""Trains the nano family from scratch: the recipe behind the weights that come with the package.

    python -m pkt_eval.nano_training.train --help

The teacher reads more, and in another mix (``corpus.MIXES``). The same seed, precision and number of
threads give the same weights.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM

from pkt_eval._util.devices import native_dtype
from pkt_eval._util.folders import check_out
from pkt_eval.errors import ConfigError
from pkt_eval.nano import ROLES
from pkt_eval.nano_training import corpus, models, tokenizer
from pkt_eval.nano_training.card import TrainingReport, card, software
from pkt_eval.nano_training.muon import Muon
from pkt_eval.nano_training.score import score_all

ROWS = 16
WARMUP = 0.05
TOKENIZER_DOCUMENTS = 12_000
TRAINING_RECORD = "training.json"


@dataclass(frozen=True)
class TrainingRecipe:
    """Optimiser steps of ``ROWS`` rows, and the peak learning rates of the two optimisers."""

    steps: int
    muon_rate: float
    adam_rate: float


RECIPES = {"teacher": TrainingRecipe(1200, 0.02, 4e-3), "student": TrainingRecipe(600, 0.02, 5e-3)}


def rate_at(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a half cosine down to zero."""
    warmup = max(1, round(WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def optimizers(model: LlamaForCausalLM, recipe: TrainingRecipe, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding and the gains."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
    adam = torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [Muon(matrices, lr=recipe.muon_rate, dtype=dtype), adam]


def fit(
    model: LlamaForCausalLM,
    batches: Iterator[corpus.Batch],
    recipe: TrainingRecipe,
    bf16: bool,
    progress: "tqdm[NoReturn]",
) -> tuple[float, int]:
    """Trains a model in place.

    Args:
        model: fp32 parameters.
        batches: as ``corpus.batches`` yields them.
        recipe: steps and learning rates.
        bf16: multiply in bfloat16.
        progress: advanced by one a step.

    Returns:
        The mean weighted loss of the last twentieth of the steps in nats a token, and the tokens read.
    """
    both = optimizers(model, recipe, torch.bfloat16 if bf16 else torch.float32)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, recipe.steps)) for optimizer in both
    ]
    tail, tokens = [], 0
    model.train()
    for step, batch in enumerate(islice(batches, recipe.steps)):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(  # (B, ROW, V) -> (B * (ROW - 1),)
            logits[:, :-1].flatten(0, 1).float(), batch.ids[:, 1:].flatten(), reduction="none"
        )
        # A document's first token is no target: what comes before it in the row is another document.
        weights = (batch.weights * (batch.positions > 0))[:, 1:].flatten()
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(both, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        tokens += int((batch.weights > 0).sum())
        if step >= 0.95 * recipe.steps - 1:
            tail.append(loss.item())
        if step % 20 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        progress.update()
    model.eval()
    return sum(tail) / len(tail), tokens


def train_one(
    role: str,
    out: Path,
    seed: int = 0,
    scale: float = 1.0,
    bf16: bool | None = None,
    threads: int = 2,
    items: int | None = None,
) -> TrainingReport:
    """Trains one model, saves it in fp16 with its tokenizer, and scores what was saved.

    The folder ``out/role`` is replaced when the new one is complete, so an interrupt leaves it as it was.

    Args:
        role: a key of ``RECIPES``.
        out: the family's folder.
        seed: of the initial weights and of the documents.
        scale: share of the recipe's steps, above 0.
        bf16: multiply in bfloat16; None to do so where the CPU can.
        threads: CPU threads.
        items: test items a benchmark to score on; None for all.

    Returns:
        What the card tells of it, also written to ``out/role/training.json``.

    Raises:
        ConfigError: ``scale``, ``seed`` or ``threads`` is out of range, or the folder cannot be written.
    """
    check_out(out)
    bounds = {"scale": (scale, 1e-9, 1000), "threads": (threads, 1, 1024), "seed": (seed, 0, 2**32 - 1)}
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:  # NaN is not
            raise ConfigError(f"{name}={value} is not between {least:g} and {most:,}")
    torch.set_num_threads(threads)
    bf16 = native_dtype("bfloat16", "cpu") == "bfloat16" if bf16 is None else bf16
    recipe = dataclasses.replace(RECIPES[role], steps=max(2, round(RECIPES[role].steps * scale)))
    texts = (d.prompt + d.answer for d in islice(corpus.documents(seed), TOKENIZER_DOCUMENTS))
    vocabulary = tokenizer.train_tokenizer(texts)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(models.config(role, vocabulary))
    started = time.monotonic()
    with tqdm(total=recipe.steps, desc=role, unit="step") as progress:
        loss, tokens = fit(model, corpus.batches(vocabulary, seed, ROWS, role), recipe, bf16, progress)
    seconds = time.monotonic() - started
    with replacing(out / role) as draft:
        model.half().save_pretrained(draft)
        tokenizer.save(vocabulary, draft)
        (draft / "model.safetensors").chmod(0o644)  # safetensors makes it private to its owner
        model = LlamaForCausalLM.from_pretrained(draft, dtype=torch.float32).eval()
        started = time.monotonic()
        chat = score_all(model, vocabulary, items)
        evaluation = time.monotonic() - started
        training = TrainingReport(
            parameters=model.num_parameters(),
            steps=recipe.steps,
            tokens=tokens,
            loss=loss,
            seconds=seconds,
            evaluation_seconds=evaluation,
            items={name: len(right) for name, right in chat.items()},
            chat={name: sum(right) for name, right in chat.items()},
            plain={name: sum(r) for name, r in score_all(model, vocabulary, items, chat=False).items()},
            seed=seed,
            scale=scale,
            precision="bf16" if bf16 else "fp32",
            threads=threads,
            versions=software(),
        )
        (draft / TRAINING_RECORD).write_text(json.dumps(dataclasses.asdict(training), indent=1) + "\n")
    return training


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder that takes another's place at the end, unless an exception or an interrupt comes first."""
    draft, old = (folder.with_name(f".{folder.name}.{part}-{os.getpid()}") for part in ("draft", "old"))
    draft.mkdir(parents=True)
    try:
        yield draft
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pkt_eval.nano_training.train",
        description=__doc__.split("\n\n")[0],
        epilog="examples:\n"
        "  --smoke --out nano-smoke       two steps each, to see that it runs\n"
        "  --out family --seed 1          another family by the full recipe\n"
        "  --out family --role student    one of the two again; the card follows",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for teacher/, student/ and CARD.md")
    parser.add_argument("--role", choices=ROLES, help="train only this one (default: student, then teacher)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and documents (default 0, as committed)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the recipe's steps (default 1)")
    parser.add_argument("--smoke", action="store_true", help="two steps, scored on 2 items a benchmark")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="of matrix products; auto takes bf16 where the CPU has instructions for it (twice as fast)",
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    options = parser.parse_args(arguments)
    # The student first: it is quick, and a recipe that does not work shows early.
    roles = [options.role] if options.role else ["student", "teacher"]
    scale = 1e-9 if options.smoke else options.scale
    bf16 = None if options.precision == "auto" else options.precision == "bf16"
    try:
        for role in roles:
            train_one(role, options.out, options.seed, scale, bf16, options.threads, 2 if options.smoke else None)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {options.out / role} is as it was; the same command begins it anew", file=sys.stderr)
        return 130
    if all((options.out / role / TRAINING_RECORD).exists() for role in ROLES):
        text = write_card(options.out)
        print(text)
    return 0


def write_card(out: Path) -> str:
    """Writes ``out/CARD.md`` from the two models' ``training.json`` and returns its text."""
    trained = {role: TrainingReport(**json.loads((out / role / TRAINING_RECORD).read_text())) for role in ROLES}
    text = card(trained)
    (out / "CARD.md").write_text(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
