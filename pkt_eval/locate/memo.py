"""Scores on disk: locating is a transfer's longest stage, and its result serves every run that locates alike.

An interrupted transfer goes on behind it, and LaTen's controls and other alignments share it. A file lies under the
digest of all that decides its scores; one that is damaged is said and made anew.
"""

import importlib.metadata
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from pkt_eval._util import sources
from pkt_eval._util.digests import combine_digests
from pkt_eval._util.files import load_tensors, save_tensors
from pkt_eval._util.folders import store_root
from pkt_eval.errors import StoreError
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
    path = store_root() / "scores" / f"{combine_digests({**decided_by, **_software()})}.safetensors"
    if path.exists():
        try:
            scores = NeuronScores(**load_tensors(path)[0])
            log.info("attribution scores loaded from %s", path)
            return scores, True
        except (StoreError, TypeError) as error:
            log.warning("stored attribution scores %s are damaged (%s); they are made anew", path, error)
    scores = compute()
    try:
        save_tensors(path, vars(scores))
    except StoreError as error:  # nobody needs them but another transfer
        log.warning("the attribution scores are not kept: %s", error)
    return scores, False


@cache
def _software() -> dict[str, Any]:
    return {
        "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers")},
        "code": sources.digest(sources.LOCATION),
    }
