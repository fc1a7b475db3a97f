"""Convolutional dictionaries: products, adjoints, views, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import FISTA, HyperLISTA
from szilard.solve.convolution import Convolution

SIZES = [
    ((5,), (24,)),
    ((4,), (13,)),
    ((3, 3), (8, 9)),
    ((2, 5), (7, 10)),
    ((9, 9), (12, 11)),
    ((70,), (81,)),
]
CASES = list(itertools.product((0, 2), SIZES, ("circular", "zero")))


def drawn(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def dictionary(channels, extent, size, border, count=4, dtype=torch.float64):
    filters = drawn(count, *((channels,) if channels else ()), *extent, dtype=dtype)
    return Convolution(filters, size, border)


def summed(maps, filters, size, border):
    """Σ_k filter_k * map_k of one channel, by scipy."""
    total = np.zeros(size)
    for one, kernel in zip(maps.numpy(), filters.numpy(), strict=True):
        if border == "zero":
            total += signal.convolve(one, kernel, mode="full", method="direct")
        else:
            # ndimage puts the kernel's middle at the code; the origin moves its first number there.
            flipped = kernel[tuple(slice(None, None, -1) for _ in kernel.shape)]
            origin = [(length - 1) - length // 2 for length in kernel.shape]
            total += ndimage.correlate(one, flipped, mode="wrap", origin=origin)
    return total


@pytest.mark.parametrize(("channels", "case", "border"), CASES)
def test_the_product_is_the_sum_of_convolutions(channels, case, border):
    extent, size = case
    A = dictionary(channels, extent, size, border)
    x = drawn(3, A.shape[1], seed=1)
    images = A.images(A.product(x))
    for sample, maps in enumerate(A.maps(x)):
        for channel in range(max(channels, 1)):
            filters = A.filters[:, channel] if channels else A.filters
            found = images[sample, channel] if channels else images[sample]
            np.testing.assert_allclose(found.numpy(), summed(maps, filters, size, border), atol=1e-12)


@pytest.mark.parametrize(("channels", "case", "border"), CASES)
def test_the_adjoint_is_the_transpose(channels, case, border):
    extent, size = case
    A = dictionary(channels, extent, size, border)
    x, r = drawn(3, A.shape[1], seed=1), drawn(3, A.shape[0], seed=2)
    torch.testing.assert_close((A.product(x) * r).sum(1), (x * A.adjoint(r)).sum(1))
    torch.testing.assert_close(A.product(x), x @ A.dense().t())


@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize(("extent", "size"), SIZES[:5])
def test_the_largest_eigenvalue_is_exact_on_a_circle_and_a_bound_with_zero_borders(channels, extent, size):
    for border in ("circular", "zero"):
        A = dictionary(channels, extent, size, border)
        exact = float(torch.linalg.matrix_norm(A.dense(), 2)) ** 2
        if border == "circular":
            assert A.largest_eigenvalue() == pytest.approx(exact, rel=1e-10)
        else:
            assert exact <= A.largest_eigenvalue() * (1 + 1e-10)


@pytest.mark.parametrize("extent", [(3,), (66,)])
@pytest.mark.parametrize("border", ["circular", "zero"])
def test_gradients_pass_through_codes_residuals_and_learned_filters(extent, border):
    A = dictionary(0, extent, (67,), border, count=2)
    kernels = A.learn()
    x, r = drawn(1, A.shape[1], seed=1), drawn(1, A.shape[0], seed=2)
    x.requires_grad_()
    (A.product(x) * r).sum().backward()
    torch.testing.assert_close(x.grad, A.adjoint(r))
    wanted, moved = kernels.grad[1, 0, 0, 2], torch.zeros_like(kernels)
    moved[1, 0, 0, 2] = 1
    with torch.no_grad():
        before = (A.product(x) * r).sum()
        kernels += moved
        assert float((A.product(x) * r).sum() - before) == pytest.approx(float(wanted))


def test_transforms_follow_filters_that_are_loaded_and_moved_to_another_dtype():
    A, B = (Convolution(drawn(2, 70, seed=seed), 80) for seed in (3, 4))
    x = drawn(2, A.shape[1])
    assert not torch.allclose(A.product(x), B.product(x))
    A.load_state_dict(B.state_dict())
    torch.testing.assert_close(A.product(x), B.product(x))
    assert A.float().product(x.float()).dtype == torch.float32
    assert A.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_solvers_keep_the_dtype(dtype):
    A = dictionary(0, (3, 3), (8, 9), "zero", dtype=dtype)
    b = A.rows(drawn(2, 8, 9, dtype=dtype))
    state = FISTA(A, 0.1, 5)(b)
    assert state.x.dtype == dtype
    assert A.maps(state.x).shape == (2, 4, 6, 7)
    assert A.images(state.residual).shape == (2, 8, 9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    A = dictionary(2, (3, 3), (8, 9), "zero")
    x = drawn(2, A.shape[1])
    torch.testing.assert_close(
        Convolution(A.filters.cuda(), (8, 9), "zero").product(x.cuda()).cpu(), A.product(x)
    )


def test_filters_of_other_norms_are_scaled_and_their_codes_scaled_back():
    filters = drawn(3, 5)
    plain, larger = Convolution(filters, 40), Convolution(filters * torch.tensor([[1.0], [2.0], [5.0]]), 40)
    b = drawn(2, 40, seed=3)
    with pytest.warns(SzilardWarning, match=r"columns of A have norms from .* hyperlista scales them to 1"):
        first = HyperLISTA(plain, numbers=(0.2, 0.1, 1))(b).x
    with pytest.warns(SzilardWarning, match="scales them"):
        second = HyperLISTA(larger, numbers=(0.2, 0.1, 1))(b).x
    assert first.abs().max() > 0
    torch.testing.assert_close(
        larger.maps(second) * torch.tensor([1.0, 2.0, 5.0]).double()[:, None], plain.maps(first)
    )


def spikes(A, count, each, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(count, A.shape[1], dtype=torch.float64)
    for row in x:
        places = torch.randperm(A.shape[1], generator=generator)[:each]
        row[places] = 1 + torch.rand(each, generator=generator, dtype=torch.float64)
    return x


@pytest.mark.parametrize("border", ["circular", "zero"])
def test_deconvolution_finds_spikes(border):
    pulse = 0.7 ** torch.arange(15, dtype=torch.float64)
    A = Convolution((pulse / pulse.norm())[None], 200, border)
    x = spikes(A, 4, 8, 0)
    b = A.product(x) + 0.01 * drawn(4, 200, seed=5)
    found = FISTA(A, 0.05, 300)(b).x
    assert ((found > 0.5) == (x > 0)).all()
    assert (found - x).abs().max() < 0.15


def test_hyperlista_separates_two_kinds_of_pulses_and_leaves_smooth_ones_uncertain():
    pulses = drawn(2, 16, seed=2)
    A = Convolution(pulses / pulses.norm(dim=1, keepdim=True), 64)
    x = spikes(A, 8, 4, 1)
    found = HyperLISTA(A, 30, numbers=(6, 0.75, 1))(A.product(x))
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-6)
    smooth = torch.exp(-((torch.arange(16) - 8.0) ** 2) / torch.tensor([[4.0], [6.0]])).double()
    B = Convolution(smooth / smooth.norm(dim=1, keepdim=True), 64)
    # A solver for them exists, and its residual says that it did not converge.
    assert HyperLISTA(B, 30, numbers=(6, 0.75, 1))(B.product(x)).relative_residual().max() > 0.05


def test_hyperlista_is_tuned_for_a_convolution():
    pulses = drawn(2, 16, seed=2)
    A = Convolution(pulses / pulses.norm(dim=1, keepdim=True), 32)
    solver = HyperLISTA(A, 8, numbers=(0.5, 0.1, 0.1))
    x = spikes(A, 8, 2, 1)
    before = (solver(A.product(x)).x - x).norm()
    assert (solver.tune(0.04, samples=8, evaluations=6)(A.product(x)).x - x).norm() < 0.5 * before


@pytest.mark.parametrize(
    ("filters", "size", "more", "words"),
    [
        (torch.tensor([[1.0, 2.0], [0.0, 0.0]]), 9, {}, "filter 1 is zero; remove"),
        (torch.tensor([[1.0, float("nan")]]), 9, {}, "filter 0 is not finite"),
        (torch.ones(2, 3, 3), (2, 9), {}, "filters of 3 x 3 are larger than the size, 2 x 9"),
        (torch.ones(3), 9, {}, r"filters have shape \(3,\); for size \(9,\) give \[K, h\]"),
        (torch.ones(2, 3), (9, 9), {}, r"give \[K, h, w\] or \[K, channels, h, w\]"),
        (torch.ones(2, 3), (9, 9, 9), {}, "give the length of the signals, or rows and columns"),
        (torch.ones(2, 3).half(), 9, {}, "the array of filters is float16"),
        (torch.ones(2, 3), 9, {"border": "mirror"}, "border='mirror'; give one of circular, zero"),
        (torch.ones(2, 3), 9, {"window": 0.5}, "window=0.5; give a multiple"),
    ],
)
def test_wrong_filters_are_refused_in_a_sentence(filters, size, more, words):
    with pytest.raises(SzilardError, match=words):
        Convolution(filters, size, **more)
