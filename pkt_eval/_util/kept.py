"""What took long and is the same for others: kept under the digest of all that decides it.

A transfer that was interrupted goes on behind it, and methods, rates and seeds share it. What is damaged is said and
made anew; what cannot be written is said and done without, since nobody needs it but another transfer.
"""

import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkt_eval._util import sources
from pkt_eval._util.digests import combine_digests
from pkt_eval._util.files import load_tensors, save_tensors, save_text
from pkt_eval._util.folders import store_root
from pkt_eval._util.progress import Progress
from pkt_eval.errors import StoreError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def kept_tensors(
    room: str,
    decided_by: Mapping[str, Any],
    make: "Callable[[], tuple[Mapping[str, torch.Tensor], dict[str, Any]]]",
    *,
    code: tuple[str, ...],
    packages: tuple[str, ...] = ("torch", "transformers", "peft"),
    progress: Progress | None = None,
) -> "tuple[dict[str, torch.Tensor], dict[str, Any], bool]":
    """Tensors and their record from the store, or made and stored.

    Args:
        room: Folder of the store; what is in it is of one kind.
        decided_by: All that decides them, as JSON: models, tokens, options.
        make: Called if they are not there.
        code: Our sources that decide them; see ``sources``.
        packages: Whose versions decide them.
        progress: Is told what passes through models making them cost, or had cost: so that the account of a transfer
            does not hang on what was there.

    Returns:
        The tensors, on the CPU if they were there; their record; and whether they were there.
    """
    versions = {package: importlib.metadata.version(package) for package in packages}
    name = combine_digests({**decided_by, "versions": versions, "code": sources.digest(code)})
    path = store_root() / room / f"{name}.safetensors"
    if path.exists():
        try:
            tensors, metadata = load_tensors(path)
            record, passes = metadata["record"], metadata["passes"]
            log.info("%s loaded from %s", room, path)
            for role, amounts in passes.items():
                if progress:
                    progress.count_passes(role, amounts)
            return tensors, record, True
        except (StoreError, KeyError) as error:
            log.warning("stored %s %s are damaged (%s); they are made anew", room, path, error)
    before = deepcopy(progress.passes) if progress else {}
    made, record = make()
    spent = {
        role: {name: amount - before.get(role, {}).get(name, 0) for name, amount in amounts.items()}
        for role, amounts in (progress.passes if progress else {}).items()
    }
    try:
        save_tensors(path, made, record=record, passes=spent)
    except StoreError as error:
        log.warning("the %s are not kept: %s", room, error)
    return dict(made), record, False


class KeptAnswers:
    """Measurements by name in one JSON file: those that are there are not taken again.

    Args:
        path: The file; None keeps nothing.
        save: Called before it is written.
    """

    def __init__(self, path: Path | None, save: Callable[[], None]) -> None:
        self._path, self._save = path, save
        self._found: dict[str, dict[str, Any]] = {}
        if path and path.exists():
            try:
                self._found = dict(json.loads(path.read_text("utf-8")))
            except (OSError, ValueError, TypeError) as error:
                log.warning("%s is damaged (%s): what it says is measured anew", path, error)

    def get(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is known of a key, or is measured now."""
        if key not in self._found:
            self._found[key] = measure()
            if self._path:
                self._save()
                save_text(self._path, json.dumps(self._found))
        return self._found[key]
