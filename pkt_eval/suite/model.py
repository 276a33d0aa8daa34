"""What a suite needs of a model: ``pkt_vanilla``'s, an lm-eval ``hf`` that can become each student of its base."""

from typing import Any, Protocol

import torch
from lm_eval.api.instance import Instance

from pkt_eval.lm.answers import answer_to_json
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student
from pkt_eval.suite.schema import BatchSize


class SuiteModel(Protocol):
    """A base under evaluation.

    Attributes:
        pretrained: Folder or hub name of the base.
        source: The base with its revision.
        tokenizer_name: lm-eval's key of its tokenizer and chat template.
        device: Where it computes.
        evaluated_in: The dtype of the evaluation, by torch's name.
        batch_size_per_gpu: Items that are computed at a time.
    """

    @property
    def pretrained(self) -> str: ...

    @property
    def source(self) -> ModelSource: ...

    @property
    def tokenizer_name(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def evaluated_in(self) -> str: ...

    batch_size_per_gpu: int | str

    def become(self, student: Student) -> None:
        """Turn into another student of the same base."""

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """lm-eval's: a text for each request."""
        ...

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """lm-eval's: of each continuation its log-likelihood, in nats, and whether it is the likeliest."""
        ...

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """lm-eval's: the log-likelihood of each text, in nats."""
        ...

    def tok_encode(self, string: str) -> list[int]:
        """The tokens of a text."""
        ...

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> str:
        """lm-eval's: messages as a prompt."""
        ...

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """lm-eval's: the template itself."""
        ...

    def get_model_info(self) -> dict[str, Any]:
        """What ends up in ``config`` of the results."""
        ...


def answered(lm: SuiteModel, kind: str, block: list[Instance], rows: BatchSize) -> list[Any]:
    """Answers to lm-eval's requests as JSON holds them, of texts how they ended included.

    Args:
        lm: Who is asked.
        kind: Of the requests: the name of the model's method.
        block: The requests.
        rows: Items that are computed at a time.
    """
    lm.batch_size_per_gpu = rows
    said: list[Any] = getattr(lm, kind)(block, disable_tqdm=True)
    return [answer_to_json(answer) for answer in said] if kind == "generate_until" else said
