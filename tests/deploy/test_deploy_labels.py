"""Probabilities of labels whose logits are wide Gaussians."""

from __future__ import annotations

import pytest
import torch

from szilard.deploy.uncertainty import OfLabels


@pytest.mark.parametrize(
    ("mean", "std", "wanted"),
    [  # answer, aleatoric and epistemic from 400,001 nodes
        (-8.0, 17.6, (0.32558, 0.06686, 0.56414)),
        (-8.0, 10.0, (0.21557, 0.09450, 0.42674)),
        (5.0, 30.0, (0.56606, 0.04304, 0.64135)),
        (-40.0, 14.0, (0.00230, 0.00172, 0.01457)),
        (0.0, 0.5, (0.5, 0.66448, 0.02867)),
    ],
)
def test_wide_logits(mean, std, wanted):
    found = OfLabels().of_moments(torch.tensor([[mean]]), torch.tensor([[std**2]]))
    assert [float(value) for value in found] == pytest.approx(wanted, abs=2e-4)


def test_very_wide_logits_are_within_a_hundredth_of_a_nat():
    found = OfLabels().of_moments(torch.tensor([[0.0]]), torch.tensor([[100.0**2]]))
    assert [float(value) for value in found] == pytest.approx((0.5, 0.01312, 0.68003), abs=0.01)


def test_without_variance_the_epistemic_uncertainty_is_zero():
    found = OfLabels().of_moments(torch.tensor([[1.5]]), torch.zeros(1, 1))
    assert float(found.answer) == pytest.approx(torch.tensor(1.5).sigmoid().item(), abs=1e-6)
    assert abs(float(found.epistemic)) < 1e-6
