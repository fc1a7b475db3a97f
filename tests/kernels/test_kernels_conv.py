"""The C ABI's convolutions against torch's in double precision, with out-of-bounds accesses detected."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kernel_memory import Memory, call, close, needs_kernels
from torch import Tensor
from torch.nn import functional as F

from szilard.kernels import native
from szilard.kernels.geometry import Convolution
from szilard.sparse import Support

pytestmark = needs_kernels

TINY = 1e-8
REFERENCES: dict[str, tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]] = {}
BATCHES = st.sampled_from([0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129])


class Case(NamedTuple):
    how: Convolution
    x_shape: list[int]  # [B, C, H, W]
    density: float
    seed: int
    threads: int = 1
    at_end: bool = True

    def tensors(self) -> tuple[Support, list[Tensor]]:
        """The support; x, the output's gradient, mean and log standard deviation; activations batch-innermost."""
        g = torch.Generator().manual_seed(self.seed)
        support = Support.from_mask(torch.rand(self.how.shape, generator=g) < self.density)
        batch, *plane = self.x_shape
        out = self.how.out_size(self.x_shape[2:])
        sizes = [(*plane, batch), (self.how.shape[0], *out, batch), (support.nnz,), (support.nnz,)]
        x, grad, mean, log_std = (torch.randn(size, generator=g) for size in sizes)
        return support, [x, grad, mean, log_std - 2]

    def geometry(self) -> native.Geometry:
        batch, channels, *size = self.x_shape
        how = self.how
        return native.Geometry(
            batch, channels, *size, how.shape[0], *how.out_size(size), *how.shape[2:], *how.stride, *how.padding,
            *how.dilation, how.groups,
        )  # fmt: skip

    def key(self) -> native.Key:
        return native.Key(self.seed, 7)


@st.composite
def cases(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, outs = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 5))
    axis = st.tuples(
        st.integers(1, 4),  # kernel
        st.integers(1, 3),  # stride
        st.integers(0, 3),  # padding, also more than the kernel reaches
        st.integers(1, 3),  # dilation
        st.integers(1, 9),  # size
    )
    plain = st.tuples(st.sampled_from([1, 3]), st.just(1), st.integers(0, 1), st.just(1), st.integers(1, 9))
    axes = [draw(axis), draw(axis)] if draw(st.booleans()) else [draw(plain), draw(plain)]
    if draw(st.sampled_from([False, False, True])):
        axes[0] = (1, 1, 0, 1, 1)  # a 1-d convolution
    kernel, stride, padding, dilation, size = zip(*axes, strict=True)
    how = Convolution([outs, channels // groups, *kernel], stride, padding, dilation, groups)
    assume(min(how.out_size(size)) >= 1)
    density = draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]))
    seed, threads = draw(st.integers(0, 10**6)), draw(st.sampled_from([1, 2, 3]))
    return Case(how, [draw(BATCHES), channels, *size], density, seed, threads, draw(st.booleans()))


def deterministic(case: Case) -> list[Tensor]:
    """y, grad_x and grad_values."""
    m = Memory(case.at_end)
    support, tensors = case.tensors()
    x, grad, values = (m.input(t) for t in tensors[:3])
    index, alone, geometry = m.index(support), m.index(support, False), case.geometry()
    y, grad_x, grad_values = m.output(*tensors[1].shape), m.output(*tensors[0].shape), m.output(support.nnz)
    assert call("conv", alone, geometry, x, values, y, case.threads) == 0
    arguments = (index, geometry, grad, x, values)
    assert call("conv_backward", *arguments, grad_x, grad_values, case.threads) == 0
    first, second = m.output(*tensors[0].shape), m.output(support.nnz)
    assert call("conv_backward", *arguments, first, None, case.threads) == 0
    assert call("conv_backward", alone, *arguments[1:], None, second, case.threads) == 0
    assert torch.equal(first, grad_x)
    assert torch.equal(second, grad_values)
    return [y, grad_x, grad_values]


def local(case: Case) -> list[Tensor]:
    """y, factor, variance, grad_x, grad_mean, grad_log_std; and the last two computed without grad_x."""
    m = Memory(case.at_end)
    support, tensors = case.tensors()
    x, grad, mean, log_std = (m.input(t) for t in tensors)
    index, alone, geometry, nnz = m.index(support), m.index(support, False), case.geometry(), support.nnz
    y, factor, variance = m.output(*tensors[1].shape), m.output(*tensors[1].shape), m.output(nnz)
    inputs = (alone, geometry, x, mean, log_std, case.key())
    assert call("lrt_conv", *inputs, y, factor, variance, case.threads) == 0
    again, v = m.output(*y.shape), m.output(nnz)
    assert call("lrt_conv", *inputs, again, None, v, case.threads) == 0
    assert torch.equal(again, y)
    kept = (geometry, grad, x, mean, m.input(variance), m.input(factor))
    grads, fewer = (
        [m.output(*tensors[0].shape), m.output(nnz), m.output(nnz)],
        [m.output(nnz), m.output(nnz)],
    )
    assert call("lrt_conv_backward", index, *kept, *grads, case.threads) == 0
    assert call("lrt_conv_backward", alone, *kept, None, *fewer, case.threads) == 0
    return [y, factor, variance, *grads, *fewer]


