"""Student = base model + weight edits + provenance: applied to a live model, saved, loaded.

On disk a student is a folder of formats that people already have tools for:

    pkt_student.json   provenance, and the sha256 of every other file and its own
    adapter/           a PEFT LoRA adapter on the unchanged base (where there is a low-rank edit)
    located/           a safetensors of (block, rows or columns, δ) (where there is a located edit)
    dense/             a safetensors of δ (where there is a dense edit)
    merged/            an ordinary checkpoint with tokenizer and chat template (``pkt-eval transfer --out``)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkt_eval._util.devices import default_device, native_dtype
from pkt_eval._util.digests import combine_digests, file_digest
from pkt_eval.errors import MissingDataError, StoreError
from pkt_eval.models import blocks, card
from pkt_eval.models.beside import Beside
from pkt_eval.models.edits import DenseEdit, DoraEdit, Edit, LocatedEdit, LowRankEdit
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource

MANIFEST = "pkt_student.json"
_CHECKSUM = "sha256"  # of the manifest without it
_MAGNITUDE = ".lora_magnitude_vector"  # as peft names DoRA's
LOST = 0.01
"""Share of an edit (Frobenius) that may be lost by merging; beyond it edits act beside the weights."""


@dataclass(frozen=True)
class Student:
    """What a transfer yields.

    Attributes:
        base: The model that is edited. It is the student's base, except for ``method=teacher``.
        edits: Weight edits, at most one a parameter.
        chat_template: Jinja template in which the transfer's data was written, or None for the base's own.
        record: The method's own account of what happened: losses, steps, places; JSON-able.
        provenance: What decided this student; None until a transfer has made it whole.
    """

    base: ModelSource
    edits: tuple[Edit, ...] = ()
    chat_template: str | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = None

    def lost(self, model: Any) -> float:
        """Share of the edits (Frobenius) that merging into a model's weights would round away.

        Raises:
            StoreError: The model lacks a parameter that is to be edited.
        """
        lost = size = 0.0
        for edit, parameter in self._places(model):
            one, whole = edit.lost(parameter)
            lost, size = lost + one, size + whole
        return float((lost / size) ** 0.5) if size else 0.0

    def apply(self, model: Any) -> None:
        """Merge the edits into a loaded model's weights; ``device_map``, dtype and parallel layouts stay as they are.

        A model whose output embedding is edited and tied to the input's gets one of its own.

        Raises:
            StoreError: The model lacks a parameter that is to be edited.
        """
        if any(edit.name == blocks.HEAD for edit in self.edits):
            blocks.untie(model)
        for edit, parameter in self._places(model):
            edit.apply(parameter)

    def attach(self, model: Any) -> Beside:
        """Put the edits beside a loaded model's weights, which stay as they are.

        Returns:
            The edits in force; ``remove`` ends them.

        Raises:
            StoreError: The model lacks a parameter that is to be edited.
        """
        return Beside(model, self.edits)

    def _places(self, model: Any) -> list[tuple[Edit, Any]]:
        parameters = dict(model.named_parameters(remove_duplicate=False))  # a tied head has its name, too
        for edit in self.edits:
            if edit.name not in parameters:
                raise StoreError(f"the base {self.base} has no parameter {edit.name}; this student is not for it")
            if parameters[edit.name].is_meta:  # copying onto it would be lost without a word
                raise StoreError(
                    f"{edit.name} is offloaded and cannot be edited in place: write the merged student by "
                    "`pkt-eval transfer … --out DIR`, and evaluate it as student=DIR"
                )
        return [(edit, parameters[edit.name]) for edit in self.edits]

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
            merged: Also write the whole edited checkpoint, loading the base for it: in the base's own dtype, or in
                float32 where that one would lose over a hundredth of the edits, or where this machine evaluates the
                student in float32, so that ``hf`` does, too.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if low_rank := [e for e in self.edits if isinstance(e, LowRankEdit | DoraEdit)]:
            _save_adapter(self.base, low_rank, folder / "adapter")
        for kind, room in ((LocatedEdit, "located"), (DenseEdit, "dense")):
            if edits := [e for e in self.edits if isinstance(e, kind)]:
                _save_tensors(edits, folder / room)
        manifest: dict[str, Any] = {
            "base": self.base.to_json(),
            "chat_template": self.chat_template,
            "provenance": self.provenance.to_json() if self.provenance else None,
            "record": None if self.provenance else dict(self.record),
        }
        if merged:
            manifest["merged"] = _save_merged(self, folder / "merged")
        files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)
        card.save_card(folder, self.base, self.provenance)
        manifest["files"] = {f.relative_to(folder).as_posix(): file_digest(f) for f in files}
        manifest = json.loads(json.dumps(manifest))  # as it will be read
        manifest[_CHECKSUM] = combine_digests(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def load_student(folder: Path | str) -> Student:
    """Read a saved student back, checking every file against its sha256. Files that are not listed are not read.

    Raises:
        MissingDataError: There is no student in the folder.
        StoreError: A file is missing, truncated or altered.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or file_digest(path, remember=False) != digest:
            raise StoreError(f"{path} is {'altered or truncated' if path.is_file() else 'missing'}")
    edits: tuple[Edit, ...] = ()
    for name, load in _READERS.items():
        if name in manifest["files"]:
            edits += load(folder / name)
    provenance = Provenance.from_json(manifest["provenance"]) if manifest["provenance"] is not None else None
    return Student(
        ModelSource.from_json(manifest["base"]),
        edits,
        manifest["chat_template"],
        provenance.record if provenance else manifest.get("record") or {},
        provenance,
    )


