"""The C++ kernels against the torch path in double precision, on every instruction set that this machine runs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from szilard.errors import SzilardError
from szilard.sparse import Support, compiled, native, normalize, ops, portable
from szilard.sparse.geometry import Convolution
from szilard.sparse.layout import innermost, is_innermost

pytestmark = pytest.mark.skipif(not native.available(), reason="the C++ kernels are not built")

ISAS = ["avx512", "avx2", "neon", "baseline"]
BATCHES = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200])


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    monkeypatch.delenv("SZILARD_KERNELS", raising=False)
    before = native.isa()
    if native.library().szilard_use_isa(request.param.encode()):
        pytest.skip(f"this machine does not run {request.param}")
    yield request.param
    native.library().szilard_use_isa(before.encode())


def generator(seed):
    return torch.Generator().manual_seed(seed)


def close(ours, exact, tolerance=3e-5):
    """To single precision, relative to the largest entry; the terms of every sum here are about 1, and may cancel."""
    assert ours.shape == exact.shape
    scale = max(float(exact.abs().max()), 0.05) if exact.numel() else 1.0
    assert not exact.numel() or float((ours.double() - exact).abs().max()) <= tolerance * scale


def weight(shape, density, g):
    support = Support.from_mask(torch.rand(shape, generator=g) < density)
    return support, torch.randn(support.nnz, generator=g), torch.randn(support.nnz, generator=g) - 2


common = settings(deadline=None, max_examples=80)


# -- linear ---------------------------------------------------------------------------------------------


@given(
    BATCHES, st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.49), st.integers(0, 99), st.integers(1, 2)
)
@common
def check_linear(batch, inputs, outputs, density, seed, threads):
    g = generator(seed)
    support, mean, log_std = weight((outputs, inputs), density, g)
    x, grad = torch.randn(batch, inputs, generator=g), torch.randn(batch, outputs, generator=g)
    bias, key, index = torch.randn(outputs, generator=g), torch.tensor([seed, 5]), support.index
    exact = [t.double() for t in (x, mean, log_std)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        close(compiled.linear(x, mean, index), portable.linear(exact[0], exact[1], index))
        for ours, theirs in zip(
            compiled.linear_backward(grad, x, mean, index, True),
            portable.linear_backward(grad.double(), exact[0], exact[1], index, True),
            strict=True,
        ):
            close(ours, theirs)
        noise = compiled.normal(key, [outputs, batch], x).t().double()
        drawn, factor, variance = portable.lrt_linear_with(*exact, noise, index)
        for relu in (False, True):
            y, f, v = compiled.lrt_linear(x, mean, log_std, bias, key, index, relu)
            expected = portable.add_bias(drawn.clone(), bias.double(), relu)
            close(y, expected)
            close(f, factor)
            close(v, variance)
            passed = torch.where(y > 0, grad, 0) if relu else grad
            theirs = portable.lrt_linear_backward(
                passed.double(), exact[0], exact[1], variance, factor, index, True
            )
            ours = compiled.lrt_linear_backward(grad, x, mean, v, f, y, index, relu, True)
            for a, b in zip(ours, (*theirs, passed.double().sum(0)), strict=True):
                close(a, b)
            without = compiled.lrt_linear_backward(grad, x, mean, v, f, y, index, relu, False)
            assert not without[0].numel()
            assert torch.equal(without[1], ours[1])
            assert torch.equal(without[2], ours[2])
    finally:
        torch.set_num_threads(before)


def test_linear(isa):
    check_linear()


# -- convolution ----------------------------------------------------------------------------------------


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, outs = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    axes = draw(st.sampled_from([1, 2, 2, 2]))
    axis = st.tuples(
        st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2), st.integers(1, 10)
    )
    kernel, stride, padding, dilation, size = zip(*[draw(axis) for _ in range(axes)], strict=True)
    how = Convolution([outs, channels // groups, *kernel], stride, padding, dilation, groups)
    assume(min(how.out_size(size)) >= 1)
    return how, [draw(BATCHES), channels, *size]


@given(convolutions(), st.floats(0, 0.49), st.integers(0, 99), st.integers(1, 2))
@common
def check_conv(convolution, density, seed, threads):
    how, x_shape = convolution
    g = generator(seed)
    support, mean, log_std = weight(how.shape, density, g)
    assume(how.density(support.nnz) < 0.5)
    x = torch.randn(x_shape, generator=g)
    grad = torch.randn(how.out_shape(x), generator=g)
    key, index = torch.tensor([seed, 1]), support.index
    exact = [t.double() for t in (x, mean, log_std)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = compiled.conv(x, mean, index, how)
        assert is_innermost(y)
        close(y, portable.conv(exact[0], exact[1], index, how))
        for ours, theirs in zip(
            compiled.conv_backward(grad, x, mean, index, how, True),
            portable.conv_backward(grad.double(), exact[0], exact[1], index, how, True),
            strict=True,
        ):
            close(ours, theirs)
        noise = compiled.normal(key, [*y.shape[1:], y.shape[0]], x).movedim(-1, 0).double()
        drawn, factor, variance = portable.lrt_conv_with(*exact, noise, index, how)
        y, f, v = compiled.lrt_conv(x, mean, log_std, key, index, how)
        close(y, drawn)
        close(f, factor)
        ours = compiled.lrt_conv_backward(grad, x, mean, v, f, index, how, True)
        theirs = portable.lrt_conv_backward(
            grad.double(), exact[0], exact[1], variance, factor, index, how, True
        )
        for a, b in zip(ours, theirs, strict=True):
            close(a, b)
        without = compiled.lrt_conv_backward(grad, x, mean, v, f, index, how, False)
        for a, b in zip(without[1:], theirs[1:], strict=True):
            close(a, b)
    finally:
        torch.set_num_threads(before)


def test_conv(isa):
    check_conv()


def test_a_dense_convolution_among_sparse_ones(isa):
    g = generator(0)
    how = Convolution([5, 3, 3, 3], [1, 1], [1, 1], [1, 1], 1)
    support, mean, _ = weight(how.shape, 2.0, g)
    x = innermost(torch.randn(40, 3, 6, 7, generator=g))
    y = compiled.conv(x, mean, support.index, how)
    assert is_innermost(y)
    close(y, portable.conv(x.double(), mean.double(), support.index, how))


# -- normalisation and pooling --------------------------------------------------------------------------


@given(
    BATCHES,
    st.integers(1, 5),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 9),
)
@common
def check_norm(batch, channels, size, affine, residual, relu, seed):
    assume(batch * size > 1)
    g = generator(seed)
    x = innermost(torch.randn(batch, channels, size, 2, generator=g) * 3 + 5)
    weight, bias = (torch.randn(channels, generator=g) for _ in range(2)) if affine else (None, None)
    other = innermost(torch.randn(x.shape, generator=g)) if residual else None
    inputs = [t for t in (x, weight, bias, other) if t is not None]
    grad = torch.randn(x.shape, generator=g)

    def gradients(norm, tensors, grad):
        tensors = [t.detach().requires_grad_() for t in tensors]
        left = list(tensors)
        x = left.pop(0)
        w, b = (left.pop(0), left.pop(0)) if affine else (None, None)
        y = norm(x, w, b, left.pop(0) if residual else None)
        return [y.detach(), *torch.autograd.grad(y, tensors, grad)]

    def exact(x, w, b, other):
        y = torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, 1e-5)
        y = y if other is None else y + other
        return y.relu() if relu else y

    ours = gradients(lambda x, w, b, o: normalize.batch_norm(x, w, b, o, relu, 1e-5)[0], inputs, grad)
    theirs = gradients(exact, [t.double() for t in inputs], grad.double())
    assert is_innermost(ours[0])
    close(ours[0], theirs[0])
    if not relu or bool(((ours[0] > 0) == (theirs[0] > 0)).all()):
        for a, b in zip(ours[1:], theirs[1:], strict=True):
            close(a, b, 1e-3)  # grad_x cancels where a channel has few values


def test_batch_norm(isa):
    check_norm()


@given(
    BATCHES,
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
)
@common
def check_pool(batch, channels, height, width, kernel, stride, padded):
    padding = kernel // 2 if padded else 0
    assume(min(height, width) + 2 * padding >= kernel)
    x = innermost(torch.randn(batch, channels, height, width, generator=generator(batch))).requires_grad_()
    y = normalize.max_pool(x, [kernel] * 2, [stride] * 2, [padding] * 2)[0]
    expected = torch.nn.functional.max_pool2d(x, kernel, stride, padding)
    assert torch.equal(y, expected)
    grad = torch.randn(y.shape, generator=generator(1))
    (ours,), (theirs,) = (torch.autograd.grad(out, x, grad) for out in (y, expected))
    close(ours, theirs.double())


def test_max_pool(isa):
    check_pool()


def test_a_nan_passes_through_a_pool(isa):
    x = torch.zeros(2, 1, 4, 4)
    x[0, 0, 1, 1] = math.nan
    y = normalize.max_pool(innermost(x), [2, 2], [2, 2], [0, 0])[0]
    assert torch.isnan(y[0, 0, 0, 0])
    assert torch.isfinite(y[1]).all()


# -- noise ----------------------------------------------------------------------------------------------


def philox(seed, draw, count):
    """Philox-4x32 with 7 rounds in Python's integers: words of counters 0, 1, ... of a draw."""
    mask, words = 0xFFFFFFFF, []
    for counter in range(count):
        c = [counter & mask, counter >> 32, draw & mask, draw >> 32]
        k = [seed & mask, seed >> 32]
        for _ in range(7):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [b >> 32 ^ c[1] ^ k[0], b & mask, a >> 32 ^ c[3] ^ k[1], a & mask]
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        words.append(c)
    return np.array(words, dtype=np.uint64)


