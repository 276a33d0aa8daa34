"""Jaccard indices, their expectation, and what is compared with what."""

import pytest
import torch

from pkt_eval.diagnose.overlap import expected_jaccard, jaccard, overlaps
from pkt_eval.locate import NeuronScores
from pkt_eval.locate.select import neuron_counts
from pkt_eval.models.blocks import Dims

DIMS = Dims(layers=2, hidden=8, ffn=40, heads=4, kv_heads=2, head_dim=5, vocab=50)
KEEP = neuron_counts(DIMS, 0.1)


def test_equal_sets_have_all_in_common_and_disjoint_ones_nothing():
    a = torch.tensor([[0, 1, 2], [5, 6, 7]])
    b = torch.tensor([[3, 4, 5], [0, 1, 2]])
    half = torch.tensor([[2, 0, 1], [0, 1, 2]])  # the same in layer 0, in another order
    indices = jaccard([a, b], [a, b, half], 8)
    torch.testing.assert_close(indices, torch.tensor([[1, 0, 0.5], [0, 1, 0.5]], dtype=torch.float64))


@pytest.mark.parametrize(("n", "k"), [(40, 4), (10, 7), (6, 6), (300, 30)])
def test_the_expectation_is_that_of_a_simulation(n, k):
    generator = torch.Generator().manual_seed(0)

    def draw() -> torch.Tensor:
        return torch.stack([torch.randperm(n, generator=generator)[:k] for _ in range(4000)])

    # Many layers of one pair of sets are as good as many pairs.
    index = jaccard([draw()], [draw()], n).item()
    assert expected_jaccard(n, k) == pytest.approx(index, abs=0.01)
    assert 0 < expected_jaccard(n, k) <= 1


def test_the_real_sizes_do_not_overflow():
    assert expected_jaccard(8960, 486) == pytest.approx(486 / 8960 / (2 - 486 / 8960), rel=0.01)


def scores(seed: int) -> NeuronScores:
    g = torch.Generator().manual_seed(seed)
    return NeuronScores(torch.rand(2, 40, generator=g), torch.rand(2, 20, generator=g), torch.rand(2), torch.rand(2))


def test_samples_tasks_and_seeds_are_told_apart():
    first = {"a": [scores(0), scores(0)], "b": [scores(1), scores(2)]}
    second = {"a": [scores(0), scores(0)], "b": [scores(3), scores(4)]}
    for overlap in overlaps(first, second, DIMS, KEEP).values():
        assert overlap.samples.shape == (4, 4) and overlap.task_of.tolist() == [0, 0, 1, 1]
        assert overlap.samples[0, 1] == overlap.tasks[0, 0] == 1  # equal samples; equal seeds
        assert overlap.tasks[1, 1] < 1
        same = (overlap.samples[0, 1] + overlap.samples[2, 3]) / 2
        assert overlap.means["two samples of a task"] == pytest.approx(same.item())
        assert overlap.means["samples of two tasks"] == pytest.approx(overlap.samples[:2, 2:].mean().item())
        assert overlap.means["two seeds"] == pytest.approx(overlap.tasks.diagonal().mean().item())
        assert overlap.means["two tasks"] == pytest.approx(overlap.tasks[0, 1].item())


def test_one_sample_and_one_task_leave_open_what_they_cannot_say():
    means = overlaps({"a": [scores(0)]}, {"a": [scores(1)]}, DIMS, KEEP)["ffn"].means
    assert {k for k, v in means.items() if v != v} == {"two samples of a task", "samples of two tasks", "two tasks"}
