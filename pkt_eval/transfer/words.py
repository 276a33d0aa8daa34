"""The words that decide a student, whatever the method: names, defaults, bounds and help.

Nothing here looks a method, a model or a record up, so that a command can tell its words without importing torch.
"""

import json
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from pkt_eval._util.options import Checked


class Words(Checked):
    """Every field is an option of ``--model_args`` and of ``pkt-eval transfer``."""

    # lm-eval makes numbers of words of digits, also of a revision or a folder.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    pretrained: str = Field(min_length=1)
    """Base of the student: a folder, or a name on the hub."""
    teacher: str | None = Field(None, min_length=1)
    """The model that knowledge is taken from."""
    method: str = "vanilla"
    """How; `pkt-eval methods` lists them."""
    transfer_task: str | None = None
    """What is transferred: a benchmark, as `pkt-eval data show --help` lists them, or one of its tasks."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Decides the splits, the order of training and every random start."""
    chat_format: Literal["paper", "model"] = "paper"
    """Text format of the transfer's data, which the student then carries as its chat template."""
    enable_thinking: bool | None = None
    """Told to the model's chat template, in training and in evaluation."""
    chat_template_args: dict[str, Any] = Field(default_factory=dict)
    """What else it is told, as JSON, e.g. `{"date_string": "1 May 2025"}`."""
    loss_on: Literal["answer", "all"] = "answer"
    """Tokens that the loss is on; `all` is an option for MMLU, whose answer is one letter."""
    splits: str | None = None
    """Folder of chat JSONL that replaces the default splits."""
    data_dir: str | None = None
    """Local folder of the benchmarks; default PKT_EVAL_DATA, else the hub."""
    decontaminate: bool = False
    """Leave out records that share 13 words in a row or a whole question with the test set of their benchmark."""
    extract_samples: int | None = Field(None, ge=1)
    """Records that locate (default 32)."""
    align_samples: int | None = Field(None, ge=1)
    """Records that align (PrePKT)."""
    train_samples: int | None = Field(None, ge=1)
    """Records that fine-tune (default 1000; MBPP 300)."""
    validation_samples: int | None = Field(None, ge=1)
    """Records that choose a rate or a step (default 64)."""
    transfer_max_length: int = Field(1024, ge=8, le=2**24)
    """Longest example of the transfer, in tokens."""
    transfer_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of the transfer: auto is the checkpoint's where the hardware has it, else float32."""
    teacher_memory: Literal["auto", "stream", "whole"] = "auto"
    """How a teacher that is only read is held: whole, or a layer at a time; auto: whole where it fits with room."""
    revision: str = Field("main", min_length=1)
    """Revision of the student's base on the hub: a branch, a tag or a commit."""
    teacher_revision: str = Field("main", min_length=1)
    """Revision of the teacher on the hub."""
    trust_remote_code: bool = False
    """Run code that comes with a model; off unless asked for."""

    @field_validator("chat_template_args", mode="before")
    @classmethod
    def _is_an_object(cls, value: Any) -> Any:
        try:
            value = json.loads(value) if isinstance(value, str) else value
            if not isinstance(value, dict):
                raise TypeError
            json.dumps(value)  # it is kept with the student
        except (TypeError, ValueError, RecursionError):
            raise ValueError('it is a JSON object, e.g. {"date_string": "1 May 2025"}') from None
        if own := sorted(_OURS & {*value}):
            raise ValueError(f"{', '.join(own)} is not for a template to choose")
        return value


#: What lm-eval and training tell ``apply_chat_template`` themselves.
_OURS = frozenset("conversation chat_template tokenize add_generation_prompt continue_final_message".split())

#: Fields that decide how a student is asked, also one that has learnt nothing.
ASKED = ("chat_format", "enable_thinking", "chat_template_args")

#: Option names that a recipe takes itself; all others belong to the method or, in lm-eval, to ``hf``.
FIELDS = tuple(Words.model_fields)
