"""Operators: what users have, and what is refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import ALISTA, FISTA, ISTA, Functions, HyperLISTA
from szilard.solve.operators import Linear, Matrix, as_operator


def matrix(m=6, n=10, dtype=torch.float64):
    A = torch.randn(m, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (A / A.norm(dim=0)).to(dtype)


def forms(A):
    return {
        "tensor": A,
        "array": A.numpy(),
        "list": A.tolist(),
        "scipy": aslinearoperator(A.numpy()),
        "functions": Functions(lambda x: x @ A.t(), lambda r: r @ A, tuple(A.shape), dtype=A.dtype),
    }


@pytest.mark.parametrize("form", forms(matrix()))
def test_every_form_gives_the_same_products_and_the_same_answer(form):
    A = matrix()
    operator = as_operator(forms(A)[form])
    x, r = torch.randn(3, 10).double(), torch.randn(3, 6).double()
    assert operator.shape == (6, 10)
    x, r = x.to(operator.dtype), r.to(operator.dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(operator.product(x), (x.double() @ A.t()).to(x.dtype), **tolerance)
    torch.testing.assert_close(operator.adjoint(r), (r.double() @ A).to(x.dtype), **tolerance)
    exact = float(torch.linalg.matrix_norm(A, 2)) ** 2
    assert exact * 0.999 <= operator.largest_eigenvalue() <= exact * 1.011
    b = torch.randn(4, 6).double()
    wanted = ISTA(A, 0.1, 4000)(b).x
    torch.testing.assert_close(ISTA(forms(A)[form], 0.1, 4000)(b).x.double(), wanted, atol=2e-4, rtol=1e-3)


def test_a_list_of_integers_and_an_integer_b_become_float32():
    state = FISTA([[1, 0, 1], [0, 1, 1]], 0.1, 5)([[1, 2]])
    assert state.x.dtype == torch.float32
    assert state.x.shape == (1, 3)


def test_float32_stays_float32_and_a_float64_b_follows_the_solver():
    assert HyperLISTA(matrix(dtype=torch.float32))(torch.zeros(2, 6).double()).x.dtype == torch.float32
    assert HyperLISTA(matrix())(torch.zeros(2, 6)).x.dtype == torch.float64


@pytest.mark.parametrize("solver", [HyperLISTA, ALISTA])
def test_an_operator_is_refused_by_name_where_a_matrix_is_needed(solver):
    with pytest.raises(
        SzilardError, match=rf"{solver.name} needs the matrix itself.*6 x 10; take ista, fista"
    ):
        solver(aslinearoperator(matrix().numpy()))


@pytest.mark.parametrize(
    ("A", "words"),
    [
        (torch.zeros(4), r"shape \(4,\)"),
        (torch.zeros(0, 4), r"shape \(0, 4\)"),
        (torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]), "column 1 of A is zero"),
        (torch.tensor([[1.0, float("nan"), 0.0], [1.0, 0.0, 1.0]]), "column 1 of A is not finite"),
        (torch.ones(2, 2).half(), "float16"),
        (torch.ones(2, 2).bfloat16(), "bfloat16"),
        (np.ones((2, 2), np.complex64), "complex"),
        ([["a", "b"]], "not an array of numbers"),
        ("file.npy", "is a str"),
        (object(), "is a object"),
    ],
)
def test_what_is_no_matrix_is_refused(A, words):
    with pytest.raises(SzilardError, match=words):
        as_operator(A)


@pytest.mark.parametrize(
    ("b", "words"),
    [
        (torch.zeros(6), r"shape \(6,\).*b\.reshape\(1, -1\)"),
        (torch.zeros(6, 2), "b transposed"),
        (torch.zeros(2, 5), "a row of 6 numbers"),
        (torch.full((2, 6), float("inf")), "row 0 of b is not finite"),
        (torch.zeros(2, 6).half(), "b is float16"),
    ],
)
def test_measurements_that_do_not_fit_are_refused(b, words):
    with pytest.raises(SzilardError, match=words):
        ISTA(matrix(), 0.1)(b)


def test_repeated_columns_are_a_warning_that_names_them():
    A = matrix()
    A[:, 7] = -2 * A[:, 2]
    with pytest.warns(SzilardWarning, match="columns 2 and 7 of A are the same"):
        FISTA(A, 0.1)


def test_columns_are_scaled_inside_and_codes_are_scaled_back_and_it_is_told_once():
    A, norms = matrix(), torch.linspace(0.2, 5, 10).double()
    x = torch.zeros(2, 10).double()
    x[0, 3], x[1, 8] = 1.5, -2.0
    with pytest.warns(SzilardWarning, match=r"norms from 0\.2 to 5; hyperlista scales them") as told:
        solver = HyperLISTA(A * norms, layers=16)
    assert len(told) == 1
    unit = HyperLISTA(A, layers=16)
    b = x @ (A * norms).t()
    torch.testing.assert_close(solver(b).x, unit(b).x / norms, atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(solver(b).x @ (A * norms).t() - b, solver(b).residual, atol=1e-9, rtol=1e-6)


def test_a_complex_operator_and_one_that_is_zero_are_refused():
    with pytest.raises(SzilardError, match="complex"):
        Linear(aslinearoperator(np.ones((2, 2), np.complex128)))
    with pytest.raises(SzilardError, match="to zero"):
        Functions(lambda x: x[:, :2] * 0, lambda r: r.repeat(1, 2), (2, 4)).largest_eigenvalue()


def test_empty_batches_pass_through():
    for solver in (ISTA(matrix(), 0.1, 3), FISTA(matrix(), 0.1, 3), HyperLISTA(matrix(), 3)):
        assert solver(torch.zeros(0, 6)).x.shape == (0, 10)


def test_the_buffers_of_a_matrix_move_with_the_solver():
    solver = HyperLISTA(matrix(dtype=torch.float32)).double()
    assert isinstance(solver.operator, Matrix)
    assert solver(torch.ones(1, 6).double()).x.dtype == torch.float64
