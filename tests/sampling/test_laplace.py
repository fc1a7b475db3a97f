"""The diagonal Laplace approximation of a posterior, against models in which it is exact."""

from __future__ import annotations

import math

import torch
from torch import nn

from szilard.likelihood import Categorical, Gaussian
from szilard.sampling.laplace import curvature_diagonal, posterior_scales


def generator():
    return torch.Generator().manual_seed(0)


def test_a_linear_regression_has_its_exact_curvature():
    """Σ x² / σ² for each weight of a linear model with noise σ."""
    x = torch.randn(40, 3, generator=generator()) * torch.tensor([1.0, 3.0, 0.0])
    model = nn.Linear(3, 1, bias=False)
    found = curvature_diagonal(
        lambda: model(x), Gaussian(0.5), list(model.parameters()), generator(), draws=4000
    )
    assert torch.allclose(found[0][0], 4 * x.square().sum(0), rtol=0.1)
    assert found[0][0, 2] == 0


def test_classes_have_the_curvature_of_their_probabilities():
    x = torch.ones(10, 1)
    model = nn.Linear(1, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.3], [1.0], [-1.0]]))
        model.bias.zero_()
    p = model(x)[0].softmax(0).detach()
    found = curvature_diagonal(
        lambda: model(x), Categorical(), list(model.parameters()), generator(), draws=4000
    )
    for part in found:
        assert torch.allclose(part.flatten(), 10 * p * (1 - p), rtol=0.1)


def test_unused_parameters_have_the_width_of_their_prior():
    x, model, unused = torch.ones(5, 2), nn.Linear(2, 1), nn.Parameter(torch.zeros(4))
    curvature = curvature_diagonal(
        lambda: model(x), Gaussian(1.0), [*model.parameters(), unused], generator(), draws=2
    )
    scales = posterior_scales(curvature, [1.0, 1.0, torch.full((4,), 0.25)], n_data=100, batch=5)
    assert torch.allclose(scales[2], torch.full((4,), 10 * 0.25))
    assert torch.allclose(scales[0], 10 / (100 / 5 * curvature[0] + 1).sqrt())
    assert math.isclose(float(scales[1].max()), 10 / math.sqrt(20 * float(curvature[1]) + 1), rel_tol=1e-5)
