"""Times of layers: which modules are layers, what they run on, and how their sum compares with the network."""

from __future__ import annotations

import pytest
import torch
from fake_clock import FakeClock
from torch import nn

from szilard.cost.by_layer import by_layer
from szilard.errors import SzilardError


class Takes(nn.Module):
    """A layer that takes known seconds of a clock that copies share."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def __deepcopy__(self, memo):
        return Takes(self.clock, self.seconds)

    def forward(self, x):
        self.clock.spend(self.seconds)
        return x


class Net(nn.Module):
    """One layer is called twice, and work between layers takes 1 ms."""

    def __init__(self, clock):
        super().__init__()
        self.first, self.block = Takes(clock, 0.002), nn.Sequential(Takes(clock, 0.003))
        self.between = Takes(clock, 0.001)

    def forward(self, x):
        self.between.clock.spend(0.001)
        return self.first(self.block(self.first(x)))


def test_known_times():
    clock = FakeClock()
    found = by_layer(Net(clock), (4,), clock=clock, reference=clock.taking(0.0005), budget=0.5)
    assert [(layer.name, layer.kind, layer.calls) for layer in found.layers] == [
        ("first", "Takes", 2),
        ("block.0", "Takes", 1),
    ]
    assert [layer.seconds for layer in found.layers] == pytest.approx([0.004, 0.003])
    assert found.network.median == pytest.approx(0.008)
    assert found.total == pytest.approx(0.007)
    assert found.error == pytest.approx(-0.001)


def test_a_noisy_machine_is_refused():
    clock = FakeClock()
    arguments = {"clock": clock, "reference": clock.taking(0.0005, share=0.2), "budget": 0.1}
    with pytest.raises(SzilardError, match="too noisy"):
        by_layer(Net(clock), (4,), **arguments)
    assert not by_layer(Net(clock), (4,), noisy=True, **arguments).network.noise.quiet


def layers(network, shape, **arguments):
    """Names of the layers, by a clock that ticks with each call of the network and of the reference."""
    clock = FakeClock()
    ticks = clock.taking(0.001)
    for module in network.modules():
        module.register_forward_hook(lambda *_: ticks())
    found = by_layer(network, shape, clock=clock, reference=ticks, budget=0.0, **arguments)
    return [layer.name for layer in found.layers]


def test_a_module_that_uses_the_weights_of_its_parts_is_a_layer():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

        def forward(self, x):
            return self.norm(self.attention(x, x, x, need_weights=False)[0])

    assert layers(Attend(), (5, 8)) == ["attention", "norm"]


def test_a_network_that_is_one_layer():
    assert layers(nn.Linear(3, 2), (3,)) == [""]


def test_tokens_and_other_batches():
    assert layers(nn.Sequential(nn.Embedding(9, 4), nn.LSTM(4, 3)), (6,), batch=3) == ["0", "1"]


def test_layers_run_on_what_they_get_in_the_network():
    seen = []

    class Watched(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return x.add_(1)  # in place: the next run must not be the first to see the recorded input

    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Watched(), nn.ReLU(inplace=True)).train()
    x = torch.randn(1, 1, 6, 6)
    expected = network.eval()[:2](x).detach()
    network.train()
    seen.clear()
    layers(network, x)
    assert all(one.shape == expected.shape for one in seen)
    assert torch.equal(seen[0], expected)
    assert network.training
    assert network[1].num_batches_tracked == 0


def test_torchscript_is_refused():
    with pytest.raises(SzilardError, match="layers of TorchScript cannot be observed"):
        by_layer(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), (2,))
