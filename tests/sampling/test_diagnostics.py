"""R̂, effective draws and k̂ against laws in which they are known."""

from __future__ import annotations

import pytest
import torch

from szilard.errors import SzilardError
from szilard.sampling.diagnostics import diagnose, pareto_khat


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def autoregressive(chains, draws, keep, seed=0):
    noise, found = numbers(chains, draws, seed=seed), []
    state = numbers(chains, seed=seed + 1)
    for step in range(draws):
        state = keep * state + (1 - keep**2) ** 0.5 * noise[:, step]
        found.append(state)
    return torch.stack(found, 1).unsqueeze(2)


def test_independent_draws_count_in_full():
    found = diagnose(numbers(4, 500, 3))
    assert found.worst_rhat < 1.01
    assert found.agree
    assert torch.allclose(found.ess_bulk, torch.full((3,), 2000.0, dtype=torch.float64), rtol=0.2)
    assert (found.chains, found.draws) == (4, 500)


def test_correlated_draws_count_by_their_correlation_time():
    """τ of an autoregression is (1 + c)/(1 - c)."""
    found = diagnose(autoregressive(4, 2000, 0.8))
    assert found.least_ess == pytest.approx(8000 * (1 - 0.8) / (1 + 0.8), rel=0.2)


def test_chains_in_different_places_disagree():
    values = numbers(4, 100, 2)
    values[0, :, 1] += 3
    found = diagnose(values)
    assert found.rhat[0] < 1.03
    assert found.worst_rhat > 1.2
    assert not found.agree


def test_constant_functions_are_left_out():
    values = numbers(2, 50, 2)
    values[:, :, 0] = 1.0
    assert len(diagnose(values).rhat) == 1
    with pytest.raises(SzilardError, match="all draws are the same network"):
        diagnose(torch.ones(2, 50, 2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(1, 50, 2), "R̂ compares chains, and there is one"),
        (torch.zeros(2, 3, 2), "at least four draws"),
        (torch.zeros(2, 3), r"\[chains, draws, functions\]"),
        (torch.full((2, 5, 1), float("nan")), "chain has diverged"),
    ],
)
def test_what_cannot_be_diagnosed(values, message):
    with pytest.raises(SzilardError, match=message):
        diagnose(values)


def test_khat_is_the_shape_of_the_tail_of_the_weights():
    """Draws from N(0, s²) for a target N(0, 1): the ratio's tail has k = 1 - s² for s < 1, and none for s ≥ 1."""
    z = numbers(20_000)
    for deviation, expected in ((0.5, 0.75), (0.7, 0.51)):
        x = deviation * z
        khat, logs = pareto_khat(-0.5 * x**2 + 0.5 * (x / deviation) ** 2)
        assert khat == pytest.approx(expected, abs=0.2)
        assert float(logs.exp().sum()) == pytest.approx(1)
    wide, logs = pareto_khat(-0.5 * (1.5 * z) ** 2 + 0.5 * z**2)
    assert wide < 0.3
    assert float((logs.exp() * (1.5 * z) ** 2).sum()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("ratios", "message"),
    [(torch.zeros(5), "at least 25"), (torch.full((30,), torch.inf), "NaN or infinite")],
)
def test_ratios_that_have_no_khat(ratios, message):
    with pytest.raises(SzilardError, match=message):
        pareto_khat(ratios)
