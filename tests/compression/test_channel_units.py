"""Which channels of a network belong together."""

from __future__ import annotations

import re

import pytest
import torch
from channel_networks import CASES
from torch import nn
from torch.nn import functional as F

from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies.policy import LayerPolicy, Policy
from szilard.errors import SzilardError
from szilard.networks import ResNet


def units_of(case):
    network, shape = CASES[case]
    torch.manual_seed(0)
    return ChannelUnits.of(network().eval(), torch.randn(2, *shape))


def pools(units):
    return {pool.name: (len(pool.units), pool.layers) for pool in units.pools.values()}


def test_padded_shortcuts_tie_the_inner_channels():
    units = ChannelUnits.of(ResNet((3, 8, 8), 10, 8, "A"), torch.randn(2, 3, 8, 8))
    inner = {name: pool for name, pool in pools(units).items() if name.endswith("0.conv1")}
    assert inner == {
        f"layer{n}.0.conv1": (size, (f"layer{n}.0.conv1",)) for n, size in ((1, 16), (2, 32), (3, 64))
    }
    outer = {name: pool for name, pool in pools(units).items() if name not in inner}
    assert outer == {
        "conv1": (16, ("conv1", "layer1.0.conv2", "layer2.0.conv2", "layer3.0.conv2")),
        "layer2.0.conv2": (16, ("layer2.0.conv2", "layer3.0.conv2")),
        "layer3.0.conv2": (32, ("layer3.0.conv2",)),
    }
    # Channel c of stage 1 is 8 + c of stage 2, and 16 + 8 + c of stage 3.
    stem, two, three = (units.producers[name] for name in ("bn1", "layer2.0.bn2", "layer3.0.bn2"))
    assert two[8:24] == stem
    assert three[16:48] == two
    assert units.whole == {"linear": "its outputs are the network's outputs"}
    assert units.of_layer["layer3.0.conv2"] == ("conv1", "layer2.0.conv2", "layer3.0.conv2")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("padded", {"stem": (4, ("stem", "conv2")), "conv1": (6, ("conv1",)), "conv2": (4, ("conv2",))}),
        (
            "mobile",
            {
                "stem": (4, ("stem", "narrow.0")),
                "widen.0": (8, ("widen.0", "depthwise.0", "up")),
                "down": (3, ("down",)),
            },
        ),
        ("grouped", {"a": (4, ("a",)), "b": (3, ("b",)), "c": (3, ("c",))}),
        ("dense", {"a": (4, ("a",)), "b": (3, ("b",)), "c": (3, ("c",)), "d": (5, ("d",))}),
        ("tokens", {"embed": (4, ("embed", "down")), "up": (8, ("up",))}),
    ],
)
def test_pools_of_tied_channels(case, expected):
    assert pools(units_of(case)) == expected


def test_sizes_count_channels_and_flattened_features():
    units = units_of("dense")
    assert units.sizes({"a": 3, "c": 1}) == {"a": (2, 3), "b": (3, 3), "c": (6, 2), "d": (4, 5), "e": (5, 3)}
    assert units_of("grouped").sizes({"a": 1, "b": 2})["b"] == (2, 8)
    assert units_of("mobile").sizes({"widen.0": 5}) == {
        "stem": (3, 4), "widen.0": (4, 5), "depthwise.0": (5, 5), "down": (5, 3), "up": (3, 5), "narrow.0": (5, 4),
        "linear": (4, 3),
    }  # fmt: skip
    with pytest.raises(SzilardError, match="7 units of pool a cannot be kept, which has 4"):
        units.sizes({"a": 7})
    with pytest.raises(SzilardError, match="no pool z of channels; the pools are a, b, c, d"):
        units.sizes({"z": 1})


def test_shapes_of_layers():
    layers = units_of("mobile").layers
    assert list(layers) == ["stem", "widen.0", "depthwise.0", "down", "up", "narrow.0", "linear"]
    depthwise, linear = layers["depthwise.0"], layers["linear"]
    assert (depthwise.kernel, depthwise.padding, depthwise.groups) == ((3, 3), (1, 1), 8)
    assert depthwise.positions_in == depthwise.positions_out == (6, 6)
    assert (depthwise.macs, depthwise.parameters) == (36 * 8 * 9, 72)
    assert (linear.kind, linear.positions_in, linear.macs, linear.parameters) == ("linear", (), 12, 15)
    assert units_of("padded").layers["conv1"].positions_out == (4, 4)
    assert units_of("tokens").layers["up"].macs == 7 * 32


def policy(units, **channels):
    return Policy(
        tuple(LayerPolicy(name, channels.get(name, shape.outputs)) for name, shape in units.layers.items())
    )


@pytest.mark.parametrize(
    ("case", "kept"),
    [
        ("padded", {"stem": 2, "conv1": 5, "conv2": 1}),
        ("grouped", {"a": 3, "b": 1, "c": 2}),
        ("mobile", {"stem": 1, "down": 2}),
    ],
)
def test_a_policy_says_what_pools_keep(case, kept):
    units = units_of(case)
    outputs = {name: size[1] for name, size in units.sizes(kept).items()}
    full = {name: len(pool.units) for name, pool in units.pools.items()}
    assert units.kept_of(policy(units, **outputs)) == full | kept


