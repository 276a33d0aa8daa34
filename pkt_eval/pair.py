"""ModelPair: the teacher and the student's base, opened lazily and never together unless a method says so."""

import ctypes
import gc
import hashlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from pkt_eval import blocks
from pkt_eval.errors import IncompatiblePairError, MissingDataError
from pkt_eval.files import save_text

log = logging.getLogger(__name__)

_WEIGHTS = (".safetensors", ".safetensors.index.json")


def store_root() -> Path:
    """Where transferred students and file digests are kept: ``PKT_EVAL_STORE``, else the user's cache folder."""
    root = os.environ.get("PKT_EVAL_STORE")
    if root:
        return Path(root).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "pkt_eval"


def native_dtype(stored: Any, device: str) -> Any:
    """The dtype to compute in: the checkpoint's own where the hardware has it, else float32.

    A CPU without bf16 instructions runs bf16 matrix products 3 to 130 times slower than fp32, and no CPU that we know
    of gains from fp16 (whose gradients underflow besides).

    Args:
        stored: ``torch.dtype`` of the checkpoint.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:0"``, ``"mps"`` …

    Returns:
        ``torch.dtype``
    """
    import torch

    if not str(device).startswith("cpu"):
        return stored
    fast_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if stored == torch.bfloat16 and fast_bf16 else torch.float32


