"""How many texts are computed at a time where nobody says: as many as gain speed, and as memory holds.

A step of decoding reads all weights, whoever is written: with more rows it costs the same until the processor's
arithmetic is the limit. Where that is, is measured in seconds, on the model itself, and remembered for models of its
sizes on this machine; how much memory there is, too, so that a run that goes on computes in the same company.
"""

import json
import logging
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from pkt_eval._util.devices import free_memory
from pkt_eval._util.digests import combine_digests
from pkt_eval._util.files import save_text
from pkt_eval._util.folders import store_root
from pkt_eval.errors import StoreError
from pkt_eval.models import blocks

log = logging.getLogger(__name__)

_FEWEST, _MOST = 8, 256  # rows
_GAIN = 1.15  # of speed at least, for twice the rows
_SECONDS = 6.0  # after which no more rows are tried
_SHARE = 0.5  # of the memory that is free
_CONTEXT = 64  # tokens of a row while it is measured


@dataclass(frozen=True)
class RowBudget:
    """What a machine computes of a model at a time.

    Attributes:
        rows: More gain no speed.
        memory: Bytes that all rows may take together, beside the weights.
    """

    rows: int
    memory: int

    def of_texts(self, tokens: int, bytes_per_token: int) -> int:
        """Rows of so many tokens each, at least one."""
        return max(1, min(self.rows, self.memory // (tokens * bytes_per_token)))


def row_budget(model: PreTrainedModel) -> RowBudget:
    """The budget of models of these sizes on this machine, measured where it is not remembered.

    Args:
        model: A decoder of a known family, in eval mode on its device.
    """
    path = store_root() / "budgets" / f"{combine_digests(_machine(model))}.json"
    try:
        kept = json.loads(path.read_text("utf-8"))
        return RowBudget(int(kept["rows"]), int(kept["memory"]))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s is damaged (%s): the batch size is measured anew", path, error)
    found = measure_budget(model)
    log.info("batch_size=auto: up to %d texts at a time, in %.1f GB", found.rows, found.memory / 1e9)
    try:
        save_text(path, json.dumps({**asdict(found), **_machine(model)}, indent=1) + "\n")
    except StoreError as error:  # another run measures it again
        log.warning("the batch size is not kept: %s", error)
    return found


@torch.no_grad()
def measure_budget(model: PreTrainedModel) -> RowBudget:
    """Measure, in seconds; see the head of this file."""
    memory = int(_SHARE * free_memory(model.device))
    held = RowBudget(_MOST, memory).of_texts(_CONTEXT, bytes_of_token(model))
    start, rows, best = time.perf_counter(), min(_FEWEST, held), 0.0
    _step(model, rows)  # the first pays for what is set up once
    while True:
        speed = rows / min(_step(model, rows) for _ in range(2))
        if speed < best * _GAIN:
            return RowBudget(rows // 2, memory)
        best = speed
        if 2 * rows > held or time.perf_counter() - start > _SECONDS:
            return RowBudget(rows, memory)
        rows *= 2


def _step(model: PreTrainedModel, rows: int) -> float:
    """Seconds of a step of decoding with so many rows."""
    cache = DynamicCache()
    shape = blocks.dims(model.config.get_text_config())
    past = torch.zeros(rows, shape.kv_heads, _CONTEXT, shape.head_dim, dtype=model.dtype, device=model.device)
    for layer in range(shape.layers):
        cache.update(past, past, layer)
    ids = torch.zeros(rows, 1, dtype=torch.long, device=model.device)
    mask = torch.ones(rows, _CONTEXT + 1, dtype=torch.long, device=model.device)
    begin = time.perf_counter()
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=ids + _CONTEXT,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    logits.argmax(-1).tolist()  # which waits for the device
    return time.perf_counter() - begin


def bytes_of_token(model: PreTrainedModel) -> int:
    """Of keys and values of one token in all layers, twice: slots move to larger memory as they grow."""
    shape = blocks.dims(model.config.get_text_config())
    return 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim * model.dtype.itemsize


def _machine(model: PreTrainedModel) -> dict[str, Any]:
    """What decides a budget: the model's sizes, and where it is computed."""
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else _processor()
    return {
        "sizes": asdict(blocks.dims(model.config.get_text_config())),
        "dtype": str(model.dtype),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()
