"""ISTA, FISTA and HyperLISTA against their equations, written once more without the library's step."""

from __future__ import annotations

import pytest
import torch

from szilard.errors import SzilardError
from szilard.solve import FISTA, ISTA, CodePrior, HyperLISTA, analytic_weight
from szilard.solve.samples import batch_error_db, error_db

M, N = 30, 60


def problem(density=0.08, count=8, seed=0, snr=None, m=M, n=N):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(m, n, generator=generator, dtype=torch.float64)
    A = A / A.norm(dim=0)
    x, b = CodePrior(density, snr=snr).draw(ISTA(A, 0.1).operator, count, generator)
    return A, x, b


def soft(v, threshold):
    return v.sign() * (v.abs() - threshold).clamp_min(0)


def objective(A, b, x, penalty):
    return 0.5 * (x @ A.t() - b).square().sum(1) + penalty * x.abs().sum(1)


def test_an_orthonormal_matrix_is_solved_by_one_soft_threshold():
    Q, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)).double())
    b = torch.randn(5, 12, generator=torch.Generator().manual_seed(1)).double()
    for solver in (ISTA, FISTA):
        assert torch.allclose(solver(Q, 0.3)(b, 1).x, soft(b @ Q, 0.3), atol=1e-12)


def test_fista_is_its_textbook_form():
    A, _, b = problem()
    solver = FISTA(A, 0.05)
    x = z = torch.zeros(len(b), N).double()
    t = 1.0
    for layers in range(1, 40):
        new = soft(z - (z @ A.t() - b) @ A / solver.lipschitz, 0.05 / solver.lipschitz)
        following = (1 + (1 + 4 * t * t) ** 0.5) / 2
        z, x, t = new + (t - 1) / following * (new - x), new, following
        torch.testing.assert_close(solver(b, layers).x, x, atol=1e-10, rtol=1e-8)


def test_fista_keeps_its_bound_and_ista_descends():
    A, _, b = problem()
    best = FISTA(A, 0.05, 20000)(b).x
    least = objective(A, b, best, 0.05)
    fista, ista = FISTA(A, 0.05), ISTA(A, 0.05)
    before = torch.full((len(b),), float("inf")).double()
    for k in (1, 3, 10, 30, 100):
        gap = objective(A, b, fista(b, k).x, 0.05) - least
        assert (gap <= 2 * fista.lipschitz * best.square().sum(1) / (k + 1) ** 2 + 1e-9).all()
        now = objective(A, b, ista(b, k).x, 0.05)
        assert (now <= before).all()
        before = now


def hyperlista(A, b, layers, numbers):
    """Chen et al. 2021, from the pseudo-inverse and sorting."""
    weight, pinv = analytic_weight(A), torch.linalg.pinv(A)
    c_threshold, c_momentum, c_selection = numbers
    x = previous = torch.zeros(len(b), A.shape[1]).double()
    first = (b @ pinv.t()).abs().sum(1)
    for _ in range(layers):
        error = ((x @ A.t() - b) @ pinv.t()).abs().sum(1)
        threshold = (c_threshold / A.shape[0] * error)[:, None]
        momentum = (c_momentum / A.shape[0] * (x != 0).sum(1))[:, None]
        passing = (c_selection * A.shape[1] * (first / error).log()).clamp(0, A.shape[1]).long()
        v = x - (x @ A.t() - b) @ weight.W + momentum * (x - previous)
        new = soft(v, threshold)
        for row, count in enumerate(passing.tolist()):
            kept = v[row].abs().argsort(descending=True, stable=True)[:count]
            kept = kept[v[row, kept].abs() >= threshold[row]]
            new[row, kept] = v[row, kept]
        previous, x = x, new
    return x


@pytest.mark.parametrize(
    "numbers", [(4.0, 0.75, 1.0), (3.0, 0.0, 0.0), (2.0, 0.5, 0.3)], ids=["default", "plain", "some pass"]
)
def test_hyperlista_is_its_equations(numbers):
    A, _, b = problem()
    for layers in (1, 2, 5, 12):
        found = HyperLISTA(A, numbers=numbers)(b, layers)
        torch.testing.assert_close(found.x, hyperlista(A, b, layers, numbers), atol=1e-8, rtol=1e-6)
        torch.testing.assert_close(found.residual, found.x @ A.t() - b)
        assert found.layer == layers


