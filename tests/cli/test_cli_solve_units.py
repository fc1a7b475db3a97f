"""szilard solve: the units of the measurements change those of the codes, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from cli_tools import szilard

from szilard.cli.option_names import for_command_line
from szilard.errors import SzilardWarning
from szilard.solve import training

M, N = 60, 120


def solve(*options, dictionary=("--dictionary", "A.npy")):
    typed = szilard("solve", *dictionary, "--measurements", "b.npy", "-o", "codes.npz", *options)
    assert typed.code == 0, typed.output
    found = np.load("codes.npz")
    return found["x"], found["certificate"]


@pytest.fixture
def b(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training.train, "__kwdefaults__", {**training.train.__kwdefaults__, "steps": 24})
    draws = np.random.default_rng(0)
    A = draws.normal(size=(M, N))
    A *= np.linspace(0.7, 1.2, N) / np.linalg.norm(A, axis=0)
    np.save("A.npy", A)
    b = (draws.normal(size=(4, N)) * (draws.random((4, N)) < 0.05)) @ A.T
    np.save("b.npy", b)
    return b


@pytest.mark.parametrize("algorithm", ["alista", "hyperlista"])
def test_codes_are_in_the_units_of_the_measurements_and_certificates_are_the_same(algorithm, b):
    options = ("--algorithm", algorithm, "--layers", "4", "--density", "0.05", "--snr", "30")
    x, certificate = solve(*options)
    for unit in (1e-4, 37.0):
        np.save("b.npy", unit * b)
        scaled, same = solve(*options)
        np.testing.assert_allclose(scaled, unit * x, rtol=1e-4, atol=1e-6 * unit)
        assert (same == certificate).all()


def test_measurements_that_a_kept_solver_was_not_trained_for_are_told(b):
    solve("--algorithm", "alista", "--layers", "2", "--keep", "solver.szd", "--seed", "1")
    np.save("b.npy", 1e-4 * b[:1])
    with pytest.warns(SzilardWarning, match="alista was trained where it was") as told:
        solve("--solver", "solver.szd", dictionary=())
    sentence = for_command_line(str(told[0].message))
    assert sentence.endswith("multiply the codes by it, or train a solver for them: leave out --solver")


def test_measurements_that_are_zero_have_codes_that_are_zero(b):
    np.save("b.npy", 0 * b)
    x, _ = solve("--algorithm", "alista", "--layers", "2")
    assert not x.any()
