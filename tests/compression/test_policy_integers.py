"""Networks with fake integers: the levels of ONNX Runtime, and gradients that reach every weight."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from support.digits_convnet import Residual, trained
from torch import nn

import szilard
from szilard.compression.policies import integers
from szilard.compression.policies.integer_layers import Rounding, rounded_rows
from szilard.deploy.int8 import answers, quantise
from szilard.errors import SzilardError, SzilardWarning

ALL = dict.fromkeys(("conv1", "conv2", "conv3", "fc"), (8, 8))


def residual():
    torch.manual_seed(0)
    network, generator = Residual().eval(), torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))  # slopes below zero, too
            module.running_var.uniform_(0.5, 2, generator=generator)
    return network, torch.randn(100, 1, 8, 8, generator=generator)


def log_answers(compiled, x):
    return answers(compiled, x).answer.log()


@functools.cache
def compiled_residual():
    network, x = residual()
    return szilard.deploy.compile(network, x[:1], backend="onnx")


@pytest.mark.parametrize(
    ("layers", "joined"),
    [
        (["conv1", "block.conv1", "block.conv2", "fc"], True),
        (["conv1", "block.conv1", "block.conv2", "fc"], False),
        (["block.conv1"], True),
    ],
)
def test_outputs_are_those_of_the_runtime(layers, joined):
    pytest.importorskip("onnxruntime")
    network, x = residual()
    real = log_answers(quantise(compiled_residual(), x, layers=layers, joined=joined)[0], x)
    fake = integers.with_integers(network, dict.fromkeys(layers, (8, 8)), x, joined=joined)
    steps = [one.step for one in fake.modules() if isinstance(one, Rounding)]
    with torch.no_grad():
        found, exact = fake(x).log_softmax(1), network(x).log_softmax(1)
    # A number in the middle of two levels can go either way; the logits are then a step apart. Few do.
    assert (found - real).abs().max() <= 2 * max(steps)
    assert (found - real).abs().mean() < 0.1 * (exact - real).abs().mean()


@pytest.mark.parametrize("bits", [(8, 8), (4, 8), (3, 32), (2, 4)])
def test_the_gradient_reaches_and_moves_every_weight(bits):
    network, x, _ = trained()
    fake = integers.with_integers(network, dict.fromkeys(ALL, bits), x)
    before = copy.deepcopy(fake.state_dict())
    assert before.keys() == network.state_dict().keys()
    optimizer = torch.optim.SGD(fake.parameters(), 1.0)
    (fake(x) * torch.linspace(-1, 1, 10)).square().sum().backward()
    for name in ALL:
        assert fake.get_submodule(name).weight.grad is not None
    optimizer.step()
    for name in ALL:
        moved = fake.get_submodule(name).weight != before[f"{name}.weight"]
        assert (
            moved.double().mean() > 0.95
        )  # but for inputs that are always 0, such as a corner of the images
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), trained()[0].parameters(), strict=True)
    )


def test_weights_have_the_levels_of_their_bits():
    weight = torch.tensor([[1.0, -0.5, 0.26, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert rounded_rows(weight, 3).tolist() == [
        pytest.approx([1.0, -2 / 3, 1 / 3, 0.0]),
        [0.0] * 4,
    ]


def test_activations_have_a_level_for_zero_and_no_gradient_outside_of_their_range():
    one = Rounding(2)
    one.measuring = True
    one(torch.tensor([-1.0, 2.0]))
    one.measuring = False
    one.freeze()
    x = torch.tensor([-3.0, -0.6, 0.2, 1.4, 5.0], requires_grad=True)
    y = one(x)
    assert y.tolist() == [-1.0, -1.0, 0.0, 1.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_a_norm_behind_a_layer_does_not_change_its_levels():
    weight, slope = (
        torch.randn(5, 12, generator=torch.Generator().manual_seed(0)),
        torch.tensor([2.0, -1, 3, 0.1, -7]),
    )
    folded = rounded_rows(weight * slope[:, None], 64) / slope[:, None]
    assert torch.allclose(folded, rounded_rows(weight, 64), atol=1e-6)


@pytest.mark.parametrize("make", [residual, lambda: trained()[:2]])
def test_the_plain_network_comes_back(make):
    network, x = make()
    names = [name for name, one in network.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    fake = integers.with_integers(network, dict.fromkeys(names, (4, 8)), x)
    plain = integers.without_integers(fake)
    assert integers.has_integers(fake)
    assert not integers.has_integers(plain)
    with torch.no_grad():
        assert not torch.allclose(fake(x), network(x), atol=1e-3)
        assert torch.equal(plain(x), network(x))


def test_ranges_follow_new_inputs_and_32_bits_are_floats():
    network, x, _ = trained()
    fake = integers.with_integers(network, {"conv1": (32, 8), "fc": (32, 32)}, x)
    steps = [one.step for one in fake.modules() if isinstance(one, Rounding)]
    integers.recalibrate(fake, 2 * x)
    assert next(one.step for one in fake.modules() if isinstance(one, Rounding)) == pytest.approx(
        2 * steps[0]
    )
    assert len(steps) == 2
    assert type(fake.fc) is nn.Linear


def test_what_has_no_integers_is_named():
    network, x, _ = trained()
    with pytest.raises(SzilardError, match="calls no layer conv9"):
        integers.with_integers(network, {"conv9": (8, 8)}, x)
    with pytest.raises(SzilardError, match="conv1 cannot have 9 bits"):
        integers.with_integers(network, {"conv1": (9, 8)}, x)
    with pytest.warns(SzilardWarning, match="bn1 stays in floats: a BatchNorm2d"):
        integers.with_integers(network, {"bn1": (8, 8)}, x)
    with pytest.raises(SzilardError, match=r"only networks of float32"):
        integers.with_integers(network.double(), ALL, x)
