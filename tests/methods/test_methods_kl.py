"""KL divergences of the methods for compression, against integrals and samples."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, stats

from szilard.bayes.groups import Horseshoe, gamma_kl, inverse_gamma_kl
from szilard.bayes.noise import Noise
from szilard.bayes.priors import log_uniform_kl


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")  # ln|x| is singular at 0
@pytest.mark.parametrize("log_alpha", [-6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0])
def test_the_log_uniform_kl_against_the_integral(log_alpha):
    # KL = -H(q) - E[ln p] + const = -½ ln α + E ln|1 + √α ε| + const; it vanishes for α → ∞.
    def mean_log(alpha):
        root = math.sqrt(alpha)
        return (
            integrate.quad(
                lambda e: stats.norm.pdf(e) * math.log(abs(1 + root * e) + 1e-300),
                -12,
                12,
                points=[-1 / root],
                limit=400,
            )[0]
            if 1 / root < 12
            else 0.0
        )

    def divergence(alpha):
        return -0.5 * math.log(alpha) + mean_log(alpha)

    constant = divergence(math.exp(20))
    found = log_uniform_kl(torch.tensor([1.0]), torch.tensor([log_alpha / 2])).item()
    assert found == pytest.approx(divergence(math.exp(log_alpha)) - constant, abs=0.02)


@pytest.mark.parametrize(("loc", "log_var", "scale"), [(0.3, -1.0, 1.0), (-2.0, -3.0, 0.01), (1.0, 0.0, 4.0)])
def test_gamma_kls_against_monte_carlo(loc, log_var, scale):
    z = (
        (loc + math.exp(log_var / 2) * torch.randn(400_000, generator=seeded(), dtype=torch.float64))
        .exp()
        .numpy()
    )
    q = stats.lognorm(math.exp(log_var / 2), scale=math.exp(loc))
    for found, prior in (
        (gamma_kl(torch.tensor(loc), torch.tensor(log_var), scale), stats.gamma(0.5, scale=scale)),
        (inverse_gamma_kl(torch.tensor(loc), torch.tensor(log_var)), stats.invgamma(0.5)),
    ):
        drawn = q.logpdf(z) - prior.logpdf(z)
        assert found.item() == pytest.approx(drawn.mean(), abs=5 * drawn.std() / len(z) ** 0.5 + 1e-3)


def test_the_root_of_gamma_times_inverse_gamma_is_half_cauchy():
    rng = stats.gamma(0.5), stats.invgamma(0.5)
    product = (rng[0].rvs(200_000, random_state=0) * rng[1].rvs(200_000, random_state=1)) ** 0.5
    for share in (0.25, 0.5, 0.75):
        assert (product < stats.halfcauchy.ppf(share)).mean() == pytest.approx(share, abs=0.01)


def test_moments_of_a_horseshoe_scale():
    scale = Horseshoe(3, Noise(), seeded())
    with torch.no_grad():
        scale.local_loc.copy_(torch.randn(2, 3, generator=seeded(1)))
        scale.layer_loc.copy_(torch.tensor([-1.0, 0.5]))
    parts = []
    g = seeded(2)
    for loc, log_var in ((scale.local_loc, scale.local_log_var), (scale.layer_loc, scale.layer_log_var)):
        for one in range(2):
            noise = torch.randn(100_000, *loc[one].shape, generator=g)
            drawn = loc[one].detach() + (log_var[one].detach() / 2).exp() * noise
            parts.append(drawn if drawn.dim() == 2 else drawn[:, None])
    log_z = 0.5 * sum(parts)
    loc, variance = scale.moments()
    torch.testing.assert_close(log_z.mean(0), loc.detach(), atol=0.02, rtol=0)
    torch.testing.assert_close(log_z.var(0), variance.detach(), atol=0.02, rtol=0.02)
