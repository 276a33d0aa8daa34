"""The options of every method that fine-tunes, and the published budget of each kind of benchmark."""

from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from pkt_eval._util.options import LearningRates, MethodConfig, plus_separated
from pkt_eval.errors import ConfigError
from pkt_eval.models import blocks
from pkt_eval.tune.selection import Criterion


class PublishedBudget(NamedTuple):
    """What a fine-tuning takes, where its options do not say.

    Attributes:
        epochs: Passes over the train split.
        learning_rate: Peak rate.
    """

    epochs: float
    learning_rate: float


_BUDGET = PublishedBudget(5, 3e-4)
_BUDGETS = {"mmlu": _BUDGET, "gsm8k": _BUDGET, "humaneval": PublishedBudget(3, 3e-5), "mbpp": _BUDGET}


def published_budget(kind: str) -> PublishedBudget:
    """The published budget (arXiv 2505.14436) of a kind of benchmark; one that the paper does not have gets the common.

    >>> published_budget("humaneval").epochs, published_budget("gsm8k") == published_budget("arc")
    (3, True)
    """
    return _BUDGETS.get(kind, _BUDGET)


class TrainingConfig(MethodConfig):
    """Options of every method that fine-tunes; the defaults are the published protocol."""

    modules: Annotated[tuple[str, ...], BeforeValidator(plus_separated)] = ("up", "down", "v", "o")
    """Blocks that are trained, joined by +: out of up, gate, down, q, k, v, o."""
    learning_rate: LearningRates = ()
    """Peak rate; default 3e-4 (HumanEval 3e-5). Of several, joined by +, validation chooses; auto tries four or more
    around the default, each on a fifth of the budget."""
    select_by: Criterion | None = None
    """What chooses on validation; default loss, and of auto's rates the score where there is one."""
    epochs: float | None = Field(None, ge=0, le=10_000)
    """Passes over the train split; default 5 (HumanEval 3)."""
    max_steps: int = Field(-1, ge=-1, le=10**8)
    """Optimizer steps at most; overrides epochs where positive, and 0 means no training at all."""
    train_batch_size: int = Field(64, gt=0, le=2**20)
    """Examples an optimizer step."""
    micro_batch_size: int | None = Field(None, gt=0, le=2**20)
    """Examples a forward pass, of which a step accumulates several; default 8, on a CPU as many as have 640 tokens."""
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the steps with a rising rate; after it the rate falls linearly to zero."""

    @model_validator(mode="after")
    def _names(self) -> "TrainingConfig":
        blocks.check_blocks(self.modules)
        return self


class FinetuneConfig(TrainingConfig):
    """Options of every method that fine-tunes a LoRA."""

    rank: int = Field(16, gt=0, le=2**20)
    """Rank r of the product."""
    alpha: float = Field(16.0, gt=0, le=2**20)
    """The product is scaled by alpha/r."""

    def check_fits(self, dims: blocks.Dims) -> None:
        """Check what depends on the model, before it is loaded.

        Raises:
            ConfigError: The rank is larger than a block has rows or columns; names it.
        """
        for block in self.modules:
            if self.rank > (most := min(dims.shape(block))):
                raise ConfigError(
                    f"rank={self.rank} is more than the block {block} of this student has: at most {most}"
                )
