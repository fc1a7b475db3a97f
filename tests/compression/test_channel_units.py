"""Which channels of a network belong together."""

from __future__ import annotations

import pytest
import torch
from channel_networks import CASES

from szilard.compression.channels.units import ChannelUnits
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
