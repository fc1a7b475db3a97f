"""MultiSWAG: the moments of its draws, and its options."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from szilard import methods
from szilard.errors import SzilardError

STEPS = 60


def trained(draws=3, **options):
    torch.manual_seed(0)
    method = methods.make(
        "swag",
        100,
        chains=2,
        draws=draws,
        positions=10,
        rank=5,
        total_steps=STEPS,
        lr=0.05,
        seed=1,
        **options,
    )
    network = method.prepare(nn.Sequential(nn.Linear(6, 3))).train()
    optimizer = method.optimizer(network)
    path = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=generator)
        method.anneal(optimizer)
        method.loss(network, x, torch.randint(3, (8,), generator=generator)).backward()
        optimizer.step()
        optimizer.zero_grad()
        path.append(network.chain[0].weight.mean.detach().clone())
        method.after_step(network, optimizer)
    return method, network, path


def test_draws_have_the_mean_and_variance_of_the_path():
    method, network, path = trained(draws=400)
    assert network.done == 800
    for chain in (0, 1):
        kept = torch.stack([p for n, p in enumerate(path, 1) if n in method.phases._kept(chain, STEPS)])
        draws = torch.stack(
            [member[0].weight.mean for member in network.members[400 * chain : 400 * (chain + 1)]]
        )
        spread = draws.std(0)
        assert ((draws.mean(0) - kept.mean(0)).abs() < 4.5 * spread / 20).all()
        running = torch.stack([kept[: n + 1].mean(0) for n in range(10)])
        last = (kept - running)[5:]
        expected = 0.5 * (kept.var(0, correction=0) + last.square().sum(0) / 4)
        assert torch.allclose(spread.square(), expected, rtol=0.35)


def test_chains_have_draws_of_their_own():
    method, network, _ = trained()
    method.finish(network, [])
    assert method.predict(network, torch.randn(4, 6)).n_samples == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [({"rank": 1}, "rank must be"), ({"rank": 50}, "rank must be"), ({"path_lr": 0.0}, "path_lr must be")],
)
def test_bad_options(given, message):
    with pytest.raises(SzilardError, match=message):
        methods.make("swag", 100, **given)