def test_without_momentum_and_selection_it_is_a_proximal_step_with_the_weight():
    A, _, b = problem()
    weight = analytic_weight(A)
    state = HyperLISTA(A, numbers=(3.0, 0.0, 0.0)).init(b)
    solver = HyperLISTA(A, numbers=(3.0, 0.0, 0.0))
    for _ in range(4):
        step = state.residual @ weight.W
        error = (step * weight.diagonal).abs().sum(1, keepdim=True)
        wanted = soft(state.x - step, 3.0 / A.shape[0] * error)
        state = solver.step(state)
        torch.testing.assert_close(state.x, wanted)


def test_it_recovers_codes_that_sixteen_steps_of_fista_do_not():
    A, x, b = problem(density=0.08, count=32, m=200, n=400)
    assert batch_error_db(HyperLISTA(A)(b).x, x) < -50
    assert batch_error_db(FISTA(A, 0.02)(b, 16).x, x) > -30


@pytest.mark.parametrize("make", [lambda A: FISTA(A, 0.05, 30), HyperLISTA], ids=["fista", "hyperlista"])
def test_permuting_samples_permutes_answers_and_a_sample_does_not_see_the_others(make):
    A, _, b = problem()
    solver = make(A)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    torch.testing.assert_close(solver(b[order]).x, solver(b).x[order])
    torch.testing.assert_close(solver(b[2:3]).x, solver(b).x[2:3])


def test_hyperlista_scales_with_its_measurements():
    A, _, b = problem()
    solver = HyperLISTA(A)
    torch.testing.assert_close(solver(1000 * b).x, 1000 * solver(b).x)
    torch.testing.assert_close(solver(-b).x, -solver(b).x)


def test_zero_measurements_have_zero_codes_and_no_nan():
    A, _, b = problem()
    b[3] = 0
    for solver in (FISTA(A, 0.05, 30), HyperLISTA(A, 40)):
        state = solver(b)
        assert torch.isfinite(state.x).all()
        assert (state.x[3] == 0).all()
        assert state.relative_residual()[3] == 0


def test_steps_one_by_one_are_the_call():
    A, _, b = problem()
    solver = HyperLISTA(A, 5)
    state = solver.init(b)
    for _ in range(5):
        state = solver.step(state)
    assert torch.equal(solver.codes(state), solver(b).x)
    relative = state.residual.norm(dim=1) / b.norm(dim=1)
    assert torch.allclose(state.relative_residual(), relative)


def test_noise_has_the_ratio_that_was_asked_for():
    A, x, b = problem(count=4000, snr=20.0)
    clean = x @ A.t()
    there = clean.square().sum(1) > 0
    ratio = 10 * ((b - clean)[there].square().mean() / clean[there].square().mean()).log10()
    assert float(ratio) == pytest.approx(-20, abs=0.2)
    assert (b[~there] == 0).all()
    assert float((x != 0).double().mean()) == pytest.approx(0.08, abs=0.002)


def test_a_state_prints_what_it_is_and_not_its_numbers():
    A, _, b = problem()
    assert (
        repr(FISTA(A, 0.05, 3)(b))
        == "State(8 samples, 60 codes each, layer 3, largest relative residual 0.34)"
    )


def test_both_averages_of_errors():
    truth = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = torch.tensor([[1.1, 0.0], [0.0, 1.001]])
    torch.testing.assert_close(error_db(x, truth), torch.tensor([-20.0, -60.0]).double(), atol=1e-3, rtol=0)
    assert batch_error_db(x, truth) == pytest.approx(-23.01, abs=0.01)


@pytest.mark.parametrize("density", [0, 1, -0.1, 2, float("nan")])
def test_a_density_outside_of_zero_and_one_is_refused(density):
    with pytest.raises(SzilardError, match="between 0 and 1"):
        CodePrior(density)


def test_penalties_and_layers_that_make_no_sense_are_refused():
    A, _, _ = problem()
    for penalty in (-1, float("nan"), float("inf")):
        with pytest.raises(SzilardError, match="penalty"):
            ISTA(A, penalty)
    with pytest.raises(SzilardError, match="layers=-1"):
        HyperLISTA(A, -1)
