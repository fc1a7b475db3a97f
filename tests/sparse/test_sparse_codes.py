"""Operators of solvers for sparse codes: gradients, the choice of an implementation, torch.compile."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.sparse import compiled_codes, ops, portable
from szilard.sparse.ops import shrinkage

TESTS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
FORMS = pytest.mark.parametrize(
    ("moving", "selecting"), [(False, False), (True, False), (False, True), (True, True)]
)


@pytest.fixture(params=["torch", "cpp"])
def kernels(request, monkeypatch):
    if request.param == "cpp" and not native.available():
        pytest.skip("the C++ kernels are not built")
    monkeypatch.setenv("SZILARD_KERNELS", request.param)
    return request.param


def step(moving, selecting, dtype=torch.float64, batch=4, n=7, seed=0):
    """Arguments of ``shrink``; each needs a gradient."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.randn(shape, generator=g, dtype=torch.float64).to(dtype).requires_grad_()  # noqa: E731
    x, gradient, previous, scale, momentum = (
        rand(batch, n),
        rand(batch, n),
        rand(batch, n),
        rand(batch),
        rand(batch),
    )
    threshold = torch.linspace(0, 1, batch, dtype=dtype).requires_grad_()
    passing = torch.arange(batch) * 2 if selecting else None
    return x, gradient, scale, previous if moving else None, momentum if moving else None, threshold, passing


def differentiated(function, arguments, weights):
    """Gradients of a weighted sum of results and norms."""
    result, _, norms, *_ = function(*arguments)
    wanted = [t for t in arguments if t is not None and t.requires_grad]
    return torch.autograd.grad((result * weights).sum() + norms.square().sum(), wanted)


@FORMS
def test_gradients_are_those_of_autograd(moving, selecting):
    """The operator's own backward pass against autograd through the definition in torch, also a second time."""
    arguments = step(moving, selecting)
    weights = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = differentiated(lambda *given: portable.shrink(*given, wants_passed=False), arguments, weights)
    for mine, its in zip(differentiated(ops.shrink, arguments, weights), theirs, strict=True):
        assert torch.allclose(mine, its)

    inside = [t for t in arguments if t is not None and t.requires_grad]
    threshold = torch.linspace(0.1, 1, 4, dtype=torch.float64)  # at 0 the slope in the threshold is one-sided

    def outputs(*given):
        x, gradient, scale, *rest = given
        found = ops.shrink(x, gradient, scale, *(rest or (None, None)), threshold, arguments[-1])
        return found[0], found[2]

    assert torch.autograd.gradcheck(outputs, inside[:-1])
    assert torch.autograd.gradgradcheck(outputs, inside[:-1])


@FORMS
def test_gradients_of_the_threshold(moving, selecting):
    arguments = step(moving, selecting)
    plain = [None if t is None else t.detach() for t in arguments]
    threshold = torch.linspace(0.1, 1, 4, dtype=torch.float64).requires_grad_()
    both = lambda t: ops.shrink(*plain[:5], t, plain[6])[::2]  # noqa: E731
    assert torch.autograd.gradcheck(both, threshold)
    _, counts, _ = ops.shrink(*plain[:5], threshold, plain[6])
    assert not counts.requires_grad


@FORMS
def test_single_precision(moving, selecting, kernels):
    """Results and gradients of each implementation against double precision."""
    arguments = step(moving, selecting, torch.float32, n=150)
    exact = [
        t if t is None or t.dtype == torch.int64 else t.detach().double().requires_grad_() for t in arguments
    ]
    for mine, its in zip(
        ops.shrink(*arguments), portable.shrink(*exact, wants_passed=False)[:3], strict=True
    ):
        assert mine.dtype == torch.float32
        assert torch.allclose(mine.double(), its, rtol=1e-5, atol=1e-5)
    weights = torch.randn(4, 150, generator=torch.Generator().manual_seed(1))
    theirs = differentiated(lambda *given: portable.shrink(*given, wants_passed=False), exact, weights)
    for mine, its in zip(differentiated(ops.shrink, arguments, weights), theirs, strict=True):
        assert torch.allclose(mine.double(), its, rtol=1e-4, atol=1e-4)


def test_only_wanted_gradients(kernels):
    x, gradient, scale, _, _, threshold, passing = step(False, True, torch.float32)
    result, _, _ = ops.shrink(x, gradient.detach(), scale.detach(), None, None, threshold.detach(), passing)
    (grad,) = torch.autograd.grad(result.sum(), x)
    assert torch.equal(grad, (result != 0).float())
    with torch.no_grad():
        assert not ops.shrink(x, gradient, scale, None, None, threshold, passing)[0].requires_grad


def test_inputs_that_are_not_contiguous(kernels):
    g = torch.Generator().manual_seed(0)
    x, gradient, previous = (torch.randn(9, 5, generator=g).t() for _ in range(3))
    scale, momentum, threshold = (torch.rand(10, generator=g)[::2] for _ in range(3))
    passing = torch.arange(10)[::2]
    given = (x, gradient, scale, previous, momentum, threshold, passing)
    found, packed = ops.shrink(*given), ops.shrink(*[t.contiguous() for t in given])
    assert all(torch.allclose(a, b) for a, b in zip(found, packed, strict=True))
    assert found[0].is_contiguous()
    rows = torch.randn(4, 9, generator=g).t()
    assert torch.allclose(ops.event_product(x, rows), x @ rows, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 7), (3, 0), (0, 0)])
