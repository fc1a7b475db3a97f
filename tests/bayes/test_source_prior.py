"""A prior with a mean and a deviation for each entry, and a posterior as the next prior."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from szilard import SzilardError, bayes, methods
from szilard.bayes import FanInPrior, SourcePrior, Values
from szilard.bayes.weight import Weight
from szilard.sparse import Move, Support
from szilard.topology import GrowthGradient, resize

WIDTHS = (12, 16, 3)


def network(density: float = 0.3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    plain = nn.Sequential(nn.Linear(WIDTHS[0], WIDTHS[1]), nn.ReLU(), nn.Linear(*WIDTHS[1:]))
    return bayes.bayesianize(plain, density, fresh=True, seed=seed)


def random_values(shape, seed: int = 0, known: float = 1.0) -> Values:
    generator = torch.Generator().manual_seed(seed)
    mean, log_std = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator) / 4 - 2
    return Values(mean, log_std, torch.rand(shape, generator=generator) < known)


def with_nothing(made: nn.Module) -> nn.Module:
    for weight in bayes.weights(made).values():
        weight.set_prior(SourcePrior.of_nothing(weight.mean.new_zeros(weight.support.shape)))
    return made


@pytest.mark.parametrize("known", [1.0, 0.6, 0.0])
def test_the_divergence_is_that_of_two_gaussians(known):
    shape, scale = (5, 7), 0.7
    values = random_values(shape, known=known)
    values = Values(*(part.double() for part in values[:2]), values.known)
    prior = SourcePrior(*values, scale)
    support = Support.random(shape, 20, torch.Generator().manual_seed(1))
    flat = support.flat()
    mean, log_std = (torch.randn(20, dtype=torch.float64, requires_grad=True) for _ in range(2))
    fan_in = 4.0
    m = torch.where(values.known, values.mean, 0.0).view(-1)[flat]
    s = torch.where(values.known, values.log_std.exp(), scale / math.sqrt(fan_in)).view(-1)[flat]
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(m, s)).sum()
    found = prior.kl(mean, log_std, fan_in, flat)
    torch.testing.assert_close(found, expected)
    pairs = zip(
        torch.autograd.grad(found, (mean, log_std)),
        torch.autograd.grad(expected, (mean, log_std)),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the C++ kernel, and functions of torch
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_zero_mean_and_fan_in_scale_are_fan_in_bit_for_bit(dtype, scale):
    shape, fan_in = (6, 9), 9.0
    mean, log_std = (torch.randn(shape, dtype=dtype).flatten().requires_grad_() for _ in range(2))
    zeros = torch.zeros(shape, dtype=dtype)
    explicit = SourcePrior(zeros, torch.full_like(zeros, math.log(scale / math.sqrt(fan_in))), scale=scale)
    expected = FanInPrior(scale).kl(mean, log_std, fan_in)
    slopes = torch.autograd.grad(expected, (mean, log_std))
    for prior in (explicit, SourcePrior.of_nothing(zeros, scale)):
        found = prior.kl(mean, log_std, fan_in, torch.arange(mean.numel()))
        assert torch.equal(found, expected)
        assert all(map(torch.equal, torch.autograd.grad(found, (mean, log_std)), slopes))


def test_training_with_moves_is_that_of_fan_in_bit_for_bit():
    x, y = torch.randn(64, WIDTHS[0]), torch.randint(0, WIDTHS[2], (64,))

    def trained(change):
        method = methods.SSVI(64, density=0.3, every=5, growth_batches=2, total_steps=20, temperature=1.0)
        torch.manual_seed(0)
        made = method.prepare(
            nn.Sequential(nn.Linear(WIDTHS[0], WIDTHS[1]), nn.ReLU(), nn.Linear(*WIDTHS[1:]))
        )
        supports = [weight.support.flat().clone() for weight in bayes.weights(change(made)).values()]
        optimizer = method.optimizer(made)
        for _ in range(20):
            method.loss(made, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(made, optimizer)
        moved = [
            not torch.equal(before, weight.support.flat())
            for before, weight in zip(supports, bayes.weights(made).values(), strict=True)
        ]
        assert all(moved)
        return made.state_dict()

    plain, ours = trained(lambda made: made), trained(with_nothing)
    assert plain.keys() == ours.keys()  # no tensor of the prior is in the state
    assert all(torch.equal(plain[name], ours[name]) for name in plain)


def test_new_entries_start_at_the_source_and_others_as_before():
    made = network()
    weight = bayes.weights(made)["0"]
    values = random_values(weight.support.shape, known=0.5)
    bayes.set_source_prior(made, {"0": values})
    before = weight.support.flat()
    absent = (~weight.support.mask()).flatten().nonzero().flatten()
    flat = torch.cat([before[10:], absent[:10]]).sort().values
    fill = weight.log_std.detach()[10:].mean()

    def check(old_flat):
        now = weight.support.flat()
        new = ~torch.isin(now, old_flat)
        known = values.known.flatten()[now[new]]
        assert 0 < int(known.sum()) < int(new.sum())
        mean, log_std = values.mean.flatten()[now[new]], values.log_std.flatten()[now[new]]
        torch.testing.assert_close(weight.mean.detach()[new], torch.where(known, mean, 0.0))
        torch.testing.assert_close(weight.log_std.detach()[new], torch.where(known, log_std, fill))

    source = weight.support.replace(flat)
    weight.carry(Move(source, 10))
    check(before)
    resized = absent[:20].sort().values
    fill = weight.log_std.detach()[torch.isin(weight.support.flat(), resized)].mean()
    old = weight.support.flat()
    resize(weight, resized)
    check(old)


def test_growth_counts_the_pull_of_the_prior_in_the_units_of_the_loss():
    made = network(density=0.3)
    weight = bayes.weights(made)["2"]
    values = random_values(weight.support.shape)
    bayes.set_source_prior(made, {"2": values})
    growth = weight.growth = GrowthGradient(None, weight.support.rows * weight.support.cols)
    share = 0.25  # T / N
    (1000.0 * share * bayes.kl(made)).backward()  # with a loss scale
    weight.growth = None
    ((_, found),) = growth.stream(weight.support.rows, weight.support.cols, torch.device("cpu"))
    dense = torch.zeros(weight.support.shape, requires_grad=True)
    pulled = kl_divergence(Normal(dense, 1.0), Normal(values.mean, values.log_std.exp())).sum()
    (expected,) = torch.autograd.grad(1000.0 * share * pulled, dense)
    torch.testing.assert_close(found, expected.reshape(found.shape))


def test_an_entry_that_the_prior_wants_grows():
    """Without any gradient of the data, an entry with a large mean of the source is the first to grow."""
    method = methods.SSVI(32, density=0.3, every=4, growth_batches=2, total_steps=8, fraction=0.2)
    made = method.prepare(nn.Sequential(nn.Linear(WIDTHS[0], WIDTHS[1]), nn.ReLU(), nn.Linear(*WIDTHS[1:])))
    weight = bayes.weights(made)["0"]
    wanted = int((~weight.support.mask()).flatten().nonzero()[5])
    values = Values(torch.zeros(weight.support.shape), torch.full(weight.support.shape, -1.0))
    values.mean.view(-1)[wanted] = 3.0
    bayes.set_source_prior(made, {"0": values})
    optimizer = method.optimizer(made)
    for _ in range(4):
        method.loss(made, torch.zeros(4, WIDTHS[0]), torch.zeros(4, dtype=torch.int64)).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(made, optimizer)
    place = (weight.support.flat() == wanted).nonzero()
    assert len(place) == 1
    assert float(weight.mean.detach()[place[0, 0]]) == 3.0


def test_the_exact_posterior_of_conjugate_data_is_stationary():
    """w ~ N(m, s²), y_i = w + noise: precision 1/s² + n/v, mean (m/s² + Σy/v) / precision."""
    m, s, v = 0.7, 0.5, 0.2
    y = torch.tensor([0.1, 1.3, 0.4], dtype=torch.float64)
    precision = 1 / s**2 + len(y) / v
    mean = torch.tensor([(m / s**2 + float(y.sum()) / v) / precision], dtype=torch.float64)
    weight = Weight(Support.full((1, 1)), mean, torch.full_like(mean, -0.5 * math.log(precision)))
    weight.set_prior(SourcePrior(*(torch.full((1, 1), value).double() for value in (m, math.log(s)))))
    expected_loss = (((y - weight.mean) ** 2 + weight.std**2) / (2 * v)).sum()
    (expected_loss + weight.kl()).backward()
    assert float(weight.mean.grad.abs()) < 1e-6  # the prior's ln s went through float32
    assert float(weight.log_std.grad.abs()) < 1e-6


def test_a_posterior_becomes_the_prior_of_the_same_network():
    made = network()
    assert bayes.posterior_as_prior(made) == []
    weight = bayes.weights(made)["0"]
    assert abs(float(bayes.kl(made).detach())) < 1e-3
    place = weight.prior.mean.data_ptr()
    with torch.no_grad():
        weight.mean += 0.3
    assert float(weight.kl()) > 1
    bayes.posterior_as_prior(made)  # the next batch
    assert weight.prior.mean.data_ptr() == place
    assert abs(float(bayes.kl(made).detach())) < 1e-3
    assert not bool(weight.prior.known[~weight.support.mask()].any())
    bayes.posterior_as_prior(made, widen=2.0)
    n = weight.support.nnz
    assert float(weight.kl()) == pytest.approx(n * (math.log(2) + 0.125 - 0.5), rel=1e-4)


def test_priors_survive_copies_pickles_and_moves_to_another_type():
    made = network()
    bayes.posterior_as_prior(made, widen=3.0)
    expected = float(bayes.kl(made))
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), copy.deepcopy(made).double()):
        assert float(bayes.kl(other)) == pytest.approx(expected, rel=1e-5)
    assert bayes.weights(copy.deepcopy(made).double())["0"].prior.mean.dtype == torch.float64
    plain = network()
    plain.load_state_dict(made.state_dict())
    assert made.state_dict().keys() == plain.state_dict().keys()
    bayes.weights(made)["0"].set_prior(FanInPrior())  # and back
    assert isinstance(bayes.weights(made)["0"].prior, FanInPrior)


def test_weights_that_the_source_lacks_are_named_and_get_fan_in():
    made = network()
    first = bayes.posterior_values(made)["0"]
    unknown = bayes.set_source_prior(made, {"0": first}, scale=0.5)
    assert [(one.name, one.why) for one in unknown] == [("2", "is not in it")]
    weight = bayes.weights(made)["2"]
    assert torch.equal(weight.kl(), FanInPrior(0.5).kl(weight.mean, weight.log_std, weight.fan_in))
    other = Values(torch.zeros(4, WIDTHS[1]), torch.zeros(4, WIDTHS[1]))
    (one,) = bayes.set_source_prior(made, {"0": first, "2": other})
    assert one.why == "has shape [4, 16] there and [3, 16] here"


def test_starting_at_the_prior_sets_known_entries_only():
    made = network()
    weight = bayes.weights(made)["0"]
    values = random_values(weight.support.shape, known=0.5)
    before = weight.mean.detach().clone()
    bayes.set_source_prior(made, {"0": values})
    assert torch.equal(weight.mean, before)
    bayes.start_at_prior(made)
    flat = weight.support.flat()
    known = values.known.flatten()[flat]
    torch.testing.assert_close(weight.mean.detach(), torch.where(known, values.mean.flatten()[flat], before))


def test_drawn_weights_of_other_modules_take_priors_too():
    torch.manual_seed(0)
    made = bayes.bayesianize(nn.LSTM(4, 5))
    assert bayes.posterior_as_prior(made) == []
    assert abs(float(bayes.kl(made).detach())) < 1e-3


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (
            lambda made: bayes.set_source_prior(made, {}),
            "no weight of the prior fits the network: 0 is not in it",
        ),
        (lambda made: bayes.posterior_as_prior(made, nn.Linear(2, 2)), "no weight of the prior fits"),
        (lambda made: bayes.posterior_as_prior(made, widen=0), "widen multiplies the σ of a prior"),
        (lambda made: bayes.posterior_as_prior(nn.Linear(2, 2), made), "has no Gaussian weight"),
        (lambda made: SourcePrior(torch.zeros(2, 3), torch.zeros(3, 2)), "need one shape"),
        (lambda made: SourcePrior(torch.zeros(2), torch.tensor([0.0, math.nan])), "NaN or infinite"),
        (
            lambda made: bayes.bayesianize(nn.Linear(2, 2), prior=SourcePrior.of_nothing(torch.zeros(2, 2))),
            "a SourcePrior belongs to one weight",
        ),
        (lambda made: SourcePrior.of_nothing(torch.zeros(2), 0.0), "scale must be positive"),
        (
            lambda made: SourcePrior.of_nothing(torch.zeros(2)).set(torch.zeros(3), torch.zeros(3)),
            r"of a weight of shape \[2\], and the values have shape \[3\]",
        ),
    ],
)
def test_misuse_is_one_sentence(work, sentence):
    with pytest.raises(SzilardError, match=sentence):
        work(network())
