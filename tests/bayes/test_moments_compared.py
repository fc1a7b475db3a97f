"""What stands around one pass: the comparison with draws, factors, linearised predictions, moments from elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from szilard import SzilardError, bayes, networks
from szilard.bayes import from_moments, linearised, propagate


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(seed=0, **options):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    return bayes.bayesianize(network, **options).eval()


class Shortcuts(nn.Module):
    """Sums with shortcuts, whose variance one pass underestimates."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(4))
        self.out = nn.Linear(16, 3)
        for block in self.blocks:
            nn.init.eye_(block[0].weight)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


# -- comparison with draws ----------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_layer_and_fits_80_columns():
    network, x = small(initial_std=0.3), random(32, 6)
    found = bayes.check(network, x, draws=400, seed=1)
    assert [one.kind for one in found.layers] == [
        *("BayesLinear", "ReLU", "BayesLinear", "Tanh", "BayesLinear"), type(network).__name__,
    ]  # fmt: skip
    assert found.output is found.layers[-1]
    assert found.output.name == ""
    assert found.output.units == 32 * 3
    for one in found.layers:
        assert 0.9 < one.sd_ratio < 1.1
        assert one.mean_error < 0.4
    assert found.layers[0].mean_error < 2 / math.sqrt(400)  # exact there
    assert found.layers[0].sd_correlation > 0.9
    assert found.parts_at() is None
    assert max(map(len, str(found).splitlines())) <= 80
    assert "No layer's standard deviations differ" in str(found)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_difference_is_found_where_it_begins(monkeypatch):
    """A factor makes the variance of one layer wrong: the table names that layer, not those behind it."""
    network, x = small(initial_std=0.3), random(32, 6)
    found = bayes.check(network, x, draws=300, factors={"2": 4.0})
    assert found.parts_at().name == "2"
    assert found.parts_at().sd_ratio == pytest.approx(2.0, rel=0.1)
    assert "from 2 on" in str(found)


def test_layers_called_twice_and_parts_of_one_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a_layer_with_a_name_that_is_longer_than_the_column = nn.Linear(4, 4)
            self.words = nn.Embedding(5, 4)

        def forward(self, x):
            layer = self.a_layer_with_a_name_that_is_longer_than_the_column
            return layer(layer(self.words(x)).relu())

    network = bayes.bayesianize(Twice()).eval()
    found = bayes.check(network, torch.arange(5), draws=50)
    name = "a_layer_with_a_name_that_is_longer_than_the_column"
    assert [one.name for one in found.layers] == ["words", name, f"{name} (call 2)", ""]
    assert max(map(len, str(found).splitlines())) <= 80


def test_what_cannot_be_compared():
    with pytest.raises(SzilardError, match="draws must be at least 2"):
        bayes.check(small(), random(2, 6), draws=1)
    with pytest.raises(SzilardError, match="training mode"):
        bayes.check(small().train(), random(2, 6))
    with pytest.raises(SzilardError, match="no output of the network is random"):
        bayes.check(small(point=True), random(2, 6), draws=2)


# -- factors --------------------------------------------------------------------------------------------------


def test_factors_make_deviations_those_of_draws():
    torch.manual_seed(0)
    network = bayes.bayesianize(Shortcuts(), initial_std=0.3).eval()
    plain = bayes.check(network, random(64, 6, seed=1), draws=150, seed=5).output
    factors = bayes.fit_factors(network, random(64, 6), draws=150)
    assert set(factors) == {"first", "out", *(f"blocks.{i}.{j}" for i in range(4) for j in range(2))}
    fitted = bayes.check(
        network, random(64, 6, seed=1), draws=150, seed=5, factors=factors
    ).output  # other data
    assert plain.sd_ratio < 0.9
    assert abs(math.log(fitted.sd_ratio)) < 0.06
    assert fitted.sd_correlation > plain.sd_correlation - 0.02
    x = random(5, 6)
    assert not torch.equal(propagate(network, x).variance, propagate(network, x, factors=factors).variance)
    doubled = propagate(network, x, factors={"out": 2.0})
    torch.testing.assert_close(doubled.variance, 2 * propagate(network, x).variance)
    torch.testing.assert_close(doubled.mean, propagate(network, x).mean)


def test_a_factor_of_a_relu_is_for_its_input():
    network = bayes.bayesianize(nn.Sequential(nn.Linear(4, 8), nn.ReLU())).eval()
    x = random(5, 4)
    before = propagate(network[0], x)
    found = propagate(network, x, factors={"1": 3.0})
    wanted = bayes.moments.gaussian.relu(before.mean, 3 * before.variance)
    torch.testing.assert_close(found.mean, wanted[0])
    torch.testing.assert_close(found.variance, wanted[1])


