"""The C ABI's normalisation, pooling and KL divergence against torch in double precision."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernel_memory import Memory, call, close, needs_kernels
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.kernels import native, normalize
from szilard.kernels.layout import innermost, innermost_like, is_innermost

pytestmark = needs_kernels

COUNTS = st.sampled_from(
    [2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200, 1000, 4096, 4097, 9001]
)
THREADS = st.sampled_from([1, 2, 3])


def generator(seed):
    return torch.Generator().manual_seed(seed)


# -- normalisation --------------------------------------------------------------------------------------


@given(
    st.integers(1, 6),
    COUNTS,
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.floats(0.01, 30),
    THREADS,
    st.integers(0, 10**6),
)
@settings(deadline=None, max_examples=60)
def check_norm(channels, count, flags, centre, threads, seed):
    has_weight, has_bias, has_residual, relu, at_end = flags
    g, m = generator(seed), Memory(at_end)
    x = torch.randn(channels, count, generator=g) + centre
    weight = torch.randn(channels, generator=g) if has_weight else None
    bias = torch.randn(channels, generator=g) if has_bias else None
    residual = torch.randn(channels, count, generator=g) if has_residual else None
    grad = torch.randn(channels, count, generator=g)
    y, stats = m.output(channels, count), [m.output(channels) for _ in range(3)]
    given_x, given_weight = m.input(x), m.input(weight)
    inputs = (channels, count, given_x, given_weight, m.input(bias), m.input(residual), relu, 1e-5)
    assert call("batch_norm", *inputs, y, *stats, threads) == 0
    mean, variance, inverse = stats

    def double(t):
        return None if t is None else t.double().requires_grad_()

    exact_x, exact_weight, exact_bias, exact_residual = map(double, (x, weight, bias, residual))
    raw = F.batch_norm(exact_x.t(), None, None, exact_weight, exact_bias, True, 0.1, 1e-5).t()
    exact = raw if exact_residual is None else raw + exact_residual
    close(mean, exact_x.mean(1))
    close(variance, exact_x.var(1, correction=0))
    close(inverse, 1 / (exact_x.var(1, correction=0) + 1e-5).sqrt(), tolerance=1e-4)
    spread = (
        1e-6 * centre * (inverse * (1 if weight is None else weight.abs())).max()
    )  # rounding of x - mean in float32
    assert (y.double() - (exact.relu() if relu else exact)).abs().max() <= 2e-5 * exact.abs().max() + spread
    passed = torch.where(y > 0, grad, 0) if relu else grad  # rounding may change the sign of y
    exact.backward(passed.double())
    answers = [m.output(channels, count), m.output(channels), m.output(channels)]
    answers.append(m.output(channels, count) if has_residual else None)
    kept = (
        m.input(grad),
        given_x,
        m.input(y) if relu else None,
        given_weight,
        m.input(mean),
        m.input(inverse),
    )
    assert call("batch_norm_backward", channels, count, *kept, relu, *answers, threads) == 0
    terms = (inverse.double() * (1 if weight is None else weight.abs())).max() * 50  # terms cancel
    close(answers[0], exact_x.grad, terms)
    normal = (exact_x - exact_x.mean(1, keepdim=True)) * inverse.double()[:, None]
    close(answers[1], (passed * normal).sum(1), (passed * normal).abs().sum(1) + spread * count / 1e-6)
    close(answers[2], passed.double().sum(1), passed.abs().sum(1))
    if has_residual:
        assert torch.equal(answers[3], passed)


def test_batch_norm(isa):
    check_norm()


def test_norm_bits_do_not_depend_on_threads(isa):
    g = generator(0)
    x, grad = torch.randn(7, 5000, generator=g), torch.randn(7, 5000, generator=g)

    def run(threads):
        m = Memory(True)
        answers = [m.output(7, 5000), *(m.output(7) for _ in range(3))]
        inputs = (7, 5000, m.input(x), None, None, None, 1, 1e-5)
        assert call("batch_norm", *inputs, *answers, threads) == 0
        y, mean, _, inverse = answers
        grads = [m.output(7, 5000), m.output(7), m.output(7)]
        kept = (m.input(grad), m.input(x), m.input(y), None, m.input(mean), m.input(inverse))
        assert call("batch_norm_backward", 7, 5000, *kept, 1, *grads, None, threads) == 0
        return answers + grads

    first = run(1)
    for threads in (1, 2, 3):
        assert all(torch.equal(a, b) for a, b in zip(first, run(threads), strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_propagated(isa, value):
    """ReLU must not turn NaN into zero, so that training detects divergence."""
    x = innermost(torch.randn(6, 3, 4, 5, generator=generator(0)))
    x[2, 1, 0, 0] = value
    y, *stats = normalize.batch_norm(x, None, None, None, True, 1e-5)
    assert not torch.isfinite(y[:, 1]).any()
    assert torch.isfinite(y[:, [0, 2]]).all()
    assert not torch.isfinite(stats[0][1])
    residual = torch.zeros_like(x)
    residual[0, 0, 0, 0] = math.nan
    y = normalize.batch_norm(torch.ones_like(x), None, None, residual, True, 1e-5)[0]
    assert torch.isnan(y[0, 0, 0, 0])
    assert int(torch.isnan(y).sum()) == 1


def test_norms_refuse_inconsistent_arguments(isa):
    x = innermost(torch.randn(4, 3, 2, 2))
    ones = torch.ones(3)
    for bad in (
        (x, torch.ones(2), None, None),
        (x, None, torch.ones(4), None),
        (x, ones.double(), None, None),
        (x, None, None, x[:2]),
        (x, None, None, x.double()),
        (x.double(), None, None, None),
    ):
        with pytest.raises(SzilardError):
            normalize.batch_norm(*bad, False, 1e-5)
    y, mean, _, inverse = normalize.batch_norm(x, None, None, None, False, 1e-5)
    with pytest.raises(SzilardError):
        normalize.batch_norm_backward(x[:3], x, None, None, mean, inverse, False, False)
    assert is_innermost(y)
    strided = torch.ones(6)[::2]
    assert torch.equal(normalize.batch_norm(x, strided, None, None, False, 1e-5)[0], y)


# -- pooling --------------------------------------------------------------------------------------------


@st.composite
def pools(draw):
    axis = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2), st.integers(1, 11))
    kernel, stride, padding, size = zip(draw(axis), draw(axis), strict=True)
    for k, p, n in zip(kernel, padding, size, strict=True):
        assume(2 * p <= k <= n + 2 * p)
    batch = draw(st.sampled_from([0, 1, 2, 15, 16, 17, 33, 64, 127, 128, 129, 257]))
    return [batch, draw(st.integers(1, 4)), *size], kernel, stride, padding


@given(pools(), st.booleans(), THREADS, st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def check_pool(pool, at_end, threads, seed):
    (batch, channels, height, width), kernel, stride, padding = pool
    g, m = generator(seed), Memory(at_end)
    x = torch.randint(-3, 3, (channels, height, width, batch), generator=g).float()  # with ties
    x[torch.rand(x.shape, generator=g) < 0.1] = -math.inf
    out = [
        (n + 2 * p - k) // s + 1 for n, k, s, p in zip((height, width), kernel, stride, padding, strict=True)
    ]
    sizes = (batch, channels, height, width, channels, *out)
    geometry = native.Geometry(*sizes, *kernel, *stride, *padding, 1, 1, channels)
    y, where = m.output(channels, *out, batch), m.output(channels, *out, batch, dtype=torch.uint8)
    assert call("max_pool", geometry, m.input(x), y, where, threads) == 0
    exact_x = x.double().movedim(-1, 0).contiguous().requires_grad_()
    if not batch:
        return
    exact = F.max_pool2d(exact_x, kernel, stride, padding)
    assert torch.equal(y.movedim(-1, 0).double(), exact)
    grad = torch.randn(y.shape, generator=g)
    exact.backward(grad.double().movedim(-1, 0))
    grad_x = m.output(*x.shape)
    assert call("max_pool_backward", geometry, m.input(grad), m.input(where), grad_x, threads) == 0
    close(grad_x.movedim(-1, 0), exact_x.grad)


def test_max_pool(isa):
    check_pool()


def test_a_position_outside_its_window_is_ignored(isa):
    """For any content of `where`, nothing is written outside the gradient."""
    m = Memory(True)
    geometry = native.Geometry(5, 2, 4, 4, 2, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 2)
    where = torch.randint(0, 256, (2, 3, 3, 5), generator=generator(0), dtype=torch.uint8)
    grad_x = m.output(2, 4, 4, 5)
    assert (
        call("max_pool_backward", geometry, m.input(torch.ones(2, 3, 3, 5)), m.input(where), grad_x, 1) == 0
    )
    assert torch.isfinite(grad_x).all()


def test_pools_refuse_inconsistent_arguments(isa):
    x = innermost(torch.randn(3, 2, 4, 4))
    for kernel, stride, padding in (([5, 5], [1, 1], [0, 0]), ([2, 2], [1, 1], [2, 0])):
        with pytest.raises(SzilardError, match="max-pooling"):
            normalize.max_pool(x, kernel, stride, padding)
    with pytest.raises(SzilardError):
        normalize.max_pool(
            innermost(torch.randn(2, 1, 40, 40)), [17, 17], [1, 1], [0, 0]
        )  # a window of 289 entries


# -- divergence -----------------------------------------------------------------------------------------


@given(
    st.sampled_from([0, 1, 3, 15, 16, 17, 31, 33, 100, 127, 129, 4096, 4097, 10_000]), st.integers(0, 10**6)
)
@settings(deadline=None, max_examples=40)
def check_divergence(n, seed):
    g, m = generator(seed), Memory(bool(seed % 2))
    mean, log_std = torch.randn(n, generator=g), torch.randn(n, generator=g) * 3 - 4
    sums, given_mean, given_log_std = m.output(2, dtype=torch.float64), m.input(mean), m.input(log_std)
    assert call("divergence", n, given_mean, given_log_std, sums) == 0
    variance = (2 * log_std.double()).exp()
    exact = torch.stack([(variance + mean.double().square()).sum(), log_std.double().sum()])
    close(sums[:1], exact[:1])
    close(sums[1:], exact[1:], log_std.abs().sum())
    grads = [m.output(n), m.output(n)]
    assert call("divergence_backward", n, given_mean, given_log_std, 0.7, 0.3, *grads) == 0
    close(grads[0], 0.7 * mean.double())
    close(grads[1], 0.7 * variance - 0.3)


def test_divergence(isa):
    check_divergence()


# -- layout ---------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), min_size=3, max_size=5))
@settings(deadline=None, max_examples=40)
def test_innermost_only_changes_strides(shape):
    x = torch.randn(shape)
    y = innermost(x)
    assert torch.equal(x, y)
    assert is_innermost(y)
    assert y.untyped_storage().nbytes() == x.untyped_storage().nbytes()
    assert innermost(y) is y
    like = innermost_like(x, *shape)
    assert is_innermost(like)
    assert not like._is_view()
    if shape[0] > 1 and x[0].numel() > 1:
        assert like.stride() == y.stride()
