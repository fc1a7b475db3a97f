"""The C ABI's steps of solvers for sparse codes, on every instruction set, against sorting and dense products."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_memory import Memory, call, close, needs_kernels

from szilard.sparse import portable

pytestmark = needs_kernels

LENGTHS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200, 500])
THREADS = st.sampled_from([1, 2, 3])
EXAMPLES = 40


def generator(seed):
    return torch.Generator().manual_seed(seed)


def shrunk(x, gradient, scale, previous, momentum, threshold, passing, at_end=True, threads=1):
    """Result, counts, norms and passed (uint8) of the kernel, with arrays between protected pages."""
    m = Memory(at_end)
    inputs = [m.input(t) for t in (x, gradient, scale, previous, momentum, threshold, passing)]
    outputs = m.output(*x.shape), m.output(len(x)), m.output(len(x)), m.output(*x.shape, dtype=torch.uint8)
    if not x.shape[1]:  # arrays without elements have no address
        inputs[3], inputs[4] = None, None
    assert call("shrink", *x.shape, *inputs, *outputs, threads) == 0
    return outputs


def by_sorting(v, threshold, passing):
    """The definition, for the numbers of one sample: the result and where entries passed."""
    first = sorted(range(len(v)), key=lambda j: (-abs(v[j]), j))[: max(passing, 0)]
    passed = [j in first and abs(v[j]) >= threshold for j in range(len(v))]
    soft = [math.copysign(max(abs(one) - threshold, 0.0), one) for one in v]
    return [v[j] if passed[j] else soft[j] for j in range(len(v))], passed


@given(
    st.integers(0, 4),
    LENGTHS,
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    THREADS,
    st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=EXAMPLES)
def check_ties(batch, n, different, moving, selecting, at_end, threads, seed):
    """Few different numbers, so that many entries are tied; all sums are exact."""
    g = generator(seed)

    def numbers(*shape):
        return torch.randint(-different, different + 1, shape, generator=g) / 8

    x, gradient, previous = numbers(batch, n), numbers(batch, n), numbers(batch, n)
    scale, momentum, threshold = torch.full((batch,), 0.5), numbers(batch) * 2, numbers(batch).abs()
    passing = torch.randint(-3, n + 4, (batch,), generator=g)
    given_previous, given_momentum = (previous, momentum) if moving else (None, None)
    arguments = (
        x, gradient, scale, given_previous, given_momentum, threshold, passing if selecting else None, at_end, threads
    )  # fmt: skip
    result, counts, norms, passed = shrunk(*arguments)
    v = x - 0.5 * gradient
    v = v + momentum[:, None] * (x - previous) if moving else v
    for b in range(batch):
        rule = by_sorting(v[b].tolist(), float(threshold[b]), int(passing[b]) if selecting else 0)
        assert result[b].tolist() == rule[0]
        assert passed[b].tolist() == rule[1]
        assert counts[b] == sum(one != 0 for one in rule[0])
        assert norms[b] == sum(map(abs, rule[0]))


def test_ties_go_to_the_lowest_index(isa):
    check_ties()


@given(
    st.integers(1, 4),
    LENGTHS,
    st.floats(0, 3),
    st.floats(0, 1),
    st.booleans(),
    THREADS,
    st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=EXAMPLES)
def check_numbers(batch, n, threshold, share, moving, threads, seed):
    g = generator(seed)
    x, gradient, previous = (torch.randn(batch, n, generator=g) for _ in range(3))
    scale, momentum = torch.rand(batch, generator=g), torch.rand(batch, generator=g)
    rest = (previous, momentum) if moving else (None, None)
    bounds, passing = torch.full((batch,), threshold), torch.full((batch,), round(share * n))
    ours = shrunk(x, gradient, scale, *rest, bounds, passing, threads=threads)
    exact = [None if t is None else t.double() for t in (x, gradient, scale, *rest, bounds)]
    theirs = portable.shrink(*exact, passing, wants_passed=True)
    close(ours[0], theirs[0], exact[0].abs().max() if n else None)
    close(ours[2], theirs[2], theirs[0].abs().sum(1))
    assert torch.equal(ours[1], (ours[0] != 0).sum(1).float())
    assert (ours[3].sum(1) <= passing).all()


def test_shrink(isa):
    check_numbers()


@pytest.mark.parametrize("passing", [-(2**63), 0, 1, 600, 4999, 5000, 2**63 - 1])
def test_many_entries(isa, passing):
    """Unequal numbers of very different sizes: the largest pass, those that do not are smaller."""
    g = generator(1)
    x = torch.randn(2, 5000, generator=g) * torch.exp(5 * torch.randn(2, 5000, generator=g))
    zero, one = torch.zeros_like(x), torch.ones(2)
    result, counts, _, passed = shrunk(
        x, zero, one, None, None, 1e-3 * one, torch.full((2,), passing, dtype=torch.int64)
    )
    candidates = (x.abs() >= 1e-3).sum(1)
    expected = candidates.clamp(max=max(passing, 0))
    assert torch.equal(passed.sum(1, dtype=torch.int64), expected)
    assert torch.equal(counts, (result != 0).sum(1).float())
    for b in range(2):
        inside = passed[b].bool()
        assert torch.equal(result[b][inside], x[b][inside])
        if 0 < int(expected[b]) < int(candidates[b]):
            assert x[b][inside].abs().min() >= x[b][~inside].abs().max()
        assert torch.allclose(result[b][~inside].abs(), (x[b][~inside].abs() - 1e-3).clamp(min=0))


def test_all_entries_tied(isa):
    x = torch.full((1, 5000), -0.75)
    for passing in (1, 17, 2500, 4999, 5000):
        given_passing = torch.tensor([passing])
        result, _, _, passed = shrunk(
            x, torch.zeros_like(x), torch.ones(1), None, None, torch.tensor([0.5]), given_passing
        )
        assert passed.sum() == passed[0, :passing].sum() == passing
        assert torch.equal(result[0, passing:], torch.full((5000 - passing,), -0.25))


@pytest.mark.parametrize("passing", [None, 0, 1, 2, 3, 40])
def test_nan_and_infinity(isa, passing):
    """They stay visible, and the torch path does the same with them."""
    x = torch.randint(-4, 5, (5, 37), generator=generator(2)) / 4
    x[0, 5], x[1, 36], x[1, 2], x[2, 7], x[3, 0] = math.nan, math.nan, -math.nan, -math.inf, math.inf
    threshold = torch.tensor([0.5, 0.0, 0.25, math.inf, math.nan])
    chosen = None if passing is None else torch.full((5,), passing)
    given_arguments = (x, torch.zeros_like(x), torch.ones(5), None, None, threshold, chosen)
    ours, theirs = shrunk(*given_arguments), portable.shrink(*given_arguments, wants_passed=True)
    for mine, its in zip(ours[:3], theirs[:3], strict=True):
        assert torch.equal(mine.nan_to_num(123.0), its.nan_to_num(123.0))
    if passing is not None:
        assert torch.equal(ours[3].bool(), theirs[3])
    assert ours[0][0, 5].isnan()
    assert ours[0][4].isnan().all()
    assert ours[2].isnan().tolist() == [True, True, False, not passing, True]


@given(
    st.integers(0, 9),
    LENGTHS,
    st.sampled_from([0, 1, 3, 4, 5, 15, 16, 17, 64, 100, 129, 300]),
    st.floats(0, 1),
    st.booleans(),
    THREADS,
    st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=EXAMPLES)
def check_event_product(batch, n, m, share, at_end, threads, seed):
    g, memory = generator(seed), Memory(at_end)
    x = torch.randn(batch, n, generator=g) * (torch.rand(batch, n, generator=g) < share)
    rows = torch.randn(n, m, generator=g)
    y = memory.output(batch, m)
    assert call("event_product", batch, n, m, memory.input(x), memory.input(rows), y, threads) == 0
    close(y, x.double() @ rows.double(), x.double().abs() @ rows.double().abs())


def test_event_product(isa):
    check_event_product()


def test_rows_of_zeros_are_not_read(isa):
    x = torch.zeros(3, 20)
    x[0, 3], x[1, 4], x[2, 19], x[2, 0] = 2.0, math.nan, math.inf, -0.0
    rows = torch.full((20, 5), math.nan)
    rows[3], rows[4], rows[19] = 1.5, 1.0, 1.0
    memory = Memory(True)
    y = memory.output(3, 5)
    assert call("event_product", 3, 20, 5, memory.input(x), memory.input(rows), y, 1) == 0
    assert torch.equal(y[0], torch.full((5,), 3.0))
    assert y[1].isnan().all()
    assert y[2].isposinf().all()


def test_bits_do_not_depend_on_threads(isa):
    g = generator(3)
    x, gradient, previous = (torch.randn(600, 90, generator=g) for _ in range(3))
    numbers = [torch.rand(600, generator=g) for _ in range(3)]
    passing = torch.randint(0, 91, (600,), generator=g)
    rows = torch.randn(90, 33, generator=g)

    def run(threads):
        found = shrunk(x, gradient, numbers[0], previous, *numbers[1:], passing, threads=threads)
        memory = Memory(True)
        y = memory.output(600, 33)
        assert call("event_product", 600, 90, 33, memory.input(found[0]), memory.input(rows), y, threads) == 0
        return *found, y

    first = run(1)
    for threads in (-1, 1, 2, 3):
        assert all(torch.equal(a, b) for a, b in zip(first, run(threads), strict=True))


def test_wrong_sizes_are_refused():
    one = torch.zeros(9)
    outputs = [torch.empty(9) for _ in range(3)]
    for sizes in ((-1, 3), (3, -1), (1, 2**31)):
        assert call("shrink", *sizes, *[one] * 3, None, None, one, None, *outputs, None, 1) == 4
        assert call("event_product", *sizes, 1, one, one, one, 1) == 4
    assert call("event_product", 3, 3, -1, one, one, one, 1) == 4
    for previous, momentum in ((one, None), (None, one)):
        assert call("shrink", 3, 3, *[one] * 3, previous, momentum, one, None, *outputs, None, 1) == 4
