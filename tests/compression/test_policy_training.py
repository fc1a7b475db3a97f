"""Training of compressed networks, and the finished network for a runtime or a file."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from support.digits_convnet import Residual, digits, policy, trained
from torch import nn

import szilard
from szilard.compression.channels.units import ChannelUnits
from szilard.compression.policies import applied, divergence, finishing, importance, integers, training
from szilard.errors import SzilardError
from szilard.likelihood import Categorical, Gaussian

KEPT, BITS = {"conv3": 6, "conv1": 5}, {"conv2": (4, 8), "conv3": (8, 8)}


def compressed(bits=None):
    network, x, units = trained()
    ranks = importance.rank(network, units, x[:64])
    wanted = policy(units, KEPT, bits)
    student = applied.apply(network, units, ranks, wanted, x)
    return student, network, x, units, applied.positions_kept(units, ranks, wanted)


@pytest.mark.parametrize("labelled", [False, True])
def test_training_lowers_kl_and_leaves_the_teacher_as_it_is(labelled):
    student, teacher, x, *_ = compressed(BITS)
    x, labels = x[:320], digits()[1][1200:1520] if labelled else None
    held, state = digits()[0][:200], copy.deepcopy(teacher.state_dict())
    wanted = divergence.outputs_of(teacher, held)
    before, ranges = divergence.kl(wanted, student, held), student.rounding_relu_1.high
    steps = []
    losses = training.train(
        student,
        teacher,
        x,
        labels=labels,
        epochs=4,
        batch_size=64,
        lr=0.05,
        progress=lambda *at: steps.append(at),
    )
    assert divergence.kl(wanted, student, held) < 0.7 * before
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert steps[-1] == (20, 20)
    assert student.rounding_relu_1.high != ranges
    assert not student.training
    assert all(p.grad is None for p in student.parameters())
    assert student.conv2.weight.is_contiguous()
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items())


def test_the_result_is_a_function_of_the_seed():
    def weights(seed):
        student, teacher, x, *_ = compressed()
        torch.rand(3)  # the global generator plays no part
        training.train(student, teacher, x[:100], steps=3, batch_size=32, seed=seed)
        return student.fc.weight

    first = weights(0)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


def test_images_of_three_channels_are_varied():
    small, large, rows = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 80, 2), torch.randn(4, 9)
    generator = torch.Generator().manual_seed(0)
    assert training.default_augment(rows) is training.unchanged
    assert training.default_augment(small[:, :1]) is training.unchanged
    assert training.default_augment(small)(small, generator).shape == small.shape
    assert training.default_augment(large) is training.mirrored
    both = training.mirrored(large.repeat(5, 1, 1, 1), generator)
    flipped = [torch.equal(a, b.flip(2)) for a, b in zip(both, large.repeat(5, 1, 1, 1), strict=True)]
    same = [torch.equal(a, b) for a, b in zip(both, large.repeat(5, 1, 1, 1), strict=True)]
    assert any(flipped)
    assert any(same)
    assert all(a != b for a, b in zip(flipped, same, strict=True))


def test_the_rate_rises_and_falls():
    shares = [training.share_of_rate(step, 100, 0.1) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == shares[10] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert 0 < shares[-1] < 1e-3


def test_the_distance_is_a_divergence_at_a_temperature():
    wanted, output = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    soft = Categorical().divergence(wanted / 3, output / 3)
    assert training.distance(Categorical(), wanted, output, 3.0) == pytest.approx(9 * float(soft))
    assert training.distance(Gaussian(), wanted, output, 3.0) == Gaussian().divergence(wanted, output)


def test_networks_that_want_the_usual_layout_are_trained_in_it():
    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 3)

        def forward(self, x):
            return self.fc(self.conv(x).view(len(x), -1))

    torch.manual_seed(0)
    teacher, student = Viewed(), Viewed()
    x = torch.randn(64, 3, 8, 8)
    losses = training.train(
        student,
        teacher,
        x,
        epochs=5,
        lr=0.01,
        batch_size=32,
        likelihood=Gaussian(),
        augment=training.unchanged,
    )
    assert losses[-1] < losses[0]


def test_bad_input_has_one_sentence():
    student, teacher, x, *_ = compressed()
    with pytest.raises(SzilardError, match="at least two inputs, and there are 1"):
        training.train(student, teacher, x[:1])
    with pytest.raises(SzilardError, match="5 labels for 10 inputs"):
        training.train(student, teacher, x[:10], labels=torch.zeros(5, dtype=torch.long))
    with pytest.raises(SzilardError, match="smaller learning rate"):
        training.train(student, teacher, x * torch.inf, steps=1, likelihood=Categorical())


def test_the_finished_network_is_plain_and_not_worse():
    student, teacher, x, units, kept = compressed(BITS)
    training.train(student, teacher, x, steps=5, batch_size=64)
    made = finishing.finish(student, teacher, units, kept, x)
    assert not integers.has_integers(made)
    assert type(made.conv2) is nn.Conv2d
    assert torch.equal(made.conv2.weight, student.conv2.weight)
    wanted = divergence.outputs_of(teacher, x)
    again = integers.with_integers(made, BITS, x)
    assert divergence.kl(wanted, again, x) <= 1.05 * divergence.kl(wanted, student, x)


def test_the_small_network_fits_into_the_original_shapes_and_a_file():
    student, teacher, x, units, kept = compressed(BITS)
    training.train(student, teacher, x, steps=5, batch_size=64)
    small = finishing.finish(student, teacher, units, kept, x)
    whole = finishing.put_back(small, teacher, units, kept)
    assert type(whole) is type(teacher)
    assert whole.state_dict().keys() == teacher.state_dict().keys()
    with torch.no_grad():
        assert torch.allclose(whole(x), small(x), atol=1e-4)
    assert int((whole.conv3.weight.abs().sum((1, 2, 3)) > 0).sum()) == 6
    made = finishing.to_file(
        small, teacher, units, kept, x[:128], lam=1e-5, passes=[szilard.compression.Quantise()]
    )
    opened = trained()[0]
    opened.load_state_dict(szilard.file.to_state_dict(szilard.file.loads(made.data)))
    with torch.no_grad():
        assert (opened.eval()(x) - small(x)).abs().mean() < 0.5
    plain = szilard.compress(teacher, x[:128], lam=1e-5, passes=[szilard.compression.Quantise()])
    assert len(made.data) < 0.8 * len(plain.data)
    with pytest.raises(SzilardError, match=r"conv1.weight has shape .* these units keep"):
        finishing.put_back(small, teacher, units, {"conv3": [0]})


class Branched(nn.Module):
    """A convolution, and a branch that a sum adds, with a bias in place of a norm or not."""

    def __init__(self, norm):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.conv3 = nn.Conv2d(4, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6) if norm else None
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.conv1(x).relu()
        y = self.conv3(self.conv2(x).relu())
        y = y if self.norm is None else self.norm(y)
        return self.fc((y + x).relu().mean((2, 3)))


@pytest.mark.parametrize("make", [lambda: Branched(True), lambda: Branched(False), Residual])
def test_a_branch_without_channels_is_a_constant_in_the_original_shapes(make):
    torch.manual_seed(0)
    network, x = make().eval(), torch.randn(32, 1, 8, 8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_()
    units = ChannelUnits.of(network, x)
    inner = next(name for name in units.pools if name in ("conv2", "block.conv1"))
    ranks = importance.rank(network, units, x, likelihood=Gaussian())
    wanted = policy(units, {inner: 0, "conv1": 5}, dict.fromkeys(units.layers, (8, 8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = applied.apply(network, units, ranks, wanted, x)
    assert not isinstance(dict(small.named_modules()).get(inner), nn.Conv2d)
    plain = integers.without_integers(small)
    whole = finishing.put_back(small, network, units, applied.positions_kept(units, ranks, wanted))
    with torch.no_grad():
        assert torch.allclose(whole(x), plain(x), atol=1e-4)
        assert not torch.allclose(whole(x), network(x), atol=1e-2)
