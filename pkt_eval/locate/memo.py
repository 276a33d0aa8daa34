"""Scores on disk: locating is a transfer's longest stage, and its result serves every run that locates alike.

An interrupted transfer goes on behind it, and LaTen's controls and other alignments share it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
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


def remembered_sets(
    decided_by: Sequence[dict[str, Any]], compute: Callable[[Sequence[int]], list[NeuronScores]], *, together: bool
) -> tuple[list[NeuronScores], bool]:
    """``remembered`` of several sets of samples.

    Args:
        decided_by: Of each set.
        compute: Is called with the numbers of sets that are not there.
        together: Call it once with all of them, since that is cheaper; else with one at a time, and keep each at once.

    Returns:
        The scores of each set, and whether all were there.
    """
    found: dict[int, NeuronScores] = {}
    for number, of_set in enumerate(decided_by):
        with suppress(_NotThereError):
            found[number], _ = remembered(of_set, _not_there)
    missing = [number for number in range(len(decided_by)) if number not in found]
    for numbers in [missing] * bool(missing) if together else [[number] for number in missing]:
        for number, scores in zip(numbers, compute(numbers), strict=True):
            found[number], _ = remembered(decided_by[number], partial(_as_is, scores))
    return [found[number] for number in range(len(decided_by))], not missing


class _NotThereError(Exception):
    """Nothing is kept."""


def _as_is(scores: NeuronScores) -> NeuronScores:
    return scores


def _not_there() -> NeuronScores:
    raise _NotThereError
