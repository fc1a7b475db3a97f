"""The size of measurements: what training does with it, and what is told where it, or the pairs given, do not fit."""

from __future__ import annotations

import warnings

import pytest
import torch

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import (
    ALISTA,
    LISTACP,
    CodePrior,
    ConvALISTA,
    Convolution,
    Guard,
    HyperLISTA,
    TiLISTA,
    load,
    save,
    train,
)
from szilard.solve.operators import as_operator
from szilard.solve.samples import batch_error_db
from szilard.solve.training_run import Run

QUICK = {"steps": 20, "batch": 32, "validation": 128}


@pytest.fixture(autouse=True)
def _quiet():
    """Few steps may end behind FISTA, which is a warning with a test of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "after training", SzilardWarning)
        yield


def matrix():
    A = torch.randn(20, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return A / A.norm(dim=0)


def samples(amplitude=1.0, count=100, A=None):
    draws = torch.Generator().manual_seed(9)
    return CodePrior(0.08, amplitude).draw(as_operator(matrix() if A is None else A), count, draws)


@pytest.mark.parametrize("kind", [ALISTA, TiLISTA, LISTACP])
def test_any_amplitude_can_be_trained_for(kind):
    errors = []
    for amplitude in (1.0, 1e-4, 37.0, 1e6):
        x, b = samples(amplitude)
        solver = kind(matrix(), 3).fit(CodePrior(0.08, amplitude), **QUICK)
        errors.append(batch_error_db(solver(b).x, x))
    assert max(errors) < errors[0] + 3 < 0


def test_measurements_of_another_size_are_told_and_it_is_kept(tmp_path):
    _, b = samples()
    solver = ALISTA(matrix(), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        solver(1e4 * b)  # not trained yet
        warnings.filterwarnings("ignore", "after training")
        solver.fit(CodePrior(0.08), **QUICK)
        for fits in (b, 2 * b, b / 2, 0 * b, b[:0], torch.cat([0 * b, b])):
            solver(fits)
    save(solver, tmp_path / "a.szd")
    again = load(tmp_path / "a.szd")
    for found in (solver, again):
        with pytest.warns(
            SzilardWarning, match=r"alista was trained where it was 1\.\d+, .*divide b by 9\."
        ) as told:
            found(10 * b)
        assert len(told) == 1
        assert told[0].filename == __file__
        with pytest.warns(SzilardWarning, match=r"divide b by 0\.000[79]"):
            Guard(found)(1e-3 * b[:3])
    solver.fit(CodePrior(0.08, 10), **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        solver(10 * b)
    with pytest.warns(SzilardWarning, match=r"divide b by 0\.09"):
        solver(b)


def test_a_training_that_fails_keeps_the_size_of_the_one_before(monkeypatch):
    solver = ALISTA(matrix(), 2).fit(CodePrior(0.08), **QUICK)
    before = float(solver.trained_size)

    def fails(*given):
        raise SzilardError("no")

    monkeypatch.setattr(Run, "joint", fails)
    with pytest.raises(SzilardError, match="no"):
        solver.fit(CodePrior(0.08, 100), **QUICK)
    assert float(solver.trained_size) == before > 0


def test_a_convolutional_solver_is_trained_for_images_of_any_size():
    kernels = torch.rand(2, 3, generator=torch.Generator().manual_seed(1))
    solver = ConvALISTA(Convolution(kernels, 20), 2).fit(CodePrior(0.1), **QUICK)
    other = solver.resized(500)
    _, b = samples(A=other.operator)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        other(b)
    with pytest.warns(SzilardWarning, match="conv_alista was trained where"):
        other(10 * b)


def test_pairs_that_do_not_belong_together_are_told():
    x, b = samples(count=200)
    noise = (
        b.norm()
        / b.numel() ** 0.5
        * torch.randn(b.shape, generator=torch.Generator().manual_seed(3)).double()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        warnings.filterwarnings("ignore", "after training")
        for given in ((x, b), (x, b + 0.3 * noise), (1.3 * x, b)):
            train(ALISTA(matrix(), 2), given, **QUICK)
    with pytest.warns(
        SzilardWarning, match=r"measurements b is 1, so .*check the order of the rows, the units"
    ) as told:
        ALISTA(matrix(), 2).fit((x, 1e3 * b), **QUICK)
    assert any(one.filename == __file__ for one in told)
    with pytest.warns(SzilardWarning, match=r"measurements b is 1\.\d+, so"):
        ALISTA(matrix(), 2).fit((x.flip(0), b), **QUICK)
    scales = torch.linspace(1, 9, 40).double()
    with pytest.warns(SzilardWarning, match="norms"):
        solver = ALISTA(matrix() * scales, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        warnings.filterwarnings("ignore", "after training")
        solver.fit((x / scales, b), **QUICK)


@pytest.mark.parametrize("damping", [-1.0, float("nan"), "a", None])
def test_a_damping_that_is_none(damping):
    for A in (matrix(), Convolution(torch.ones(1, 3), 20)):
        for kind in (ALISTA, HyperLISTA):
            with pytest.raises(SzilardError, match=r"damping=.*; give a number that is not negative"):
                kind(A, damping=damping)
