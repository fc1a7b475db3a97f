"""Means and σ of posteriors are rounded to levels according to σ."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import szilard
from szilard import bayes, data, file, fit, measure, methods
from szilard.bayes import Weight, weights
from szilard.compression import Posterior
from szilard.compression.passes.posterior import BETA, LOSS, posterior_names, round_log_std, round_mean
from szilard.sparse import Support

LAM = 1e-8
NATS = BETA * math.log(2) / LAM  # the default


def fitted(seed: int = 0, nnz: int = 400, spread: float = 0.3) -> Weight:
    """A weight like a trained one: means around 0, different σ."""
    generator = torch.Generator().manual_seed(seed)
    support = Support.random((50, 40), nnz, generator)
    nnz = support.nnz
    log_std = -4 + spread * torch.randn(nnz, generator=generator)
    return Weight(support, 0.3 * torch.randn(nnz, generator=generator), log_std)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    dense = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.BatchNorm1d(40), nn.Linear(40, 5))
    made = bayes.bayesianize(dense, density=0.3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weights(made).values():
            weight.mean.normal_(0, 0.3, generator=generator)
            weight.log_std.copy_(-3 + 0.5 * torch.randn(weight.mean.shape, generator=generator))
    return made.eval()


def distance(weight: Weight, levels) -> torch.Tensor:
    """(c - μ)² / (2 σ²) of each mean, nats."""
    return ((levels.dense(weight.mean) - weight.mean) / weight.std).square().detach() / 2


def test_a_mean_is_rounded_more_finely_if_its_sigma_is_small():
    weight = fitted(nnz=1000)
    with torch.no_grad():
        weight.log_std[:] = -2
        weight.log_std[:500] = -6
    made = round_mean(weight, math.log(2) / 1000 * 0.01, 1000)
    distance_moved = (made.dense(weight.mean) - weight.mean).abs()
    assert distance_moved[:500].mean() < 0.7 * distance_moved[500:].mean()
    assert (made.levels[0, 500:] == 0).mean() > (made.levels[0, :500] == 0).mean()


def test_the_rate_depends_on_lambda_times_examples():
    """N and λ matter only by their product, divided by T."""
    original = network()
    made = [
        szilard.compress(
            original, lam=lam, passes=[Posterior(examples=n, temperature=t)]
        ).network.state_dict()
        for n, t, lam in ((1000, 1.0, 1e-6), (4000, 1.0, 0.25e-6), (100, 0.1, 1e-6), (1000, 1.0, 4e-6))
    ]
    for name in posterior_names(original):
        assert torch.equal(made[0][name], made[1][name])
        assert torch.equal(made[0][name], made[2][name])
        assert not torch.equal(made[0][name], made[3][name])


def test_a_large_network_is_rounded_more_finely():
    """At the default λ, β decreases with the square root of the number of parameters."""

    def beta(size: int) -> float:
        network = bayes.bayesianize(nn.Linear(size, size, bias=False))
        return Posterior().nats(network) * LOSS / sum(p.numel() for p in network.parameters())

    assert beta(64) == pytest.approx(beta(128))
    assert beta(512) == pytest.approx(beta(128) / math.sqrt(8))
    assert Posterior(examples=50).nats(network()) == 50


def test_a_larger_lambda_takes_fewer_bits_and_gives_larger_errors():
    weight = fitted(nnz=1500)
    rows = []
    for lam in (LAM / 8, LAM, 8 * LAM):
        pair = round_mean(weight, lam, NATS), round_log_std(weight, lam, NATS)
        bits = [szilard.coding.Encoder().rate(one.levels - int(np.median(one.levels))) for one in pair]
        apart = (pair[1].dense(weight.log_std) - weight.log_std).square().sum().item()
        rows.append((*bits, distance(weight, pair[0]).sum().item(), apart))
    columns = list(zip(*rows, strict=True))
    for falling in columns[:2]:
        assert falling[0] > falling[1] >= falling[2]
    for rising in columns[2:]:
        assert rising[0] < rising[1] <= rising[2]


def test_the_free_energy_is_below_that_of_rounding_to_nearest():
    weight = fitted(nnz=1500, spread=1.0)
    beta, nats = 0.05, 1000
    made = round_mean(weight, beta * math.log(2) / nats, nats)
    unit = 2.0 ** (made.step / 16)
    nearest = (weight.mean.detach() / unit).round().int().numpy()[None]

    def free_energy(levels: np.ndarray) -> float:
        moved = torch.from_numpy(levels[0]) * unit - weight.mean
        bits = min(szilard.coding.Encoder().rate(levels, model) for model in list(szilard.coding.Model)[:2])
        return float((moved / weight.std).square().detach().sum()) / 2 + beta * math.log(2) * bits

    assert free_energy(made.levels) < free_energy(nearest)


def test_a_single_sigma_is_that_of_the_mean_precision():
    """At a large λ, σ becomes the constant that minimises the KL divergence."""
    weight = fitted(nnz=2000, spread=0.2)
    made = round_log_std(weight, 1000 * LAM, NATS)
    assert len(np.unique(made.levels)) == 1
    value = made.dense(weight.log_std)[0].item()
    assert value == pytest.approx(
        -0.5 * math.log((-2 * weight.log_std.detach()).exp().mean().item()), abs=0.15
    )


@pytest.mark.parametrize("centre", [-4.0, 0.0, 1e-5, 3.0])
def test_sigma_is_rounded_accurately_at_any_size(centre):
    weight = fitted()
    with torch.no_grad():
        weight.log_std += 4 + centre
    made = round_log_std(weight, LAM, NATS)
    assert (made.dense(weight.log_std) - weight.log_std).square().mean().sqrt() < 0.2
    assert len(np.unique(made.levels)) < 20


def test_a_network_by_default(tmp_path):
    """Means and σ are stored as levels, supports as supports, and the loaded state equals the returned network."""
    original = network()
    made = szilard.compress(original)
    kinds = {entry.name: entry.kind for entry in made.ledger.entries}
    for name in posterior_names(original):
        assert kinds[name] in ("levels", "constant")
    for name in weights(original):
        assert kinds[f"{name}.weight.support"] == "support"
    assert made.ratio > 6
    assert not made.notes
    made.save(tmp_path / "net.szd")
    other = network(seed=1)
    other.load_state_dict(szilard.load(tmp_path / "net.szd"), strict=True)
    for (name, here), there in zip(
        made.network.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(here, there), name
    x = torch.randn(20, 30, generator=torch.Generator().manual_seed(3))
    assert torch.equal(other(x), made.network(x))
    assert (other(x) - original(x)).abs().mean() < 0.1 * original(x).abs().mean()
    for name, weight in weights(other).items():
        before = weights(original)[name]
        assert torch.equal(weight.support.col, before.support.col)
        assert (weight.log_std - before.log_std).abs().mean() < 0.25


def test_distillation_does_not_change_posteriors():
    """With data, ln σ would only have the gradient of its rate, which would drive it to 0."""
    original = network()
    x = torch.randn(64, 30, generator=torch.Generator().manual_seed(3))
    made = szilard.compress(original, x)
    default = 2 * math.log(2) * LOSS / sum(p.numel() for p in original.parameters())
    assert made.lam == default  # no search over λ by the accuracy of the mean network
    with_data = made.network.state_dict()
    without = szilard.compress(original).network.state_dict()
    for name in posterior_names(original):
        assert torch.equal(with_data[name], without[name])


def test_a_sparse_network_without_sigma():
    """A deterministic network on a support."""
    original = network()
    for weight in weights(original).values():
        weight.log_std = None
    made = szilard.compress(original)
    assert {e.kind for e in made.ledger.entries if e.name.endswith("weight.mean")} == {"levels"}
    for name, weight in weights(made.network).items():
        before = weights(original)[name].mean
        assert (weight.mean - before).square().mean() < 0.1 * before.square().mean()


def test_an_empty_weight():
    original = nn.Sequential(network()[0])
    original[0].weight = Weight(
        Support.from_flat((40, 30), torch.zeros(0, dtype=torch.int64)), torch.zeros(0), torch.zeros(0)
    )
    data = szilard.compress(original).data
    assert file.to_state_dict(file.loads(data))["0.weight.mean"].shape == (0,)


@pytest.mark.slow
def test_uncertainty_survives():
    """NLL, accuracy and out-of-distribution AUROC of a trained network are kept, at a ratio above 12."""
    digits = data.load("digits")
    method = methods.SSVI(len(digits.train), density=0.05)
    run = fit(method, "mlp", digits, epochs=100, progress=False, accelerator="cpu")
    made = szilard.compress(run.network)
    before, _ = measure(run.network, digits, method=run.trainer, samples=64)
    after, _ = measure(made.network, digits, method=run.trainer, samples=64)
    assert after["nll"] < before["nll"] + 0.01
    assert abs(after["accuracy"] - before["accuracy"]) < 0.01
    assert after["auroc_best"] > before["auroc_best"] - 0.005
    assert made.ratio > 12
