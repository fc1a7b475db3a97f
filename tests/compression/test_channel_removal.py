"""Networks without some channels compute what those with zeros in their place compute."""

from __future__ import annotations

import functools

import torch
from channel_networks import CASES, settled
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import networks
from szilard.compression.channels.units import ChannelUnits
from szilard.networks import ResNet

ALL = {
    **CASES,
    "resnet A": (lambda: ResNet((3, 6, 6), 4, 8, "A"), (3, 6, 6)),
    "resnet B": (lambda: ResNet((3, 6, 6), 4, 8, "B"), (3, 6, 6)),
    "lenet5": (lambda: networks.build("lenet5", (1, 12, 12), 4), (1, 12, 12)),
    "mlp": (lambda: networks.build("mlp:6,5", (1, 2, 3), 4), (1, 2, 3)),
}


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@functools.cache
def case(name):
    torch.manual_seed(0)
    build, shape = ALL[name]
    network, x = build(), noise(5, *shape)
    settled(network, x)
    return network, x, ChannelUnits.of(network, x)


def gap(one, other, x):
    with torch.no_grad():
        wanted = other(x)
        return float((one(x) - wanted).abs().max() / wanted.abs().max())


@settings(max_examples=60)
@given(st.data())
def test_a_smaller_network_computes_what_the_masked_one_computes(data):
    network, x, units = case(data.draw(st.sampled_from(sorted(ALL))))
    kept = {
        name: data.draw(
            st.lists(st.sampled_from(range(len(pool.units))), min_size=1, unique=True).map(sorted)
            if len(pool.units) > 1
            else st.just([0])
        )
        for name, pool in units.pools.items()
    }
    small, masked = units.smaller(network, kept), units.masked(network, kept)
    assert type(masked) is type(network)
    assert gap(small, masked, x) < 1e-5
    sizes = units.sizes({name: len(places) for name, places in kept.items()})
    for name, (inputs, outputs) in sizes.items():
        layer = small.get_submodule(name)
        names = (
            ("in_features", "out_features")
            if isinstance(layer, nn.Linear)
            else ("in_channels", "out_channels")
        )
        assert (getattr(layer, names[0]), getattr(layer, names[1])) == (inputs, outputs)
        assert layer.weight.shape[0] == outputs