def reference_normals(seed, draw, blocks):
    words = philox(seed, draw, 16 * blocks).reshape(blocks, 16, 4)
    u = ((words >> np.uint64(12)).astype(float) + 0.5) / 2**20
    radius = np.sqrt(-2 * np.log(u))
    angle = ((words & np.uint64(1023)).astype(float) - 511.5) * (math.pi / 4 / 512)
    cosine = np.cos(angle) * np.where(words & np.uint64(0x800), -1, 1)
    sine = np.sin(angle)
    swap = (words & np.uint64(0x400)) != 0
    pair = np.stack([np.where(swap, sine, cosine), np.where(swap, cosine, sine)], axis=-1) * radius[..., None]
    return pair.transpose(0, 2, 3, 1).reshape(-1)  # block, word, which of the pair, lane


def draw(seed, number, n):
    return compiled.normal(torch.tensor([seed, number]), [n], torch.empty(0))


def test_noise_is_philox_and_box_muller(isa):
    seed, number = 0x123456789ABCDEF, 0xFEDCBA987
    expected = reference_normals(seed, number, 5)
    assert np.abs(draw(seed, number, 640).numpy() - expected).max() < 5e-6


def test_a_part_of_a_draw_is_a_part_of_the_whole(isa):
    whole = draw(3, 4, 40_000)
    assert torch.equal(draw(3, 4, 777), whole[:777])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert torch.equal(draw(3, 4, 40_000), whole)
    torch.set_num_threads(threads)


