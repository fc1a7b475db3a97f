"""Structured supports: budgets, moves and products."""

import copy
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard import bayes, methods
from szilard.bayes import bayesianize
from szilard.errors import SzilardError
from szilard.sparse import Block, Neuron, Support, budgets, make_pattern
from szilard.sparse.growth import conv_rows, linear_rows
from szilard.topology import GrowthGradient, drop_and_grow
from szilard.topology import gradient as growth_module

shapes = st.sampled_from([(1, 1), (5, 6), (16, 16), (33, 40), (10, 64), (12, 3, 3, 3), (8, 6, 5)])
structured = st.sampled_from([Block(4), Block(7), Neuron(), Neuron(first=True), Neuron(last=True)])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def close(x, y, atol=1e-5):
    return torch.allclose(x, y, atol=atol, rtol=1e-5)


def largest_deviation(shape, pattern):
    """Bound on |nnz - budget|: the size of the largest unit."""
    rows, cols, kernel = shape[0], math.prod(shape[1:]), math.prod(shape[2:])
    if isinstance(pattern, Block):
        return min(rows, pattern.side) * min(cols, pattern.side)
    return max(rows * kernel, cols)


@given(shapes, structured, st.floats(0.01, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=150)
def test_the_budget_is_met_up_to_one_unit(shape, pattern, density, seed):
    size = math.prod(shape)
    budget = max(1, round(density * size))
    drawn = Support.random(shape, budget, generator(seed), pattern)
    weight = torch.randn(shape, generator=generator(seed + 1))
    largest = Support.largest(weight, budget, pattern)
    fresh = pattern.fresh(shape, budget, generator(seed))
    assert drawn.nnz == largest.nnz == len(fresh)
    assert abs(drawn.nnz - budget) <= largest_deviation(shape, pattern)
    # The largest entries have a larger norm than random ones.
    if isinstance(pattern, Block):
        assert weight[largest.mask()].norm() >= weight[drawn.mask()].norm() - 1e-5


@given(shapes, structured, st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=150)
def test_a_move_keeps_budget_pattern_and_values(shape, pattern, density, fraction, seed):
    g = generator(seed)
    support = Support.random(shape, max(1, round(density * math.prod(shape))), g, pattern)
    nnz, old = support.nnz, support.flat()
    growth = GrowthGradient(linear_rows)
    growth.add(torch.randn(4, support.rows, generator=g), torch.randn(4, support.cols, generator=g))
    move = drop_and_grow(support, torch.rand(nnz, generator=g), growth, fraction)
    support.check()  # it still has the pattern
    assert support.nnz == nnz
    assert move.dropped == int((~torch.isin(support.flat(), old)).sum()) <= fraction * nnz + 1e-6
    values = torch.arange(nnz) + 1.0
    carried = values.clone()
    move.carry(carried, -1.0)
    before = dict(zip(old.tolist(), values.tolist(), strict=True))
    assert carried.tolist() == [before.get(i, -1.0) for i in support.flat().tolist()]


def test_blocks_are_dropped_by_score_and_grown_by_gradient(monkeypatch):
    monkeypatch.setattr(growth_module, "BLOCK", 50)  # process the gradient in several pieces
    weight = torch.zeros(12, 10)
    weight[0:4, 0:4] = 3.0
    weight[4:8, 4:8] = 1.0  # is dropped: the smaller of two complete blocks
    weight[0:4, 8:10] = 0.5  # the only partial block stays
    support = Support.largest(weight, 16 + 16 + 8, "block4")
    assert torch.equal(support.mask(), weight != 0)
    grad, x = torch.zeros(1, 12), torch.zeros(1, 10)
    grad[0, 8:12], x[0, 0:4], x[0, 8:10] = 1.0, 1.0, 9.0
    growth = GrowthGradient(linear_rows)
    growth.add(grad, x)
    move = drop_and_grow(support, support.gather(weight), growth, 0.5)
    expected = (weight != 0) & (weight != 1.0)
    expected[8:12, 0:4] = True
    assert torch.equal(support.mask(), expected)
    assert move.dropped == 16


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_neurons_are_dropped_by_score_and_grown_by_gradient(kind):
    g = generator(5)
    shape = (9, 7) if kind == "linear" else (9, 7, 3, 2)
    support = Support.random(shape, round(0.4 * math.prod(shape)), g, "neuron")
    rows, channels = support.kept_rows, support.kept_channels
    score = torch.rand(support.nnz, generator=g)
    if kind == "linear":
        rows_gradient = linear_rows
        grad, x = torch.randn(5, 9, generator=g), torch.randn(5, 7, generator=g)
        dense = grad.t() @ x
    else:
        rows_gradient = conv_rows(shape, [1, 1], [0, 0], [1, 1], 1)
        grad, x = torch.randn(2, 9, 4, 5, generator=g), torch.randn(2, 7, 6, 6, generator=g)
        dense = rows_gradient(grad, x, slice(0, 9))
    growth = GrowthGradient(rows_gradient)
    growth.add(grad, x)
    fraction = 0.7
    drop_and_grow(support, score, growth, fraction)
    # Computed directly from dense matrices.
    squares = score.square().view(len(rows), len(channels), -1).sum(2)
    gain = dense.square().view(9, 7, -1).sum(2)
    share = 1 - math.sqrt(1 - fraction)
    stay_rows = rows[squares.sum(1).argsort(descending=True)[: len(rows) - math.floor(share * len(rows))]]
    stay_channels = channels[
        squares.sum(0).argsort(descending=True)[: len(channels) - math.floor(share * len(channels))]
    ]
    assert 0 < len(stay_rows) < len(rows)
    by_row = gain[:, stay_channels].sum(1).index_fill(0, stay_rows, math.inf)
    by_channel = gain[stay_rows].sum(0).index_fill(0, stay_channels, math.inf)
    assert torch.equal(support.kept_rows, by_row.topk(len(rows)).indices.sort().values)
    assert torch.equal(support.kept_channels, by_channel.topk(len(channels)).indices.sort().values)


def test_supports_have_their_pattern():
    neuron = Support.random((20, 30), 150, generator(), "neuron")
    assert (len(neuron.kept_rows), len(neuron.kept_channels)) == (10, 15)  # half of each side
    assert torch.equal(neuron.mask().any(1).nonzero().flatten(), neuron.kept_rows)
    assert torch.equal(neuron.mask().any(0).nonzero().flatten(), neuron.kept_channels)
    conv = Support.random((6, 8, 3, 3), 108, generator(), "neuron")
    per_channel = conv.mask().flatten(2).sum(2)
    assert set(per_channel.flatten().tolist()) == {0, 9}
    block = Support.random((40, 70), 600, generator(), "block16")
    found = block.mask().nonzero() // 16
    assert len(found.unique(dim=0)) == len(block.block_col)
    assert block.pattern.name in repr(block)


@given(st.floats(0.02, 1.0))
@settings(deadline=None, max_examples=40)
def test_neuron_budgets_match_between_layers(density):
    patterns = [Neuron(first=True), Neuron(), Neuron(), Neuron(last=True)]
    wide = [(400, 300), (400, 400), (200, 400), (10, 200)]
    counts = budgets(patterns, wide, density)
    total = sum(math.prod(s) for s in wide)
    assert sum(counts) == pytest.approx(density * total, abs=4)
    supports = [p.fresh(s, n, generator()) for p, s, n in zip(patterns, wide, counts, strict=True)]
    made = [Support.from_flat(s, flat, p) for s, flat, p in zip(wide, supports, patterns, strict=True)]
    for writes, reads in itertools.pairwise(made):
        assert abs(len(writes.kept_rows) - len(reads.kept_channels)) <= 3  # rounding only
    assert len(made[0].kept_channels) == 300
    assert len(made[-1].kept_rows) == 10
    assert budgets(patterns, wide, density, "erk")[3] >= counts[3]


@pytest.mark.parametrize("kind", ["linear", "conv1d", "conv2d", "groups"])
@pytest.mark.parametrize("pattern", ["neuron", "block4"])
@pytest.mark.parametrize("kernels", ["torch", ""])
def test_products_and_their_gradients_equal_dense(kind, pattern, kernels, monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", kernels)
    torch.manual_seed(0)
    module = {
        "linear": nn.Linear(11, 9),
        "conv1d": nn.Conv1d(6, 9, 3, padding=1, stride=2),
        "conv2d": nn.Conv2d(6, 9, (3, 2), padding=1, dilation=(1, 2)),
        "groups": nn.Conv2d(6, 9, 3, groups=3),
    }[kind]
    network = bayesianize(nn.Sequential(nn.Identity(), module), 0.4, pattern=pattern, dense_stem=False)
    layer = next(iter(bayes.bayes_layers(network).values()))
    weight = layer.weight
    assert 0 < weight.support.density < 1
    x = torch.randn(4, 11) if kind == "linear" else torch.randn(4, 6, *[8] * (module.weight.dim() - 2))
    x.requires_grad_()
    dense = copy.deepcopy(module)
    with torch.no_grad():
        dense.weight.copy_(weight.dense_mean())
    with bayes.mode(network, "mean"):
        y, expected = network(x), dense(x)
    assert close(y, expected)
    grad = torch.randn_like(y)
    ours = torch.autograd.grad(y, (x, weight.mean), grad, retain_graph=True)
    theirs = torch.autograd.grad(expected, (x, dense.weight), grad)
    assert close(ours[0], theirs[0], 1e-4)
    assert close(ours[1], weight.support.gather(theirs[1]), 1e-4)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_drawn_outputs_have_the_mean_and_variance_of_the_weights(kind, monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "torch")  # the C++ kernels process these convolutions by entry
    torch.manual_seed(0)
    shape = (6, 8) if kind == "linear" else (6, 4, 3, 3)
    support = Support.random(shape, math.prod(shape) // 3, generator(), "neuron")
    assert len(support.kept_rows) < 6
    weight = bayes.Weight(support, torch.randn(support.nnz), torch.randn(support.nnz) - 1)
    if kind == "linear":
        layer = bayes.BayesLinear(weight, None, bayes.Noise(0))
    else:
        layer = bayes.BayesConv(
            weight, None, bayes.Noise(0), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
        )
    x = torch.randn(1, 8) if kind == "linear" else torch.randn(1, 4, 3, 3)
    many = layer(x.expand(20_000, *x.shape[1:])).flatten(1)
    flat = x.flatten()
    mean = weight.support.scatter(weight.mean).flatten(1) @ flat
    variance = weight.support.scatter(weight.std.square()).flatten(1) @ flat.square()
    error = variance.sqrt() / 20_000**0.5
    assert ((many.mean(0) - mean).abs() <= 5 * error + 1e-6).all()
    assert torch.allclose(many.var(0), variance, rtol=0.06, atol=1e-6)
    absent = torch.ones(6, dtype=torch.bool)
    absent[weight.support.kept_rows] = False
    assert (many[:, absent] == 0).all()  # no noise without an output


def test_attention_and_convolutions_on_each_pattern():
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 16, 3, padding=1)
            self.norm = nn.BatchNorm1d(16)
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.head = nn.Linear(16, 5)

        def forward(self, x):
            x = self.norm(self.conv(x)).transpose(1, 2)
            return self.head(self.attention(x, x, x)[0].mean(1))

    for pattern in ("block4", "neuron"):
        network = bayesianize(Small(), 0.25, fresh=True, pattern=pattern)
        weights = bayes.weights(network)
        assert len(weights) == 6
        assert {w.support.pattern.name for w in weights.values()} >= {pattern}
        network(torch.randn(4, 3, 6)).square().mean().backward()
        assert all(torch.isfinite(w.mean.grad).all() for w in weights.values())
        assert (weights["head"].support.crow.diff() > 0).all() or pattern == "block4"


def test_compiled_and_exported(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "torch")
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 3))
    network = bayesianize(network, 0.3, fresh=True, pattern="neuron").eval()
    x = torch.randn(5, 1, 4, 4, generator=generator())
    assert close(torch.export.export(network, (x,)).module()(x), network(x))
    assert close(torch.compile(network, backend="aot_eager", fullgraph=True)(x), network(x))