def test_factors_for_no_module_and_negative_ones():
    with pytest.raises(SzilardError, match="no module 'nobody'"):
        propagate(small(), random(2, 6), factors={"nobody": 2.0})
    with pytest.raises(SzilardError, match="at least zero, not -1"):
        propagate(small(), random(2, 6), factors={"0": -1.0})


# -- linearised ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("density", "pattern"), [(1.0, "unstructured"), (0.5, "unstructured"), (0.5, "neuron")]
)
@pytest.mark.parametrize("numbers", [1 << 25, 200])
def test_linear_networks_are_exact(density, pattern, numbers):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)).double()
    network = bayes.bayesianize(network, density, pattern=pattern)
    first = network[0].weight
    first.log_std = None  # with a second random factor the network is bilinear
    network, x = network.eval(), random(7, 6).double()
    found = linearised(network, x, numbers=numbers)
    hidden = network[0](x)
    variance = network[1].weight.support.scatter(network[1].weight.std.square())
    torch.testing.assert_close(found.mean, network(x))
    wanted = torch.diag_embed(hidden.square() @ variance.T)
    torch.testing.assert_close(found.covariance, wanted)
    # A shared random layer below correlates the outputs.
    network[0].weight.log_std, network[1].weight.log_std = (
        nn.Parameter(torch.full_like(first.mean, -1.0)),
        None,
    )
    found = linearised(network, x, numbers=numbers)
    above, below = network[1].weight.dense_mean(), first.support.scatter(first.std.square())
    wanted = torch.einsum("oi,bi,pi->bop", above, x.square() @ below.T, above)
    torch.testing.assert_close(found.covariance, wanted)


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_small_deviations_agree_with_draws(density):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.Tanh(), nn.Flatten(),
        nn.Linear(24, 3),
    )  # fmt: skip
    network = bayes.bayesianize(network, density, initial_std=0.02, dense_stem=False).eval()
    x, outputs = random(6, 1, 10, 10), []
    found = linearised(network, x)
    torch.testing.assert_close(linearised(network, x, numbers=300).covariance, found.covariance)
    with torch.no_grad():
        for number in range(1500):
            with bayes.drawn(network, 0, number):
                outputs.append(network(x))
    draws = torch.stack(outputs)
    wanted = torch.einsum("nbc,nbd->bcd", draws - draws.mean(0), draws - draws.mean(0)) / (len(draws) - 1)
    scale = wanted.diagonal(dim1=1, dim2=2).sqrt()
    scale = scale[:, :, None] * scale[:, None, :]
    assert float(((found.covariance - wanted) / scale).abs().max()) < 0.16
    assert float(((found.covariance - wanted) / scale).square().mean().sqrt()) < 0.05


def test_scales_of_groups_are_linearised():
    from szilard import methods

    for prior in ("normal-jeffreys", "horseshoe"):
        method = methods.BayesianCompression(100, prior=prior)
        network = method.prepare(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))).eval()
        for scale in bayes.groups.scales(network):
            with torch.no_grad():
                for parameter in scale.widths():
                    parameter.fill_(-7.0) if prior == "normal-jeffreys" else None
                if prior == "horseshoe":
                    scale.local_log_var.fill_(-8.0)
                    scale.layer_log_var.fill_(-8.0)
        for weight in bayes.weights(network).values():
            nn.init.constant_(weight.log_std, -7.0)
        x, outputs = random(8, 6), []
        with torch.no_grad():
            for number in range(800):  # standard error of a deviation: 2.5 %
                with bayes.drawn(network, 0, number):
                    outputs.append(network(x))
        sd = torch.stack(outputs).std(0)
        found = linearised(network, x).covariance.diagonal(dim1=1, dim2=2).sqrt()
        assert float((found / sd).log().abs().mean()) < 0.05


def test_outputs_of_more_axes_and_dictionaries_of_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, a, b):
            return self.layer(a * b)

    network = bayes.bayesianize(Two()).eval()
    given = {"a": random(4, 5, 3), "b": random(4, 5, 3, seed=1)}
    found = linearised(network, given)
    assert found.mean.shape == (4, 10)
    assert found.covariance.shape == (4, 10, 10)
    wanted = propagate(network, given).variance.flatten(1)  # of one linear layer both are exact
    torch.testing.assert_close(found.covariance.diagonal(dim1=1, dim2=2), wanted)


def test_what_cannot_be_linearised():
    with pytest.raises(SzilardError, match="training mode"):
        linearised(small().train(), random(2, 6))
    with pytest.raises(SzilardError, match="no Gaussian weights"):
        linearised(small(point=True), random(2, 6))


# -- moments from elsewhere -------------------------------------------------------------------------------------


