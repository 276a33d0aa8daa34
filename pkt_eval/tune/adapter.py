"""Fine-tuning of a low-rank product on a frozen base, by peft, from any start.

A student may start from a product ``B₀A₀`` that is not zero, as ``(W − B₀A₀) + BA`` with ``B₀A₀ = BA``, i.e. as the
vanilla student. The base is not rewritten for that: rounded to bf16, ``W − B₀A₀`` would differ from what it should be
by as much as a fine-tune moves. The same function is computed as ``W x + [B, −B₀]([A; A₀]x)``, one adapter of twice
the rank of which half is frozen; the halves cancel at the start, and the finished edit is the adapter as it stands. It
is also what peft writes where it is told ``path_initial_model_for_weight_conversion``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pkt_eval._util.lazy import torch
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import Example, TransferData
from pkt_eval.models.edits import DoraEdit, LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.tune.config import FinetuneConfig, published_budget
from pkt_eval.tune.loss import Objective
from pkt_eval.tune.search import TrainingRun, course_of, train_at_best_rate

_ADAPTER = "default"  # peft's own name, under which the Trainer finds its checkpoints again
_ZERO = 1e-5  # of a product, relative to its factors: float32's roundings
Factors: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"
"""``B (out, r)`` and ``A (r, in)``."""


@dataclass(frozen=True)
class Form:
    """What is trained of a product, and how it is scaled.

    Attributes:
        rslora: The scale is alpha/√r instead of alpha/r (arXiv 2312.03732).
        dora: The rows' magnitudes are trained beside it (arXiv 2402.09353).
        only_a: ``B`` stays as it started (arXiv 2604.01694).
        b_rate: ``B``'s learning rate over ``A``'s (arXiv 2402.12354).
    """

    rslora: bool = False
    dora: bool = False
    only_a: bool = False
    b_rate: float = 1.0


PLAIN_FORM = Form()


def random_start(out: int, into: int, rank: int, generator: torch.Generator) -> Factors:
    """LoRA's start: ``A`` Kaiming-uniform with a = √5, as in peft, and ``B`` zero."""
    A = torch.empty(rank, into)
    torch.nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
    return torch.zeros(out, rank), A


def finetune(
    model: Any,
    start: dict[str, Factors],
    pair: ModelPair,
    data: TransferData,
    config: FinetuneConfig,
    seed: int,
    progress: Progress,
    work: Path | None = None,
    *,
    objective: Objective | None = None,
    form: Form = PLAIN_FORM,
    examples: Sequence[Example] | None = None,
    run: TrainingRun | None = None,
) -> tuple[tuple[LowRankEdit | DoraEdit, ...], dict[str, Any]]:
    """Train a low-rank product from a given start on the train split.

    Args:
        model: The base, loaded: the student's, or the teacher where that is tuned. It is wrapped for the training; its
            weights do not change.
        start: Module name → the product that the student is to start *from*: the student's function at the start is
            the base's in any case.
        pair: For the tokenizer and the device.
        data: Train and validation examples.
        config: How.
        seed: Order of the examples.
        progress: Bars and stage times.
        work: Folder for checkpoints; a training that finds one there goes on from it.
        objective: What is minimised; default: the supervised loss, by which validation chooses in any case.
        form: What is trained of the product.
        examples: In place of the train split's, for exactly as many tokens.
        run: How it is trained, in place of the one loop.

    Returns:
        The edits, ``BA − B₀A₀`` a module, and a record of the training: rates tried, steps, losses before and after.

    Raises:
        ConfigError: Validation is to choose a rate, and there is none.
        DataError: There is nothing to train on, or the training diverged.
    """
    adapter = _Adapter(model, start, config, form)
    course, record = course_of(
        adapter,
        pair.student.tokenizer,
        pair.device,
        data,
        config,
        seed,
        progress,
        work,
        objective=objective,
        examples=examples,
        run=run,
    )
    edits, trained = train_at_best_rate(course, config.learning_rate, published_budget(data.kind).learning_rate)
    with quiet_peft():
        adapter.model.unload()
    return edits, {"training": trained | record}


