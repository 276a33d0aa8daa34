"""Student = base model + weight edits + provenance: applied to a live model, saved, loaded.

On disk a student is a folder of formats that people already have tools for:

    pkt_student.json   provenance, and the sha256 of every other file
    adapter/           a PEFT LoRA adapter on the unchanged base (where there is a low-rank edit)
    located/           a safetensors of (block, rows or columns, δ) (where there is a located edit)
    merged/            an ordinary checkpoint with tokenizer and chat template (``pkt-eval transfer --out``)
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkt_eval._util.digests import combine_digests, file_digest
from pkt_eval.errors import MissingDataError, StoreError
from pkt_eval.models.edits import Edit, LocatedEdit, LowRankEdit

MANIFEST = "pkt_student.json"


@dataclass(frozen=True)
class Student:
    """What a transfer yields.

    Attributes:
        base: Path or hub name of the model that is edited. It is the student's base, except for ``method=teacher``.
        edits: Weight edits, at most one a parameter.
        chat_template: Jinja template of the format in which the transfer's data was written, or None for the base's
        own. provenance: JSON-able record of what decided this student, and of what happened (losses, seconds, memory).
    """

    base: str
    edits: tuple[Edit, ...] = ()
    chat_template: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_float32(self) -> bool:
        """Whether the edits would round away in 16 bits: located deltas are far below what bfloat16 tells apart."""
        return any(isinstance(edit, LocatedEdit) for edit in self.edits)

    def apply(self, model: Any) -> None:
        """Edit a loaded model's weights in place; ``device_map``, dtype and parallel layouts stay as they are.

        Raises:
            StoreError: The model lacks a parameter that is to be edited.
        """
        parameters = dict(model.named_parameters())
        for edit in self.edits:
            if edit.name not in parameters:
                raise StoreError(f"the base {self.base} has no parameter {edit.name}; this student is not for it")
            if parameters[edit.name].is_meta:  # copying onto it would be lost without a word
                raise StoreError(
                    f"{edit.name} is offloaded and cannot be edited in place: write the merged student by "
                    "`pkt-eval transfer … --out DIR`, and evaluate it as student=DIR"
                )
            edit.apply(parameters[edit.name])

    def weights_digest(self) -> str:
        """sha256 of the edits' names and values: two students with equal digests are the same model."""
        import hashlib

        parts = {}
        for edit in self.edits:
            for part, tensor in edit.tensors.items():
                data = tensor.detach().cpu().contiguous().numpy().tobytes()
                parts[f"{edit.name}.{part}"] = hashlib.sha256(data).hexdigest()
        return combine_digests(parts)

    def save(self, folder: Path | str, *, merged: bool = False) -> None:
        """Write the student into a new or empty folder.

        Args:
            folder: Where to.
            merged: Also write the whole edited checkpoint, loading the base for it.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if low_rank := [e for e in self.edits if isinstance(e, LowRankEdit)]:
            _save_adapter(self.base, low_rank, folder / "adapter")
        if located := [e for e in self.edits if isinstance(e, LocatedEdit)]:
            _save_located(located, folder / "located")
        if merged:
            _save_merged(self, folder / "merged")
        files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)
        manifest = {
            "base": self.base,
            "chat_template": self.chat_template,
            "provenance": self.provenance,
            "files": {f.relative_to(folder).as_posix(): file_digest(f) for f in files},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def load_student(folder: Path | str) -> Student:
    """Read a saved student back, checking every file against its sha256.

    Raises:
        MissingDataError: There is no student in the folder.
        StoreError: A file is missing, truncated or altered.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or file_digest(path) != digest:
            raise StoreError(f"{path} is {'altered or truncated' if path.is_file() else 'missing'}")
    edits: tuple[Edit, ...] = ()
    if (folder / "adapter").is_dir():
        edits += _load_adapter(folder / "adapter")
    if (folder / "located").is_dir():
        edits += _load_located(folder / "located")
    return Student(manifest["base"], edits, manifest["chat_template"], manifest["provenance"])


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The manifest of a saved student.

    Raises:
        MissingDataError: There is none.
        StoreError: It is no manifest.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise MissingDataError(f"{folder} holds no student: no {MANIFEST}. `pkt-eval transfer … --out DIR` writes one.")
    try:
        manifest = json.loads(path.read_text())
        _ = manifest["base"], manifest["chat_template"], manifest["provenance"], manifest["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a student's manifest ({error})") from None
    return manifest


def _save_adapter(base: str, edits: list[LowRankEdit], folder: Path) -> None:
    from peft import LoraConfig
    from safetensors.torch import save_file

    ranks = {edit.name.removesuffix(".weight"): edit.rank for edit in edits}
    rank = max(ranks.values())
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,  # the scale is inside B
        # Edits of other ranks are given theirs by pattern; PEFT matches patterns against the full module name.
        rank_pattern={name: r for name, r in ranks.items() if r != rank},
        alpha_pattern={name: r for name, r in ranks.items() if r != rank},
        target_modules=sorted(ranks),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        inference_mode=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tensors = {}
    for edit in edits:
        module = "base_model.model." + edit.name.removesuffix(".weight")
        tensors[f"{module}.lora_A.weight"] = edit.A.contiguous()
        tensors[f"{module}.lora_B.weight"] = edit.B.contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _load_adapter(folder: Path) -> tuple[LowRankEdit, ...]:
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    modules = sorted(k.removesuffix(".lora_A.weight") for k in tensors if k.endswith(".lora_A.weight"))
    return tuple(
        LowRankEdit(
            m.removeprefix("base_model.model.") + ".weight",
            tensors[f"{m}.lora_B.weight"],
            tensors[f"{m}.lora_A.weight"],
        )
        for m in modules
    )


def _save_located(edits: list[LocatedEdit], folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{edit.name}.{part}": t.contiguous() for edit in edits for part, t in edit.tensors.items()}
    save_file(tensors, folder / "edits.safetensors", metadata={"format": "pt"})


def _load_located(folder: Path) -> tuple[LocatedEdit, ...]:
    from safetensors.torch import load_file

    tensors = load_file(folder / "edits.safetensors")
    places = sorted(key for key in tensors if not key.endswith(".delta"))
    named = [(key, *key.rsplit(".", 1)) for key in places]
    return tuple(LocatedEdit(name, axis, tensors[key], tensors[f"{name}.delta"]) for key, name, axis in named)


def _save_merged(student: Student, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = "float32" if student.needs_float32 else "auto"
    model = AutoModelForCausalLM.from_pretrained(student.base, dtype=dtype)
    student.apply(model)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(student.base)
    set_chat_template(tokenizer, student.chat_template)
    tokenizer.save_pretrained(folder)


def set_chat_template(tokenizer: Any, template: str | None) -> None:
    """Give a tokenizer the student's chat template; None leaves the base's own."""
    if template is not None:
        tokenizer.chat_template = template