def test_a_network_with_given_moments_predicts_as_the_one_they_came_from():
    network, x = small(initial_std=0.2), random(10, 6)
    plain = bayes.point_network(network)
    given = {
        f"{name}.weight": (weight.dense_mean(), weight.support.scatter(weight.std))
        for name, weight in bayes.weights(network).items()
    }
    made = from_moments(plain, given)
    for found, wanted in zip(propagate(made, x), propagate(network, x), strict=True):
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(linearised(made, x).covariance, linearised(network, x).covariance)
    torch.testing.assert_close(made(x), network(x))
    with bayes.drawn(made, 3), bayes.drawn(network, 3):
        torch.testing.assert_close(made(x), network(x))
    assert type(plain[0]) is nn.Linear
    assert bayes.check(made, x, draws=200).output.sd_ratio == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_every_parameter_can_be_gaussian(name):
    """Weights, biases, and scales and shifts of batch normalisation."""
    network = networks.build(name, (1, 16, 16), 3)
    given = {
        key: (value.detach(), 0.01 * torch.ones_like(value)) for key, value in network.named_parameters()
    }
    made, x = from_moments(network, given), random(8, 1, 16, 16)
    torch.testing.assert_close(made(x), network.eval()(x))
    draws = []
    with torch.no_grad():
        for number in range(150):  # standard errors 0.08 and 0.06 of the deviation
            with bayes.drawn(made, 0, number):
                draws.append(made(x))
    mean, variance = propagate(made, x)
    draws = torch.stack(draws)
    assert float(((mean - draws.mean(0)) / draws.std(0)).square().mean().sqrt()) < 0.3
    assert 0.5 < float((variance.sqrt() / draws.std(0)).log().mean().exp()) < 1.1
    names = {f"{name}.{leaf}" for name, _ in bayes.drawn_modules(made) for leaf in bayes.drawn_weights.weights_of(
        made.get_submodule(name)).weights}  # fmt: skip
    assert names == set(given)


def test_other_parameters_stay_points_and_zero_deviations_too():
    network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    x, shape = random(5, 4), network[2].bias.shape
    made = from_moments(network, {"2.bias": (torch.zeros(shape), 2 * torch.ones(shape))})
    torch.testing.assert_close(propagate(made, x).variance, torch.full((5, 2), 4.0))
    assert "0.weight" in dict(made.named_parameters())
    made = from_moments(network, {"2.bias": (torch.zeros(shape), torch.zeros(shape))})
    assert not propagate(made, x).variance.any()
    made = from_moments(network, {"1.weight": (torch.ones(3), torch.ones(3) / 2)})
    hidden = nn.functional.layer_norm(network[0](x), (3,)).square() / 4 @ network[2].weight.square().T
    torch.testing.assert_close(propagate(made, x).variance, hidden.detach())


def test_recurrent_and_shared_parameters():
    lstm = nn.LSTM(4, 3, batch_first=True)
    x = random(2, 5, 4)
    given = {
        name: (value.detach(), torch.full_like(value, 0.1))
        for name, value in lstm.named_parameters()
        if "weight" in name
    }
    made = from_moments(lstm, given)
    torch.testing.assert_close(made(x)[0], lstm(x)[0])
    with bayes.drawn(made, 0):
        assert not torch.allclose(made(x)[0], lstm(x)[0])

    tied = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    tied[1].weight = tied[0].weight
    made = from_moments(tied, {"0.weight": (tied[0].weight.detach(), torch.ones(4, 4))})
    assert len(list(made.parameters())) == 2  # mean and ln σ, once
    with bayes.drawn(made, 1), torch.no_grad():
        weight = made[0].weight
        torch.testing.assert_close(made(x), x @ weight.T @ weight.T)
    with pytest.raises(SzilardError, match="are one parameter"):
        from_moments(tied, {name: (torch.ones(4, 4),) * 2 for name in ("0.weight", "1.weight")})


def test_moments_that_cannot_be():
    network, mean = nn.Sequential(nn.Linear(4, 3)), torch.zeros(3, 4)

    def given(mean, std, name="0.weight"):
        return lambda: from_moments(network, {name: (mean, std)})

    for make, message in (
        (given(mean, mean, "1.weight"), "no parameter '1.weight'"),
        (given(mean.T, mean.T), r"has shape \[3, 4\], but its mean has \[4, 3\]"),
        (given(mean, torch.ones(3)), r"standard deviation \[3\]"),
        (given(mean, mean - 1), "negative; is it a logarithm"),
        (given(mean * torch.nan, mean), "NaN"),
        (given(mean, mean + torch.inf), "infinite"),
        (lambda: from_moments(network, {}), "names no parameter"),
        (lambda: from_moments(small(), {"0.weight": (mean, mean)}), "Bayesian already"),
    ):
        with pytest.raises(SzilardError, match=message):
            make()
