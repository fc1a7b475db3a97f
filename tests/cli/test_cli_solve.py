"""szilard solve: codes in a file with their certificates, solvers that are kept, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from cli_tools import szilard

from szilard.cli.option_names import for_command_line
from szilard.errors import SzilardWarning

M, N = 60, 120


def problem(samples=12, density=0.05, dtype=np.float64):
    draws = np.random.default_rng(0)
    A = draws.normal(size=(M, N))
    A /= np.linalg.norm(A, axis=0)
    x = draws.normal(size=(samples, N)) * (draws.random((samples, N)) < density)
    return A.astype(dtype), x, (x @ A.T).astype(dtype)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    A, _, b = problem()
    np.save("A.npy", A)
    np.save("b.npy", b)


def solve(*arguments, dictionary="A.npy", measurements="b.npy", out="codes.npz"):
    given = ("--dictionary", dictionary) if dictionary else ()
    return szilard("solve", *given, "--measurements", measurements, "-o", out, *arguments)


def error(name="codes.npz"):
    return float(np.abs(np.load(name)["x"] - problem()[1]).max())


def test_codes_are_found_and_certified():
    typed = solve("--density", "0.05")
    assert typed.code == 0, typed.output
    assert error() < 1e-6
    found = np.load("codes.npz")
    assert set(found.files) == {"x", "residual", "certificate", "penalty", "gap"}
    assert found["x"].dtype == np.float64
    assert (found["certificate"] == "support").all()
    assert (found["residual"] < 1e-8).all()
    assert "codes.npz: 12 samples of 120 codes" in typed.output
    assert "hyperlista, 16 layers, numbers" in typed.output


def test_a_solver_is_kept_and_solves_other_measurements_without_its_matrix():
    assert solve("--density", "0.05", "--keep", "solver.szd").code == 0
    typed = solve("--solver", "solver.szd", dictionary=None, out="again.npz")
    assert typed.code == 0, typed.output
    assert np.array_equal(np.load("again.npz")["x"], np.load("codes.npz")["x"])
    assert solve("--solver", "solver.szd", out="third.npz").code == 0
    np.save("A.npy", problem()[0][:, ::-1])
    solve("--solver", "solver.szd").refused("belongs to another A")


def test_the_same_seed_gives_the_same_file():
    for out in ("one.npz", "two.npz"):
        assert solve("--seed", "3", "-q", out=out).code == 0
    assert np.array_equal(np.load("one.npz")["x"], np.load("two.npz")["x"])


@pytest.mark.parametrize("algorithm", ["omp", "continuation", "fista"])
def test_other_algorithms(algorithm):
    options = () if algorithm == "omp" else ("--penalty", "0.01")
    typed = solve("--algorithm", algorithm, *options)
    assert typed.code == 0, typed.output
    assert error() < (1e-6 if algorithm == "omp" else 0.2)
    wanted = "support" if algorithm == "omp" else "lasso"
    assert set(np.load("codes.npz")["certificate"]) == {wanted}


def test_matching_pursuit_keeps_to_its_number_of_entries():
    with pytest.warns(SzilardWarning, match="allow more layers") as told:
        typed = solve("--algorithm", "omp", "--layers", "3")
    assert typed.code == 0, typed.output
    assert for_command_line(str(told[0].message)).endswith("do not trust their codes, or allow more layers")
    found = np.load("codes.npz")
    assert (np.count_nonzero(found["x"], axis=1) <= 3).all()
    assert {"none"} <= set(found["certificate"])


def test_a_penalised_answer_is_the_minimum_that_scikit_learn_finds():
    from sklearn.linear_model import Lasso

    A, _, b = problem()
    assert solve("--algorithm", "continuation", "--penalty", "0.05").code == 0
    wanted = Lasso(alpha=0.05 / M, fit_intercept=False, tol=1e-10, max_iter=100000).fit(A, b[0]).coef_
    assert np.abs(np.load("codes.npz")["x"][0] - wanted).max() < 0.01


def test_noise_can_be_said_in_two_ways_and_dense_codes_fall_back():
    draws = np.random.default_rng(1)
    x = draws.normal(size=(6, N)) * (draws.random((6, N)) < 0.5)
    b = x @ problem()[0].T
    np.save("b.npy", b + 0.01 * np.sqrt(np.mean(b**2)) * draws.normal(size=b.shape))
    for options in (("--snr", "40"), ("--noise", str(0.01 * np.sqrt(np.mean(b**2))))):
        typed = solve(*options)
        assert typed.code == 0, typed.output
        assert set(np.load("codes.npz")["certificate"]) == {"lasso"}
    solve("--snr", "40", "--noise", "0.1").refused("give one of them")
    solve("--noise", "1e9").refused("--noise 1e.09 is larger than the measurements")


def test_damping_serves_a_matrix_of_dependent_rows():
    A, _, b = problem()
    np.save("A.npy", np.vstack([A, A[:1]]))
    np.save("b.npy", np.hstack([b, b[:, :1]]))
    assert solve("--density", "0.05", "--damping", "1e-6").code == 0
    assert error() < 1e-6
    assert set(np.load("codes.npz")["certificate"]) == {"support"}


def test_json(monkeypatch):
    typed = solve("--json")
    found = json.loads(typed.stdout)
    assert found["samples"] == 12
    assert found["codes"] == N
    assert [one["certificate"] for one in found["certificates"]] == ["support"]
    assert math.isfinite(found["certificates"][0]["largest_residual"])


def test_atoms_in_rows_and_an_npz_file_of_one_array():
    A, _, b = problem(dtype=np.float32)
    np.savez("D.npz", atoms=A.T)
    np.save("b.npy", b)
    solve(dictionary="D.npz").refused(
        "120 x 60 and the samples have 60 measurements each: add --atoms-in-rows"
    )
    assert solve("--atoms-in-rows", dictionary="D.npz").code == 0
    assert np.load("codes.npz")["x"].dtype == np.float32
    solve("--atoms-in-rows").refused("leave out --atoms-in-rows")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--algorithm", "lars"), "lars is not known; take hyperlista"),
        (("--algorithm", "fista"), "needs --penalty"),
        (("--algorithm", "fista", "--penalty", "1e9"), "not below .* so that all codes would be zero"),
        (("--algorithm", "omp", "--density", "0.1"), "leave it out"),
        (("--density", "1.5"), "between 0 and 1"),
        (("--density", "nan"), "between 0 and 1"),
        (("--layers", "-1"), "give at least 1 layer"),
        (("--layers", "0"), "give at least 1 layer"),
        (("--noise", "-1"), "noise"),
        (("--solver", "none.szd"), "none.szd does not exist"),
        (("--solver", "A.npy", "--layers", "3"), "leave out --algorithm, --layers"),
        (("--solver", "A.npy", "--damping", "1e-6"), "leave out --algorithm, --layers, --damping"),
        (
            ("--algorithm", "omp", "--damping", "1e-6"),
            "--damping is for hyperlista and alista, and omp has none",
        ),
        (("--damping", "-1"), "--damping -1.0; give a number that is not negative"),
        (("--damping", "nan"), "damping.*nan; give a number"),
        (("--keep", "solver.pt"), "ends in .szd"),
        (("--keep", "no/where.szd"), "a folder that does not exist"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence_and_no_file(options, sentence, tmp_path):
    solve(*options).refused(sentence)
    assert not (tmp_path / "codes.npz").exists()


def broken(**files):
    for name, array in files.items():
        np.save(f"{name}.npy", array, allow_pickle=True)


def test_arrays_that_make_no_sense_are_one_sentence_and_no_file(tmp_path):
    A, _, b = problem()
    for change, sentence in (
        ({"A": A[:, :0]}, r"shape \(60, 0\)"),
        ({"A": np.where(np.arange(N) == 4, 0, A)}, "column 4 of A is zero"),
        ({"A": np.where(np.arange(N) == 5, np.nan, A)}, "column 5 of A is not finite"),
        (
            {"A": A[:, :30]},
            "60 rows and 30 columns, .*take --algorithm omp or continuation, or give --damping 1e-6",
        ),
        ({"A": A[np.r_[:59, 0]]}, "60 rows and rank 59 .* give --damping 1e-6"),
        ({"A": A.astype(np.float16)}, "float16"),
        ({"A": A + 0j}, "complex"),
        ({"A": np.array([["a"]])}, "no numbers"),
        ({"A": np.array([[None]])}, "Python objects|not"),
        ({"b": b[:, :5]}, "a row of 60 numbers"),
        ({"b": b[0]}, r"shape \(60,\)"),
        ({"b": np.where(np.arange(12)[:, None] == 3, np.inf, b)}, "row 3 of b is not finite"),
    ):
        broken(A=A, b=b)
        broken(**change)
        solve().refused(sentence)
        assert not (tmp_path / "codes.npz").exists()


def test_files_that_are_none_are_one_sentence(tmp_path):
    solve(dictionary="no.npy").refused("no.npy does not exist")
    solve(measurements="b.txt").refused("b.txt has an ending of no known format")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "A.npy").read_bytes()[:500])
    solve(dictionary="cut.npy").refused("cut.npy is truncated")
    np.savez("two.npz", a=np.ones(2), b=np.ones(2))
    solve(dictionary="two.npz").refused("two.npz has 2 arrays")
    solve(out="codes.npy").refused("ends in .npz")
    np.savez("D.npz", A=problem()[0])
    solve(dictionary="D.npz", out="D.npz").refused("a file that this command reads")
    szilard("solve", "--measurements", "b.npy", "-o", "c.npz").refused("give --dictionary")
