"""The sparse operators: correct for random shapes, and supported by torch.compile and torch.export."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.kernels import (
    native,
    normalize,  # noqa: F401  normalize registers its operators
)
from szilard.kernels.layout import innermost
from szilard.sparse import Support, ops, portable


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 17), st.integers(1, 33), st.integers(1, 19), st.floats(0, 1), st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_linear_equals_dense(batch, inputs, outputs, density, seed):
    g = generator(seed)
    support = Support.from_mask(torch.rand(outputs, inputs, generator=g) < density)
    values = torch.randn(support.nnz, generator=g, dtype=torch.float64)
    x = torch.randn(batch, inputs, generator=g, dtype=torch.float64)
    grad = torch.randn(batch, outputs, generator=g, dtype=torch.float64)
    dense = support.scatter(values)
    assert torch.allclose(ops.sparse_linear(x, values, *support.index), x @ dense.t())
    grad_x, grad_values = ops.sparse_linear_backward(grad, x, values, *support.index, True)
    assert torch.allclose(grad_x, grad @ dense)
    assert torch.allclose(grad_values, support.gather(grad.t() @ x))


def test_without_csr_kernels(monkeypatch):
    """The fallback for torch builds without sparse BLAS gives the same results."""
    g = generator()
    support = Support.random((20, 30), 40, g)
    values, x, grad = (torch.randn(s, generator=g) for s in (40, (5, 30), (5, 20)))
    expected = (
        ops.sparse_linear(x, values, *support.index),
        ops.sparse_linear_backward(grad, x, values, *support.index, True),
    )
    monkeypatch.setattr(portable, "_has_csr_kernels", lambda tensor: False)
    monkeypatch.setattr(portable, "GATHER", 64)
    assert torch.allclose(ops.sparse_linear(x, values, *support.index), expected[0], atol=1e-6)
    for ours, theirs in zip(
        ops.sparse_linear_backward(grad, x, values, *support.index, True), expected[1], strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def arguments(kind):
    """Arguments of the operators of one kind, in single precision, as the C++ kernels support."""
    g = generator(1)
    shape = (6, 12) if kind == "linear" else (6, 2, 3, 3)
    support = Support.random(shape, 20, g)
    mean = torch.randn(20, generator=g).requires_grad_()
    log_std = (torch.randn(20, generator=g) - 2).requires_grad_()
    if kind == "linear":
        x, rest = torch.randn(5, 12, generator=g), ()
    else:
        x, rest = torch.randn(2, 4, 7, 7, generator=g), (list(shape), [1, 1], [1, 1], [1, 1], 2)
    return x.requires_grad_(), mean, log_std, torch.tensor([3, 1]), support.index, rest


@pytest.fixture(params=["torch", "cpp"])
def kernels(request, monkeypatch):
    if request.param == "cpp" and not native.available():
        pytest.skip("the C++ kernels are not built")
    monkeypatch.setenv("SZILARD_KERNELS", request.param)
    return request.param


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_opcheck(kind, kernels):
    x, mean, log_std, key, index, rest = arguments(kind)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    known = torch.ops.szilard
    product, local = (getattr(known, f"{name}_{kind}").default for name in ("sparse", "lrt"))
    torch.library.opcheck(product, (x, mean, *index, *rest), test_utils=tests)
    middle = (
        (torch.zeros(6, requires_grad=True), key, *index, True) if kind == "linear" else (key, *index, *rest)
    )
    torch.library.opcheck(local, (x, mean, log_std, *middle), test_utils=tests)


@pytest.mark.skipif(not native.available(), reason="the C++ kernels are not built")
def test_opcheck_of_the_layout():
    x = innermost(torch.randn(3, 2, 4, 6)).requires_grad_()
    weight, bias = torch.rand(2, requires_grad=True), torch.rand(2, requires_grad=True)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    for residual in (None, innermost(torch.randn(3, 2, 4, 6)).requires_grad_()):
        given = (x, weight, bias, residual, True, 1e-5)
        torch.library.opcheck(torch.ops.szilard.batch_norm.default, given, test_utils=tests)
    torch.library.opcheck(torch.ops.szilard.max_pool.default, (x, [2, 2], [2, 2], [0, 0]), test_utils=tests)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_direct_calls_equal_dispatched_calls(kind, kernels):
    """Direct calls and calls through torch's dispatcher (under a profiler) give the same bits."""
    x, mean, log_std, key, index, rest = arguments(kind)
    given = (x, mean, log_std, *((None, key, *index, True) if kind == "linear" else (key, *index, *rest)))

    def run():
        y = getattr(ops, f"lrt_{kind}")(*given)[0]
        return [y, *torch.autograd.grad(y.square().sum(), (x, mean, log_std))]

    with torch.profiler.profile() as profile:
        seen = run()
    assert any(event.key == f"szilard::lrt_{kind}" for event in profile.key_averages())
    for a, b in zip(run(), seen, strict=True):
        assert torch.equal(a, b)


def test_export_and_compile():
    import szilard

    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    network = szilard.bayesianize(network, 0.3, fresh=True).eval()
    x = torch.randn(5, 1, 4, 4, generator=generator())
    program = torch.export.export(network, (x,))
    assert torch.allclose(program.module()(x), network(x), atol=1e-6)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x), network(x), atol=1e-6)


def test_flops_count_existing_entries_only():
    from torch.utils.flop_counter import FlopCounterMode

    x, mean, log_std, key, index, rest = arguments("linear")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ops.sparse_linear(x, mean, *index)
    assert counter.get_total_flops() == 2 * 5 * 20
    x, mean, log_std, key, index, rest = arguments("conv")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ops.lrt_conv(x, mean, log_std, key, *index, *rest)
    assert counter.get_total_flops() == 4 * 2 * 49 * 20
