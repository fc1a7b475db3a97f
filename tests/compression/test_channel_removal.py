"""Networks without some channels compute what those with zeros in their place compute."""

from __future__ import annotations

import copy
import functools
import io
import warnings

import pytest
import torch
from channel_networks import CASES, settled
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import networks
from szilard.compression import Quantise, shrink
from szilard.compression.channels.units import ChannelUnits
from szilard.errors import SzilardError, SzilardWarning
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
    network, x = settled(build()), noise(5, *shape)
    return network, x, ChannelUnits.of(network, x)


def gap(one, other, x):
    with torch.no_grad():
        wanted = other(x)
        return float((one(x) - wanted).abs().max() / wanted.abs().max())


def size(network):
    return sum(p.numel() for p in network.parameters())


def halves(units):
    return {name: range(0, len(pool.units), 2) for name, pool in units.pools.items()}


@st.composite
def choices(draw):
    """A network, and places that stay in each of its pools."""
    name = draw(st.sampled_from(sorted(ALL)))
    kept = {}
    for pool in case(name)[2].pools.values():
        count = draw(st.integers(1, len(pool.units)))
        kept[pool.name] = sorted(draw(st.permutations(range(len(pool.units))))[:count])
    return name, kept


@settings(max_examples=20)
@given(choices())
def test_a_smaller_network_computes_what_the_masked_one_computes(choice):
    name, kept = choice
    network, x, units = case(name)
    small, masked = units.smaller(network, kept), units.masked(network, kept)
    assert type(masked) is type(network)
    assert gap(small, masked, x) < 1e-5
    sizes = units.sizes({pool: len(places) for pool, places in kept.items()})
    for layer, (inputs, outputs) in sizes.items():
        module = small.get_submodule(layer)
        names = (
            ("in_features", "out_features")
            if isinstance(module, nn.Linear)
            else ("in_channels", "out_channels")
        )
        assert (getattr(module, names[0]), getattr(module, names[1]), len(module.weight)) == (
            inputs,
            outputs,
            outputs,
        )