class ModelSource:
    """One model on disk or on the hub: its configuration, tokenizer, weights and digest, each read when asked for.

    Args:
        path: Folder or hub name.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Passed to transformers; off unless asked for.
    """

    def __init__(self, path: str, *, revision: str = "main", trust_remote_code: bool = False) -> None:
        self.path = str(path)
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def __str__(self) -> str:
        return self.path

    def _load(self, auto_class: Any, **kwargs: Any) -> Any:
        try:
            return auto_class.from_pretrained(
                self.path, revision=self.revision, trust_remote_code=self.trust_remote_code, **kwargs
            )
        except (OSError, ValueError) as error:
            first = next(iter(str(error).splitlines()), repr(error))
            raise MissingDataError(
                f"cannot open the model {self.path!r} ({auto_class.__name__}): {first} Give a folder with config.json "
                "and *.safetensors, or the name of a model on the hub that this machine can reach."
            ) from error

    @cached_property
    def config(self) -> Any:
        """The transformers configuration."""
        from transformers import AutoConfig

        return self._load(AutoConfig)

    @cached_property
    def dims(self) -> blocks.Dims:
        """The model's sizes."""
        return blocks.dims(self.config)

    @cached_property
    def tokenizer(self) -> Any:
        """A fresh tokenizer, with the chat template that the model ships."""
        from transformers import AutoTokenizer

        return self._load(AutoTokenizer)

    @cached_property
    def files(self) -> list[Path]:
        """The files that decide what the model computes: config, weights, tokenizer."""
        folder = Path(self.path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            try:
                folder = Path(
                    snapshot_download(
                        self.path,
                        revision=self.revision,
                        allow_patterns=["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"],
                    )
                )
            except Exception as error:  # the hub's client raises a dozen unrelated types here
                raise MissingDataError(
                    f"cannot find the model {self.path!r}: it is no folder, and the hub does not give it "
                    f"({type(error).__name__}). Give a folder, or check the name and the network."
                ) from error
        wanted = [
            f
            for f in folder.iterdir()
            if f.name in ("config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
            or f.name.endswith(_WEIGHTS)
        ]
        if not any(f.suffix == ".safetensors" for f in wanted):
            raise MissingDataError(
                f"{self.path}: no *.safetensors here. pkt_eval reads no pickles: convert the model by "
                "AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)."
            )
        return sorted(wanted)

    @cached_property
    def digest(self) -> str:
        """sha256 over names and contents of ``files``; large files are read once and remembered by size and mtime."""
        return combine_digests({f.name: file_digest(f) for f in self.files})

    def weights(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Parameters by name, as they are in the files.

        Raises:
            MissingDataError: A file lacks one.
        """
        from safetensors import safe_open

        missing = set(names)
        for path in self.files:
            if path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    for name in sorted(missing & set(file.keys())):
                        yield name, file.get_tensor(name)
                        missing.discard(name)
        if missing:
            raise MissingDataError(f"{self.path} has no weights {', '.join(sorted(missing))}")

    @contextmanager
    def open(self, dtype: Any, device: str = "cpu") -> Iterator[Any]:
        """Load the model for the body of a ``with``, in eval mode, and free it afterwards."""
        from transformers import AutoModelForCausalLM

        model = self._load(AutoModelForCausalLM, dtype=dtype).to(device).eval()
        try:
            yield model
        finally:
            # The caller's name still points at the module: empty it, so that its memory is free when we return.
            model.to("meta")
            del model
            release_memory()


def release_memory() -> None:
    """Give freed memory back, so that what comes next does not pile on top of it.

    Training leaves gigabytes of freed blocks with glibc, which keeps them unless told otherwise.
    """
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another libc has neither the file nor the function
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def combine_digests(parts: dict[str, Any]) -> str:
    """sha256 of a JSON-able mapping in canonical form (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's content.

    A hub snapshot links to blobs that are named by their sha256; other files over 1 MB are remembered in the store by
    resolved path, size, inode and modification time in nanoseconds, so that a 3 GB model is hashed once.
    """
    real = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", real.name) and real.parent.name == "blobs":
        return real.name
    stat = real.stat()
    if stat.st_size < 1 << 20:
        return hashlib.sha256(real.read_bytes()).hexdigest()
    key = combine_digests({"f": [str(real), stat.st_size, stat.st_ino, stat.st_mtime_ns]})
    memo = store_root() / "digests" / key
    if memo.exists() and len(found := memo.read_text()) == 64:
        return found
    with real.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256") if hasattr(hashlib, "file_digest") else _chunked(f)
    if time.time() - stat.st_mtime < 2:
        # A write within the clock's granularity after this one would leave the same time: do not remember yet.
        return digest.hexdigest()
    save_text(memo, digest.hexdigest())
    return digest.hexdigest()


def _chunked(f: Any) -> Any:
    """``hashlib.file_digest`` for Python 3.10."""
    digest = hashlib.sha256()
    while chunk := f.read(1 << 22):
        digest.update(chunk)
    return digest


class ModelPair:
    """A teacher and the base of its student.

    Args:
        teacher: Source of the teacher, or None for methods that need none.
        student: Source of the student's base.
        device: Where transfers compute.
        dtype: ``"auto"`` (see ``native_dtype``) or a torch dtype's name.
    """

    def __init__(
        self, teacher: ModelSource | None, student: ModelSource, *, device: str = "cpu", dtype: str = "auto"
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.device = device
        self._dtype = dtype

    def dtype(self, source: ModelSource) -> Any:
        """The ``torch.dtype`` in which a transfer computes with this model."""
        import torch

        if self._dtype != "auto":
            return getattr(torch, self._dtype)
        stored = getattr(source.config, "dtype", None) or torch.float32
        # Gradients underflow in fp16 on every device, so an fp16 checkpoint is transferred in fp32.
        return native_dtype(torch.float32 if stored == torch.float16 else stored, self.device)

    @contextmanager
    def open_teacher(self) -> Iterator[Any]:
        """The teacher's model for the body of a ``with``."""
        with self.teacher.open(self.dtype(self.teacher), self.device) as model:
            yield model

    @contextmanager
    def open_student(self) -> Iterator[Any]:
        """The student's base for the body of a ``with``."""
        with self.student.open(self.dtype(self.student), self.device) as model:
            yield model

    def check(self) -> None:
        """Check that blocks can go from this teacher to this student.

        Raises:
            IncompatiblePairError: Unknown family, unlike tokenizers, or a teacher smaller than the student. The message
                names both sides and what to do.
        """
        names = dict(teacher_name=str(self.teacher), student_name=str(self.student))
        for role, source in (("teacher", self.teacher), ("student", self.student)):
            try:
                _ = source.dims
            except IncompatiblePairError as error:
                raise IncompatiblePairError(
                    f"{error} ({role} of the pair teacher={self.teacher}, student={self.student})"
                ) from None
        blocks.check_fits(self.teacher.dims, self.student.dims, **names)
        theirs, ours = (s.tokenizer.get_vocab() for s in (self.teacher, self.student))
        if theirs != ours:
            unlike = sorted(t for t in theirs.keys() | ours.keys() if theirs.get(t) != ours.get(t))
            raise IncompatiblePairError(
                f"teacher {self.teacher} and student {self.student} have different tokenizers ({len(theirs)} and "
                f"{len(ours)} tokens, {len(unlike)} unlike, e.g. {unlike[0]!r}). Blocks mean the same only over one "
                "vocabulary: choose a pair from one family."
            )
