"""Branches of residual sums that lose all of their channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.errors import SzilardError
from szilard.networks.resnet import ResNet


class Block(nn.Module):
    """A residual block as in many people's code."""

    def __init__(self, channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels) if "norm" in how else nn.Identity()

    def forward(self, x):
        y = self.conv2(torch.relu(self.bn1(self.conv1(x))))
        y = self.bn2(y) if "norm" in self.how else y
        if "inplace" in self.how:
            y += x
        elif "method" in self.how:
            y = x.add(y)
        else:
            y = torch.add(y, x) if "torch" in self.how else x + y
        return torch.relu(y)


class Branched(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.block = Block(8, how)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        return self.last(self.block(self.first(x)).mean((2, 3)))


def disturbed(network):
    """A network whose norms do something."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight, module.bias):
                tensor.data.copy_(torch.randn(len(tensor), generator=generator))
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network.eval()


@pytest.mark.parametrize("how", ["norm", "norm inplace", "norm method", "norm torch", "", "inplace"])
def test_a_branch_without_channels_adds_nothing(how):
    network, x = disturbed(Branched(how)), torch.randn(4, 3, 6, 6)
    units = ChannelUnits.of(network, x)
    assert units.pools["block.conv1"].optional
    kept = {"block.conv1": [], "first": [0, 1, 4, 6]}
    small, masked = units.smaller(network, kept), units.masked(network, kept)
    assert torch.allclose(small(x), masked(x), atol=1e-5)
    names = dict(small.named_modules())
    assert "block.conv1" not in names
    assert not any(isinstance(module, nn.Conv2d) for name, module in names.items() if "block" in name)
    assert units.sizes({"block.conv1": 0})["block.conv2"][0] == 0


def test_a_network_without_a_branch_can_be_trained():
    network, x = disturbed(Branched("norm")), torch.randn(4, 3, 6, 6)
    small = ChannelUnits.of(network, x).smaller(network, {"block.conv1": []}).train()
    small(x).square().sum().backward()
    assert all(p.grad is not None for p in small.parameters())
    assert torch.allclose(small(x), network.last(torch.relu(network.first(x)).mean((2, 3))))


def test_all_branches_of_a_resnet_can_go_at_once():
    network, x = disturbed(ResNet((3, 8, 8), 10, depth=8)), torch.randn(4, 3, 8, 8)
    units = ChannelUnits.of(network, x)
    optional = [name for name, pool in units.pools.items() if pool.optional]
    assert optional == ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1"]
    small = units.smaller(network, dict.fromkeys(optional, ()))
    assert torch.allclose(small(x), units.masked(network, dict.fromkeys(optional, ()))(x), atol=1e-5)
    assert [name for name, module in small.named_modules() if isinstance(module, nn.Conv2d)] == ["conv1"]


class Concatenated(nn.Module):
    """The second layer's output is concatenated, and not added."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)
        self.c = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        return self.c(torch.cat([x, self.b(torch.relu(self.a(x)))], 1)).mean((2, 3))


@pytest.mark.parametrize(
    "network", [Concatenated(), nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 2))]
)
def test_channels_whose_layers_end_in_no_sum_cannot_all_go(network):
    units = ChannelUnits.of(network.eval(), torch.randn(2, 3, 4, 4))
    assert not any(pool.optional for pool in units.pools.values())
    name = next(iter(units.pools))
    with pytest.raises(SzilardError, match="no channel of"):
        units.smaller(network, {name: []})


def test_a_policy_may_say_no_channels_where_a_branch_ends():
    network = disturbed(Branched("norm"))
    units = ChannelUnits.of(network, torch.randn(2, 3, 6, 6))
    layers = [LayerPolicy(name, shape.outputs) for name, shape in units.layers.items()]
    none = [LayerPolicy(one.name, 0) if one.name == "block.conv1" else one for one in layers]
    assert units.kept_of(Policy(tuple(none)))["block.conv1"] == 0
    none = [LayerPolicy(one.name, 0) if one.name == "first" else one for one in layers]
    with pytest.raises(SzilardError, match="choose 1 to 8"):
        units.kept_of(Policy(tuple(none)))


def test_the_last_layer_of_a_branch_that_goes_may_say_no_channels_too():
    network = disturbed(Branched("norm"))
    units = ChannelUnits.of(network, torch.randn(2, 3, 6, 6))
    sizes = {name: shape.outputs for name, shape in units.layers.items()}

    def kept(**changed):
        return units.kept_of(
            Policy(tuple(LayerPolicy(name, changed.get(name[-5:], n)) for name, n in sizes.items()))
        )

    assert kept(conv1=0, conv2=0) == kept(conv1=0)
    with pytest.raises(
        SzilardError, match=r"0 channels for block.conv2, the end of a branch, and 6 for block.conv1"
    ):
        kept(conv2=0)
