"""Supports: constructors, and invariants of moves."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.errors import SzilardError
from szilard.sparse import Support, allocate, erdos_renyi_kernel
from szilard.sparse.growth import conv_rows, linear_rows
from szilard.topology import GrowthGradient, Schedule, drop_and_grow

shapes = st.sampled_from([(1, 1), (1, 9), (7, 1), (5, 6), (4, 2, 3, 3), (6, 3, 5)])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def masks(draw):
    shape = draw(shapes)
    bits = draw(st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape)))
    return torch.tensor(bits).view(shape)


@given(masks())
@settings(deadline=None, max_examples=60)
def test_mask_round_trip_and_transpose(mask):
    support = Support.from_mask(mask)
    assert support.nnz == int(mask.sum())
    assert torch.equal(support.mask(), mask)
    values = torch.arange(support.nnz) + 1.0
    dense = support.scatter(values)
    assert torch.equal(support.gather(dense), values)
    matrix = dense.view(support.rows, support.cols)
    t = torch.sparse_csr_tensor(
        support.t_crow, support.t_col, values[support.t_perm.long()], size=(support.cols, support.rows)
    )
    assert torch.equal(t.to_dense(), matrix.t())


def test_constructors():
    full = Support.full((3, 4))
    assert full.is_full
    assert full.density == 1
    random = Support.random((30, 40), 60, generator())
    assert random.nnz == 60
    assert torch.equal(random.flat(), Support.random((30, 40), 60, generator()).flat())
    weight = torch.tensor([[0.1, -3.0], [2.0, 2.0]])
    assert Support.largest(weight, 2).flat().tolist() == [1, 2]  # the tie goes to the lower index


@pytest.mark.parametrize(
    ("crow", "col", "what"),
    [
        ([0, 2, 1], [0, 1], "increase"),
        ([0, 1, 3], [0, 1], "increase"),
        ([0, 1], [0], "crow has 2"),
        ([0, 1, 2], [0, 9], "must be in"),
        ([0, 1, 2], [-1, 0], "must be in"),
        ([0, 2, 2], [1, 0], "ascending"),
        ([0, 2, 2], [1, 1], "ascending"),
    ],
)
def test_bad_csr_is_refused(crow, col, what):
    with pytest.raises(SzilardError, match=what):
        Support((2, 3), torch.tensor(crow), torch.tensor(col))


def test_state_dict_rebuilds_the_transpose_and_checks():
    a, b = Support.random((6, 7), 11, generator(1)), Support.random((6, 7), 11, generator(2))
    b.load_state_dict(a.state_dict())
    assert torch.equal(b.t_perm, a.t_perm)
    assert torch.equal(b.t_crow, a.t_crow)
    assert set(a.state_dict()) == {"crow", "col"}
    bad = a.state_dict() | {"col": a.col.flip(0)}
    with pytest.raises(SzilardError):
        b.load_state_dict(bad)


def test_replace_keeps_the_budget():
    support = Support.random((6, 7), 11, generator())
    with pytest.raises(SzilardError, match="number of entries"):
        support.replace(torch.arange(10))
    old = support.flat()
    source = support.replace(torch.arange(11))
    assert torch.equal(support.flat(), torch.arange(11))
    for place, index in enumerate(range(11)):
        expected = (old == index).nonzero()
        assert source[place] == (expected.item() if len(expected) else -1)


@given(
    st.sampled_from([(5, 6), (4, 2, 3, 3), (16, 16)]),
    st.floats(0.05, 0.95),
    st.floats(0.0, 1.0),
    st.integers(0, 10_000),
)
@settings(deadline=None, max_examples=50)
def test_moves_keep_the_best_and_grow_the_largest(shape, density, fraction, seed):
    g = generator(seed)
    size = math.prod(shape)
    support = Support.random(shape, max(1, round(density * size)), g)
    old, nnz = support.flat(), support.nnz
    score = torch.rand(nnz, generator=g)
    growth = GrowthGradient(linear_rows)
    grad, x = torch.randn(7, support.rows, generator=g), torch.randn(7, support.cols, generator=g)
    growth.add(grad, x)
    move = drop_and_grow(support, score, growth, fraction)
    support.check()
    assert support.nnz == nnz
    count = min(math.floor(fraction * nnz), size - nnz + math.floor(fraction * nnz))
    kept = old[score.sort(descending=True, stable=True).indices[: nnz - count]]
    assert torch.isin(kept, support.flat()).all()
    gradient = (grad.t() @ x).abs().flatten()
    grown = support.flat()[~torch.isin(support.flat(), kept)]
    outside = torch.ones(size, dtype=torch.bool)
    outside[support.flat()] = False
    if len(grown) and outside.any():
        assert gradient[grown].min() >= gradient[outside].max() - 1e-5
    # values follow their entries
    values = torch.arange(nnz) + 1.0
    carried = values.clone()
    move.carry(carried, -1.0)
    before = {int(i): float(v) for i, v in zip(old, values, strict=True)}
    assert carried.tolist() == [before.get(int(i), -1.0) for i in support.flat()]


def test_growth_gradients_are_processed_in_blocks(monkeypatch):
    from szilard.topology import gradient as module

    g = generator(3)
    whole, parts = GrowthGradient(linear_rows), GrowthGradient(linear_rows)
    for _ in range(2):  # sums over two batches
        pair = torch.randn(5, 40, generator=g), torch.randn(5, 30, generator=g)
        whole.add(*pair)
        parts.add(*pair)
    taken = torch.randperm(1200, generator=g)[:200].sort().values
    expected = whole.largest(50, 40, 30, taken).sort().values
    monkeypatch.setattr(module, "BLOCK", 70)
    assert torch.equal(parts.largest(50, 40, 30, taken).sort().values, expected)
    assert not torch.isin(expected, taken).any()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv_growth_rows_equal_autograd(groups):
    g = generator(4)
    weight = torch.randn(8, 8 // groups, 3, 2, generator=g, requires_grad=True)
    x = torch.randn(3, 8, 9, 7, generator=g)
    y = torch.nn.functional.conv2d(x, weight, None, [2, 1], [1, 0], [1, 2], groups)
    grad = torch.randn(y.shape, generator=g)
    y.backward(grad)
    rows = conv_rows(tuple(weight.shape), [2, 1], [1, 0], [1, 2], groups)
    got = torch.cat([rows(grad, x, slice(0, 3)), rows(grad, x, slice(3, 8))])
    assert torch.allclose(got, weight.grad.flatten(1), atol=1e-4)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6),
    st.floats(0.01, 1.0),
    st.sampled_from(["uniform", "erk"]),
)
@settings(deadline=None)
def test_allocation_fits_every_weight(shapes, density, how):
    counts = allocate(shapes, density, how)
    assert all(1 <= c <= math.prod(s) for c, s in zip(counts, shapes, strict=True))


def test_erk_is_exact_and_spares_small_layers():
    shapes = [(512, 784), (512, 512), (10, 512)]
    counts = erdos_renyi_kernel(shapes, 0.05)
    assert sum(counts) == round(0.05 * sum(math.prod(s) for s in shapes))
    densities = [c / math.prod(s) for c, s in zip(counts, shapes, strict=True)]
    assert densities[2] > densities[1] > densities[0]


@pytest.mark.parametrize("density", [0, -1, 1.5, math.nan])
def test_density_outside_its_range_is_refused(density):
    with pytest.raises(SzilardError, match="density"):
        allocate([(3, 3)], density)


def test_schedule():
    schedule = Schedule(every=10, fraction=0.4, end=0.5)
    steps = [t for t in range(201) if schedule.fraction_at(t, 200)]
    assert steps == list(range(10, 100, 10))
    assert schedule.fraction_at(10, 200) > schedule.fraction_at(90, 200) > 0
    collected = [t for t in range(200) if schedule.collects(t, 200, 3)]
    assert collected == [t for m in steps for t in range(m - 3, m)]
    with pytest.raises(SzilardError):
        Schedule(every=0)


def test_equal_densities_meet_the_total():
    shapes = [(5, 11)] * 4  # a tenth of each is 5.5
    assert sum(allocate(shapes, 0.1)) == 22
    assert set(allocate(shapes, 0.1)) == {5, 6}
