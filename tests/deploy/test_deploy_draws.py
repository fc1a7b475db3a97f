"""Epistemic uncertainty of one pass beside that of draws, and the factor that makes both equal."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import szilard
from szilard import SzilardError, SzilardWarning, bayes, deploy, methods
from szilard.bayes.noise import PREDICTING, mix
from szilard.likelihood import Gaussian

COPIES = 16
KNOWN_NOISE = Gaussian(1.0)


class Average(nn.Module):
    """The mean over positions of a map with one weight, which all positions share: the output is w · mean(x)."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(1, 1, 1, bias=False)

    def forward(self, x):
        return self.layer(x).mean(2)


def averaging(log_std=-1.0):
    network = bayes.bayesianize(Average(), density=1.0).eval()
    (weight,) = bayes.weights(network).values()
    weight.log_std.data.fill_(log_std)
    return network


def classes(seed=0):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 4))
    network = szilard.bayesianize(network, density=1.0).eval()
    for weight in bayes.weights(network).values():
        weight.log_std.data.fill_(-1.5)
    return network


X = torch.randn(60, 6, generator=torch.Generator().manual_seed(3))
ONES = torch.ones(4, 1, COPIES)


def test_an_average_over_shared_weights_has_the_variance_of_draws():
    """Var(w) = s², not the s² / n of independent positions."""
    draws = 2000
    found = deploy.compare_with_draws(averaging(), ONES, task=KNOWN_NOISE, draws=draws)
    error = (2 / draws) ** 0.5  # of a sample variance
    variance = torch.tensor(-2.0).exp().item()
    assert found.one_pass == pytest.approx(variance, rel=1e-5)
    assert found.draws == pytest.approx(variance, rel=4 * error)
    assert found.factor == pytest.approx(found.draws / found.one_pass, rel=1e-5)
    assert found.factor == pytest.approx(1, rel=4 * error)
    assert found.ratio == pytest.approx(1, rel=4 * error)
    assert (found.inputs, found.count) == (4, draws)


@pytest.mark.parametrize("backend", ["eager", "native"])
def test_a_compiled_network_with_the_factor_has_the_uncertainty_of_draws(backend):
    if backend not in deploy.installed():
        pytest.skip("there are no C++ kernels here")
    network = classes()
    found = deploy.compare_with_draws(network, X)
    matched = deploy.compile(network, X[:8], backend=backend, variance_factor=found.factor)
    plain = deploy.compile(network, X[:8], backend=backend)
    ours, theirs = matched(X), plain(X)
    assert float(ours.epistemic.mean()) == pytest.approx(found.draws, rel=1e-3)
    assert float(theirs.epistemic.mean()) == pytest.approx(found.one_pass, rel=1e-3)
    torch.testing.assert_close(ours.variance, theirs.variance * found.factor)
    torch.testing.assert_close(ours.mean, theirs.mean)
    assert matched.metadata["szilard.variance_factor"] == f"{found.factor:.6g}"
    again = deploy.compare_with_draws(network, X, variance_factor=found.factor)
    assert again.ratio == pytest.approx(1, rel=1e-4)
    assert again.factor == pytest.approx(found.factor, rel=1e-3)


def test_predictions_of_a_method_take_the_factor():
    method = methods.SSVI(n_data=100, density=1.0)
    network = method.prepare(
        nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 4)), "classification"
    ).eval()
    compiled = deploy.compile(network, X[:8], backend="eager", variance_factor=3.0)(X)
    found = method.predict_one_pass(network, X, variance_factor=3.0)
    torch.testing.assert_close(found.epistemic(), compiled.epistemic, atol=1e-5, rtol=1e-4)


def test_units_of_inputs_are_those_of_the_compiled_network():
    network, units = classes(), deploy.Units(5.0, 2.0)
    found = deploy.compare_with_draws(network, X * 2 + 5, inputs=units)
    assert found.one_pass == pytest.approx(deploy.compare_with_draws(network, X).one_pass, rel=1e-4)


@pytest.mark.parametrize("draws", [1, 0, -3])
def test_one_draw_has_no_uncertainty(draws):
    with pytest.raises(SzilardError, match="at least 2"):
        deploy.compare_with_draws(classes(), X, draws=draws)


def test_networks_without_uncertainty_are_refused():
    with pytest.raises(SzilardError, match="Gaussian weights"):
        deploy.compare_with_draws(nn.Linear(6, 4).eval(), X)
    with pytest.raises(SzilardError, match="the same for all draws"):
        deploy.compare_with_draws(averaging(), torch.zeros(4, 1, COPIES), task=KNOWN_NOISE)


@pytest.mark.parametrize("factor", [0, -1.0, float("nan"), float("inf"), True, "2"])
def test_invalid_factors_are_refused(factor):
    with pytest.raises(SzilardError, match="above zero"):
        deploy.compile(classes(), X[:2], backend="eager", variance_factor=factor)


def test_other_modes_have_no_factor():
    with pytest.raises(SzilardError, match="mode point has no variance"):
        deploy.compile(classes(), X[:2], backend="eager", mode="point", variance_factor=2.0)


