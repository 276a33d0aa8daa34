"""Muon's update is orthogonal and its step goes downhill."""

import pytest
import torch

from pkt_eval.nano_training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
def test_orthogonalise_keeps_singular_vectors_and_evens_out_singular_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrix)
    assert result.shape == shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ result @ v.T
    torch.testing.assert_close(inner, torch.diag(inner.diagonal()), atol=1e-4, rtol=0)


def test_steps_reach_a_minimum():
    target = torch.randn(8, 12, generator=torch.Generator().manual_seed(1))
    matrix = torch.nn.Parameter(torch.zeros(8, 12))
    optimizer = Muon([matrix], lr=0.05, weight_decay=0.0)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (matrix - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


def test_weight_decay_shrinks_by_its_share():
    matrix = torch.nn.Parameter(torch.ones(4, 4))
    matrix.grad = torch.zeros(4, 4)
    Muon([matrix], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(matrix.data, torch.full((4, 4), 0.95))
