"""Learned solvers: what they are before training, their gradients, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator
from torch.func import functional_call

from szilard.errors import SzilardError
from szilard.solve import ALISTA, ISTA, LISTA, LISTACP, NAALISTA, Functions, StepLISTA, TiLISTA
from szilard.solve.learned import Learned
from szilard.solve.unrolled import pass_counts

M, N, LAYERS = 12, 20, 3


def matrix(m=M, n=N, seed=0):
    A = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return A / A.norm(dim=0)


def measured(A, count=6, seed=1):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(count, A.shape[1], generator=draws, dtype=torch.float64)
    x = x * (torch.rand(x.shape, generator=draws) < 0.15)
    return x, x @ A.t()


MEMBERS = {
    "lista": lambda A: LISTA(A, 0.05, LAYERS),
    "lista with selection": lambda A: LISTA(A, 0.05, LAYERS, selection=(5, 20)),
    "lista_cp": lambda A: LISTACP(A, LAYERS, selection=None, threshold=0.05),
    "lista_cpss": lambda A: LISTACP(A, LAYERS, selection=(5, 20), initial="ista"),
    "tilista": lambda A: TiLISTA(A, LAYERS, selection=(5, 20), threshold=0.05),
    "alista": lambda A: ALISTA(A, LAYERS, selection=(5, 20), threshold=0.05),
    "step_lista": lambda A: StepLISTA(A, 0.05, LAYERS),
    "step_lista with thresholds": lambda A: StepLISTA(A, 0.05, LAYERS, own_thresholds=True),
    "na_alista": lambda A: NAALISTA(A, LAYERS, selection=(5, 20), threshold=0.05),
}
each = pytest.mark.parametrize("make", MEMBERS.values(), ids=MEMBERS)


def ista(A, penalty, lipschitz):
    solver = ISTA(A, penalty, LAYERS)
    solver.lipschitz = lipschitz
    return solver


def test_lista_before_training_is_ista():
    A = matrix()
    _, b = measured(A)
    solver = LISTA(A, 0.05, LAYERS)
    expected = ISTA(A, 0.05, LAYERS)(b)
    assert expected.x.any()
    torch.testing.assert_close(solver(b).x, expected.x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [LISTACP, TiLISTA])
def test_weights_that_start_as_ista(kind):
    A = matrix()
    _, b = measured(A)
    solver = kind(A, LAYERS, selection=None, initial="ista", threshold=0.05)
    expected = ista(A, 0.05, 1.001 * torch.linalg.matrix_norm(A, 2).item() ** 2)(b)
    assert expected.x.any()
    torch.testing.assert_close(solver(b).x, expected.x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", [LISTACP, TiLISTA])
def test_analytic_weights_start_as_alista(kind):
    A = matrix()
    _, b = measured(A)
    torch.testing.assert_close(kind(A, LAYERS)(b).x, ALISTA(A, LAYERS)(b).x, rtol=0, atol=1e-14)


def test_step_lista_before_training_is_ista():
    A = matrix()
    _, b = measured(A)
    for own in (False, True):
        torch.testing.assert_close(
            StepLISTA(A, 0.05, LAYERS, own_thresholds=own)(b).x,
            ISTA(A, 0.05, LAYERS)(b).x,
            rtol=0,
            atol=1e-14,
        )


def check_gradients(solver, b, target):
    """Of every parameter, along a random direction, against a central difference."""
    parameters = dict(solver.named_parameters())

    def loss(values):
        return (functional_call(solver, values, (b,)).x - target).square().sum()

    gradients = torch.autograd.grad(loss(parameters), list(parameters.values()), allow_unused=True)
    draws, used = torch.Generator().manual_seed(3), 0
    for (name, value), gradient in zip(parameters.items(), gradients, strict=True):
        direction = torch.randn(value.shape, generator=draws, dtype=value.dtype)
        with torch.no_grad():
            up = loss(parameters | {name: value + 1e-7 * direction})
            down = loss(parameters | {name: value - 1e-7 * direction})
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        assert float(up - down) / 2e-7 == pytest.approx(slope, rel=1e-4, abs=1e-6), name
        used += slope != 0
    assert used >= len(parameters) - 1  # W of LISTA's first layer multiplies 0


@each
def test_gradients(make):
    A = matrix()
    x, b = measured(A)
    check_gradients(make(A), b, x)


def test_gradients_pass_through_operators():
    A = matrix()
    x, b = measured(A)
    functions = Functions(lambda x: x @ A.t(), lambda r: r @ A, (M, N), torch.float64)
    check_gradients(StepLISTA(functions, 0.05, LAYERS), b, x)
    check_gradients(StepLISTA(aslinearoperator(A.numpy()), 0.05, LAYERS, own_thresholds=True), b, x)


@each
def test_permuted_samples_give_permuted_answers(make):
    A = matrix()
    _, b = measured(A)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    solver = make(A)
    torch.testing.assert_close(solver(b[order]).x, solver(b).x[order], rtol=0, atol=1e-13)


@each
def test_the_residual_is_that_of_the_codes(make):
    A = matrix()
    _, b = measured(A)
    state = make(A)(b)
    assert state.layer == LAYERS
    torch.testing.assert_close(state.residual, state.x @ A.t() - b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["lista_cp", "lista_cpss", "tilista", "alista", "na_alista"])
def test_scaled_columns_scale_the_codes(name):
    A = matrix()
    _, b = measured(A)
    scales = torch.linspace(0.5, 3, N, dtype=torch.float64)
    with pytest.warns(match="scales them to 1"):
        scaled = MEMBERS[name](A * scales)
    torch.testing.assert_close(scaled(b).x * scales, MEMBERS[name](A)(b).x, rtol=0, atol=1e-12)


@each
def test_count_is_the_number_of_parameters(make):
    solver = make(matrix())
    found = sum(one.numel() for one in solver.parameters())
    assert found == solver.count(M, N, LAYERS) or (
        isinstance(solver, StepLISTA) and found == solver.count(M, N, LAYERS) // 2
    )
    listed = [one for layer in range(LAYERS) for one in solver.layer_parameters(layer)]
    listed += solver.shared_parameters()
    assert {id(one) for one in listed} == {id(one) for one in solver.parameters()}
    assert len(listed) == len(list(solver.parameters()))


def test_na_alista_judges_each_sample_by_itself():
    A = matrix()
    _, b = measured(A)
    solver = NAALISTA(A, LAYERS)
    solver.prepare_training(b)
    assert solver.centre.abs().min() > 0
    torch.testing.assert_close(solver(b[2:3]).x, solver(b).x[2:3], rtol=0, atol=1e-13)
    zeros = solver(torch.zeros(2, M))
    assert not zeros.x.any()


def test_na_alista_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = NAALISTA(matrix(), 2), NAALISTA(matrix(), 2)
    assert torch.equal(torch.rand(3), expected)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_pass_counts_grow_to_their_most():
    assert pass_counts(3, 500) == [6, 12, 18]
    assert pass_counts(16, 500)[-1] == 65


def test_one_layer_too_many_is_refused():
    A = matrix()
    _, b = measured(A)
    with pytest.raises(SzilardError, match="3 layers"):
        ALISTA(A, 3)(b, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda A: ALISTA(A, 2, selection=(1, 130)), "selection"),
        (lambda A: ALISTA(A, 2, selection=3), "selection"),
        (lambda A: ALISTA(A, 2, selection=(float("nan"), 2)), "selection"),
        (lambda A: ALISTA(A, 2, threshold=0), "threshold"),
        (lambda A: LISTACP(A, 2, initial="zero"), "initial"),
        (lambda A: StepLISTA(A, -1.0), "penalty"),
        (lambda A: LISTA(A, float("inf")), "penalty"),
        (lambda A: LISTA(aslinearoperator(A.numpy())), "step_lista"),
        (lambda A: NAALISTA(aslinearoperator(np.eye(3, 4))), "step_lista"),
    ],
)
def test_bad_options(make, words):
    with pytest.raises(SzilardError, match=words):
        make(matrix())


def test_a_face_without_an_algorithm():
    solver = Learned(matrix(), 1)
    for call in (
        solver.layer_parameters,
        lambda _: solver.count(1, 1, 1),
        lambda _: solver(torch.zeros(1, M)),
    ):
        with pytest.raises(NotImplementedError):
            call(0)
