"""Moments, KL divergences and scores against Monte Carlo and published formulas."""

from __future__ import annotations

import math

import torch

from identities.check import Check, generator
from szilard import bayes
from szilard.sparse import Support, ops
from szilard.topology.scores import expected_magnitude, signal_to_noise


def lrt_moments(samples: int = 100_000) -> Check:
    """Mean and variance of drawn outputs against the same with whole weights drawn, in standard errors."""
    g = generator(2)
    support = Support.random((6, 20), 50, g)
    mean, log_std = torch.randn(50, generator=g), torch.randn(50, generator=g) * 0.3 - 1
    x = torch.randn(5, 20, generator=g)
    key = torch.tensor([2, 0])
    drawn = ops.lrt_linear(x.repeat(samples, 1), mean, log_std, None, key, *support.index, False)[0]
    local = drawn.reshape(samples, 5, 6).double()
    theta = mean + log_std.exp() * torch.randn(samples, 50, generator=g)
    dense = torch.zeros(samples, 120).index_copy(1, support.flat(), theta).view(samples, 6, 20)
    whole = torch.einsum("bi,soi->sbo", x, dense).double()
    exact_mean = x.double() @ support.scatter(mean).double().t()
    exact_var = x.double().square() @ support.scatter((2 * log_std).exp()).double().t()
    worst = 0.0
    for drawn_by in (local, whole):
        se_mean = (exact_var / samples).sqrt().clamp_min(1e-12)
        se_var = (exact_var * math.sqrt(2 / samples)).clamp_min(1e-12)
        worst = max(worst, float(((drawn_by.mean(0) - exact_mean) / se_mean).abs().max()))
        worst = max(worst, float(((drawn_by.var(0) - exact_var) / se_var).abs().max()))
    return Check("LRT mean and variance against weight samples", worst, 4.0, "standard errors, worst of 120")


def kl_monte_carlo(samples: int = 200_000) -> Check:
    """Closed-form divergence against the mean of ln q - ln p, for the fixed, fan-in and learned priors."""
    g = generator(3)
    support = Support.random((10, 30), 40, g)
    mean, log_std = (
        torch.randn(40, generator=g).double() * 0.3,
        torch.randn(40, generator=g).double() * 0.5 - 1,
    )
    worst = 0.0
    for name in ("fixed", "fan-in", "learned"):
        weight = bayes.Weight(support, mean, log_std, bayes.make_prior(name, 0.7))
        scale = {
            "fixed": 0.7,
            "fan-in": 0.7 / math.sqrt(4.0),
            "learned": float((mean.square() + (2 * log_std).exp()).mean().sqrt()),
        }[name]
        q = torch.distributions.Normal(mean, log_std.exp())
        p = torch.distributions.Normal(0.0, scale)
        noise = torch.randn(samples, 40, generator=g).double()
        theta = mean + log_std.exp() * noise
        ratio = (q.log_prob(theta) - p.log_prob(theta)).sum(1)
        error = (ratio.mean() - weight.kl().detach()) / (ratio.std() / math.sqrt(samples))
        worst = max(worst, abs(float(error)))
    return Check("KL closed form against Monte Carlo", worst, 4.0, "standard errors, three priors")


def folded_normal(samples: int = 200_000) -> Check:
    """E|θ| against Monte Carlo."""
    g = generator(4)
    mean, std = torch.randn(50, generator=g).double(), torch.rand(50, generator=g).double() + 0.01
    theta = (mean + std * torch.randn(samples, 50, generator=g).double()).abs()
    error = (theta.mean(0) - expected_magnitude(mean, std)) / (theta.std(0) / math.sqrt(samples))
    return Check(
        "folded-normal mean against Monte Carlo",
        float(error.abs().max()),
        4.5,
        "standard errors, worst of 50",
    )


def drop_sets(count: int = 200_000) -> Check:
    """The published score E|θ|/sd|θ| drops exactly the entries that |μ|/σ drops."""
    g = generator(5)
    mean = torch.randn(count, generator=g).double() * 0.03
    std = (torch.randn(count, generator=g).double() * 0.7 - 4).exp()
    first = expected_magnitude(mean, std)
    published = first / (mean.square() + std.square() - first.square()).clamp_min(0).sqrt()
    # Above r = 6 the variance of |θ| equals σ² to 1e-8 and fp64 cancels: ties there come from rounding.
    clear = mean.abs() / std < 6
    drop = int(0.3 * int(clear.sum()))
    ours = set(signal_to_noise(mean, std)[clear].argsort()[:drop].tolist())
    theirs = set(published[clear].argsort()[:drop].tolist())
    return Check("drop set of the published score", 1 - len(ours & theirs) / drop, 0.0, "1 - overlap")