def check_listed(folder: Path | str, part: Path) -> None:
    """Check that a part of a saved student holds no file that its manifest does not list: loading would read it.

    Raises:
        StoreError: There is one; names it.
    """
    listed = read_manifest(folder)["files"]
    for file in sorted(part.rglob("*")):
        name = file.relative_to(folder).as_posix()
        # A folder that is a link is not looked into here, but is by who loads the checkpoint.
        if (file.is_symlink() or not file.is_dir()) and name not in listed:
            raise StoreError(f"{file} is no part of this student: its {MANIFEST} does not list it. Remove it.")


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
        ModelSource.from_json(manifest["base"])
        said = manifest.get(_CHECKSUM)  # which manifests of before had not
        if said is not None and said != combine_digests({k: v for k, v in manifest.items() if k != _CHECKSUM}):
            raise ValueError("it was altered: its checksum is another")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is not a student's manifest ({error})") from None
    return manifest


def two_dtypes(folder: Path | str, device: str) -> str:
    """What to know before scores of ``student=FOLDER`` and of ``hf`` on its merged checkpoint are compared.

    ``hf`` computes in the dtype that the checkpoint is written in; a student, like every other student of its base and
    like vanilla, in the base's own where the device is fast in it. Answers differ between dtypes, as vanilla's do.

    Args:
        folder: A saved student.
        device: Where it is evaluated, e.g. ``"cpu"``.

    Returns:
        A sentence, or nothing where both compute in one dtype, or there is no merged checkpoint.
    """
    manifest = read_manifest(folder)
    theirs = (manifest.get("merged") or {}).get("dtype")
    if theirs is None:
        return ""
    base = ModelSource.from_json(manifest["base"])
    ours = native_dtype(base.stored_dtype, device)
    if ours == theirs:
        return ""
    return (
        f"student={folder} computes in {ours}, as all students of its base do, and hf on {folder}/merged in {theirs}, "
        "in which that is written, so that some answers differ. dtype=float32 in both gives one score"
    )


def _save_adapter(base: ModelSource, edits: list[LowRankEdit | DoraEdit], folder: Path) -> None:
    from peft import LoraConfig
    from safetensors.torch import save_file

    if len({type(edit) for edit in edits}) > 1:
        raise StoreError("a student's products are all DoRA's or all LoRA's: peft has one switch for an adapter")
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
        use_dora=isinstance(edits[0], DoraEdit),
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base.path,
        revision=base.revision,
        inference_mode=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tensors = {}
    for edit in edits:
        module = "base_model.model." + edit.name.removesuffix(".weight")
        tensors[f"{module}.lora_A.weight"] = edit.A.contiguous()
        tensors[f"{module}.lora_B.weight"] = edit.B.contiguous()
        if isinstance(edit, DoraEdit):
            tensors[f"{module}{_MAGNITUDE}"] = edit.magnitude.contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _load_adapter(path: Path) -> tuple[LowRankEdit | DoraEdit, ...]:
    from safetensors.torch import load_file

    tensors = load_file(path)
    edits: list[LowRankEdit | DoraEdit] = []
    for module in sorted(k.removesuffix(".lora_A.weight") for k in tensors if k.endswith(".lora_A.weight")):
        name = module.removeprefix("base_model.model.") + ".weight"
        factors = tensors[f"{module}.lora_B.weight"], tensors[f"{module}.lora_A.weight"]
        magnitude = tensors.get(f"{module}{_MAGNITUDE}")
        edits.append(LowRankEdit(name, *factors) if magnitude is None else DoraEdit(name, *factors, magnitude))
    return tuple(edits)


def _save_tensors(edits: Sequence[Edit], folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{edit.name}.{part}": t.contiguous() for edit in edits for part, t in edit.tensors.items()}
    save_file(tensors, folder / "edits.safetensors", metadata={"format": "pt"})


def _load_located(path: Path) -> tuple[LocatedEdit, ...]:
    from safetensors.torch import load_file

    tensors = load_file(path)
    places = sorted(key for key in tensors if not key.endswith(".delta"))
    named = [(key, *key.rsplit(".", 1)) for key in places]
    return tuple(LocatedEdit(name, axis, tensors[key], tensors[f"{name}.delta"]) for key, name, axis in named)


def _load_dense(path: Path) -> tuple[DenseEdit, ...]:
    from safetensors.torch import load_file

    return tuple(DenseEdit(key.removesuffix(".dense"), delta) for key, delta in sorted(load_file(path).items()))


_READERS = {
    "adapter/adapter_model.safetensors": _load_adapter,
    "located/edits.safetensors": _load_located,
    "dense/edits.safetensors": _load_dense,
}


def _save_merged(student: Student, folder: Path) -> dict[str, Any]:
    """Write the merged checkpoint; returns its dtype and how much of the edits it holds."""
    import torch

    model = student.base.model("auto")
    lost = student.lost(model)
    slow = native_dtype(student.base.stored_dtype, default_device()) == "float32"
    if (slow or lost > LOST) and model.dtype != torch.float32:
        model = student.base.model(torch.float32)
        lost = student.lost(model)
    student.apply(model)
    model.save_pretrained(folder)
    tokenizer = student.base.tokenizer
    set_chat_template(tokenizer, student.chat_template)
    tokenizer.save_pretrained(folder)
    # A share below what float32 tells apart would differ from processor to processor.
    return {"dtype": str(model.dtype).removeprefix("torch."), "edit_held": round(1 - lost, 6)}


def set_chat_template(tokenizer: Any, template: str | None) -> None:
    """Give a tokenizer the student's chat template; None leaves the base's own."""
    if template is not None:
        tokenizer.chat_template = template