def test_empty(shape, kernels):
    x, one = torch.zeros(shape), torch.ones(shape[0])
    result, counts, norms = ops.shrink(x, x, one, x, one, one, torch.ones(shape[0], dtype=torch.int64))
    assert result.shape == shape
    assert torch.equal(counts, 0 * one)
    assert torch.equal(norms, 0 * one)
    assert torch.equal(ops.event_product(x, torch.ones(shape[1], 2)), torch.zeros(shape[0], 2))
    assert ops.event_product(x, torch.ones(shape[1], 0)).shape == (shape[0], 0)


def test_momentum_needs_both_arguments(kernels):
    x, gradient, scale, previous, momentum, threshold, _ = (
        None if t is None else t.detach() for t in step(True, False, torch.float32)
    )
    plain = ops.shrink(x, gradient, scale, None, None, threshold, None)[0]
    assert torch.equal(ops.shrink(x, gradient, scale, previous, None, threshold, None)[0], plain)
    assert torch.equal(ops.shrink(x, gradient, scale, None, momentum, threshold, None)[0], plain)


@pytest.mark.skipif(not native.available(), reason="the C++ kernels are not built")
def test_arguments_of_wrong_sizes_are_refused(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "cpp")
    good = [t.detach() for t in step(True, True, torch.float32)]
    for at, bad in enumerate((None, good[1][:, :3], *[torch.ones(3)] * 4, good[6].int())):
        if bad is not None:
            with pytest.raises(SzilardError, match="must be"):
                ops.shrink(*good[:at], bad, *good[at + 1 :])
    with pytest.raises(SzilardError, match="rows must be"):
        ops.event_product(good[0], torch.ones(6, 3))


def test_event_product(kernels):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(6, 40, generator=g) * (torch.rand(6, 40, generator=g) < 0.1)
    rows = torch.randn(40, 13, generator=g)
    weights = torch.randn(6, 13, generator=g)
    for dtype in (torch.float32, torch.float64):
        a, b = x.to(dtype).requires_grad_(), rows.to(dtype).requires_grad_()
        y = ops.event_product(a, b)
        assert torch.allclose(y, a @ b, atol=1e-5)
        ours = torch.autograd.grad((y * weights).sum(), (a, b))
        theirs = torch.autograd.grad(((a @ b) * weights).sum(), (a, b))
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(ours, theirs, strict=True))
        assert torch.equal(ops.event_product(a.detach(), b.detach()), y)
    assert torch.autograd.gradcheck(
        ops.event_product, (x.double().requires_grad_(), rows.double().requires_grad_())
    )


def test_choice_of_product(kernels, monkeypatch):
    called = []
    monkeypatch.setattr(shrinkage, "event_product", lambda x, rows: called.append(x.dtype) or x @ rows)
    x, rows = torch.eye(64), torch.rand(64, 32)
    assert shrinkage.EVENT_FROM == 64 * 64 * 32
    few, many = shrinkage.EVENT_BELOW / 2, shrinkage.EVENT_BELOW
    for arguments in (
        (x, rows, few),
        (x, rows, many),
        (x.double(), rows.double(), few),
        (x, rows[:, 1:].contiguous(), few),
        (x, rows.clone().requires_grad_(), few),
    ):
        assert torch.equal(shrinkage.product(*arguments), arguments[1])
    with torch.no_grad():
        shrinkage.product(x, rows.clone().requires_grad_(), few)
    assert called == ([torch.float32] * 2 if kernels == "cpp" else [])


@pytest.mark.parametrize("full", [False, True])
def test_opcheck(full, kernels):
    given = step(full, full, torch.float32)
    torch.library.opcheck(torch.ops.szilard.shrink.default, given, test_utils=TESTS)
    if full:
        return
    x, rows = torch.randn(3, 5, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    torch.library.opcheck(torch.ops.szilard.event_product.default, (x, rows), test_utils=TESTS)


def test_operators_seen_by_torch(kernels):
    """Under a profiler or a FLOP counter the operators appear, with the same results."""
    given = [t.detach() for t in step(True, True, torch.float32)]
    rows = torch.ones(7, 3)
    with torch.profiler.profile() as profile:
        seen = (*ops.shrink(*given), ops.event_product(given[0], rows))
    assert {"szilard::shrink", "szilard::event_product"} <= {event.key for event in profile.key_averages()}
    direct = (*ops.shrink(*given), ops.event_product(given[0], rows))
    assert all(torch.equal(a, b) for a, b in zip(seen, direct, strict=True))
    with FlopCounterMode(display=False) as counter:
        ops.event_product(given[0], rows)
    assert counter.get_total_flops() == 2 * 4 * 7 * 3


@pytest.mark.skipif(not native.available(), reason="the C++ kernels are not built")
def test_the_kernels_are_used(monkeypatch):
    monkeypatch.setenv("SZILARD_KERNELS", "cpp")
    monkeypatch.setattr(compiled_codes, "shrink", lambda *given, wants_passed: ("cpp",) * 4)
    x, one = torch.ones(2, 3), torch.ones(2)
    assert ops.shrink(x, x, one, None, None, one, None)[0] == "cpp"
    assert torch.is_tensor(ops.shrink(x.double(), x, one, None, None, one, None)[0])
