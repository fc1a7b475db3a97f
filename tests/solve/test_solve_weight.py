"""The analytic weight: feasible, of least coherence, and a factor of the pseudo-inverse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.errors import SzilardError
from szilard.solve.weight import analytic_weight, bound, symmetric_weight


def matrix(m, n, seed=0, unit=True):
    A = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return A / A.norm(dim=0) if unit else A


def off_diagonal(W, A):
    return (W.t() @ A).fill_diagonal_(0).norm()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 20), st.integers(0, 1000), st.booleans())
def test_the_diagonal_is_one_and_the_weight_is_a_factor_of_the_pseudo_inverse(m, more, seed, unit):
    A = matrix(m, m + more, seed, unit)
    weight = analytic_weight(A)
    assert torch.allclose((weight.W * A).sum(0), torch.ones(m + more).double(), atol=1e-9)
    pinv = torch.linalg.pinv(A)
    assert torch.allclose(weight.diagonal[:, None] * weight.W.t(), pinv, atol=1e-9 * float(pinv.abs().max()))
    assert float(weight.diagonal.sum()) == pytest.approx(m)


def test_its_coherence_is_nearly_the_least_that_there_can_be():
    A = matrix(50, 100)
    found = float(off_diagonal(analytic_weight(A).W, A))
    assert bound(50, 100) <= found <= 1.02 * bound(50, 100) < float(off_diagonal(A, A))
    assert bound(30, 20) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_no_step_along_the_gradient_that_keeps_the_diagonal_finds_a_lower_one(seed):
    A = matrix(20, 45, seed)
    W = analytic_weight(A).W
    best = off_diagonal(W, A)
    for start in (W, A):  # the published method: a gradient step, then back to a diagonal of ones
        V = start.clone()
        for _ in range(200):
            V = V - 0.05 * A @ (A.t() @ V - torch.eye(45).double())
            V = V + (1 - (A * V).sum(0)) * A
        assert off_diagonal(V, A) >= best * (1 - 1e-12)


def test_coherence_is_the_largest_product_of_two_columns():
    A = matrix(6, 9)
    weight = analytic_weight(A)
    products = weight.W.t() @ A
    assert weight.coherence == pytest.approx(
        max(abs(products[i, j]) for i in range(9) for j in range(9) if i != j)
    )
    assert analytic_weight(torch.ones(1, 1).double()).coherence == 0.0


def test_an_orthonormal_matrix_is_its_own_weight():
    Q, _ = torch.linalg.qr(matrix(8, 8))
    weight = analytic_weight(Q)
    assert torch.allclose(weight.W, Q)
    assert weight.coherence < 1e-12


def test_the_symmetric_form_has_unit_columns_and_is_feasible():
    A = matrix(60, 120)
    G, weight = symmetric_weight(A)
    assert torch.allclose((G @ A).norm(dim=0), torch.ones(120).double(), atol=1e-6)
    assert torch.allclose((weight.W * A).sum(0), torch.ones(120).double())
    assert off_diagonal(weight.W, A) <= 1.02 * off_diagonal(analytic_weight(A).W, A)


def test_rank_below_m_is_refused_and_damping_is_offered():
    A = matrix(10, 30)
    A[3] = A[4]
    with pytest.raises(SzilardError, match=r"10 rows and rank 9 .*damping=1e-6"):
        analytic_weight(A)
    with pytest.raises(SzilardError, match="rank 9"):
        symmetric_weight(A)
    weight = analytic_weight(A, damping=1e-6)
    assert torch.allclose((weight.W * A).sum(0), torch.ones(30).double())
    assert torch.allclose(weight.diagonal[:, None] * weight.W.t(), torch.linalg.pinv(A), atol=1e-4)


def test_more_rows_than_columns_cannot_have_the_closed_form():
    with pytest.raises(SzilardError, match=r"30 rows and rank 10"):
        analytic_weight(matrix(30, 10))
