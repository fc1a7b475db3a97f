"""The filter for networks against exact Bayes, against the linear filter, and against itself after a resume."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn
from torch.distributions import Normal, kl_divergence

import szilard
from szilard.adapt import Filter, NetworkFilter
from szilard.adapt.broadening import Directional, EmpiricalBayes, Reset, Temper
from szilard.adapt.network_fit import Gaussian as Belief
from szilard.adapt.network_fit import divergence
from szilard.adapt.observations import Linear
from szilard.adapt.trackers import Always, Bank, Beam, NoChange
from szilard.errors import SzilardError
from szilard.likelihood import Gaussian

NOISE = 0.3


def linear(features: int = 3, **options) -> nn.Module:
    """A Bayesian linear network in double precision, with a prior of one for weights and bias."""
    torch.manual_seed(0)
    layer = nn.Linear(features, 1).double()
    nn.init.zeros_(layer.bias)
    return szilard.bayesianize(layer, prior="fixed", **options)


def classifier(density: float = 1.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    return szilard.bayesianize(plain, density, fresh=True, seed=seed)


def rows(count: int, seed: int = 0, flip: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    noise = NOISE * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return x, flip * (x @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64) + 0.4) + noise


def labels(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    return x, x[:, :3].argmax(1)


def columns(x: torch.Tensor) -> np.ndarray:
    """Inputs in the order of the network's numbers: the bias, then the weights."""
    return np.column_stack((np.ones(len(x)), x.numpy()))


def test_a_batch_gives_the_best_independent_gaussians_and_their_bound():
    x, y = rows(20)
    found = NetworkFilter(linear(), Gaussian(NOISE), steps=300, lr=0.07, draws=200)
    bound = found.learn(x, y)
    design = columns(x)
    precision = np.eye(4) + design.T @ design / NOISE**2
    mean = np.linalg.solve(precision, design.T @ y.numpy()[:, 0] / NOISE**2)
    assert found.belief.mean[0] == pytest.approx(mean, abs=0.05)
    assert found.belief.precision[0] == pytest.approx(np.diag(precision), rel=0.15)
    covariance = NOISE**2 * np.eye(20) + design @ design.T
    evidence = multivariate_normal(np.zeros(20), covariance).logpdf(y.numpy()[:, 0])
    own = np.diag(precision)
    gap = -0.5 * (np.linalg.slogdet(precision)[1] - np.log(own).sum())
    assert bound == pytest.approx(evidence - gap, abs=0.2)
    predicted = found.predict(x[:5])
    assert predicted[:, 0] == pytest.approx(design[:5] @ mean, abs=0.05)
    assert predicted[:, 1] == pytest.approx(NOISE**2 + (design[:5] ** 2) @ (1 / own), rel=0.1)


def test_batches_of_one_row_are_the_rows_of_the_diagonal_filter():
    x, y = rows(2)
    rule = {"broadening": Temper(0.8), "tracker": Always()}
    found = NetworkFilter(linear(), Gaussian(NOISE), steps=350, lr=0.1, **rule)
    exact = Filter(Linear(NOISE), 4, belief="diagonal", **rule)
    for place in range(len(x)):
        found.learn(x[place : place + 1], y[place : place + 1])
        exact.learn(columns(x)[place], float(y[place, 0]))
    assert found.belief.mean == pytest.approx(exact.belief.mean, abs=0.06)
    assert found.belief.precision == pytest.approx(exact.belief.precision, rel=0.25)


def test_rate_one_is_variational_continual_learning():
    filters = [
        NetworkFilter(classifier(), steps=10, broadening=Temper(1.0), tracker=tracker)
        for tracker in (NoChange(), Always(), Bank((1.0,)))
    ]
    for one in filters:
        for seed in range(3):
            one.learn(*labels(20, seed))
    for one in filters[1:]:
        assert np.array_equal(one.belief.mean, filters[0].belief.mean)
        assert np.array_equal(one.belief.precision, filters[0].belief.precision)


def test_a_reset_forgets_the_batches_before():
    beliefs = []
    for seed in (1, 2):
        found = NetworkFilter(classifier(), steps=10, broadening=Reset(), tracker=Always())
        found.learn(*labels(20, seed))
        found.learn(*labels(20, 3))
        beliefs.append(found.belief.mean)
    assert np.array_equal(*beliefs)


def test_predictions_are_for_the_next_batch_or_for_the_last():
    found = NetworkFilter(classifier(), steps=30, lr=0.05, broadening=Reset(), tracker=Always())
    x, y = labels(40)
    new = found.predict(x)
    found.learn(x, y)
    rows = np.arange(len(x))
    last = -np.log(found.predict(x, ahead=False)[rows, y]).mean()
    following = -np.log(found.predict(x)[rows, y]).mean()
    assert last < following - 0.2
    assert following == pytest.approx(-np.log(new[rows, y]).mean(), abs=0.2)  # other draws of the prior


def test_a_resumed_filter_repeats_the_interrupted_one_bit_for_bit():
    def made() -> NetworkFilter:
        return NetworkFilter(
            classifier(0.5), steps=4, batch_size=7, draws=2,
            broadening=EmpiricalBayes(), tracker=Beam(2, 0.3), seed=5,
        )  # fmt: skip

    first, second = made(), made()
    first.learn(*labels(20, 0))
    first.learn(*labels(20, 1))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    torch.manual_seed(99)  # global generators have no part in it
    for seed in (2, 3):
        assert np.array_equal(first.predict(labels(5)[0]), second.predict(labels(5)[0]))
        assert first.learn(*labels(20, seed)) == second.learn(*labels(20, seed))
    ours, theirs = first.state_dict(), second.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert first.found == second.found


