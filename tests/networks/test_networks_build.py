"""The networks of the library."""

import pytest
import torch
from torch import nn

from szilard import networks
from szilard.errors import SzilardError
from szilard.networks.resnet import PaddedShortcut


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("spec", "shape", "n_outputs", "parameters"),
    [
        ("mlp", (1, 28, 28), 10, 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10),
        ("mlp:50", (13,), 1, 13 * 50 + 50 + 50 + 1),
        ("MLP:300,100", (1, 28, 28), 10, 266_610),
        ("lenet5", (1, 28, 28), 10, 61_706),  # the published count
        ("resnet20", (3, 32, 32), 10, 269_722),  # as in published checkpoints, option A
        ("resnet20-b", (3, 32, 32), 10, 272_474),  # with option B
        ("resnet56", (3, 32, 32), 10, 853_018),
    ],
)
def test_numbers_of_parameters_are_those_published(spec, shape, n_outputs, parameters):
    network = networks.build(spec, shape, n_outputs)
    assert size(network) == parameters
    assert network(torch.zeros(2, *shape)).shape == (2, n_outputs)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("lenet5", (3, 12, 12)),
        ("lenet5", (1, 13, 40)),
        ("resnet20", (1, 8, 8)),
        ("resnet20", (2, 5, 7)),
        ("mlp", (1, 2, 3)),
    ],
)
def test_small_and_odd_shapes_work(spec, shape):
    assert networks.build(spec, shape, 4)(torch.zeros(3, *shape)).shape == (3, 4)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("lenet5", (1, 8, 8), "at least 12x12, not 8x8; use mlp"),
        ("lenet5", (1, 28, 11), "at least 12x12, not 28x11"),
        ("lenet5", (13,), "needs images"),
        ("resnet20", (13,), "needs images"),
        ("resnet21", (3, 32, 32), r"depth 6n \+ 2"),
        ("resnet2", (3, 32, 32), r"depth 6n \+ 2"),
        ("mlp:0", (13,), "at least one unit"),
        ("lenet6", (1, 28, 28), r"no network 'lenet6' \(perhaps lenet5\); choose mlp, lenet5"),
        ("mlp:", (3,), "no network 'mlp:'"),
        ("net.py", (3,), "names no function"),
        ("mlp", (), "needs inputs and outputs"),
        ("mlp", (0,), "needs inputs and outputs"),
    ],
)
def test_invalid_specifications_are_refused(spec, shape, message):
    with pytest.raises(SzilardError, match=message):
        networks.build(spec, shape, 10)


def test_the_seed_determines_the_weights_and_the_global_generator_is_unused():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    a, b, c = (networks.build("lenet5", (1, 28, 28), 10, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["0.weight"], c["0.weight"])


@pytest.mark.parametrize("spec", ["mlp", "lenet5", "resnet20", "resnet20-b"])
def test_every_parameter_belongs_to_a_plain_layer(spec):
    network = networks.build(spec, (3, 16, 16), 5)
    for module in network.modules():
        if list(module.parameters(recurse=False)):
            assert isinstance(module, nn.Linear | nn.Conv2d | nn.BatchNorm2d)


def test_option_a_takes_every_second_pixel_between_zero_channels():
    x = torch.rand(2, 4, 6, 6)
    y = PaddedShortcut(2, 4)(x)
    assert y.shape == (2, 8, 3, 3)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_resnet_keeps_the_names_of_published_checkpoints():
    keys = networks.build("resnet20", (3, 32, 32), 10).state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer3.2.bn2.bias",
        "linear.weight",
    } <= keys
    assert not any("shortcut" in key for key in keys)


def test_resnet_uses_he_initialisation():
    network = networks.build("resnet20", (3, 32, 32), 10)
    assert abs(network.conv1.weight.std() / (2 / 27) ** 0.5 - 1) < 0.15  # He et al. 2015: var 2 / fan-in
    assert torch.isfinite(network(torch.randn(4, 3, 32, 32))).all()


def test_names_lists_specs():
    assert {"mlp", "lenet5", "resnet20"} <= dict(networks.names()).keys()