def outermost(x: Tensor) -> Tensor:
    return x.movedim(-1, 0)


def convolve(case: Case, x: Tensor, weight: Tensor) -> Tensor:
    how = case.how
    return F.conv2d(x, weight, None, how.stride, how.padding, how.dilation, how.groups)


def gradients(case: Case, x: Tensor, weight: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The convolution and its gradients by x and the weight."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = convolve(case, x, weight)
    return (y.detach(), *torch.autograd.grad(y, (x, weight), grad))


def reference(case: Case) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """The convolution by torch and its gradients, and the same of absolute values; kept for every instruction set."""
    key = repr(case._replace(threads=1))
    if key not in REFERENCES:
        support, (x, grad, mean, _) = case.tensors()
        x, grad, weight = outermost(x.double()), outermost(grad.double()), support.scatter(mean.double())
        REFERENCES[key] = (
            gradients(case, x, weight, grad),
            gradients(case, x.abs(), weight.abs(), grad.abs()),
        )
    return REFERENCES[key]


def check_deterministic(case: Case) -> None:
    support, _ = case.tensors()
    exact, terms = reference(case)
    y, grad_x, grad_values = deterministic(case)
    close(outermost(y), exact[0], terms[0])
    close(outermost(grad_x), exact[1], terms[1])
    close(grad_values, support.gather(exact[2]), terms[2])


def check_local(case: Case) -> None:
    support, (x, grad, _, log_std) = case.tensors()
    noise = torch.empty(grad.shape)
    assert call("normal", case.key(), noise.numel(), noise, 1) == 0
    x, grad, noise = (outermost(t.double()) for t in (x, grad, noise))
    variance = support.scatter((2 * log_std.double()).exp())
    std = (convolve(case, x.square(), variance) + TINY).sqrt()
    factor = noise / (2 * std)
    exact, terms = reference(case)
    second = gradients(case, x.square(), variance, grad * factor)
    second_terms = gradients(case, x.square(), variance, (grad * factor).abs())
    ours = local(case)
    close(outermost(ours[0]), exact[0] + std * noise, terms[0] + 1)
    close(outermost(ours[1]), factor)
    close(ours[2], support.gather(variance))
    close(outermost(ours[3]), exact[1] + 2 * x * second[1], terms[1] + 2 * x.abs() * second_terms[1])
    for grad_mean, grad_log_std in (ours[4:6], ours[6:]):
        close(grad_mean, support.gather(exact[2]), terms[2])
        bound = 2 * variance * second_terms[2]
        close(grad_log_std, support.gather(2 * variance * second[2]), bound)


@given(cases())
@settings(deadline=None, max_examples=40)
def check_all(case):
    check_deterministic(case)
    check_local(case)


def test_every_geometry(isa):
    check_all()


# Cases in which the work is divided: strips of wide rows, many entries, few or many rows.
LARGE = {
    "strips": Case(Convolution([8, 48, 3, 3], [1, 1], [1, 1], [1, 1], 1), [128, 48, 6, 11], 0.1, 1),
    "strips, stride": Case(Convolution([9, 48, 3, 3], [2, 2], [1, 1], [1, 1], 1), [127, 48, 7, 13], 0.1, 2),
    "many entries": Case(Convolution([40, 48, 3, 3], [1, 1], [1, 1], [1, 1], 1), [5, 48, 6, 6], 0.95, 3),
    "many entries, 1x1": Case(Convolution([96, 96, 1, 1], [1, 1], [0, 0], [1, 1], 1), [33, 96, 3, 3], 0.6, 4),
    "groups": Case(Convolution([32, 4, 3, 3], [1, 1], [1, 1], [1, 1], 8), [64, 32, 8, 8], 0.4, 5),
    "depthwise": Case(Convolution([24, 1, 3, 3], [1, 1], [1, 1], [1, 1], 24), [31, 24, 9, 9], 0.6, 6),
    "wide dilation": Case(Convolution([6, 16, 3, 5], [1, 2], [4, 9], [4, 4], 1), [65, 16, 12, 20], 0.3, 7),
    "one column": Case(Convolution([7, 5, 3, 1], [1, 1], [1, 0], [1, 1], 1), [100, 5, 40, 1], 0.4, 8),
    "sequence": Case(Convolution([12, 10, 1, 5], [1, 1], [0, 2], [1, 1], 1), [20, 10, 1, 120], 0.3, 9),
    "more output than input": Case(
        Convolution([4, 3, 2, 2], [1, 1], [3, 3], [1, 1], 1), [17, 3, 5, 4], 0.5, 10
    ),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", LARGE)
def test_divided_work(isa, name, threads):
    check_deterministic(LARGE[name]._replace(threads=threads))
    check_local(LARGE[name]._replace(threads=threads))


@pytest.mark.parametrize("name", LARGE)
def test_results_are_deterministic(isa, name):
    case = LARGE[name]._replace(threads=3)  # which divide the work unevenly
    first, again = (deterministic(case) + local(case) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
