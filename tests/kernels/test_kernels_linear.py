"""The C ABI's linear maps against dense products in double precision, with out-of-bounds accesses detected."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_memory import Memory, call, close, needs_kernels
from torch import Tensor

from szilard.kernels import native
from szilard.sparse import Support

pytestmark = needs_kernels

TINY = 1e-8
SIZES = st.sampled_from([1, 2, 3, 5, 15, 16, 17, 31, 33, 40])
BATCHES = st.sampled_from([0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 200, 257])


class Case(NamedTuple):
    batch: int
    support: Support
    x: Tensor  # [cols, batch]
    grad: Tensor  # [rows, batch]
    mean: Tensor  # [nnz]
    log_std: Tensor
    bias: Tensor | None
    key: native.Key
    threads: int
    memory: Memory

    def dense(self, values: Tensor) -> Tensor:
        return self.support.scatter(values.double())

    def at_entries(self, dense: Tensor) -> Tensor:
        return self.support.gather(dense)

    def noise(self) -> Tensor:
        out = torch.empty(self.support.rows, self.batch)
        assert call("normal", self.key, out.numel(), out, 1) == 0
        return out.double()


@st.composite
def cases(draw):
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    rows, cols, batch = draw(SIZES), draw(SIZES), draw(BATCHES)
    mask = torch.rand(rows, cols, generator=g) < draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]))
    if draw(st.booleans()):
        mask[torch.rand(rows, generator=g) < 0.5] = False  # rows without an entry
    support = Support.from_mask(mask)
    return Case(
        batch,
        support,
        torch.randn(cols, batch, generator=g),
        torch.randn(rows, batch, generator=g),
        torch.randn(support.nnz, generator=g),
        torch.randn(support.nnz, generator=g) - 2,
        torch.randn(rows, generator=g) if draw(st.booleans()) else None,
        native.Key(draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 2**64 - 1))),
        draw(st.sampled_from([1, 2, 3])),
        Memory(draw(st.booleans())),
    )


def deterministic(case: Case) -> list[Tensor]:
    """y, grad_x, grad_values, and each gradient computed separately."""
    m = case.memory
    index, x, grad, values = (
        m.index(case.support),
        m.input(case.x),
        m.input(case.grad),
        m.input(case.mean),
    )
    rows, cols, nnz = case.support.rows, case.support.cols, case.support.nnz
    y = m.output(rows, case.batch)
    assert call("linear", m.index(case.support, False), case.batch, x, values, y, case.threads) == 0
    both, alone = [(m.output(cols, case.batch), m.output(nnz)) for _ in range(2)]
    for grad_x, grad_values in (both, (alone[0], None), (None, alone[1])):
        arguments = (index, case.batch, grad, x, values, grad_x, grad_values, case.threads)
        assert call("linear_backward", *arguments) == 0
    return [y, *both, *alone]


def local(case: Case, relu: bool) -> list[Tensor]:
    """y, factor, variance, grad_x, grad_mean, grad_log_std and grad_bias."""
    m = case.memory
    x, mean, log_std = m.input(case.x), m.input(case.mean), m.input(case.log_std)
    rows, cols, nnz = case.support.rows, case.support.cols, case.support.nnz
    y, factor, variance = m.output(rows, case.batch), m.output(rows, case.batch), m.output(nnz)
    inputs = (m.index(case.support, False), case.batch, x, mean, log_std, m.input(case.bias), case.key, relu)
    assert call("lrt_linear", *inputs, y, factor, variance, case.threads) == 0
    again, v = m.output(rows, case.batch), m.output(nnz)
    assert call("lrt_linear", *inputs, again, None, v, case.threads) == 0  # no backward pass follows
    assert torch.equal(again, y)
    assert torch.equal(v, variance)
    grads = [m.output(cols, case.batch), m.output(nnz), m.output(nnz), m.output(rows)]
    kept = (m.input(case.grad), x, mean, m.input(variance), m.input(factor), m.input(y) if relu else None)
    index = m.index(case.support)
    assert call("lrt_linear_backward", index, case.batch, *kept, relu, *grads, case.threads) == 0
    fewer = [m.output(nnz), m.output(nnz)]
    alone = m.index(case.support, False)
    assert call("lrt_linear_backward", alone, case.batch, *kept, relu, None, *fewer, None, case.threads) == 0
    assert all(torch.equal(a, b) for a, b in zip(fewer, grads[1:3], strict=True))
    return [y, factor, variance, *grads]


@given(cases())
@settings(deadline=None, max_examples=60)
def check_deterministic(case):
    weight, x, grad = case.dense(case.mean), case.x.double(), case.grad.double()
    y, *grads = deterministic(case)
    close(y, weight @ x, weight.abs() @ x.abs())
    for grad_x, grad_values in (grads[:2], grads[2:]):
        close(grad_x, weight.t() @ grad, weight.t().abs() @ grad.abs())
        close(grad_values, case.at_entries(grad @ x.t()), grad.abs() @ x.abs().t())


@given(cases(), st.booleans())
@settings(deadline=None, max_examples=60)
def check_local(case, relu):
    y, factor, variance, grad_x, grad_mean, grad_log_std, grad_bias = local(case, relu)
    mean, x, grad = case.dense(case.mean), case.x.double(), case.grad.double()
    exact_variance = (2 * case.log_std.double()).exp()
    close(variance, exact_variance)
    spread = case.support.scatter(exact_variance)
    std, noise = (spread @ x.square() + TINY).sqrt(), case.noise()
    drawn = mean @ x + std * noise
    drawn = drawn if case.bias is None else drawn + case.bias.double()[:, None]
    close(y, drawn.relu() if relu else drawn, mean.abs() @ x.abs() + 1)
    exact_factor = noise / (2 * std)
    close(factor, exact_factor)
    g = torch.where(y > 0, grad, 0) if relu else grad
    h = g * exact_factor
    half = spread.t() @ h
    terms = mean.t().abs() @ g.abs() + 2 * x.abs() * (spread.t() @ h.abs())
    close(grad_x, mean.t() @ g + 2 * x * half, terms)
    close(grad_mean, case.at_entries(g @ x.t()), g.abs() @ x.abs().t())
    close(
        grad_log_std,
        case.at_entries(2 * spread * (h @ x.square().t())),
        2 * spread * (h.abs() @ x.square().t()),
    )
    close(grad_bias, g.sum(1), g.abs().sum(1))


def test_products(isa):
    check_deterministic()


def test_local_reparametrisation(isa):
    check_local()


@pytest.mark.parametrize("relu", [False, True])
def test_bits_do_not_depend_on_threads_or_history(isa, relu):
    """The header guarantees this."""
    g = torch.Generator().manual_seed(5)
    support = Support.from_mask(torch.rand(90, 70, generator=g) < 0.2)
    case = Case(
        133, support, torch.randn(70, 133, generator=g), torch.randn(90, 133, generator=g),
        torch.randn(support.nnz, generator=g), torch.randn(support.nnz, generator=g) - 2,
        torch.randn(90, generator=g), native.Key(1, 2), 1, Memory(True),
    )  # fmt: skip
    first = deterministic(case) + local(case, relu)
    for threads in (1, 2, 3, 2):
        again = deterministic(case._replace(threads=threads)) + local(case._replace(threads=threads), relu)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_large_layers_in_parts(isa):
    """Long rows, many rows and a batch of many tiles, so that the work is divided."""
    g = torch.Generator().manual_seed(6)
    support = Support.from_mask(torch.rand(300, 700, generator=g) < torch.rand(300, 1, generator=g) * 0.1)
    weight, x = support.scatter(torch.randn(support.nnz, generator=g)), torch.randn(700, 515, generator=g)
    y = torch.empty(300, 515)
    memory = Memory(True)
    values = memory.input(support.gather(weight))
    assert call("linear", memory.index(support), 515, memory.input(x), values, y, 2) == 0
    close(y, weight.double() @ x.double(), weight.abs() @ x.abs())
