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

HF_ARGUMENTS = frozenset(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"}

#: Where and how fast it is computed; and what is recorded elsewhere (the dtype, the revision, what a template is told).
_HARMLESS = frozenset(
    "pretrained revision device dtype batch_size max_batch_size parallelize max_memory_per_gpu max_cpu_memory "
    "offload_folder device_map gpus logits_cache trust_remote_code think_end_token enable_thinking "
    "chat_template_args".split()
)


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check what ``hf`` would find wrong only when the model is loaded, after a whole transfer.

    Raises:
        ConfigError: A batch size, length, dtype or switch that is none; names it.
    """
    size = str(arguments.get("batch_size", 1))
    if not re.fullmatch(r"auto(:\d{1,6})?|0*[1-9]\d{0,6}", size):
        raise ConfigError(f"batch_size={size[:60]!r} is neither a number above zero nor auto")
    for name, value in arguments.items():
        if _KINDS[name] == {"bool"} and value not in (None, True, False):
            raise ConfigError(f"{name}={str(value)[:60]!r} is neither true nor false")
        if _KINDS[name] == {"int"} and value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ConfigError(f"{name}={str(value)[:60]!r} is no whole number")
    for name in ("max_length", "max_batch_size"):
        if (most := arguments.get(name)) is not None and not 1 <= most <= 2**24:
            raise ConfigError(f"{name}={most} is not between 1 and {2**24:,}")
    for name in ("dtype", "softmax_dtype", "mixed_precision_dtype"):
        dtype = str(arguments.get(name) or "auto").removeprefix("torch.")
        if dtype not in _DTYPES:
            raise ConfigError(f"{name}={dtype[:60]!r}: choose from {', '.join(_DTYPES)}")


def _kinds(annotation: object) -> set[str]:
    """``{"int", "str"}``, of ``int | str | None``; lm-eval's are texts."""
    said = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return {kind.strip() for kind in said.split("|")} - {"None"}


_KINDS = {name: _kinds(p.annotation) for name, p in inspect.signature(HFLM.__init__).parameters.items()}
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def telling(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those that may change an answer, and differ from what ``hf`` does without them; a token opens doors only."""
    defaults = {name: p.default for name, p in inspect.signature(HFLM.__init__).parameters.items()}
    given = {k: v for k, v in arguments.items() if not (k in _HARMLESS or v is None or is_secret_name(k))}
    plain = {k: v if isinstance(v, str | int | float | bool) else repr(v) for k, v in given.items()}
    return {k: v for k, v in plain.items() if v != defaults.get(k)}


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
