"""The optimiser of a chain: its two phases, scales of a mode, and the largest curvature."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from szilard.sampling.descend_and_sample import DescendAndSample
from szilard.sampling.largest_curvature import largest_curvature


def test_the_descent_is_adam():
    x, y = (nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    ours, theirs = DescendAndSample([x], 0.1, 0.01, 10), torch.optim.Adam([y], 0.1)
    for step in range(5):
        for p in (x, y):
            p.grad = torch.tensor([0.3, -1.0]) * (step - 2.0)
        ours.step()
        theirs.step()
    assert torch.allclose(x, y, atol=1e-6)


def test_a_chain_descends_samples_and_starts_again():
    x = nn.Parameter(torch.ones(3))
    made = DescendAndSample([x], 0.1, 0.5, 10)
    x.grad = torch.ones(3)
    made.step()
    made.sample({x: 2.0})
    assert not made.descends
    assert set(made.state[x]) == {"scale"}
    made.step()
    assert set(made.state[x]) == {"scale", "velocity"}
    state = copy.deepcopy(made.state_dict())
    other = DescendAndSample([nn.Parameter(torch.ones(3))], 0.1, 0.5, 10)
    other.load_state_dict(state)
    assert not other.descends
    made.restart(1)
    assert made.descends
    assert not made.state[x]
    assert made.param_groups[0]["chain"] == 1


def test_the_largest_curvature_of_a_quadratic_in_scaled_coordinates():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    hessian = root @ root.T
    parts = [nn.Parameter(torch.randn(n, generator=generator, dtype=torch.float64)) for n in (2, 4)]
    scale = torch.rand(6, generator=generator, dtype=torch.float64) + 0.5

    def gradient():
        return (hessian @ torch.cat([part.detach() for part in parts])).split([2, 4])

    before = [part.detach().clone() for part in parts]
    found = largest_curvature(gradient, parts, list(scale.split([2, 4])), iterations=60)
    expected = float(torch.linalg.eigvalsh(scale[:, None] * hessian * scale).max())
    assert found == pytest.approx(expected, rel=1e-3)
    assert all(torch.equal(one, two) for one, two in zip(parts, before, strict=True))


def test_a_flat_and_a_broken_loss_have_a_curvature():
    x = nn.Parameter(torch.ones(2))
    assert largest_curvature(lambda: [torch.ones(2)], [x], [1.0]) == 0
    assert largest_curvature(lambda: [x.detach() * math.nan], [x], [1.0]) == math.inf
    assert x.tolist() == [1.0, 1.0]
