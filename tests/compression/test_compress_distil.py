"""Distillation does not depend on the scales of layers; passes that lower the score are reverted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import szilard
from szilard.compression import Correct, Distil, Draft, Quantise, QuantiseVectors, Setting
from szilard.compression.half_precision import in_float32
from szilard.compression.judge import Scores
from szilard.compression.pass_runner import fell, run_passes

pytestmark = pytest.mark.usefixtures("usual_steps")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def rescaled(original, *scales):
    """The same function, with the output of each hidden layer multiplied by a scale."""
    scaled, before = copy.deepcopy(original), 1.0
    layers = [layer for layer in scaled if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, after in zip(layers, (*scales, 1.0), strict=True):
            layer.weight.mul_(after / before)
            layer.bias.mul_(after)
            before = after
    return scaled


def distilled(one, x, lam=1e-4, **options):
    draft, setting = Draft(copy.deepcopy(one)), Setting(lam, [x], one)
    Quantise()(draft, setting)
    rounded = copy.deepcopy(draft)
    Distil(**options)(draft, setting)
    return rounded, draft


def errors(one, drafts, x):
    with torch.no_grad():
        wanted = one(x)
        return [float((draft.network(x) - wanted).norm() / wanted.norm()) for draft in drafts]


@pytest.mark.parametrize("scales", [(2.0**-12, 1.0), (2.0**10, 2.0**-10), (1.0, 2.0**-16)])
def test_the_result_does_not_depend_on_scales_of_layers(scales):
    x, one = noise(256, 10), network()
    other = rescaled(one, *scales)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))  # exact, because the scales are powers of two
    (_, first), (_, second) = (distilled(each, x, steps=60) for each in (one, other))
    for name, levels in first.quantised.items():
        assert np.mean(levels.levels != second.quantised[name].levels) < 0.01
    torch.testing.assert_close(first.network(x), second.network(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1e3])
def test_distillation_helps_at_any_scale(scale):
    x = noise(512, 10)
    one = rescaled(network(), scale, scale)
    before, after = errors(one, distilled(one, x, lam=1e-5), noise(500, 10, seed=1))
    assert after < 0.95 * before


def test_biases_of_channels_of_different_scales_are_trained():
    """Channels of sizes from 10⁻⁴ to 1, before a layer whose weights compensate for them."""
    one = network()
    sizes = torch.logspace(-4, 0, 32)
    with torch.no_grad():
        one[0].weight.mul_(sizes[:, None])
        one[0].bias.mul_(sizes)
        one[2].weight.div_(sizes)
    x = noise(512, 10)
    before, after = errors(one, distilled(one, x, lam=1e-6), x)
    assert after <= before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_networks_are_trained_in_float32_and_keep_their_dtype(dtype):
    x, one = noise(300, 10).to(dtype), network().to(dtype)
    rounded, draft = distilled(one, x, lam=3e-4)
    assert {p.dtype for p in draft.network.parameters()} == {dtype}
    before, after = errors(one, [rounded, draft], x)
    assert after < before
    made = szilard.compress(one, x, lam=1e-5)
    assert {p.dtype for p in made.network.parameters()} == {dtype}
    assert torch.isfinite(made.network(x)).all()


def test_bfloat16_with_batchnorm():
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(392, 3))
    one, x = one.bfloat16().eval(), noise(100, 3, 9, 9).bfloat16()
    made = szilard.compress(one, x, lam=1e-10)
    with torch.no_grad():
        assert (made.network(x) - one(x)).norm() < 0.02 * one(x).norm()


def test_in_float32_restores_the_network():
    one = network().half()
    one.register_buffer("count", torch.arange(3))
    state = {name: value.clone() for name, value in one.state_dict().items()}
    parameters = list(one.parameters())
    with in_float32(one) as changed:
        assert changed
        assert {p.dtype for p in one.parameters()} == {torch.float32}
        assert one.count.dtype == torch.int64
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())
    assert all(a is b for a, b in zip(one.parameters(), parameters, strict=True))
    with in_float32(network()) as changed:
        assert not changed


def test_distillation_that_raises_the_free_energy_is_discarded():
    x, one = noise(200, 10), network()
    rounded, draft = distilled(one, x, lr_levels=20.0, steps=5)
    assert all(np.array_equal(draft.quantised[n].levels, q.levels) for n, q in rounded.quantised.items())
    assert all(
        torch.equal(a, b)
        for a, b in zip(draft.network.parameters(), rounded.network.parameters(), strict=True)
    )


class Ruin:
    """A pass that changes a bias, deletes the levels and adds a note."""

    costly = True

    def __init__(self, undo_if_worse):
        self.undo_if_worse = undo_if_worse

    def __call__(self, draft, setting):
        with torch.no_grad():
            draft.network[0].bias.add_(100)
        draft.quantised.clear()
        draft.notes.append("ruined")


def accuracy(one, x):
    with torch.no_grad():
        labels = one(x).argmax(1)

    def score(other):
        with torch.no_grad():
            right = (other(x).argmax(1) == labels).double()
        return Scores(float(right.mean()), right)

    return score


def test_a_repair_pass_that_lowers_the_score_is_reverted():
    x, one = noise(200, 10), network()
    for undo_if_worse, bias in ((True, 0), (False, 100)):
        draft = Draft(copy.deepcopy(one))
        Quantise()(draft, setting := Setting(1e-6, [x], one))
        parameters, levels = list(draft.network.parameters()), dict(draft.quantised)
        run_passes([Ruin(undo_if_worse)], draft, setting, accuracy(one, x))
        torch.testing.assert_close(draft.network[0].bias, one[0].bias + bias)
        assert draft.quantised == ({} if bias else levels)
        assert draft.notes == (["ruined"] if bias else [])
        assert all(a is b for a, b in zip(draft.network.parameters(), parameters, strict=True))
    draft = Draft(copy.deepcopy(one))
    run_passes([Ruin(True)], draft, Setting(1e-6, [x], one), None)
    assert draft.notes == ["ruined"]  # without a score nothing is reverted


@pytest.mark.parametrize(
    ("before", "after", "lower"),
    [
        ([1.0, 1, 1, 1], [1.0, 1, 1, 1], False),
        ([1.0, 1, 1, 1], [1.0, 1, 1, 0], False),  # one of four is not significant
        ([1.0] * 100, [1.0] * 80 + [0.0] * 20, True),
        ([1.0] * 100, [1.0] * 99 + [-torch.inf], True),
        (None, None, True),
    ],
)
def test_fell_by_more_than_chance(before, after, lower):
    if before is None:
        first, second = Scores(0.9), Scores(0.89)
    else:
        first, second = (
            Scores(float(v.mean()), v) for v in (torch.tensor(before).double(), torch.tensor(after).double())
        )
    assert fell(first, second) == lower
    assert not fell(first, first)
    assert fell(first, Scores(float("nan")))


@pytest.mark.parametrize("goal", [{"lam": 1e-8}, {"max_bytes": 1500}])
def test_no_attempt_keeps_a_pass_that_lowers_the_score(goal):
    x, one = noise(800, 10), network()
    with torch.no_grad():
        y = one(x).argmax(1)
    quantise = Quantise()
    passes = [quantise, Ruin(True), QuantiseVectors(quantise)]
    made = szilard.compress(one, [(x, y)], passes=passes, **goal)
    assert made.score > 0.8
    assert not made.notes or "ruined" not in made.notes


def test_inputs_in_dicts_and_tuples():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 8)
            self.out = nn.Linear(8, 3)

        def forward(self, a, b):
            return self.out((self.a(a) + self.b(b)).relu())

    torch.manual_seed(0)
    one = Two().eval()
    batches = [{"a": noise(64, 6, seed=i), "b": noise(64, 4, seed=i)} for i in range(3)]
    pairs = [(batch["a"], batch["b"]) for batch in batches]
    outputs = []
    for inputs, forward in ((batches, lambda net, x: net(**x)), (pairs, lambda net, x: net(*x))):
        draft, setting = Draft(copy.deepcopy(one)), Setting(1e-6, inputs, one, forward=forward)
        for each in (quantise := Quantise(), Correct(), Distil(steps=20), QuantiseVectors(quantise)):
            each(draft, setting)
        with torch.no_grad():
            outputs.append(draft.network(**batches[0]))
            assert (outputs[-1] - one(**batches[0])).norm() < 0.3 * one(**batches[0]).norm()
    assert torch.equal(*outputs)