def test_states_of_other_filters_are_refused():
    found = NetworkFilter(classifier(0.5), steps=1)
    with pytest.raises(SzilardError, match="other supports"):
        found.load_state_dict(NetworkFilter(classifier(0.5, seed=1), steps=1).state_dict())
    state = found.state_dict()
    with pytest.raises(SzilardError, match="lacks 'precision'"):
        found.load_state_dict({name: state[name] for name in state if name != "precision"})
    with pytest.raises(SzilardError, match="'mean'"):
        found.load_state_dict({**state, "mean": state["mean"][:, :-1]})


def test_a_sparse_network_keeps_its_support():
    network = classifier(0.5)
    before = {name: weight.support.flat().clone() for name, weight in szilard.bayes.weights(network).items()}
    found = NetworkFilter(network, steps=20)
    found.learn(*labels(30))
    existing = sum(len(flat) for flat in before.values())
    assert len(found.entries) == existing + 6 + 3
    learned = found.network()
    for name, weight in szilard.bayes.weights(learned).items():
        assert torch.equal(weight.support.flat(), before[name])
        assert int(weight.dense_mean().count_nonzero()) == len(before[name])
    probabilities = found.predict(labels(5)[0])
    assert probabilities.shape == (5, 3)
    assert probabilities.sum(1) == pytest.approx(np.ones(5), abs=1e-6)


def test_a_beam_finds_the_batch_at_which_the_world_changed():
    found = NetworkFilter(
        linear(), Gaussian(NOISE), steps=50, lr=0.2, broadening=Reset(), tracker=Beam(1, 0.05)
    )
    changes = []
    for batch in range(5):
        found.learn(*rows(15, batch, flip=1.0 if batch < 3 else -1.0))
        changes += [] if found.found is None else [found.found.row]
    assert changes == [3]


def test_the_speed_of_drift_follows_the_evidence():
    speeds = []
    for flips in ((1.0, 1.0, 1.0, 1.0), (1.0, -1.0, 1.0, -1.0)):
        found = NetworkFilter(
            linear(), Gaussian(NOISE), steps=60, lr=0.1, broadening=EmpiricalBayes(), tracker=Always()
        )
        for batch, flip in enumerate(flips):
            found.learn(*rows(10, batch, flip))
        speeds.append(float(found.belief.extra["log_drift"][0]))
    start = float(EmpiricalBayes().start()["log_drift"][0])
    assert speeds[0] < start < speeds[1]


def test_the_divergence_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    q, p = (Belief(*torch.randn(2, 5, generator=generator, dtype=torch.float64).unbind()) for _ in range(2))
    wanted = kl_divergence(Normal(q.mean, q.log_std.exp()), Normal(p.mean, p.log_std.exp())).sum()
    assert float(divergence(q, p)) == pytest.approx(float(wanted))


def test_the_evidence_is_a_sum_over_examples_and_not_a_mean():
    x, y = rows(10)
    both = torch.cat((x, x)), torch.cat((y, y))
    found = NetworkFilter(linear(), Gaussian(NOISE), steps=1)
    prior = found._gaussians(found.belief)[0]  # KL of the prior from itself is zero
    single = found._fit.evidence(prior, prior, x, y, 0)
    assert found._fit.evidence(prior, prior, *both, 0) == pytest.approx(2 * single)
    cold = NetworkFilter(linear(), Gaussian(NOISE), steps=1, temperature=0.5)
    assert cold._fit.evidence(prior, prior, x, y, 0) == pytest.approx(2 * single)


def test_networks_of_one_logit_and_with_noise_predict():
    torch.manual_seed(0)
    binary = szilard.bayesianize(nn.Linear(4, 1), fresh=True)
    found = NetworkFilter(binary, steps=3)
    x, y = labels(10)
    found.learn(x, (y > 0).long())
    assert found.predict(x).shape == (10, 2)
    noisy = szilard.networks.WithNoise(szilard.bayesianize(nn.Linear(4, 1), fresh=True))
    quantities = NetworkFilter(noisy, "regression", steps=3)
    quantities.learn(x, x[:, 0])
    assert quantities.predict(x).shape == (10, 2)
    assert (quantities.predict(x)[:, 1] > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"broadening": Directional()}, "needs a linear predictor"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"bias_scale": -1.0}, "bias_scale must be positive"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        NetworkFilter(classifier(), **options)


def test_wrong_networks_and_batches_are_refused():
    with pytest.raises(SzilardError, match="no Gaussian weights"):
        NetworkFilter(nn.Linear(2, 2))
    with pytest.raises(SzilardError, match="not one Gaussian"):
        NetworkFilter(szilard.bayesianize(nn.Linear(2, 2), prior="learned"))
    found = NetworkFilter(classifier(), steps=1)
    x, y = labels(4)
    with pytest.raises(SzilardError, match="4 inputs and 3 targets"):
        found.learn(x, y[:3])
    with pytest.raises(SzilardError, match="NaN or infinite"):
        found.learn(x * np.nan, y)
    with pytest.raises(SzilardError, match="no inputs"):
        found.predict(x[:0])