@pytest.mark.parametrize("name", sorted(ALL))
def test_removing_nothing_changes_nothing_and_never_the_network_given(name):
    network, x, units = case(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    small = units.smaller(network, halves(units))
    assert gap(units.smaller(network, {}), network, x) < 1e-6
    assert gap(small, network, x) > 1e-3  # channels matter in these networks
    assert size(small) < size(network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert not {id(p) for p in network.parameters()} & {id(p) for p in small.parameters()}


def test_channels_of_padded_shortcuts_stay_in_their_places():
    network, _, units = case("resnet A")
    kept = {"conv1": [0, 5], "layer2.0.conv2": [1, 2, 9], "layer3.0.conv2": [0, 31]}
    small = units.smaller(network, kept)
    # Units 1 and 2 of the second pool are before the two of the stem, unit 9 is behind: 3 before, 1 behind of stage 2.
    two, three = small.get_submodule("layer2.0.shortcut"), small.get_submodule("layer3.0.shortcut")
    assert (two.before, two.behind) == (2, 1)
    assert (three.before, three.behind) == (1, 1)
    assert [small.get_submodule(f"layer{n}.0.conv2").out_channels for n in (1, 2, 3)] == [2, 5, 7]
    weight = small.get_submodule("layer2.0.conv2").weight
    places = [1, 2, 8 + 0, 8 + 5, 24 + 1]
    assert torch.equal(weight, network.layer2[0].conv2.weight[places])


def test_masked_networks_are_zero_where_channels_are_gone():
    network, _, units = case("resnet B")
    masked = units.masked(network, {"layer2.0.conv2": [0, 2]})
    gone = [place for place in range(32) if place not in (0, 2)]
    for name in ("layer2.0.conv2", "layer2.0.shortcut.0"):
        assert not masked.get_submodule(name).weight[gone].any()
        assert masked.get_submodule(name).weight[[0, 2]].all()
    for name in ("layer2.0.bn2", "layer2.0.shortcut.1"):
        norm = masked.get_submodule(name)
        assert not torch.cat([norm.weight[gone], norm.bias[gone], norm.running_mean[gone]]).any()
    for name in ("layer3.0.conv1", "layer3.0.shortcut.0"):
        assert not masked.get_submodule(name).weight[:, gone].any()
    masked.load_state_dict(network.state_dict())  # the same names and shapes


def test_a_smaller_network_can_be_trained():
    network, x, units = case("mobile")
    small = units.smaller(network, halves(units))
    assert not any(module.training for module in small.modules())
    norm = small.get_submodule("widen.1")
    before = norm.running_mean.clone()
    torch.manual_seed(0)
    small.train()
    assert not torch.equal(small(x), small(x))  # dropout that is called as a function follows the mode
    assert not torch.equal(norm.running_mean, before)
    small(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in small.parameters())
    small.eval()
    assert torch.equal(small(x), small(x))
    again = torch.load(io.BytesIO(saved(small)), weights_only=False)
    assert torch.equal(again.eval()(x), small(x))
    assert torch.equal(copy.deepcopy(small)(x), small(x))


def saved(network):
    buffer = io.BytesIO()
    torch.save(network, buffer)
    return buffer.getvalue()


def test_dropout_that_is_always_on_makes_a_network_that_cannot_be_compared():
    class Always(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.b(F.dropout(self.a(x), 0.5))

    units = ChannelUnits.of(Always(), noise(4, 4))
    assert not units.pools
    assert "its outputs are random" in units.whole["a"]


def test_wrong_places_networks_and_empty_layers_are_named():
    network, _, units = case("dense")
    for kept, message in [
        ({"a": [4]}, r"pool a has places 0 to 3, each once, and not \[4\]"),
        ({"a": [1, 1]}, "each once"),
        ({"z": [0]}, "there is no pool z"),
        ({"d": []}, "no channel of d would stay"),
    ]:
        with pytest.raises(SzilardError, match=message):
            units.smaller(network, kept)
    with pytest.raises(SzilardError, match="no layer a with 4 channels"):
        units.masked(case("mlp")[0], {"a": [0]})
    with pytest.raises(SzilardError, match="no layer a with 4 channels"):
        units.smaller(units.smaller(network, {"a": [0]}), {"a": [0]})


# -- shrinking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet A", "resnet B", "mobile", "grouped", "tokens", "lenet5"])
def test_a_masked_network_is_shrunk_to_the_smaller_one(name):
    network, x, units = case(name)
    masked, small = units.masked(network, halves(units)), units.smaller(network, halves(units))
    shrunken = shrink(masked, x)
    assert type(shrunken) is type(network)
    assert {key: value.shape for key, value in shrunken.state_dict().items()} == {
        key: value.shape for key, value in small.state_dict().items()
    }
    assert gap(shrunken, masked, x) < 1e-5


def test_a_stored_masked_network_is_shrunk(tmp_path):
    network, x, units = case("mobile")
    made = szilard.compress(units.masked(network, halves(units)), x, lam=1e-6, passes=[Quantise()])
    path = tmp_path / "net.szd"
    path.write_bytes(made.data)
    opened = copy.deepcopy(network)
    opened.load_state_dict(szilard.load(path))
    shrunken = shrink(opened, x)
    assert size(shrunken) == size(units.smaller(network, halves(units)))
    assert gap(shrunken, opened, x) < 1e-5


@pytest.mark.parametrize(("name", "stay"), [("padded", ["stem", "conv2"]), ("dense", ["c"])])
def test_channels_whose_number_is_a_constant_of_the_forward_stay(name, stay):
    network, x, units = case(name)
    masked = units.masked(network, halves(units))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shrunken = shrink(masked, x)
    named = [
        str(one.message) for one in caught if "is a constant in the network's forward" in str(one.message)
    ]
    assert [text.split()[3] for text in named] == stay
    others = {pool: range(0, len(units.pools[pool].units), 2) for pool in units.pools if pool not in stay}
    assert size(shrunken) == size(units.smaller(network, others))
    assert gap(shrunken, masked, x) < 1e-6


def test_tied_channels_that_are_zero_in_one_layer_only_stay():
    network, x, units = case("resnet B")
    masked = units.masked(network, {"layer2.0.conv2": [0, 2]})
    with torch.no_grad():
        masked.layer2[0].shortcut[1].bias.copy_(network.layer2[0].shortcut[1].bias)
        masked.layer3[0].conv1.weight.copy_(network.layer3[0].conv1.weight)
    with pytest.warns(SzilardWarning, match="no unit of the network is dead"):
        assert size(shrink(masked, x)) == size(network)
