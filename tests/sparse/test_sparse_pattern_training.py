"""Training with each pattern."""

import math

import pytest
import torch
from torch import nn

from szilard import bayes, methods
from szilard.errors import SzilardError
from szilard.sparse import Support


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def digits():
    from szilard import data

    found = data.load("digits")
    return found.train.x, found.train.y


def train(pattern, steps=150, kind=methods.SSVI, net=None, **options):
    x, y = digits()
    method = kind(len(x), density=0.3, pattern=pattern, every=10, total_steps=steps, lr=1e-2, **options)
    torch.manual_seed(0)
    net = net or nn.Sequential(
        nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10)
    )
    net = method.prepare(net)
    optimizer = method.optimizer(net)
    g, losses = generator(1), []
    starts = {name: w.support.flat() for name, w in bayes.weights(net).items()}
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=g)
        loss = method.loss(net, x[batch], y[batch])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(net, optimizer)
        losses.append(method.last_energy)
    return method, net, optimizer, losses, starts


@pytest.mark.parametrize("pattern", ["unstructured", "block8", "neuron"])
@pytest.mark.parametrize("kind", [methods.SSVI, methods.Deterministic])
def test_training_on_each_pattern(pattern, kind):
    method, net, _, losses, starts = train(pattern, kind=kind)
    assert sum(losses[-20:]) < 0.3 * sum(losses[:20])
    x, y = digits()
    assert (method.predict(net, x, samples=4).labels == y).double().mean() > 0.9
    supports = {name: w.support for name, w in bayes.weights(net).items()}
    for name, support in supports.items():
        assert support.pattern.name == pattern
        support.check()
        assert support.nnz == len(starts[name])
    assert any(not torch.equal(s.flat(), starts[name]) for name, s in supports.items())  # something moved
    total = sum(math.prod(s.shape) for s in supports.values())
    assert sum(s.nnz for s in supports.values()) == pytest.approx(0.3 * total, rel=0.05)


@pytest.mark.parametrize("pattern", ["block8", "neuron"])
def test_a_checkpoint_fits_a_freshly_prepared_network(pattern, tmp_path):
    method, net, optimizer, _, _ = train(pattern, steps=40)
    torch.save([net.state_dict(), method.state_dict(), optimizer.state_dict()], tmp_path / "run.pt")
    again, other, other_optimizer, _, _ = train(pattern, steps=1)
    for part, state in zip((other, again, other_optimizer), torch.load(tmp_path / "run.pt"), strict=True):
        part.load_state_dict(state)
    x, _ = digits()
    assert torch.equal(method.predict(net, x[:9], 3).mean, again.predict(other, x[:9], 3).mean)
    for ours, theirs in zip(bayes.weights(net).values(), bayes.weights(other).values(), strict=True):
        for (name, a), b in zip(ours.support.named_buffers(), theirs.support.buffers(), strict=True):
            assert torch.equal(a, b), name
    foreign = Support.random((96, 96), bayes.weights(other)["3"].support.nnz, generator())
    with pytest.raises(SzilardError, match="block8" if pattern == "block8" else "whole rows"):
        bayes.weights(other)["3"].support.load_state_dict(foreign.state_dict())


@pytest.mark.parametrize("pattern", ["unstructured", "block4", "2:4", "fan-in", "neuron"])
def test_entries_of_attention_move_in_every_pattern(pattern):
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(16, 2, 16, dropout=0.0, batch_first=True)
    plain = nn.Sequential(network, nn.Flatten(), nn.Linear(48, 4))
    method = methods.make(
        "rigl", 100, density=0.5, allocation="uniform", pattern=pattern, every=1, total_steps=8
    )
    made = method.prepare(plain).train()
    optimizer = method.optimizer(made)
    held = {name: weight for name, weight in bayes.weights(made).items() if "self_attn" in name}
    before = {name: weight.support.flat().clone() for name, weight in held.items()}
    x, y = torch.randn(8, 3, 16), torch.arange(8) % 4
    for _ in range(4):
        method.loss(made, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(made, optimizer)
    assert [name.rpartition(".")[2] for name in held] == ["query", "key", "value", "out_proj"]
    moved = [not torch.equal(weight.support.flat(), before[name]) for name, weight in held.items()]
    assert all(moved) if pattern in ("unstructured", "2:4", "fan-in") else any(moved)  # large units may stay
    for weight in held.values():
        weight.support.check()
        assert weight.support.pattern.name == pattern
