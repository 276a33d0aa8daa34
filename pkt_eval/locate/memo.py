"""Scores on disk: locating is a transfer's longest stage, and its result serves every run that locates alike.

An interrupted transfer goes on behind it, and LaTen's controls and other alignments share it.
"""

from collections.abc import Callable
from typing import Any

from pkt_eval._util import sources
from pkt_eval._util.kept import kept_tensors
from pkt_eval.locate.attribution import NeuronScores


def remembered(decided_by: dict[str, Any], compute: Callable[[], NeuronScores]) -> tuple[NeuronScores, bool]:
    """The scores from the store, or computed and stored.

    Args:
        decided_by: All that decides the scores, as JSON: model, tokens, options. Versions and our code are added.
        compute: Called if they are not there.

    Returns:
        The scores, on the CPU if they were there; and whether they were.
    """
    tensors, _, stored = kept_tensors(
        "scores", decided_by, lambda: (vars(compute()), {}), code=sources.LOCATION, packages=("torch", "transformers")
    )
    return NeuronScores(**tensors), stored
