"""Metrics of dense, multilabel and multi-target predictions against known values, and invalid inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard import metrics
from szilard.errors import SzilardError
from szilard.metrics import Predictive, ece, ece_marginal, evaluate, iou


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


P = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
Y = torch.tensor([0, 1])


@pytest.mark.parametrize("metric", [ece, ece_marginal, lambda p, y: ece(p, y, adaptive=True)])
@pytest.mark.parametrize(
    ("p", "y", "words"),
    [
        (P, Y[:, None], r"\[2, 1\]"),
        (P, Y.float(), "integers"),
        (P, Y + 1, r"are in \[1, 2\]"),
        (P, Y - 100, "are in"),
        (P * torch.nan, Y, "NaN"),
        (5 * random(2, 4), Y, "add up to 1"),
        (P[:0], Y[:0], "no examples"),
        (torch.ones(2, 1), 0 * Y, "both classes"),
        (P[0], Y, r"\[inputs, classes\]"),
    ],
)
def test_calibration_errors_check_their_inputs(metric, p, y, words):
    with pytest.raises(SzilardError, match=words) as caught:
        metric(p, y)
    assert "\n" not in str(caught.value)


def test_bins_and_scores_are_checked():
    with pytest.raises(SzilardError, match="bins"):
        ece(P, Y, bins=0)
    with pytest.raises(SzilardError, match="NaN"):
        metrics.auroc(torch.tensor([math.nan]), torch.ones(2))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 99))
def test_adaptive_bins_have_equal_counts(n, bins, seed):
    p, y = (2 * random(n, 3, seed=seed)).softmax(1), torch.arange(n) % 3
    confidence, right = p.amax(1).double().numpy(), (p.argmax(1) == y).numpy()
    order = np.argsort(confidence)  # no two are equal
    gaps = [
        abs((confidence[part] - right[part]).sum())
        for part in np.array_split(order, min(bins, n))
    ]  # fmt: skip
    assert ece(p, y, bins, adaptive=True) == pytest.approx(sum(gaps) / n, abs=1e-6)
    assert ece(p, y, 1, adaptive=True) == pytest.approx(ece(p, y, 1), abs=1e-6)


def test_iou_by_hand():
    predicted = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
    y = torch.tensor([[[0, 1, 1], [1, -100, 0]]])
    p = Predictive.from_logits(50.0 * torch.nn.functional.one_hot(predicted, 4).movedim(-1, 1)[None])
    found = iou(p, y, ignore_index=-100)
    assert found[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert math.isnan(found[3])  # neither in the labels nor predicted
    quality = evaluate(p, y, ignore_index=-100)
    assert quality["miou"] == pytest.approx(1 / 3)
    assert quality["accuracy"] == pytest.approx(3 / 5)
    with pytest.raises(SzilardError, match="-100"):
        evaluate(p, y)
    with pytest.raises(SzilardError, match="all its labels are ignored"):
        evaluate(p, torch.full_like(y, -100), ignore_index=-100)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 4), st.integers(1, 3), st.integers(0, 99))
def test_dense_predictions_equal_their_positions_one_by_one(samples, n, classes, width, seed):
    z = random(samples, n, classes, 2, width, seed=seed)
    y = torch.arange(n * 2 * width).reshape(n, 2, width) % classes
    dense = Predictive.from_logits(z)
    flat = Predictive.from_logits(z.movedim(2, -1).flatten(1, -2))
    assert dense.labels.flatten().tolist() == flat.labels.tolist()
    for name in ("entropy", "aleatoric", "epistemic", "max_probability"):
        assert torch.allclose(getattr(dense, name)().flatten(), getattr(flat, name)(), atol=1e-6)
    one, other = evaluate(dense, y), evaluate(flat, y.flatten())
    assert one.pop("miou") <= 1
    assert one == pytest.approx(other, abs=1e-6)
    assert all(
        map(torch.equal, metrics.reliability(dense, y)[::3], metrics.reliability(flat, y.flatten())[::3])
    )


def test_several_labels_by_hand():
    z = torch.tensor([[[2.0, -1.0], [0.5, 3.0]]])
    y = torch.tensor([[1, 0], [0, 1]])
    predictive = Predictive.from_binary_logits(z)
    found = evaluate(predictive, y)
    assert (predictive.task, predictive.shape) == ("multilabel", (2, 2))
    assert found["accuracy"] == 0.75
    assert found["accuracy_all"] == 0.5
    coin = torch.distributions.Bernoulli(logits=z[0])
    assert found["nll"] == pytest.approx(float(-coin.log_prob(y.float()).mean()), rel=1e-5)
    assert found["entropy"] == pytest.approx(float(coin.entropy().mean()), rel=1e-5)
    assert found["f1"] == pytest.approx((2 / 3 + 1) / 2)
    with pytest.raises(SzilardError, match="must be 0 or 1"):
        evaluate(predictive, 2 * y)
    with pytest.raises(SzilardError, match=r"in \[0, 1\]"):
        Predictive(probabilities=z, multilabel=True)


def test_several_targets_equal_flattened_targets():
    means, variances, y = random(3, 5, 2), random(3, 5, 2, seed=1).exp(), random(5, 2, seed=2)
    whole = evaluate(Predictive.from_gaussian(means, variances), y)
    flat = evaluate(Predictive.from_gaussian(means.flatten(1), variances.flatten(1)), y.flatten())
    assert whole == flat
    with pytest.raises(SzilardError, match="ignore_index"):
        evaluate(Predictive.from_gaussian(means, variances), y, ignore_index=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logits_in_half_precision_are_averaged_in_float32(dtype):
    z = 3 * random(8, 50, 10)
    y = torch.arange(50) % 10
    found = evaluate(Predictive.from_logits(z.to(dtype)), y)
    assert found == pytest.approx(evaluate(Predictive.from_logits(z.to(dtype).double()), y), abs=1e-5)
