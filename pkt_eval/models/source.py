"""ModelSource: the one way to open a model, on disk or on the hub."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pkt_eval._util.devices import release_memory
from pkt_eval._util.digests import combine_digests, file_digest
from pkt_eval.errors import MissingDataError
from pkt_eval.models import blocks

_WEIGHTS = (".safetensors", ".safetensors.index.json")


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