def test_noise_is_normal(isa):
    x = draw(11, 0, 1 << 18).double().numpy()
    assert stats.kstest(x, "norm").pvalue > 1e-3
    for power, expected in ((1, 0), (2, 1), (3, 0), (4, 3)):
        spread = math.sqrt({1: 1, 2: 2, 3: 15, 4: 96}[power] / len(x))
        assert abs((x**power).mean() - expected) < 5 * spread
    others = [draw(11, 1, 1 << 18), draw(12, 0, 1 << 18)]
    for other in (*(o.double().numpy() for o in others), np.roll(x, 1), np.roll(x, 16), np.roll(x, 128)):
        assert abs(np.corrcoef(x, other)[0, 1]) < 5 / math.sqrt(len(x))
    assert abs(np.corrcoef(x**2, np.roll(x, 16) ** 2)[0, 1]) < 5 / math.sqrt(len(x))


# -- promises -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_again(isa, threads):
    g = generator(0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    support, mean, log_std = weight((64, 8, 3, 3), 0.2, g)
    x, key = torch.randn(33, 8, 12, 12, generator=g), torch.tensor([1, 2])
    how = Convolution([64, 8, 3, 3], [1, 1], [1, 1], [1, 1], 1)

    def run():
        y, f, v = compiled.lrt_conv(x, mean, log_std, key, support.index, how)
        return (y, f, *compiled.lrt_conv_backward(y, x, mean, v, f, support.index, how, True))

    for a, b in zip(run(), run(), strict=True):
        assert torch.equal(a, b)
    torch.set_num_threads(before)


def damaged(name):
    index = list(Support.from_mask(torch.rand(6, 9, generator=generator(3)) < 0.25).index)
    names = ["crow", "col", "t_crow", "t_col", "t_perm"]
    what, place = name
    array = index[names.index(what)].clone()
    array = {
        "negative": lambda: array.index_fill_(0, torch.tensor([1]), -1),
        "huge": lambda: array.index_fill_(0, torch.tensor([1]), 1 << 30),
        "swapped": lambda: array.index_copy_(0, torch.tensor([0, 1]), array[[1, 0]]),
        "twice": lambda: array.index_copy_(0, torch.tensor([1]), array[:1].clone()),
        "short": lambda: array[:-1],
        "long": lambda: torch.cat([array, array[-1:]]),
        "int64": array.long,
        "strided": lambda: array.repeat_interleave(2)[::2],
    }[place]()
    index[names.index(what)] = array
    return index


DAMAGE = [
    (array, kind)
    for array in ("crow", "col", "t_crow", "t_col", "t_perm")
    for kind in ("negative", "huge", "short", "long", "int64", "strided")
] + [("col", "swapped"), ("col", "twice"), ("crow", "swapped")]


@pytest.mark.parametrize("name", DAMAGE, ids="-".join)
def test_a_damaged_index_is_refused(name, isa):
    index = damaged(name)
    x, grad, values = torch.randn(5, 9), torch.randn(5, 6), torch.randn(index[1].numel())

    def both_ways():
        ops.sparse_linear(x, values, *index)
        ops.sparse_linear_backward(grad, x, values, *index, True)

    with pytest.raises(SzilardError):
        both_ways()


def test_sizes_that_do_not_belong_together_are_refused(isa):
    g = generator(0)
    support, mean, log_std = weight((6, 9), 0.3, g)
    key = torch.tensor([0, 0])
    with pytest.raises(SzilardError):
        ops.sparse_linear(torch.randn(4, 8), mean, *support.index)
    with pytest.raises(SzilardError):
        ops.sparse_linear(torch.randn(4, 9), mean[:-1], *support.index)
    with pytest.raises(SzilardError, match="bias"):
        ops.lrt_linear(torch.randn(4, 9), mean, log_std, torch.zeros(5), key, *support.index, False)
    conv, mean, log_std = weight((4, 3, 3, 3), 0.3, g)
    rest = ([4, 3, 3, 3], [1, 1], [0, 0], [1, 1], 1)
    with pytest.raises(SzilardError, match="channels"):
        ops.sparse_conv(torch.randn(2, 4, 8, 8), mean, *conv.index, *rest)
    with pytest.raises(SzilardError, match="smaller"):
        ops.sparse_conv(torch.randn(2, 3, 2, 8), mean, *conv.index, *rest)
    with pytest.raises(SzilardError):
        ops.sparse_conv(torch.randn(2, 3, 8), mean, *conv.index, *rest)
