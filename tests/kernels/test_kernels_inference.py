"""Steps of programs in C++ against torch in float64: random sizes, 1 to 8 examples, numbers and moments, every ISA."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_memory import needs_kernels
from one_input import agrees, generator, inputs, weight

from szilard.kernels.inference import Program

pytestmark = needs_kernels

SEEDS = st.integers(0, 10**6)
SIZES = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 70])
DENSITIES = st.sampled_from([None, 0.0, 0.05, 0.3, 1.0])
BATCHES = st.integers(1, 8)
OTHER = settings(deadline=None, max_examples=60)


def noisy(program, x):
    """A value with a variance, of the shape of ``x``: a channel-wise convolution with random weights."""
    g = generator(7)
    if len(x.shape) == 1:
        return program.linear(x, weight((x.shape[0], x.shape[0]), g))
    kernel = (1,) * (len(x.shape) - 1)
    return program.conv(x, weight((x.shape[0], 1, *kernel), g), groups=x.shape[0])


@given(SEEDS, BATCHES, SIZES, SIZES, SIZES, DENSITIES, st.booleans(), st.booleans(), st.booleans())
@OTHER
def check_linear(seed, batch, cols, hidden, rows, density, moments, random, relu):
    g = generator(seed)
    program = Program(batch, moments)
    x = program.input((cols,))
    zeros = [0.0, 0.3, 0.9, 1.0][seed % 4]
    first = weight((hidden, cols), g, density, random, empty_rows=seed % 3 == 0)
    bias, spread = torch.randn(hidden, generator=g), torch.rand(hidden, generator=g)
    y = program.linear(
        x, first, bias if seed % 2 else None, spread if random and seed % 5 else None, relu=True
    )
    second = weight((rows, hidden), g, density, random or seed % 2 == 0)
    z = program.linear(y, second, torch.randn(rows, generator=g), relu=relu)
    agrees(program.finish([y, z], threads=1 + seed % 2), inputs((batch, cols), g, zeros))


def test_linear(isa):
    check_linear()


@pytest.mark.parametrize("moments", [False, True])
@pytest.mark.parametrize("density", [None, 0.11])
def test_linear_layers_that_threads_share(isa, density, moments):
    g = generator(1)
    for batch in (1, 3):
        program = Program(batch, moments)
        x = program.input((900,))
        y = program.linear(x, weight((800, 900), g, density), torch.randn(800, generator=g), relu=True)
        x = inputs((batch, 900), g)
        several, one = program.finish(y, threads=3), program.finish(y)
        agrees(several, x, 4e-6)
        for a, b in zip(several(x), one(x), strict=True):
            assert torch.equal(a, b)


@st.composite
def convolutions(draw):
    axes = draw(st.integers(1, 2))
    side = st.integers(1, 20 if axes == 2 else 40)
    kernel = [draw(st.integers(1, 4)) for _ in range(axes)]
    stride, dilation = ([draw(st.integers(1, 3)) for _ in range(axes)] for _ in range(2))
    padding = [(draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(axes)]
    size = [
        max(draw(side), d * (k - 1) + 1 - sum(p)) for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    return {
        "size": size,
        "kernel": kernel,
        "channels": groups * draw(st.integers(1, 4)),
        "out": groups * draw(st.integers(1, 6)),
        "given": {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    }


@given(SEEDS, BATCHES, convolutions(), DENSITIES, st.booleans(), st.booleans(), st.booleans())
@OTHER
def check_conv(seed, batch, how, density, moments, random, relu):
    g = generator(seed)
    program = Program(batch, moments)
    x = program.input((how["channels"], *how["size"]))
    shape = (how["out"], how["channels"] // how["given"]["groups"], *how["kernel"])
    w = weight(shape, g, density, random, empty_rows=seed % 3 == 0)
    bias, spread = torch.randn(shape[0], generator=g), torch.rand(shape[0], generator=g)
    start = noisy(program, x) if seed % 2 else x
    y = program.conv(start, w, bias, spread if seed % 3 else None, relu=relu, **how["given"])
    agrees(program.finish(y, threads=1 + seed % 2), inputs((batch, *x.shape), g, 0.3))


def test_conv(isa):
    check_conv()


@pytest.mark.parametrize("moments", [False, True])
@pytest.mark.parametrize("density", [None, 0.2])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_that_threads_share(isa, density, moments, stride):
    g = generator(2)
    program = Program(2, moments)
    x = program.input((24, 24, 30))
    y = noisy(program, x)
    w = weight((33, 24, 3, 3), g, density)
    y = program.conv(y, w, torch.randn(33, generator=g), padding=1, stride=stride, relu=True)
    x = inputs((2, 24, 24, 30), g)
    several, one = program.finish(y, threads=3), program.finish(y)
    agrees(several, x, 4e-6)
    for a, b in zip(several(x), one(x), strict=True):
        assert torch.equal(a, b)


@given(SEEDS, BATCHES, st.integers(1, 2), st.booleans(), st.booleans(), st.data())
@OTHER
def check_pools(seed, batch, axes, moments, relu, data):
    g = generator(seed)
    kernel = [data.draw(st.integers(1, 5)) for _ in range(axes)]
    stride = [data.draw(st.integers(1, 4)) for _ in range(axes)]
    padding = [(data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel]
    size = [max(data.draw(st.integers(1, 40)), k) for k in kernel]
    program = Program(batch, moments)
    x = program.input((data.draw(st.integers(1, 5)), *size))
    y = noisy(program, x) if seed % 3 else x
    outputs = [
        program.max_pool(y, kernel, stride, padding, relu=relu),
        program.average_pool(y, kernel, stride, padding, count_include_pad=bool(seed % 2)),
        program.global_average(y),
    ]
    agrees(program.finish(outputs), inputs((batch, *x.shape), g, 0.3))


def test_pools(isa):
    check_pools()


@given(SEEDS, BATCHES, st.sampled_from([(1,), (17,), (3, 9), (5, 4, 7), (2, 16, 16)]), st.booleans())
@OTHER
def check_elements(seed, batch, shape, moments):
    g = generator(seed)
    program = Program(batch, moments)
    x = program.input(shape)
    y = noisy(program, x) if seed % 3 else x
    scale, shift = torch.randn(shape[0], generator=g), torch.randn(shape[0], generator=g)
    outputs = [
        program.affine(y, scale, shift, relu=bool(seed % 2)),
        program.add(y, x, relu=bool(seed % 5)),
        program.relu(y),
        program.leaky_relu(y, [0.01, 0.3, -0.5, 1.5][seed % 4]),
        program.sigmoid(y),
        program.tanh(y),
        program.gelu(y),
        program.silu(y),
        program.concat([x, y, y]),
        program.channels(y, shape[0] + 3, offset=1),
        program.channels(y, max(shape[0] - 2, 1), offset=-1, stride=2 if len(shape) > 1 else 1),
        program.relu(program.flatten(y)),
    ]
    agrees(program.finish(outputs), inputs((batch, *shape), g, 0.3), 4e-6)


def test_elements(isa):
    check_elements()
