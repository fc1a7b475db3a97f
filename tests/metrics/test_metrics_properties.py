"""Metrics against direct implementations of their definitions, and invariances."""

import math
from itertools import pairwise
from statistics import fmean

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from szilard import metrics
from szilard.errors import SzilardError
from szilard.metrics import Predictive

quick = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**31)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(seed, samples=1, n=80, classes=4, scale=2.0, saturated=False, coarse=False):
    """Random probabilities and labels; float32 ones and zeros if saturated, many ties if coarse."""
    g = generator(seed)
    logits = scale * torch.randn(samples, n, classes, generator=g)
    if coarse:
        logits = logits.round()
    return Predictive.from_logits(100 * logits if saturated else logits), torch.randint(
        classes, (n,), generator=g
    )


# -- calibration ------------------------------------------------------------------------------------------


def reference_ece(p, y, bins=15):
    """The definition, with edges of float32: 2/3 is in another bin between edges of float64."""
    confidence, label = p.max(1)
    edges = torch.linspace(0, 1, bins + 1).tolist()
    total = 0.0
    for b, (low, high) in enumerate(pairwise(edges)):
        inside = [i for i, c in enumerate(confidence.tolist()) if low <= c and (c < high or b == bins - 1)]
        if inside:
            gap = fmean(confidence[i].item() - float(label[i] == y[i]) for i in inside)
            total += len(inside) / len(y) * abs(gap)
    return total


@given(seeds, st.booleans(), st.integers(1, 3))
@example(595255, True, 3)  # confidences of two thirds
@quick
def test_ece_equals_its_definition_and_the_reliability_diagram(seed, saturated, samples):
    p, y = draw(seed, samples=samples, saturated=saturated)
    expected = reference_ece(p.mean, y)
    assert metrics.ece(p.mean, y) == pytest.approx(expected, abs=1e-4)
    edges, confidence, accuracy, count = metrics.reliability(p, y)
    seen = count > 0
    assert (edges[:-1][seen] - 1e-6 <= confidence[seen]).all()
    assert (confidence[seen] <= edges[1:][seen] + 1e-6).all()
    assert torch.equal(torch.isnan(accuracy), ~seen)
    gap = ((confidence - accuracy).abs() * count)[seen].sum() / len(y)
    assert float(gap) == pytest.approx(expected, abs=1e-4)


def test_probability_1_is_in_the_last_bin():
    # 50 inputs at 1.0 (45 right) and 50 at 0.95 (all right): one bin, its gap |0.975 - 0.95|
    p = torch.tensor([[1.0, 0.0]] * 50 + [[0.95, 0.05]] * 50)
    y = torch.tensor([1] * 5 + [0] * 95)
    assert metrics.ece(p, y) == pytest.approx(0.025, abs=1e-5)


def test_probabilities_slightly_above_1_are_accepted():
    p = torch.tensor([[1.0, 0.0], [0.6, 0.4], [0.9, 0.1]])
    y = torch.tensor([0, 0, 0])
    above = p.clone()
    above[0, 0] = 1.0000002
    assert metrics.ece(above, y) == pytest.approx(metrics.ece(p, y), abs=1e-6)


def reference_marginal(p, y, bins=15):
    n, squares = len(y), []
    for k in range(p.shape[1]):
        values = [float(v) for v in p[:, k].double()]
        order = sorted(values)
        parts, rest = [], list(order)
        for left in range(min(bins, n), 0, -1):
            size = math.ceil(len(rest) / left)
            parts.append(rest[:size])
            rest = rest[size:]
        edges = sorted({(a[-1] + b[0]) / 2 for a, b in pairwise(parts)})
        grouped = {}
        for value, label in zip(values, y.tolist(), strict=True):
            grouped.setdefault(sum(value > e for e in edges), []).append((value, float(label == k)))
        total = 0.0
        for members in grouped.values():
            m = len(members)
            if m > 1:
                f = fmean(hit for _, hit in members)
                total += m / n * ((fmean(v for v, _ in members) - f) ** 2 - f * (1 - f) / (m - 1))
        squares.append(max(total, 0.0))
    return math.sqrt(fmean(squares))


