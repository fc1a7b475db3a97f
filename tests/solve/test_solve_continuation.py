"""FISTA with continuation and the duality gap, against scikit-learn's Lasso and each other."""

import warnings

import pytest
import scipy.sparse.linalg
import torch
from sklearn.linear_model import Lasso

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import FISTA, ISTA, ContinuationFISTA, Functions, lasso_gap
from szilard.solve.operators import as_operator
from szilard.solve.samples import CodePrior, batch_error_db


def problem(m=40, n=80, count=5, density=0.1, snr=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(m, n, generator=generator, dtype=torch.float64)
    A = A / A.norm(dim=0)
    x, b = CodePrior(density, snr=snr).draw(as_operator(A), count, generator)
    return A, x, b


def objective(A, x, b, penalty):
    return (x @ A.t() - b).square().sum(1) / 2 + penalty * x.abs().sum(1)


def peer(A, b, penalty):
    """The minimum by coordinate descent, ``[B, n]``."""
    model = Lasso(alpha=penalty / len(A), fit_intercept=False, tol=1e-12, max_iter=100_000)
    return torch.from_numpy(model.fit(A.numpy(), b.t().numpy()).coef_).reshape(len(b), -1)


@pytest.mark.parametrize("penalty", [0.3, 0.03, 0.01])
def test_the_minimum_is_that_of_scikit_learn(penalty):
    A, _, b = problem(snr=20)
    least = objective(A, peer(A, b, penalty), b, penalty)
    found = ContinuationFISTA(A, penalty, gap=1e-8)(b)
    assert found.layer < 2000
    assert ((objective(A, found.x, b, penalty) - least).abs() <= 1e-7 * least).all()
    assert (lasso_gap(A, found.x, b, penalty) <= 1e-8).all()


@pytest.mark.parametrize("make", [ISTA, FISTA], ids=["ista", "fista"])
def test_plain_steps_reach_the_same_minimum(make):
    A, _, b = problem(20, 30, 3)
    least = objective(A, peer(A, b, 0.1), b, 0.1)
    found = make(A, 0.1, 3000)(b).x
    assert ((objective(A, found, b, 0.1) - least).abs() <= 1e-6 * least).all()


def test_fista_keeps_its_bound():
    A, _, b = problem(snr=20)
    solver, best = FISTA(A, 0.02), peer(A, b, 0.02)
    least = objective(A, best, b, 0.02)
    state = solver.init(b)
    for k in range(1, 200):
        state = solver.step(state)
        bound = 2 * solver.lipschitz * best.square().sum(1) / (k + 1) ** 2
        assert (objective(A, state.x, b, 0.02) - least <= bound + 1e-12).all()


def test_the_gap_bounds_the_distance_to_the_minimum():
    A, _, b = problem(snr=20)
    least = objective(A, peer(A, b, 0.05), b, 0.05)
    for layers in (0, 1, 5, 20, 60):
        x = FISTA(A, 0.05, layers)(b).x
        F = objective(A, x, b, 0.05)
        assert ((F - least) / F <= lasso_gap(A, x, b, 0.05) + 1e-10).all()
    assert (lasso_gap(A, torch.zeros_like(x), torch.zeros_like(b), 0.05) == 0).all()


def test_it_needs_a_third_of_the_iterations_of_fista_or_less():
    A, x, b = problem(125, 250, 16)
    plain = min(layers_to(FISTA(A, penalty), b, x) for penalty in (0.01, 0.005, 0.0025))
    assert 3 * layers_to(ContinuationFISTA(A, 0.002), b, x) <= plain


def layers_to(solver, b, x, wanted=-35.0):
    state = solver.init(b)
    while batch_error_db(state.x, x) > wanted and state.layer < 600:
        state = solver.step(state)
    return state.layer


def test_each_sample_has_its_own_schedule():
    A, _, b = problem(snr=30)
    sizes = torch.tensor([1.0, 10.0, 0.1, 3.0, 100.0]).double()
    one = ContinuationFISTA(A, 0.01, relative=True, layers=60)(b).x
    scaled = ContinuationFISTA(A, 0.01, relative=True, layers=60)(b * sizes[:, None]).x
    torch.testing.assert_close(scaled, one * sizes[:, None], rtol=1e-6, atol=1e-9)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(ContinuationFISTA(A, 0.01, relative=True, layers=60)(b[order]).x, one[order])
    largest = (b @ A).abs().amax(1)
    torch.testing.assert_close(ContinuationFISTA(A, 0.01 * largest, layers=60)(b).x, one)


def test_options_that_make_it_fista():
    A, _, b = problem(snr=30)
    same = ContinuationFISTA(A, 0.05, 40, decrease=0.0, longest=1.0, restart=False)
    torch.testing.assert_close(same(b).x, FISTA(A, 0.05, 40)(b).x)


def test_operators_give_the_answer_of_their_matrix():
    A, _, b = problem(snr=30)
    wanted = ContinuationFISTA(A, 0.02, gap=1e-8)(b).x
    pair = Functions(lambda x: x @ A.t(), lambda r: r @ A, tuple(A.shape), torch.float64)
    for operator in (scipy.sparse.linalg.aslinearoperator(A.numpy()), pair):
        found = ContinuationFISTA(operator, 0.02, gap=1e-8)(b).x
        torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-3)


def test_a_penalty_that_leaves_nothing_is_told():
    A, _, b = problem()
    with pytest.warns(SzilardWarning, match="all codes are zero") as told:
        state = ContinuationFISTA(A, 100.0, gap=1e-6)(b)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert not state.x.any()
    some = (b @ A).abs().amax(1)
    some[0] /= 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = ContinuationFISTA(A, some, gap=1e-6)(b)
        ContinuationFISTA(A, 1.0, gap=1e-6)(0 * b)
    assert state.x[0].any()
    assert not state.x[1:].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"penalty": -1.0}, "penalty=-1.0"),
        ({"penalty": float("nan")}, "penalty=nan"),
        ({"penalty": torch.ones(2, 2)}, "one for each sample"),
        ({"penalty": 0.1, "decrease": 1.0}, "decrease=1.0"),
        ({"penalty": 0.1, "longest": 0.5}, "longest=0.5"),
    ],
)
def test_options_out_of_range(options, words):
    with pytest.raises(SzilardError, match=words):
        ContinuationFISTA(problem()[0], **options)


def test_shapes_that_do_not_fit():
    A, x, b = problem()
    with pytest.raises(SzilardError, match="penalty has 3 numbers and b 5 rows"):
        ContinuationFISTA(A, torch.ones(3))(b)
    with pytest.raises(SzilardError, match="give 5 rows of 80 codes"):
        lasso_gap(A, x[:, 1:], b, 0.1)
