"""A snapshot does not follow the network, and a lottery ticket starts again from the values of its rewind step."""

from __future__ import annotations

import pytest
import torch

from szilard import methods, networks
from szilard.bayes.network_weights import weights
from szilard.topology.rewind import rewind, snapshot


def _start(density=1.0, **options):
    method = methods.make("tickets", 100, density=0.5, prune=0.5, seed=2, **options)
    if density < 1:
        method = methods.make("static", 100, density=density, seed=2)
    return method, method.prepare(networks.build("mlp:8", (5,), 3, seed=0)).train()


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_a_snapshot_is_a_copy(density):
    _, network = _start(density)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept = snapshot(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    rewind(network, kept)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("step", [0, 3])
def test_weights_return_to_their_values_of_the_rewind_step(step):
    """Compared with copies that the test itself has made."""
    method, network = _start(total_steps=20, lr=0.1, optimizer="sgd", rewind=step / 10)
    optimizer = method.optimizer(network)
    assert method.budget.rewind_step(20) == step
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 5, generator=generator), torch.randint(3, (32,), generator=generator)
    for number in range(10):
        if number == step:
            dense = {name: weight.dense_mean().clone() for name, weight in weights(network).items()}
            rest = {name: p.clone() for name, p in network.named_parameters() if name.endswith("bias")}
        method.anneal(optimizer)
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        trained = {name: weight.dense_mean().clone() for name, weight in weights(network).items()}
        method.after_step(network, optimizer)
    for name, weight in weights(network).items():
        assert weight.support.density < 1
        kept = weight.support.flat()
        assert torch.equal(weight.mean, dense[name].flatten()[kept])
        assert not torch.equal(weight.mean, trained[name].flatten()[kept])
    parameters = dict(network.named_parameters())
    assert all(torch.equal(parameters[name], value) for name, value in rest.items())
