"""Metrics against known values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import metrics
from szilard.errors import SzilardError
from szilard.metrics import Predictive


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_hot(probabilities):
    return Predictive(probabilities=torch.tensor([probabilities]))


@given(st.integers(1, 6), st.integers(1, 8), st.integers(2, 5), st.floats(0.1, 30), st.integers(0, 999))
@settings(deadline=None, max_examples=50)
def test_uncertainty_splits(samples, inputs, classes, scale, seed):
    logits = scale * torch.randn(samples, inputs, classes, generator=generator(seed)).double()
    p = Predictive.from_logits(logits)
    assert torch.allclose(p.mean.sum(1), torch.ones(inputs).double())
    assert (p.epistemic() >= 0).all()
    assert torch.allclose(p.entropy(), p.aleatoric() + p.epistemic(), atol=1e-9)
    assert (p.entropy() <= math.log(classes) + 1e-9).all()
    if samples == 1:
        assert p.epistemic().max() < 1e-9


def test_disagreement_is_epistemic_and_uniform_probabilities_are_aleatoric():
    disagreeing = Predictive(probabilities=torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))
    assert disagreeing.epistemic().item() == pytest.approx(math.log(2))
    assert disagreeing.aleatoric().item() == 0
    uniform = Predictive(probabilities=torch.full((2, 1, 2), 0.5))
    assert uniform.epistemic().item() == pytest.approx(0, abs=1e-7)
    assert uniform.aleatoric().item() == pytest.approx(math.log(2))


def test_classification_by_hand():
    p = one_hot([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    found = metrics.evaluate(p, torch.tensor([0, 1, 1]))
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["nll"] == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.9)) / 3)
    assert found["brier"] == pytest.approx((2 * 0.04 + 2 * 0.36 + 2 * 0.01) / 3)
    assert found["ece"] == pytest.approx((0.2 + 0.6 + 0.1) / 3, abs=1e-6)
    assert "auroc_best" not in found


def calibrated(n=60_000, classes=4):
    g = generator(1)
    p = (2 * torch.randn(n, classes, generator=g)).softmax(-1)
    return p, torch.multinomial(p, 1, generator=g).squeeze(1)


def test_calibration_errors_of_true_and_of_sharpened_probabilities():
    p, y = calibrated()
    assert metrics.ece(p, y) < 0.01
    assert metrics.ece_marginal(p, y) < 0.005
    sharp = (3 * p.log()).softmax(-1)
    assert metrics.ece(sharp, y) > 0.1
    assert metrics.ece_marginal(sharp, y) > 0.05
    t = metrics.temperature(3 * p.log(), y)
    assert t == pytest.approx(3, rel=0.03)


def test_reliability_agrees_with_ece():
    p, y = calibrated(5000)
    edges, confidence, accuracy, count = metrics.reliability(Predictive(probabilities=p[None]), y)
    assert len(edges) == 16
    assert int(count.sum()) == 5000
    seen = count > 0
    gap = ((confidence - accuracy).abs() * count)[seen].sum() / 5000
    assert float(gap) == pytest.approx(metrics.ece(p, y), abs=1e-6)


def test_risk_coverage():
    p = one_hot([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    coverage, risk, aurc = metrics.risk_coverage(p, torch.tensor([0, 0, 1, 0]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert aurc == pytest.approx((1 / 3 + 1 / 4) / 4)


def test_auroc():
    assert metrics.auroc(torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4])) == 1
    assert metrics.auroc(torch.tensor([0.1, 0.3]), torch.tensor([0.2, 0.4])) == 0.75
    inside, outside = one_hot([[0.99, 0.01]] * 3), one_hot([[0.5, 0.5]] * 3)
    found = metrics.ood_aurocs(inside, outside)
    assert found["auroc_max_probability"] == found["auroc_best"] == 1
    assert "auroc_mutual_information" not in found  # not defined for one sample
    with pytest.raises(SzilardError, match="at least one"):
        metrics.auroc(torch.tensor([]), torch.tensor([1.0]))


def test_regression_by_hand():
    p = Predictive.from_gaussian(
        torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([[1.0, 4.0], [1.0, 4.0]])
    )
    y = torch.tensor([1.0, 3.0])
    found = metrics.evaluate(p, y)
    assert found["rmse"] == pytest.approx(math.sqrt(2))
    density = [math.exp(-0.5) / math.sqrt(2 * math.pi), math.exp(-0.5) / math.sqrt(8 * math.pi)]
    assert found["nll"] == pytest.approx(-sum(map(math.log, density)) / 2)
    assert p.variance.tolist() == [2.0, 4.0]
    assert found["coverage95"] == 1.0
    scaled = metrics.evaluate(p, y, target_scale=10.0)
    assert scaled["rmse"] == pytest.approx(10 * found["rmse"])
    assert scaled["nll"] == pytest.approx(found["nll"] + math.log(10))


def test_coverage_of_a_true_mixture():
    g = generator(2)
    means, y = torch.randn(1, 20_000, generator=g), None
    y = means[0] + 0.5 * torch.randn(20_000, generator=g)
    found = metrics.evaluate(Predictive.from_gaussian(means, torch.full_like(means, 0.25)), y)
    assert found["coverage95"] == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Predictive.from_logits(torch.ones(2, 3)), "samples, inputs, classes"),
        (lambda: Predictive.from_logits(torch.full((1, 2, 3), math.nan)), "NaN"),
        (lambda: Predictive.from_gaussian(torch.ones(2, 3), torch.ones(3, 2)), "both"),
        (lambda: metrics.evaluate(one_hot([[0.5, 0.5]]), torch.tensor([0, 1])), "1 predictions"),
        (lambda: metrics.evaluate(one_hot([[0.5, 0.5]]), torch.tensor([7])), "2 classes"),
        (lambda: Predictive().samples, "empty"),
        (lambda: Predictive.from_gaussian(torch.ones(1, 2), torch.ones(1, 2)).entropy(), "regression"),
    ],
)
def test_bad_input(make, what):
    with pytest.raises(SzilardError, match=what):
        make()
