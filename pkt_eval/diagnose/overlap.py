"""Transfer attribution: how far a location depends on what it was located with.

LaTen's neurons (``pkt_eval.locate``) are located with single samples, with several samples of a task, and with those of
another seed; the share that two such sets have in common is their Jaccard index ``|A ∩ B| / |A ∪ B|``, a mean over all
layers. Two random sets have some in common as well: ``expected_jaccard`` says how much.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pkt_eval._util.progress import Progress
from pkt_eval.locate import NeuronScores
from pkt_eval.locate.attribution import attribute_sets
from pkt_eval.locate.memo import remembered
from pkt_eval.locate.samples import Sample
from pkt_eval.locate.select import Counts, best, value_scores
from pkt_eval.models.blocks import Dims

#: Neurons: rows of up and columns of down; columns of o; rows of v.
NEURONS = ("ffn", "attention", "value")


@dataclass(frozen=True)
class Overlap:
    """Jaccard indices of neurons of one kind.

    Attributes:
        samples: ``(tasks·s, tasks·s)`` of sets located with one sample each, a task's samples together.
        tasks: ``(tasks, tasks)`` of sets located with all samples of a task; on the diagonal, with those of two seeds.
        task_of: ``(tasks·s,)`` the number of each sample's task.
        random: Expected of two random sets of that size.
    """

    samples: torch.Tensor
    tasks: torch.Tensor
    task_of: torch.Tensor
    random: float

    @property
    def means(self) -> dict[str, float]:
        """Comparison → mean Jaccard index; NaN where there is no such pair."""
        same = self.task_of[:, None] == self.task_of[None]
        off = ~torch.eye(len(self.task_of), dtype=torch.bool)
        other = ~torch.eye(len(self.tasks), dtype=torch.bool)
        return {
            "two samples of a task": self.samples[same & off].mean().item(),
            "samples of two tasks": self.samples[~same].mean().item(),
            "two tasks": self.tasks[other].mean().item(),
            "two seeds": self.tasks.diagonal().mean().item(),
            "random": self.random,
        }


def score_samples(
    model: Any, digest: str, samples: Sequence[Sample], keep: Counts, progress: Progress, desc: str
) -> list[NeuronScores]:
    """Exact attribution scores of each sample by itself, from the store where they are there.

    Args:
        model: A decoder of a known family, loaded or streamed.
        digest: The model's.
        samples: ``(ids before the target, target)`` each.
        keep: How many neurons of a layer are going to be kept.
        progress: For the bar.
        desc: Of the bar.
    """
    decided_by = {
        "each": True,  # by itself: what is stored has a sample axis
        "attribution": "exact",
        "scoring": "fast",
        "model": digest,
        "samples": [[*ids.tolist(), target] for ids, target in samples],
        "keep": vars(keep),
        "dtype": str(model.dtype),
        "device": model.device.type,
    }

    def compute() -> NeuronScores:
        bar = progress.bar(samples, desc)
        return _stacked(attribute_sets(model, ([sample] for sample in bar), keep=keep, scoring="fast"))

    stored, _ = remembered(decided_by, compute)
    return [NeuronScores(*parts) for parts in zip(*(t.cpu() for t in vars(stored).values()), strict=True)]


def located(scores: NeuronScores, dims: Dims, keep: Counts) -> dict[str, torch.Tensor]:
    """Neurons of each layer that LaTen would keep: kind → ``(L, k)`` indices."""
    return {
        "ffn": best(scores.ffn, keep.ffn),
        "attention": best(scores.attention, keep.attention),
        "value": best(value_scores(scores.attention, dims), keep.value),
    }


def overlaps(
    first: Mapping[str, Sequence[NeuronScores]], second: Mapping[str, Sequence[NeuronScores]], dims: Dims, keep: Counts
) -> dict[str, Overlap]:
    """Kind of neuron → what sets located with different samples, tasks and seeds have in common.

    Args:
        first: Task → scores of each sample.
        second: The same with another seed's samples.
        dims: The model's sizes.
        keep: How many neurons of a layer are kept.
    """
    single = [located(scores, dims, keep) for of_task in first.values() for scores in of_task]
    summed, again = ([located(_sum(of_task), dims, keep) for of_task in sets.values()] for sets in (first, second))
    task_of = torch.tensor([t for t, of_task in enumerate(first.values()) for _ in of_task])
    sizes = {"ffn": dims.ffn, "attention": dims.heads * dims.head_dim, "value": dims.kv_heads * dims.head_dim}
    overlaps = {}
    for kind in NEURONS:
        tasks = jaccard([s[kind] for s in summed], [s[kind] for s in summed], sizes[kind])
        seeds = jaccard([s[kind] for s in summed], [s[kind] for s in again], sizes[kind])
        tasks.diagonal().copy_(seeds.diagonal())
        sets = [s[kind] for s in single]
        overlaps[kind] = Overlap(
            samples=jaccard(sets, sets, sizes[kind]),
            tasks=tasks,
            task_of=task_of,
            random=expected_jaccard(sizes[kind], vars(keep)[kind]),
        )
    return overlaps


def jaccard(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor], n: int) -> torch.Tensor:
    """``(P, Q)`` mean over layers of the Jaccard index of sets of indices below ``n``, ``(L, k)`` each."""
    a, b = (
        torch.zeros(len(sets), len(sets[0]), n).scatter_(2, torch.stack(list(sets)), 1.0) for sets in (first, second)
    )
    common = torch.einsum("pln,qln->pql", a, b).double()
    either = a.sum(2)[:, None] + b.sum(2)[None] - common
    return (common / either).mean(2)


def expected_jaccard(n: int, k: int) -> float:
    """Expected Jaccard index of two random ``k``-subsets of ``n``.

    ``Σᵢ P(i)·i/(2k − i)``, where the number ``i`` of common elements is hypergeometric:
    ``P(i) = C(k, i)·C(n − k, k − i) / C(n, k)``.
    """

    def log_choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    common = range(max(0, 2 * k - n), k + 1)
    logs = [log_choose(k, i) + log_choose(n - k, k - i) - log_choose(n, k) for i in common]
    return sum(math.exp(log) * i / (2 * k - i) for log, i in zip(logs, common, strict=True))


def _stacked(scores: Sequence[NeuronScores]) -> NeuronScores:
    return NeuronScores(*map(torch.stack, zip(*(vars(s).values() for s in scores), strict=True)))


def _sum(scores: Sequence[NeuronScores]) -> NeuronScores:
    return NeuronScores(*(t.sum(0) for t in vars(_stacked(scores)).values()))