class _Adapter:
    """A product beside each of some weights, as peft computes it."""

    def __init__(self, model: Any, start: dict[str, Factors], config: FinetuneConfig, form: Form) -> None:
        from peft import LoraConfig, get_peft_model

        self._start, self._form, self._rank = start, form, config.rank
        self._scale = config.alpha / (math.sqrt(config.rank) if form.rslora else config.rank)
        # A DoRA starts from no product: the norms of its rows would have to be of what is left of the weight.
        self._frozen = config.rank if any(not _is_zero(*factors) for factors in start.values()) else 0
        rank = config.rank + self._frozen
        lora = LoraConfig(
            r=rank,
            lora_alpha=self._scale * (math.sqrt(rank) if form.rslora else rank),
            target_modules=sorted(start),
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
            init_lora_weights=False,
            use_rslora=form.rslora,
            use_dora=form.dora,
        )
        with quiet_peft():
            self.model = get_peft_model(model, lora, adapter_name=_ADAPTER)
        self._layers = {name: model.get_submodule(name) for name in start}
        for layer in self._layers.values():
            layer.lora_B[_ADAPTER].weight.requires_grad_(not form.only_a)
        if self._frozen:
            _freeze_second_half(self._layers, config.rank)

    @torch.no_grad()
    def reset(self) -> None:
        """See ``Trained``."""
        for name, layer in self._layers.items():
            B, A = (t.float() for t in self._start[name])
            B = B / self._scale
            layer.lora_A[_ADAPTER].weight.copy_(torch.cat([A, A]) if self._frozen else A)
            layer.lora_B[_ADAPTER].weight.copy_(torch.cat([B, -B], dim=1) if self._frozen else B)
            if self._form.dora:
                norms = layer.get_base_layer().weight.float().norm(dim=1)
                layer.lora_magnitude_vector[_ADAPTER].weight.copy_(norms)

    def edits(self) -> tuple[LowRankEdit | DoraEdit, ...]:
        """See ``Trained``."""

        def copy(parameter: Any) -> torch.Tensor:
            return parameter.detach().float().cpu().clone()

        made: list[LowRankEdit | DoraEdit] = []
        for name, layer in self._layers.items():
            B, A = (copy(part[_ADAPTER].weight) for part in (layer.lora_B, layer.lora_A))
            weight = f"{name}.weight"
            if self._form.dora:
                magnitude = copy(layer.lora_magnitude_vector[_ADAPTER].weight)
                made.append(DoraEdit(weight, B * self._scale, A, magnitude))
            else:
                made.append(LowRankEdit(weight, B * self._scale, A))
        return tuple(made)

    def optimizer(self, rate: float) -> Any:
        """See ``Trained``."""
        if self._form.b_rate == 1:
            return None
        from peft.optimizers import create_loraplus_optimizer

        return create_loraplus_optimizer(
            self.model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=self._form.b_rate, weight_decay=0.0
        )


def _is_zero(B: torch.Tensor, A: torch.Tensor) -> bool:
    """Whether a product is zero but for roundings, though its factors need not be."""
    return bool((B @ A).norm() <= _ZERO * B.norm() * A.norm())


def _freeze_second_half(layers: dict[str, Any], rank: int) -> None:
    """Drop the gradients of ``B₀`` and ``A₀`` as they appear, before they count in a norm or a step.

    AdamW, without weight decay, leaves a weight that never had a gradient where it is.
    """

    def clear(unused: slice | tuple[slice, slice]) -> Any:
        def hook(parameter: Any) -> None:
            parameter.grad[unused] = 0

        return hook

    for layer in layers.values():
        layer.lora_A[_ADAPTER].weight.register_post_accumulate_grad_hook(clear(slice(rank, None)))
        layer.lora_B[_ADAPTER].weight.register_post_accumulate_grad_hook(clear((slice(None), slice(rank, None))))


@contextmanager
def quiet_peft() -> Iterator[None]:
    """peft warns that a second adapter or an unload changes the model; here that is the purpose."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"peft\..*")
        warnings.filterwarnings("ignore", message=r".*is_gradient_checkpointing")  # peft asks by the old name
        # A layer whose inputs have no gradients: the gradient of its weight is what is asked for.
        warnings.filterwarnings("ignore", message=r".*backward hook is firing")
        yield
