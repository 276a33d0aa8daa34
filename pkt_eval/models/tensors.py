"""The tensors of safetensors files: which there are, by the headers alone, and each read by itself.

A header is not trusted: sizes are bounded before anything is allocated, and every offset is compared with the file. A
tensor is read into memory of its own and not mapped, so that what a process holds is what it asked for, and a thread
that reads does not keep the others waiting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NoReturn

from pkt_eval._util.json_files import read_json
from pkt_eval._util.lazy import torch
from pkt_eval.errors import DataError, IncompatiblePairError, MissingDataError

LARGEST_JSON = 2**26
"""Bytes. The largest index that we know of, of a model of 61 layers with 256 experts each, has 9 MB."""
_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}
#: Those that weights can be edited in.
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        path: The file.
        name: In it.
        dtype: As the header says it, e.g. ``BF16``.
        shape: Of the tensor.
        start: First byte of it in the file.
        stop: The one behind its last.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def count(self) -> int:
        """Its numbers."""
        return prod(self.shape)

    def read(self) -> torch.Tensor:
        """The tensor, on the CPU, in the file's dtype.

        Raises:
            DataError: The file has become shorter.
            IncompatiblePairError: It holds no floating-point numbers of 16 bits or more, as a quantised weight.
        """
        if self.dtype not in FLOATS:
            raise IncompatiblePairError(
                f"{self.path}: {self.name} is of dtype {self.dtype}; a transfer reads weights of 16, 32 or 64 bits. "
                "Give the checkpoint that it was quantised from."
            )
        size = self.stop - self.start
        if not size:
            return torch.empty(self.shape, dtype=getattr(torch, FLOATS[self.dtype]))
        content = torch.empty(size, dtype=torch.uint8)
        room = content.numpy().data
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            done = 0
            while done < size:  # a read gives 2 GB at most
                count = file.readinto(room[done:])
                if not count:
                    damaged(self.path, f"it ends within {self.name}")
                done += count
        return content.view(getattr(torch, FLOATS[self.dtype])).reshape(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """The tensors that a model of this folder is loaded from, by name: of the one file, or of those of the index.

    Raises:
        MissingDataError: There are no weights, or one of the files is missing.
        DataError: A file is damaged.
    """
    return {tensor.name: tensor for file in weight_files(folder) for tensor in header(file)}


def weight_files(folder: Path) -> list[Path]:
    """The files that a model of this folder is loaded from.

    Raises:
        MissingDataError: There are none, or the index names one that is not there.
        DataError: The index is damaged.
    """
    index = folder / _INDEX
    files = sorted(p for p in folder.glob("*.safetensors") if p.is_file())
    if not files:
        raise MissingDataError(
            f"{folder}: no *.safetensors here. pkt_eval reads no pickles: convert the model by "
            "AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)."
        )
    if (folder / _WHOLE).is_file():
        return [folder / _WHOLE]
    if not index.is_file():
        return files
    content = read_json(index, LARGEST_JSON)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f"{index} is no index: it needs weight_map, from tensors to files")
    if missing := sorted({*names.values()} - {file.name for file in files}):
        raise MissingDataError(f"{index} names {short(missing[0])}, which is not in the folder: fetch it, too")
    return sorted({folder / name for name in names.values()})


def header(path: Path) -> Iterator[StoredTensor]:
    """The tensors of a file, checked against its size.

    Raises:
        DataError: It is cut or damaged; names it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            damaged(path, f"its {size} bytes end before its header does")
        if length > LARGEST_JSON:
            damaged(path, f"a header of {length:,} bytes is more than any model has")
        text = file.read(length)
    try:
        content = json.loads(text)
        content.pop("__metadata__", None)
        tensors = {name: (t["dtype"], tuple(t["shape"]), *t["data_offsets"]) for name, t in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        damaged(path, "its header is no list of tensors")
    end, begin = 0, 8 + length
    for name, (dtype, shape, start, stop) in tensors.items():
        numbers = (*shape, start, stop)
        if dtype not in _BYTES or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
            damaged(path, f"tensor {short(name)} has dtype {short(dtype)} and shape {short(list(shape))}")
        count = _BYTES[dtype] * prod(shape)
        if stop - start != count or stop > size - begin:
            damaged(path, f"tensor {short(name)} is cut: the file has not the {count:,} bytes that it asks for")
        end = max(end, stop)
        yield StoredTensor(path, name, dtype, shape, begin + start, begin + stop)
    if end != size - begin:
        damaged(path, "it has other bytes than its header says")


def damaged(path: Path, how: str) -> NoReturn:
    """Raise the error of a file that is not what it should be."""
    raise DataError(f"{path} is damaged: {how}. Get it anew.")


def short(value: object) -> str:
    """A value of a file as it is shown in a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
