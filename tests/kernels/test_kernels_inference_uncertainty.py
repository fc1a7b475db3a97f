"""Class probabilities and their uncertainty from Gaussian logits, against torch in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import SzilardError
from szilard.kernels import native
from szilard.kernels.inference.uncertainty import class_uncertainty
from szilard.metrics.normal_points import normal_points, normal_quantiles

pytestmark = pytest.mark.skipif(not native.available(), reason="there are no C++ kernels here")


def reference(mean, variance, noise, scale):
    mean, variance, noise = mean.double(), variance.double(), noise.double()
    logits = (mean + variance.sqrt() * noise.t().unsqueeze(1)) * scale
    if mean.shape[1] == 1:
        logits = torch.cat((torch.zeros_like(logits), logits), 2)
    p = logits.softmax(2)
    inside = torch.special.entr(p).sum(2).mean(0)
    return p.mean(0), inside, (torch.special.entr(p.mean(0)).sum(1) - inside).clamp_min(0)


@given(
    batch=st.integers(1, 9), classes=st.integers(1, 40), points=st.sampled_from([16, 64]),
    size=st.sampled_from([0.0, 1.0, 30.0, 1000.0]), spread=st.sampled_from([0.0, 0.1, 5.0]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_against_float64(batch, classes, points, size, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    mean = size * torch.randn(batch, classes, generator=generator)
    variance = (spread * torch.rand(batch, classes, generator=generator)).square()
    noise = torch.randn(classes, points, generator=generator)
    found = class_uncertainty(mean, variance, noise, 0.7)
    for ours, wanted in zip(found, reference(mean, variance, noise, 0.7), strict=True):
        assert ours.shape == wanted.shape
        # Logits of some hundreds lose digits in float32 before their differences are taken.
        torch.testing.assert_close(ours.double(), wanted, rtol=1e-4, atol=2e-5 * max(1.0, size / 30))
    assert (found[2] >= 0).all()


def test_nan_stays_nan():
    mean = torch.tensor([[0.0, float("nan"), 1.0]])
    found = class_uncertainty(mean, torch.ones(1, 3), torch.randn(3, 16), 1.0)
    assert not torch.isfinite(found[0].sum() + found[1].sum())


@pytest.mark.parametrize(
    ("mean", "variance", "noise"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(3, 16)),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 16)),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3, 12)),
        (torch.zeros(2, 3).double(), torch.zeros(2, 3), torch.zeros(3, 16)),
    ],
)
def test_arrays_that_do_not_belong_together(mean, variance, noise):
    with pytest.raises(SzilardError):
        class_uncertainty(mean, variance, noise, 1.0)


def test_points_of_a_normal_distribution():
    points = normal_points(128, 10)
    assert points.shape == (128, 10)
    torch.testing.assert_close(points.mean(0), torch.zeros(10), atol=1e-6, rtol=0)
    torch.testing.assert_close(points.square().mean(0), torch.ones(10), atol=0.1, rtol=0)
    assert torch.equal(points, normal_points(128, 10))
    quantiles = normal_quantiles(64)
    assert abs(float(quantiles.mean())) < 1e-12
    assert float(quantiles.square().mean()) == pytest.approx(1, abs=1e-12)


def test_points_do_not_touch_the_global_generator():
    before = torch.get_rng_state()
    normal_points(16, 4)
    normal_points(16, 30_000)
    assert torch.equal(before, torch.get_rng_state())