def test_counted_cost_is_that_of_the_submatrix():
    network = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 5))
    network = bayesianize(network, 0.25, fresh=True, pattern="neuron")
    existing = sum(w.support.nnz for w in bayes.weights(network).values())
    assert szilard.cost.count(network, (20,)).macs == existing


@pytest.mark.parametrize("name", ["blocks", "block", "block2", "block999", "block-8", "neurons", ""])
def test_unknown_patterns_are_refused(name):
    with pytest.raises(SzilardError, match=r"pattern|side"):
        make_pattern(name)
    with pytest.raises(SzilardError, match=r"pattern|side"):
        methods.make("ssvi", 10, pattern=name)


def test_entries_that_break_the_pattern_are_refused():
    for pattern, what in (("block4", "whole block4s"), ("neuron", "whole rows")):
        support = Support.random((8, 8), 32, generator(), pattern)
        before = support.flat()
        wrong = torch.arange(support.nnz) + 3
        with pytest.raises(SzilardError, match=what):
            support.replace(wrong)
        assert torch.equal(support.flat(), before)
    with pytest.raises(SzilardError, match="first layer"):
        Support.from_flat((4, 4), torch.tensor([0, 1, 4, 5]), Neuron(first=True))
    with pytest.raises(SzilardError, match="two or more"):
        Support.random((5,), 2, generator(), "neuron")