@pytest.mark.parametrize(
    ("case", "channels", "message"),
    [
        (
            "padded",
            {"stem": 3, "conv2": 2},
            "2 channels for conv2, which can have 3 to 7 because of those of stem",
        ),
        (
            "padded",
            {"linear": 2},
            "all 3 of its channels have to stay: its outputs are the network's outputs",
        ),
        ("padded", {"stem": 0}, "0 channels for stem, which has 4; choose 1 to 4"),
        ("mobile", {"up": 4, "widen.0": 5}, "5 for widen.0, .* tied"),
        ("grouped", {"a": 3, "b": 8}, "3 channels for a, which can have 1 to 8 in steps of 2"),
    ],
)
def test_policies_that_do_not_fit_name_the_first_layer(case, channels, message):
    units = units_of(case)
    with pytest.raises(SzilardError, match=message):
        units.kept_of(policy(units, **channels))


def test_policies_of_another_network_name_the_first_layer():
    units, other = units_of("padded"), units_of("dense")
    with pytest.raises(SzilardError, match="a layer a, which the network does not have"):
        units.kept_of(policy(other))
    with pytest.raises(SzilardError, match="says nothing of layer linear"):
        units.kept_of(Policy(policy(units).layers[:-1]))
    with pytest.raises(SzilardError, match="says 2 times what is kept of stem"):
        units.kept_of(Policy((*policy(units).layers, LayerPolicy("stem", 4))))


class Split(nn.Module):
    """Two kinds of channels that no other layer holds alone."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(2, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.b(x[:, :2]) + self.c(x[:, 2:])


def test_a_layer_whose_kinds_of_channels_are_not_determined_is_named():
    units = ChannelUnits.of(Split(), torch.randn(2, 4))
    assert [len(pool.units) for pool in units.pools.values()] == [2, 4]
    with pytest.raises(SzilardError, match="channels for a, whose channels are of several kinds"):
        units.kept_of(policy(units, a=4))


# -- what stays whole --------------------------------------------------------------------------------


class Mixed(nn.Module):
    """A network with one operation of the user's between its layers."""

    def __init__(self, function, **modules):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(F.relu(self.b(self.function(self, self.a(x)))).mean((2, 3)))


class Dynamic(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


HEAD = "its outputs are the network's outputs"


@pytest.mark.parametrize(
    ("function", "modules", "reason"),
    [
        (lambda net, x: F.softmax(x, 1), {}, "its channels reach softmax, which may mix them"),
        (lambda net, x: x / x.size(1) ** 0.5, {}, "its channels reach truediv, which may mix them"),
        (lambda net, x: x - x.mean(1, keepdim=True), {}, "its channels reach mean, which may mix them"),
        (lambda net, x: net.norm(x), {"norm": nn.GroupNorm(2, 4)}, r"its channels reach norm \(GroupNorm\), which"),
        (lambda net, x: net.own(x), {"own": Dynamic()}, r"its channels reach own \(Dynamic\), which may mix them"),
        (lambda net, x: net.c(net.c(x)), {"c": nn.Conv2d(4, 4, 1)}, r"are read by c \(it is called more than once\)"),
        (lambda net, x: x * net.c.weight[:, 0], {"c": nn.Conv2d(4, 4, 1)}, "with a tensor that has others"),
    ],
)  # fmt: skip
def test_what_is_not_understood_stays_whole_with_a_reason(function, modules, reason):
    units = ChannelUnits.of(Mixed(function, **modules), torch.randn(2, 2, 6, 4))
    assert [pool.layers for pool in units.pools.values()] == [("b",)]
    assert units.fixed["a"] == 4
    assert units.whole.pop("head") == HEAD
    units.whole.pop("c", None)
    assert list(units.whole) == ["a"]
    assert re.search(reason, units.whole["a"])


def test_channels_that_a_sum_shifts_are_one_unit():
    shifted = Mixed(lambda net, x: x + F.pad(x[:, 2:], (0, 0, 0, 0, 1, 1)))
    units = ChannelUnits.of(shifted, torch.randn(2, 2, 6, 4))
    assert units.producers["a"] == (0, 1, 1, 1)  # 2 is added to 1, and 3 to 2


def test_a_network_without_a_graph_has_layers_and_stays_whole():
    network = nn.Sequential(nn.Linear(4, 6), nn.Sequential(Dynamic(), nn.Linear(6, 3)), nn.ReLU())

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network

        def forward(self, x):
            return self.body(x) if x.mean() < 9 else x

    units = ChannelUnits.of(Branching(), torch.randn(2, 4))
    assert {name: (shape.inputs, shape.outputs) for name, shape in units.layers.items()} == {
        "body.0": (4, 6),
        "body.1.1": (6, 3),
    }
    assert not units.pools
    assert units.fixed == {"body.0": 6, "body.1.1": 3}
    assert all("the network has no static graph (" in reason for reason in units.whole.values())
    assert units.kept_of(policy(units)) == {}


def test_layers_that_cannot_be_cut_are_named():
    hooked = nn.Linear(6, 6)
    hooked.register_forward_hook(lambda module, given, output: 2 * output)
    network = nn.Sequential(
        nn.Linear(4, 6), hooked, nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), nn.ReLU(),
        nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2),
    )  # fmt: skip
    units = ChannelUnits.of(network, torch.randn(2, 4))
    assert set(units.whole) == {"0", "1", "2", "8"}
    assert units.whole["1"] == units.whole["2"] == "it has hooks, computed weights or a forward of its own"
    assert [pool.layers for pool in units.pools.values()] == [("4",), ("6",)]


def test_inputs_that_the_network_does_not_take():
    with pytest.raises(SzilardError, match=r"cannot be called on inputs of shape \(2, 5\): .*; give inputs"):
        ChannelUnits.of(nn.Linear(4, 2), torch.randn(3, 5))