def ensemble_of_averages():
    """Two networks w · mean(x) with means 1 and 2 of w and variances exp(-2) and exp(-4), and their mixture's."""
    members = [averaging(-1.0), averaging(-2.0)]
    for mean, member in enumerate(members, 1):
        (weight,) = bayes.weights(member).values()
        weight.mean.data.fill_(mean)
    return members, float((torch.tensor([-2.0, -4.0]).exp()).mean()) + 0.25


def test_draws_of_an_ensemble_are_those_of_its_members_and_their_disagreement():
    members, variance = ensemble_of_averages()
    found = deploy.compare_with_draws(members, ONES, task=KNOWN_NOISE, draws=500)
    assert found.one_pass == pytest.approx(variance, rel=1e-5)
    assert found.draws == pytest.approx(variance, rel=0.1)
    assert found.factor == pytest.approx((1, 1), rel=0.2)  # of each: the members are right on their own


def test_few_draws_of_an_ensemble_have_no_bias():
    """Analysis of variance: the means of S draws vary by Var(w) / S more than those of the members."""
    members, _ = ensemble_of_averages()
    count = 3
    found = deploy.compare_with_draws(members, ONES, task=KNOWN_NOISE, draws=count, seed=5)
    w = []
    for place, member in enumerate(members):
        for number in range(place * count, (place + 1) * count):
            with bayes.evaluating(member), bayes.drawn(member, mix(5, PREDICTING), number):
                w.append(member(ONES[:1]).item())
    w = torch.tensor(w).double().view(2, count)
    within = w.var(1).mean()
    between = w.mean(1).var(correction=0) - within / count * (1 - 1 / len(members))
    assert found.draws == pytest.approx(float(within + between), rel=1e-5)


def test_an_ensemble_with_a_factor_for_each_member_has_the_uncertainty_of_their_draws():
    members = [classes(0), classes(1)]
    found = deploy.compare_with_draws(members, X)
    assert len(found.factor) == 2
    assert found.factor[0] == pytest.approx(deploy.compare_with_draws(members[0], X).factor, rel=1e-6)
    matched = deploy.compile(members, X[:8], backend="eager", variance_factor=found.factor, batch=60)
    again = deploy.compare_with_draws(members, X, variance_factor=found.factor)
    assert float(matched(X).epistemic.mean()) == pytest.approx(again.one_pass, rel=1e-4)
    assert abs(again.ratio - 1) < abs(found.ratio - 1)
    assert again.ratio == pytest.approx(1, abs=0.05)
    assert matched.metadata["szilard.variance_factor"] == ", ".join(f"{one:.6g}" for one in found.factor)


def test_a_member_without_variances_counts_with_its_mean():
    point = Average()
    point.layer.weight.data.fill_(3.0)
    members = [averaging(-1.0), point.eval()]
    (weight,) = bayes.weights(members[0]).values()
    weight.mean.data.fill_(1.0)
    found = deploy.compare_with_draws(members, ONES, task=KNOWN_NOISE, draws=500)
    assert found.one_pass == pytest.approx(0.5 * torch.tensor(-2.0).exp().item() + 1, rel=1e-5)
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.factor[1] == 1


@pytest.mark.parametrize(
    ("factor", "sentence"),
    [((1.0, 2.0, 3.0), "3 numbers for 2 networks"), ((1.0, 0.0), "above zero"), ("2", "above zero")],
)
def test_factors_of_an_ensemble_that_are_refused(factor, sentence):
    with pytest.raises(SzilardError, match=sentence):
        deploy.compile([classes(0), classes(1)], X[:2], backend="eager", variance_factor=factor)
    points = [nn.Linear(6, 4).eval(), nn.Linear(6, 4).eval()]
    with pytest.raises(SzilardError, match="no Gaussian weights"):
        deploy.compile(points, X[:2], backend="eager", variance_factor=2.0)
    with pytest.raises(SzilardError, match="nothing to draw"):
        deploy.compare_with_draws(points, X)


def test_one_pass_says_that_it_was_not_compared_with_draws():
    network = classes()
    for made in (network, [network, classes(1)]):
        plain = deploy.compile(made, X[:2], backend="eager")
        assert sum("compare_with_draws" in line for line in plain.decisions) == 1
        matched = deploy.compile(made, X[:2], backend="eager", variance_factor=2.0)
        assert not any("compare_with_draws" in line for line in matched.decisions)
    drawn = deploy.compile(network, X[:2], backend="eager", samples=2)
    assert not any("compare_with_draws" in line for line in drawn.decisions)


def test_one_draw_is_a_warning():
    with pytest.warns(SzilardWarning, match="at least 2 samples"):
        found = deploy.compile(classes(), X[:2], backend="eager", samples=1)
    assert found(X[:2]).epistemic.abs().max() < 1e-6


@pytest.mark.parametrize("divisor", [-1.0, 0.0, float("inf"), float("nan")])
def test_predictions_refuse_a_calibration_that_is_no_divisor(divisor):
    method = methods.SSVI(n_data=100, density=1.0)
    network = method.prepare(nn.Linear(6, 4), "classification").eval()
    method.calibration = divisor
    for predict in (method.predict, method.predict_one_pass):
        with pytest.raises(SzilardError, match="calibration must be positive and finite"):
            predict(network, X)
    with pytest.raises(SzilardError, match="calibration must be positive and finite"):
        deploy.compare_with_draws(network, X, calibration=divisor)
