"""ModelSource: the one way to open a model, on disk or on the hub.

A path alone is not a model: the same hub name has revisions, and a folder may bring code of its own. So path, revision
and trust travel together, into everything that opens, digests or records a model.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from pkt_eval._util.devices import release_memory
from pkt_eval._util.digests import combine_digests, file_digest
from pkt_eval._util.hub import offline_if_unreachable
from pkt_eval._util.json_files import read_json
from pkt_eval._util.places import short_name
from pkt_eval.errors import IncompatiblePairError, MissingDataError, PKTError
from pkt_eval.models import blocks
from pkt_eval.models.soundness import check_folder, encoder_decoder

#: Files of a model's folder that loading does not read: what is not known to be harmless counts in a digest.
_NOT_READ = tuple(".md .png .jpg .jpeg .svg .pdf .bin .pt .pth .pkl .ckpt .h5 .msgpack .onnx .lock .tmp .log".split())
_NAMES_NOT_READ = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "trainer_state.json", "training.json")
#: Decides how an answer is generated, not what a transfer computes.
_GENERATION = "generation_config.json"
#: The chat templates of a model, besides the one that its tokenizer_config.json may hold.
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/")
_FROM_THE_HUB = ("*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.py", "*.tiktoken")


@dataclass(frozen=True)
class ModelSource:
    """One model on disk or on the hub: its configuration, tokenizer, weights and digest, each read when asked for.

    Attributes:
        path: Folder or hub name.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Whether code that comes with the model is run; off unless asked for.
    """

    path: str
    revision: str = "main"
    trust_remote_code: bool = False

    def __str__(self) -> str:
        return self.path

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: where the model is, and nothing that was read of it."""
        return {"path": self.path, "revision": self.revision, "trust_remote_code": self.trust_remote_code}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def arguments(self) -> dict[str, Any]:
        """What every ``from_pretrained`` of transformers is given besides the path."""
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return self.__getstate__()

    @classmethod
    def from_json(cls, content: str | Mapping[str, Any]) -> "ModelSource":
        """A source from a manifest; before version 2 it was the path alone."""
        if isinstance(content, str):
            return cls(content)
        return cls(str(content["path"]), str(content["revision"]), bool(content["trust_remote_code"]))

    def load(self, auto_class: Any, **kwargs: Any) -> Any:
        """``auto_class.from_pretrained`` of this model.

        Raises:
            MissingDataError: It cannot be opened; says why in one line, and what to give.
        """
        with self.named(auto_class), offline_if_unreachable(self.path):
            return auto_class.from_pretrained(self.path, **self.arguments, **kwargs)

    @contextmanager
    def named(self, auto_class: Any) -> Iterator[None]:
        """What a library says of this model: an error as one line of ours, for transformers raises whatever happens
        inside it, and on a bar whose weights are loaded.
        """
        try:
            with _named_bars(short_name(self.path)):
                yield
        except (PKTError, MemoryError):
            raise
        except Exception as error:
            if type(error).__name__ == "OutOfMemoryError":
                raise
            raise MissingDataError(
                f"cannot open the model {self.path!r} ({auto_class.__name__}): {said_by(error)} Give a "
                "folder with config.json and *.safetensors, or the name of a model on the hub that this machine can "
                "reach."
            ) from error

    def check(self) -> None:
        """Check a model's folder by its configuration and the headers of its weights, before any work; see
        ``soundness``. A hub's model is checked where it has been fetched.

        Raises:
            PKTError: It can be no model, or none that a transfer can edit; says why.
        """
        _ = self._checked

    @cached_property
    def _checked(self) -> bool:
        if folder := self._local:
            check_folder(folder)
        return True

    @property
    def _local(self) -> Path | None:
        """The folder that the path names, if it names one."""
        try:
            return folder if (folder := Path(self.path)).is_dir() else None
        except OSError:  # too long for a path, so no name on the hub either
            return None

    @cached_property
    def config(self) -> Any:
        """The transformers configuration."""
        from transformers import AutoConfig

        self.check()
        config = self.load(AutoConfig)
        if getattr(config, "is_encoder_decoder", False):  # which need not stand in the file
            raise encoder_decoder(self.path, config.model_type)
        return config

    @cached_property
    def dims(self) -> blocks.Dims:
        """The model's sizes."""
        return blocks.dims(self.config)

    @cached_property
    def stored_dtype(self) -> str:
        """Name of the checkpoint's dtype, by its ``config.json``; where that names none, by transformers' defaults."""
        self.check()
        config = read_json(self.folder / "config.json")
        said = isinstance(config, dict) and (config.get("dtype") or config.get("torch_dtype"))
        return str(said or getattr(self.config, "dtype", None) or "float32").removeprefix("torch.")

    @cached_property
    def tokenizer(self) -> Any:
        """A fresh tokenizer, with the chat template that the model ships."""
        from transformers import AutoTokenizer

        self.check()
        tokenizer = self.load(AutoTokenizer)
        if (
            end := tokenizer.eos_token_id
        ) is not None and end >= self.dims.vocab:  # transformers adds what is not there
            raise MissingDataError(
                f"the tokenizer of {self.path} has no token {tokenizer.eos_token!r}, its eos_token, among the "
                f"{self.dims.vocab:,} of the model: name the one that ends an answer in its tokenizer_config.json"
            )
        return tokenizer

    @cached_property
    def folder(self) -> Path:
        """The model's folder; that of a hub's model is its snapshot, fetched where it is not there.

        Raises:
            MissingDataError: There is no such folder, and the hub does not give the model.
        """
        if folder := self._local:
            return folder
        from huggingface_hub import snapshot_download

        try:
            with offline_if_unreachable(self.path):
                return Path(snapshot_download(self.path, revision=self.revision, allow_patterns=list(_FROM_THE_HUB)))
        except Exception as error:  # the hub's client raises a dozen unrelated types here
            raise MissingDataError(
                f"cannot find the model {self.path!r}: it is no folder, and the hub does not give it "
                f"({type(error).__name__}). Give a folder, or check the name and the network."
            ) from error

    @cached_property
    def files(self) -> dict[str, Path]:
        """All files that loading reads, by name: configuration, weights, tokenizer, templates, code.

        Raises:
            MissingDataError: There are no safetensors weights.
        """
        self.check()
        # The last is what a model that may bring code of its own answers with.
        below = ("additional_chat_templates/*.jinja", "custom_generate/*.py")
        within = [*self.folder.iterdir(), *(path for pattern in below for path in self.folder.glob(pattern))]
        read = {
            path.relative_to(self.folder).as_posix(): path
            for path in within
            if path.is_file()
            and not path.name.startswith(".")
            and not path.name.lower().endswith(_NOT_READ)
            and not path.name.startswith(_NAMES_NOT_READ)
        }
        if not any(name.endswith(".safetensors") for name in read):
            raise MissingDataError(
                f"{self.path}: no *.safetensors here. pkt_eval reads no pickles: convert the model by "
                "AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)."
            )
        return dict(sorted(read.items()))

    @cached_property
    def digest(self) -> str:
        """sha256 over names and contents of ``files``: of all that decides an answer of this model.

        Large files are read once and remembered by size and mtime.
        """
        return combine_digests({name: file_digest(path) for name, path in self.files.items()})

    @cached_property
    def transfer_digest(self) -> str:
        """sha256 over those of ``files`` that decide a transfer.

        Its text is written by the template of the recipe, which counts as it was rendered; how answers are generated
        decides none.
        """
        counted = {n: p for n, p in self.files.items() if n != _GENERATION and not n.startswith(_TEMPLATES)}
        return combine_digests({name: file_digest(path) for name, path in counted.items()})

    @cached_property
    def tokenizer_digest(self) -> str:
        """sha256 over those of ``files`` that may decide its tokenizer and chat template: all but the weights."""
        counted = {n: p for n, p in self.files.items() if not n.endswith(".safetensors")}
        return combine_digests({name: file_digest(path) for name, path in counted.items()})

    def weights(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        """Parameters by name, as they are in the files.

        Raises:
            MissingDataError: A file lacks one.
        """
        from safetensors import safe_open

        missing = set(names)
        for path in self.files.values():
            if path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    for name in sorted(missing & set(file.keys())):
                        yield name, file.get_tensor(name)
                        missing.discard(name)
        if missing:
            raise MissingDataError(f"{self.path} has no weights {', '.join(sorted(missing))}")

    def model(self, dtype: Any) -> Any:
        """The model itself, whole, on the CPU, in eval mode; see ``open``.

        Args:
            dtype: ``torch.dtype``, or ``"auto"`` for the checkpoint's own.

        Raises:
            MissingDataError: It cannot be opened, lacks a tensor, or has one too many; names it.
        """
        from transformers import AutoModelForCausalLM

        return self.load(CheckedLoading(AutoModelForCausalLM, self), dtype=dtype).eval()

    @contextmanager
    def open(self, dtype: Any, device: str = "cpu") -> Iterator[Any]:
        """Load the model for the body of a ``with``, in eval mode, and free it afterwards."""
        model = self.model(dtype).to(device)
        try:
            yield model
        finally:
            # The caller's name still points at the module: empty it, so that its memory is free when we return.
            model.to("meta")
            del model
            release_memory()


class CheckedLoading:
    """An auto class of transformers whose models are what their checkpoint says, or are refused.

    transformers fills a missing tensor at random, drops one too many, and loads NaN: all of that would be scored.

    Args:
        auto_class: Such as ``AutoModelForCausalLM``.
        source: Of the model, for messages.
    """

    def __init__(self, auto_class: Any, source: ModelSource) -> None:
        self.auto_class, self.source = auto_class, source
        self.__name__ = auto_class.__name__

    def from_pretrained(self, *args: Any, **kwargs: Any) -> Any:
        """As the auto class's.

        Raises:
            IncompatiblePairError: The weights are not those of the configuration, or are no numbers; names the tensors.
        """
        _ = self.source.config  # refuses what is no decoder, before its tensors are missed
        kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # which are then named by us
        with self.source.named(self.auto_class):
            model, loaded = self.auto_class.from_pretrained(*args, **kwargs)
        for key, what in WRONG.items():
            if names := sorted(t[0] if isinstance(t, tuple | list) else str(t) for t in loaded.get(key) or ()):
                refuse(self.source, what, names)
        check_finite(model, self.source)
        return model


@contextmanager
def _named_bars(name: str) -> Iterator[None]:
    """transformers' bars say of which model they are."""
    from transformers.utils import logging as theirs

    def named(make: Callable[..., Any], args: tuple[Any, ...], how: dict[str, Any]) -> Any:
        return make(*args, **how | {"desc": f"{how.get('desc') or 'Loading'} of {name}"})

    before = theirs.set_tqdm_hook(named)
    try:
        yield
    finally:
        theirs.set_tqdm_hook(before)


def said_by(error: Exception) -> str:
    """The first line of an error, the next one too where it ends in a colon, or what a name was not found for."""
    if isinstance(error, KeyError):
        return f"transformers finds nothing under {error}."
    lines = [*str(error).splitlines(), ""]
    return (f"{lines[0]} {lines[1].strip()}" if lines[0].endswith(":") else lines[0]) or repr(error)


def check_finite(model: Any, source: ModelSource) -> None:
    """Check that a loaded model's weights are numbers.

    Raises:
        IncompatiblePairError: Some are NaN or infinite; names the tensors.
    """
    if names := [name for name, p in model.named_parameters() if not finite(p)]:
        refuse(source, "has numbers that are none (NaN or infinite) in", names)


def refuse(source: ModelSource, what: str, names: list[str]) -> NoReturn:
    """Raise the error of a model whose weights are not what they should be."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    raise IncompatiblePairError(
        f"the model {source} {what} {', '.join(names[:3])}{more}. Get the checkpoint anew, or mend its config.json."
    )


WRONG = {
    "missing_keys": "lacks tensors that its config.json asks for:",
    "unexpected_keys": "has tensors that its config.json has no place for:",
    "mismatched_keys": "has tensors of another shape than its config.json asks for:",
}


def finite(parameter: Any) -> bool:
    """Whether all are numbers, in one pass and without a copy: the extremes of a tensor with a NaN are NaN."""
    import torch

    if parameter.is_meta or not parameter.is_floating_point() or not parameter.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(parameter.detach()))).all())
