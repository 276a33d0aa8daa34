"""Arguments of lm-eval's ``hf``: which of them may change an answer, and what they stand for.

What is not known to be harmless counts: an adapter (``peft=``), a quantisation, another tokenizer make another model of
the same ``pretrained=``, whose answers must neither be served from a cache nor be called vanilla.
"""

import inspect
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from pkt_eval._util.digests import combine_digests, file_digest
from pkt_eval._util.secrets import is_secret_name
from pkt_eval.errors import ConfigError
from pkt_eval.models.source import ModelSource

HF_ARGUMENTS = frozenset(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"}

#: Where and how fast it is computed; and what is recorded elsewhere (the dtype, the revision, what a template is told).
_HARMLESS = frozenset(
    "pretrained revision device dtype batch_size max_batch_size parallelize max_memory_per_gpu max_cpu_memory "
    "offload_folder device_map gpus logits_cache trust_remote_code think_end_token enable_thinking "
    "chat_template_args".split()
)


#: What ``hf`` takes besides, and hands on to transformers.
HANDED_ON = ("device_map", "attn_implementation")

#: What ``hf`` or the model itself says: name → what to do.
_NOT_TAKEN = {
    "config": "the model's own config.json is read: change it there, or leave it out",
    "gpus": "choose by device= or device_map=, or leave it out",
    "output_loading_info": "what is wrong with a checkpoint is said in any case: leave it out",
    "quantization_config": "the model's own config.json says it: leave it out",
    "state_dict": "the weights are those of pretrained=: leave it out",
    "torch_dtype": "say dtype=",
}


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check what ``hf`` would find wrong only when the model is loaded, after a whole transfer.

    Raises:
        ConfigError: A batch size, length, dtype or switch that is none; names it.
    """
    size = str(arguments.get("batch_size", 1))
    if not re.fullmatch(r"auto(:\d{1,6})?|0*[1-9]\d{0,6}", size):
        raise ConfigError(f"batch_size={size[:60]!r} is neither a number above zero nor auto")
    for name, value in arguments.items():
        if name in _TEXTS and isinstance(value, bool | int | float | list | tuple | dict):
            raise ConfigError(f"{name}={str(value)[:60]!r} is no text")
        if _KINDS[name] == {"bool"} and value not in (None, True, False):
            raise ConfigError(f"{name}={str(value)[:60]!r} is neither true nor false")
        if _KINDS[name] == {"int"} and value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ConfigError(f"{name}={str(value)[:60]!r} is no whole number")
        if value == "" and _DEFAULTS[name] != "":
            raise ConfigError(f"{name}= is empty: give it a value, or leave it out")
    for name, least in (("max_length", SHORTEST_CONTEXT), ("max_batch_size", 1)):
        if (most := arguments.get(name)) is not None and not least <= most <= 2**24:
            raise ConfigError(f"{name}={most} is not between {least} and {2**24:,}")
    if (end := arguments.get("think_end_token")) is not None and (
        isinstance(end, bool) or not isinstance(end, str | int)
    ):
        raise ConfigError(f"think_end_token={str(end)[:60]!r} is neither a text nor a token's number")
    for name in _TOKENS:
        if isinstance(number := arguments.get(name), int) and number < 0:
            raise ConfigError(f"{name}={str(number)[:60]} is no token: their numbers begin at 0")
    if (backend := arguments.get("backend", "default")) not in _BACKENDS:
        raise ConfigError(f"backend={str(backend)[:60]!r}: choose from {', '.join(_BACKENDS)}, vllm")
    for name in ("dtype", "softmax_dtype", "mixed_precision_dtype"):
        dtype = str(arguments.get(name) or "auto").removeprefix("torch.")
        if dtype not in _DTYPES:
            raise ConfigError(f"{name}={dtype[:60]!r}: choose from {', '.join(_DTYPES)}")


def check_others(arguments: Mapping[str, Any]) -> None:
    """Check what is neither ours nor ``hf``'s, and would be handed on to transformers.

    Raises:
        ConfigError: It is said elsewhere, and transformers would pass over it or fail at it; says where.
    """
    for name in arguments:
        if name in _NOT_TAKEN:
            raise ConfigError(f"{name}= is not taken: {_NOT_TAKEN[name]}")
    placed = arguments.get("device_map", "auto")
    if not isinstance(placed, dict) and not _PLACES.fullmatch(str(placed)):
        raise ConfigError(
            f"device_map={str(placed)[:60]!r}: choose from auto, balanced, balanced_low_0, sequential and a device"
        )


def check_tokens(arguments: Mapping[str, Any], source: ModelSource) -> None:
    """Check that what ``hf`` takes for the number of a token is one of a model's.

    Raises:
        ConfigError: It is not; says which there are.
    """
    for name in _TOKENS:
        number = arguments.get(name)
        if isinstance(number, int) and number >= (size := source.dims.vocab):
            raise ConfigError(f"{name}={str(number)[:60]} is no token of {source}, whose numbers end at {size - 1}")


def _kinds(annotation: object) -> set[str]:
    """``{"int", "str"}``, of ``int | str | None``; lm-eval's are texts."""
    said = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return {kind.strip() for kind in said.split("|")} - {"None"}


SHORTEST_CONTEXT = 8
"""Tokens of a context, at least, as of a transfer."""
_DEFAULTS = {name: p.default for name, p in inspect.signature(HFLM.__init__).parameters.items()}
_KINDS = {name: _kinds(p.annotation) for name, p in inspect.signature(HFLM.__init__).parameters.items()}
_TEXTS = ("backend", "delta", "gguf_file", "offload_folder", "peft", "subfolder", "tokenizer")
_PLACES = re.compile(r"auto|balanced|balanced_low_0|sequential|(cpu|cuda|mps|xpu)(:\d+)?|\d+")
_TOKENS = ("prefix_token_id", "think_end_token")
_BACKENDS = ("default", "causal", "seq2seq")
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def telling(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those that may change an answer, and differ from what ``hf`` does without them; a token opens doors only."""
    given = {k: v for k, v in arguments.items() if not (k in _HARMLESS or v is None or is_secret_name(k))}
    plain = {k: v if isinstance(v, str | int | float | bool) else repr(v) for k, v in given.items()}
    return {k: v for k, v in plain.items() if v != _DEFAULTS.get(k)}


def content_digest(arguments: Mapping[str, Any]) -> str:
    """sha256 of telling arguments; a folder or file that one names counts by its content."""
    return combine_digests({name: _content(name, value) for name, value in arguments.items()})


def _content(name: str, value: Any) -> Any:
    path = Path(value) if isinstance(value, str) and value else None
    if path and name in ("peft", "delta", "tokenizer") and not path.exists():  # on the hub: by the commit that is here
        from huggingface_hub import snapshot_download

        with suppress(Exception):  # the hub's client raises a dozen unrelated types; its name is left then
            path = Path(snapshot_download(value, local_files_only=True))
    if path and path.is_dir():
        return {f.relative_to(path).as_posix(): file_digest(f) for f in sorted(path.rglob("*")) if f.is_file()}
    return file_digest(path) if path and path.is_file() else value