@given(seeds, st.integers(2, 90), st.booleans(), st.booleans())
@quick
def test_marginal_error_equals_its_definition(seed, n, saturated, coarse):
    p, y = draw(seed, n=n, saturated=saturated, coarse=coarse)
    assert metrics.ece_marginal(p.mean, y) == pytest.approx(reference_marginal(p.mean, y), abs=1e-7)


def test_marginal_error_of_the_base_rate_is_zero_in_any_order():
    p, y = torch.full((1000, 10), 0.1), torch.arange(10).repeat_interleave(100)
    assert metrics.ece_marginal(p, y) == pytest.approx(0, abs=1e-6)
    assert metrics.ece_marginal(p, y[torch.randperm(1000, generator=generator(0))]) == pytest.approx(
        0, abs=1e-6
    )


def test_marginal_error_is_debiased():
    # few true probabilities: the plain estimate is sampling noise, about sqrt(bins p (1 - p) / n)
    found, n, classes = [], 300, 3
    for seed in range(20):
        g = generator(seed)
        p = torch.randn(n, classes, generator=g).softmax(-1)
        found.append(metrics.ece_marginal(p, torch.multinomial(p, 1, generator=g).squeeze(1)))
    assert fmean(found) < 0.5 * math.sqrt(15 * 0.2 / n)


@given(seeds, st.floats(0.3, 5))
@quick
def test_temperature_follows_the_scale_of_the_logits_and_is_optimal(seed, scale):
    g = generator(seed)
    logits = 2 * torch.randn(400, 3, generator=g).double()
    y = torch.multinomial(logits.softmax(-1), 1, generator=g).squeeze(1)
    t = metrics.temperature(logits, y)
    assert metrics.temperature(scale * logits, y) == pytest.approx(scale * t, rel=1e-3)

    def nll(temperature):
        return torch.nn.functional.cross_entropy(logits / temperature, y)

    assert nll(t) <= min(nll(1.0), nll(1.05 * t), nll(t / 1.05))


# -- abstention and OOD -----------------------------------------------------------------------------------


@given(seeds, seeds, st.booleans())
@quick
def test_metrics_do_not_depend_on_the_order_of_the_data(seed, shuffle, saturated):
    p, y = draw(seed, samples=3, saturated=saturated, coarse=True)
    order = torch.randperm(len(y), generator=generator(shuffle))
    a = metrics.evaluate(p, y)
    b = metrics.evaluate(Predictive(probabilities=p.probabilities[:, order]), y[order])
    assert a == pytest.approx(b, abs=1e-5)


@given(seeds, st.booleans())
@quick
def test_risk_coverage_bounds(seed, coarse):
    p, y = draw(seed, coarse=coarse)
    coverage, risk, aurc = metrics.risk_coverage(p, y)
    error = 1 - metrics.evaluate(p, y)["accuracy"]
    assert risk[-1].item() == pytest.approx(error)
    assert coverage[-1] == 1
    wrong = round(error * len(y))
    best = fmean(max(0, k - (len(y) - wrong)) / k for k in range(1, len(y) + 1))
    worst = fmean(min(k, wrong) / k for k in range(1, len(y) + 1))
    assert best - 1e-9 <= aurc <= worst + 1e-9


def test_ties_in_confidence_share_their_risk():
    p = Predictive(probabilities=torch.tensor([[[1.0, 0.0]] * 4]))
    for y in ([0, 0, 1, 1], [1, 1, 0, 0]):
        assert metrics.risk_coverage(p, torch.tensor(y))[1].tolist() == [0.5] * 4


def test_risk_coverage_of_a_regression():
    p = Predictive.from_gaussian(torch.zeros(1, 3), torch.tensor([[3.0, 1.0, 2.0]]))
    _, risk, _ = metrics.risk_coverage(p, torch.tensor([3.0, 1.0, 2.0]))
    assert risk.tolist() == pytest.approx([1, 5 / 2, 14 / 3])


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12), st.lists(st.integers(0, 6), min_size=1, max_size=12)
)
@quick
def test_auroc_is_the_probability_of_the_right_order(inside, outside):
    wins = fmean(float(b > a) + 0.5 * float(b == a) for a in inside for b in outside)
    found = metrics.auroc(torch.tensor(inside).float(), torch.tensor(outside).float())
    assert found == pytest.approx(wins)


