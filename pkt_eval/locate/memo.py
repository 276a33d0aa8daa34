"""Scores on disk: locating is a transfer's longest stage, and its result serves every run that locates alike.

An interrupted transfer goes on behind it, and LaTen's controls and other alignments share it. A file lies under the
digest of all that decides its scores; one that is damaged is said and made anew.
"""

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from pkt_eval._util import sources
from pkt_eval._util.digests import combine_digests
from pkt_eval._util.files import save_tensors
from pkt_eval._util.folders import store_root
from pkt_eval.locate.attribution import NeuronScores

log = logging.getLogger(__name__)


def remembered(decided_by: dict[str, Any], compute: Callable[[], NeuronScores]) -> tuple[NeuronScores, bool]:
    """The scores from the store, or computed and stored.

    Args:
        decided_by: All that decides the scores, as JSON: model, tokens, options. Versions and our code are added.
        compute: Called if they are not there.

    Returns:
        The scores, on the CPU if they were there; and whether they were.
    """
    from safetensors import SafetensorError, safe_open

    path = store_root() / "scores" / f"{combine_digests({**decided_by, **_software()})}.safetensors"
    if path.is_file():
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                if json.loads((file.metadata() or {}).get("sha256", "null")) != _digest(tensors):
                    raise SafetensorError("the checksum is another")
            log.info("attribution scores loaded from %s", path)
            return NeuronScores(**tensors), True
        except (SafetensorError, TypeError, ValueError) as error:
            log.warning("stored attribution scores %s are damaged (%s); they are made anew", path, error)
    scores = compute()
    tensors = {name: t.cpu().contiguous() for name, t in vars(scores).items()}
    save_tensors(path, tensors, sha256=_digest(tensors))
    return scores, False


def _digest(tensors: dict[str, Any]) -> str:
    parts = {name: hashlib.sha256(t.numpy().tobytes()).hexdigest() for name, t in tensors.items()}
    return combine_digests(parts)


@cache
def _software() -> dict[str, Any]:
    return {
        "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers")},
        "code": sources.digest(sources.LOCATION),
    }
