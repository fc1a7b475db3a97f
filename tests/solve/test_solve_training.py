"""Training: the error falls, seeds decide, the best is kept, and what is refused."""

from __future__ import annotations

import warnings

import pytest
import torch

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import (
    ALISTA,
    FISTA,
    ISTA,
    LISTA,
    LISTACP,
    NAALISTA,
    CodePrior,
    ConvALISTA,
    Convolution,
    Functions,
    StepLISTA,
    TiLISTA,
    train,
)
from szilard.solve.samples import batch_error_db
from szilard.solve.scalar_search import search
from szilard.solve.training_data import Batch, Data, Given, Loss

PRIOR = CodePrior(0.08)
QUICK = {"steps": 32, "batch": 16, "validation": 48}
MEMBERS = {
    "lista": lambda A: LISTA(A, 0.1, 3),
    "lista_cp": lambda A: LISTACP(A, 3, initial="ista"),
    "tilista": lambda A: TiLISTA(A, 3, selection=None),
    "alista": lambda A: ALISTA(A, 3),
    "step_lista": lambda A: StepLISTA(A, 0.1, 3, own_thresholds=True),
    "na_alista": lambda A: NAALISTA(A, 3),
}


@pytest.fixture(autouse=True)
def _quiet():
    """Few steps may end behind FISTA, which is a warning with a test of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "after training", SzilardWarning)
        yield


def matrix(seed=0):
    A = torch.randn(20, 40, generator=torch.Generator().manual_seed(seed))
    return A / A.norm(dim=0)


def error_of(solver):
    x, b = PRIOR.draw(Given(solver), 200, torch.Generator().manual_seed(99))
    return batch_error_db(solver(b).x, x)


@pytest.mark.parametrize(
    ("member", "schedule"),
    [(name, "joint") for name in MEMBERS] + [("tilista", "layerwise"), ("na_alista", "layerwise")],
)
def test_training_lowers_the_error(member, schedule):
    solver = MEMBERS[member](matrix())
    before = error_of(solver)
    report = train(solver, PRIOR, schedule=schedule, learning_rate=0.5, steps=60, batch=32, validation=128)
    assert error_of(solver) < before - 0.3
    assert report.steps <= 60 + 9  # shares are rounded
    assert report.schedule == schedule
    assert solver.training_report["loss"] == report.loss


def test_steps_lower_the_error_further_than_the_search():
    searched = ALISTA(matrix(), 4).fit(PRIOR, steps=0)
    refined = ALISTA(matrix(), 4).fit(PRIOR, steps=60, batch=16)
    assert error_of(refined) < error_of(searched) - 1


def test_a_seed_decides():
    def parameters(seed):
        solver = LISTACP(matrix(), 2).fit(PRIOR, seed=seed, **QUICK)
        return torch.cat([one.detach().reshape(-1) for one in solver.parameters()])

    torch.manual_seed(1)
    first = parameters(4)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(parameters(4), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(parameters(5), first)


def test_the_best_on_the_validation_set_are_kept():
    seen = []
    solver = TiLISTA(matrix(), 3)
    report = train(solver, PRIOR, progress=seen.append, learning_rate=0.6, **QUICK)
    assert report.loss == min(one.loss for one in seen)
    assert {one.stage for one in seen} >= {0, 1}
    assert report.decibels == pytest.approx(10 * torch.tensor(report.loss).exp().log10().item(), rel=1e-5)


def test_modes_are_restored():
    solver = ALISTA(matrix(), 2).eval()
    solver.steps[0].requires_grad_(False)
    train(solver, PRIOR, **QUICK)
    assert not solver.training
    assert [one.requires_grad for one in solver.steps] == [False, True]
    assert all(one.grad is None for one in solver.parameters())


def test_given_samples():
    x, b = PRIOR.draw(Given(ISTA(matrix(), 0.1)), 100, torch.Generator().manual_seed(3))
    solver = ALISTA(matrix(), 3)
    before = error_of(solver)
    report = train(solver, (x.numpy(), b.numpy()), **QUICK)
    assert error_of(solver) < before - 1
    assert report.data == "80 samples given"


def test_measurements_alone_are_trained_by_the_objective():
    A, penalty = matrix(), 0.1
    _, b = PRIOR.draw(Given(ISTA(A, 0.1)), 200, torch.Generator().manual_seed(3))
    solver = StepLISTA(A, penalty, 6)

    def objective(x):
        return float((0.5 * (b - x @ A.t()).square().sum() + penalty * x.abs().sum()).detach())

    before = objective(solver(b).x)
    report = train(solver, b, penalty=penalty, steps=60, batch=32, validation=40)
    after, least = objective(solver(b).x), objective(FISTA(A, penalty)(b, 500).x)
    assert least < after < before
    assert after - least < 0.6 * (before - least)
    assert report.loss < 1
    assert report.data == "160 samples given without codes"


def test_codes_are_in_the_units_of_the_given_matrix():
    scales = torch.linspace(0.2, 4, 40)
    with pytest.warns(SzilardWarning, match="scales them"):
        solver = ALISTA(matrix() * scales, 3)
    torch.testing.assert_close(
        Given(solver).product(torch.eye(40)).t(), matrix() * scales, rtol=1e-5, atol=1e-6
    )
    before = error_of(solver)
    solver.fit(PRIOR, **QUICK)
    assert error_of(solver) < before


def test_operators_are_trained():
    A = matrix()
    solver = StepLISTA(Functions(lambda x: x @ A.t(), lambda r: r @ A, (20, 40)), 0.1, 3)
    twin = StepLISTA(A, 0.1, 3)
    with torch.no_grad():
        for one, other in zip(twin.steps, solver.steps, strict=True):
            one.copy_(other)
    for one in (solver, twin):
        train(one, PRIOR, **QUICK)
    assert [one.item() for one in solver.steps] == pytest.approx([one.item() for one in twin.steps], rel=1e-3)


def test_convolutional_dictionaries_with_learned_filters():
    filters = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    solver = ConvALISTA(Convolution(filters, 20), 3, learned_filters=True)
    before = error_of(solver)
    solver.fit(PRIOR, **QUICK)
    assert error_of(solver) < before - 1


def test_na_alista_stores_its_statistics():
    solver = NAALISTA(matrix(), 2).fit(PRIOR, **QUICK)
    assert solver.spread.max() < 2  # a sample of zeros would make it 20
    assert solver.centre.min() > 0.5


def test_a_search_never_ends_worse_than_it_began():
    solver = ALISTA(matrix(), 2)
    data = Data(solver, PRIOR, 64, 0)
    loss, batch = Loss(solver, True, None), data.draw(64)
    state = solver.init(batch.b)
    before = loss(solver.step(state), batch).item()
    after = search(solver, 0, state, batch, loss)
    assert float(loss(after, batch)) < before
    assert Batch(*batch) == batch


def test_a_warning_if_fista_is_better():
    x, b = PRIOR.draw(Given(ISTA(matrix(), 0.1)), 60, torch.Generator().manual_seed(3))
    solver = StepLISTA(matrix(), 3.0, 30)  # its thresholds are tied to a penalty that sets all codes to 0
    with pytest.warns(SzilardWarning, match="worse on 12 samples"):
        train(solver, (x, b), steps=0)


def test_divergence_leaves_the_parameters_as_they_were():
    solver = ALISTA(matrix(), 3)
    before = [one.item() for one in solver.parameters()]
    with pytest.raises(SzilardError, match="smaller learning_rate"):
        train(solver, PRIOR, learning_rate=1e30, **QUICK)
    assert [one.item() for one in solver.parameters()] == before
    assert all(one.requires_grad for one in solver.parameters())


def test_an_interrupted_training_leaves_everything_as_it_was():
    class Stop(Exception):
        pass

    def stop(progress):
        if progress.step > 10:
            raise Stop

    solver = NAALISTA(matrix(), 2)
    before = {name: value.clone() for name, value in solver.state_dict().items()}
    with pytest.raises(Stop):
        train(solver, PRIOR, progress=stop, **QUICK)
    assert all(torch.equal(value, before[name]) for name, value in solver.state_dict().items())


CODES, B = torch.ones(10, 40), torch.ones(10, 20)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (PRIOR, {"schedule": "greedy"}, "joint, layerwise"),
        (PRIOR, {"steps": -1}, "steps"),
        (PRIOR, {"batch": 0}, "batch"),
        (PRIOR, {"validation": True}, "validation"),
        (PRIOR, {"learning_rate": 0}, "learning_rate"),
        (PRIOR, {"penalty": 0.1}, "without codes"),
        (B, {}, "without codes"),
        (B[:, :5], {"penalty": 0.1}, "shape"),
        ((CODES, B[:3]), {}, "at least 5"),
        ((CODES[:, :9], B), {}, "columns"),
        ((0 * CODES, B), {}, "zero"),
        ((CODES / 0, B), {}, "finite"),
    ],
)
def test_bad_calls(data, options, words):
    with pytest.raises(SzilardError, match=words):
        train(ALISTA(matrix(), 2), data, **options)


def test_solvers_with_nothing_to_train():
    with pytest.raises(SzilardError, match="fista has nothing to train"):
        train(FISTA(matrix(), 0.1), PRIOR)
    with pytest.raises(SzilardError, match="no layers"):
        train(ALISTA(matrix(), 0), PRIOR)
