"""The analytic weight of convolutional dictionaries: the dense closed form, windows, and frequencies that vanish."""

from __future__ import annotations

import pytest
import torch

from szilard.errors import SzilardError
from szilard.solve import ALISTA, OMP, HyperLISTA
from szilard.solve.convolution import Convolution
from szilard.solve.convolution_weight import ConvolutionWeight
from szilard.solve.weight import analytic_weight

SIZES = [((5,), (24,)), ((4,), (13,)), ((3, 3), (8, 9)), ((2, 5), (7, 10)), ((9, 9), (12, 11))]


def dictionary(channels, extent, size, border="circular", window=None, count=5):
    generator = torch.Generator().manual_seed(0)
    shape = (count, *((channels,) if channels else ()), *extent)
    filters = torch.randn(shape, generator=generator, dtype=torch.float64)
    return Convolution(filters, size, border, window).unit_columns()


def weight_of(A, damping=0.0) -> ConvolutionWeight:
    return A.weight("test", "none", damping)


def dense(A, weight):
    """W ``[m, n]``."""
    return weight.transposed(torch.eye(A.shape[0], dtype=A.dtype))


def largest_off_diagonal(W, A):
    return float((W.t() @ A.dense()).abs().fill_diagonal_(0).max())


@pytest.mark.parametrize("damping", [0.0, 0.1])
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize(("extent", "size"), SIZES)
def test_the_closed_form_of_frequencies_is_that_of_the_dense_matrix(channels, extent, size, damping):
    A = dictionary(channels, extent, size)
    weight, wanted = weight_of(A, damping), analytic_weight(A.dense(), damping)
    exact = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(dense(A, weight), wanted.W, **exact)
    torch.testing.assert_close(weight.diagonal, wanted.diagonal, **exact)
    assert weight.coherence == pytest.approx(wanted.coherence, abs=1e-10)
    if damping == 0:
        inverse = weight.diagonal[:, None] * dense(A, weight).t()
        torch.testing.assert_close(inverse, torch.linalg.pinv(A.dense()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("window", [None, 1, 2])
@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize("border", ["circular", "zero"])
@pytest.mark.parametrize(("extent", "size"), SIZES)
def test_every_weight_is_feasible_and_knows_its_coherence(channels, extent, size, border, window):
    A = dictionary(channels, extent, size, border, window)
    weight = weight_of(A)
    W = dense(A, weight)
    torch.testing.assert_close((W * A.dense()).sum(0), torch.ones(A.shape[1], dtype=torch.float64))
    # Few maps of zero borders do not contain the largest product of the circle.
    found, wanted = weight.coherence, largest_off_diagonal(W, A)
    assert wanted <= found + 1e-10
    if border == "circular" or min(size) >= 2 * max(extent):
        assert found == pytest.approx(wanted, abs=1e-10)
    if window == 1:
        kept = W.reshape(-1, *weight.bank.size, A.shape[1]).abs() > 1e-10
        assert int(kept[..., 0].sum()) <= max(channels, 1) * torch.Size(extent).numel()


def test_a_window_costs_coherence_in_the_frobenius_sense():
    whole, cut = (dictionary(2, (3, 3), (10, 10), window=window) for window in (None, 1))
    A = whole.dense()
    sizes = [float((dense(one, weight_of(one)).t() @ A).norm()) for one in (whole, cut)]
    assert sizes[0] < sizes[1]
    assert weight_of(cut).whole_coherence == pytest.approx(weight_of(whole).coherence)


def test_a_frequency_that_no_filter_passes_is_reported_and_damped():
    filters = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
    A = Convolution(filters, 16)
    words = r"leave out 1 of 9 frequencies \(least eigenvalue of A Aᵀ .* of the largest\).*damping=1e-6"
    with pytest.raises(SzilardError, match=words), pytest.warns(match="scales them"):
        HyperLISTA(A)
    A = A.unit_columns()
    weight = weight_of(A, 1e-6)
    torch.testing.assert_close((dense(A, weight) * A.dense()).sum(0), torch.ones(32, dtype=torch.float64))


@pytest.mark.parametrize("window", [None, 3])
def test_solvers_answer_as_they_do_for_the_dense_matrix(window):
    A = dictionary(0, (3,), (30,), window=None)
    B = dictionary(0, (3,), (30,), window=window)
    b = A.product(torch.eye(150, dtype=torch.float64)[:7] * 2)
    same = {"rtol": 0, "atol": 1e-8}
    for make in (lambda A: ALISTA(A, 6), lambda A: HyperLISTA(A, 6, (1.0, 0.2, 1.0))):
        wanted, found = make(A.dense())(b), make(B)(b)
        if window is None:
            torch.testing.assert_close(found.x, wanted.x, **same)
        else:
            assert (found.x - wanted.x).abs().max() > 1e-8
            assert (found.x - wanted.x).norm() < 0.5 * wanted.x.norm()


def test_gradients_reach_steps_thresholds_and_codes():
    solver = ALISTA(dictionary(0, (3, 3), (8, 9), "zero", 3.0), 3)
    b = torch.randn(2, 72, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def loss():
        return solver(b).residual.square().sum()

    loss().backward()
    for parameter in (solver.steps[0], solver.thresholds[1]):
        with torch.no_grad():
            values = []
            for move in (1e-6, -2e-6):
                parameter.add_(move)
                values.append(float(loss()))
            parameter.add_(1e-6)
        assert float(parameter.grad) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


def test_an_algorithm_that_needs_the_matrix_says_so():
    A = dictionary(0, (3,), (12,))
    with pytest.raises(SzilardError, match=r"omp needs the matrix itself.*give the matrix"):
        OMP(A, 2)
    assert OMP(A.dense(), 2)(A.product(torch.eye(60, dtype=torch.float64)[:1])).x.count_nonzero() == 1