# -- regression -------------------------------------------------------------------------------------------


def mixture(seed, samples=4):
    g = generator(seed)
    means = torch.randn(samples, 1, generator=g).double()
    return Predictive.from_gaussian(means, 0.1 + torch.rand(samples, 1, generator=g).double())


@given(seeds, st.floats(0.1, 50))
@settings(deadline=None, max_examples=5)
def test_the_predictive_density_integrates_to_one_and_has_its_variance(seed, scale):
    p = mixture(seed)
    grid = torch.linspace(-9, 9, 1501).double()
    density = torch.tensor(
        [math.exp(-metrics.evaluate(p, y[None], target_scale=scale)["nll"]) for y in grid[::10]]
    ).double()
    width = float(grid[10] - grid[0])
    assert float(density.sum()) * width * scale == pytest.approx(1, abs=1e-6)
    variance = (density * (grid[::10] - p.mean).square()).sum() * width * scale
    assert float(variance) == pytest.approx(float(p.variance), abs=1e-5)


def test_one_gaussian_has_the_closed_form():
    p = Predictive.from_gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.25, 9.0]]))
    y = torch.tensor([1.5, 1.0])
    expected = -torch.distributions.Normal(p.mean, p.variance.sqrt()).log_prob(y).mean()
    assert metrics.evaluate(p, y)["nll"] == pytest.approx(float(expected))


def test_coverage_uses_the_mixture_rather_than_one_gaussian():
    n, g = 40_000, generator(5)
    means = torch.tensor([[-3.0], [3.0]]).expand(2, n)
    p = Predictive.from_gaussian(means, torch.full((2, n), 0.25))
    y = means[torch.randint(2, (n,), generator=g), 0] + 0.5 * torch.randn(n, generator=g)
    assert metrics.evaluate(p, y)["coverage95"] == pytest.approx(0.95, abs=0.006)


# -- bad input --------------------------------------------------------------------------------------------

P = Predictive(probabilities=torch.tensor([[[0.9, 0.1], [0.2, 0.8]]]))
G = Predictive.from_gaussian(torch.zeros(1, 2), torch.ones(1, 2))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: metrics.evaluate(G, torch.zeros(2, 1)), r"targets \[2, 1\]"),
        (lambda: metrics.evaluate(P, torch.zeros(2, 1, dtype=torch.long)), r"targets \[2, 1\]"),
        (lambda: metrics.evaluate(G, torch.tensor([0.0, math.nan])), "targets hold NaN"),
        (lambda: metrics.evaluate(G, torch.zeros(2), target_scale=0.0), "target_scale"),
        (lambda: metrics.evaluate(P, torch.zeros(2)), "integers"),
        (lambda: metrics.reliability(P, torch.zeros(3).long()), "2 predictions"),
        (lambda: metrics.risk_coverage(P, torch.tensor([0, -1])), "labels are"),
        (lambda: Predictive.from_gaussian(torch.zeros(1, 2), torch.zeros(1, 2)), "positive"),
        (lambda: Predictive.from_gaussian(torch.full((1, 2), math.inf), torch.ones(1, 2)), "infinite"),
        (lambda: Predictive(probabilities=torch.tensor([[0.5, 0.5]])), "samples, inputs, classes"),
        (lambda: Predictive(probabilities=torch.tensor([[[3.0, -2.0]]])), "from_logits"),
        (lambda: Predictive(means=torch.zeros(1, 2)), "both means and variances"),
        (lambda: metrics.temperature(torch.tensor([[math.nan, 1.0]]), torch.tensor([0])), "NaN"),
        (lambda: metrics.temperature(torch.zeros(0, 2), torch.zeros(0).long()), "logits"),
        (lambda: metrics.temperature(torch.zeros(1, 2), torch.tensor([5])), "2 classes"),
    ],
)
def test_invalid_input_gives_one_line(make, what):
    with pytest.raises(SzilardError, match=what) as caught:
        make()
    assert "\n" not in str(caught.value)
