"""Solvers in files: the same answers, their own matrix only, and files that nobody should trust."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import aslinearoperator

from szilard import file
from szilard.errors import SzilardError
from szilard.solve import (
    ALISTA,
    FISTA,
    ISTA,
    LISTA,
    LISTACP,
    NAALISTA,
    OMP,
    ContinuationFISTA,
    ConvALISTA,
    Convolution,
    Functions,
    HyperLISTA,
    StepLISTA,
    TiLISTA,
    fingerprint,
    load,
    save,
)
from szilard.solve.fingerprint import matrix_hash
from szilard.solve.kept import ENTRY
from szilard.solve.operators import as_operator

M, N = 12, 20


def matrix(dtype=torch.float64, seed=0):
    A = torch.randn(M, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (A / A.norm(dim=0)).to(dtype)


def changed(solver):
    """Parameters that no constructor makes."""
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for one in solver.parameters():
            one.mul_(1 + 0.1 * torch.rand(one.shape, generator=draws).to(one))
    return solver


B = torch.randn(5, M, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
MEMBERS = {
    "ista": lambda A: ISTA(A, 0.1, 7),
    "fista": lambda A: FISTA(A, 0.2, 6),
    "omp": lambda A: OMP(A, noise=0.1),
    "continuation": lambda A: ContinuationFISTA(A, 0.2, 9, relative=True),
    "hyperlista": lambda A: HyperLISTA(A, 4, numbers=(0.1, 0.2, 0.3)),
    "lista": lambda A: LISTA(A, 0.3, 2, selection=(2, 9)),
    "lista_cp": lambda A: LISTACP(A, 2, selection=None, initial="ista"),
    "tilista": lambda A: TiLISTA(A, 2),
    "alista": lambda A: ALISTA(A, 3, damping=1e-3),
    "step_lista": lambda A: StepLISTA(A, 0.2, 2, own_thresholds=True),
    "na_alista": lambda A: NAALISTA(A, 2, seed=3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", MEMBERS.values(), ids=MEMBERS)
def test_a_kept_solver_gives_the_same_answers(tmp_path, make, dtype):
    solver = changed(make(matrix(dtype)))
    save(solver, tmp_path / "a.szd")
    save(solver, tmp_path / "b.szd", matrix=False)
    for found in (load(tmp_path / "a.szd"), load(tmp_path / "b.szd", matrix(dtype))):
        assert type(found) is type(solver)
        assert found.layers == solver.layers
        assert torch.equal(found(B).x, solver(B).x)
    with pytest.raises(SzilardError, match="does not hold its matrix; give load its A, 12 x 20"):
        load(tmp_path / "b.szd")


@pytest.mark.parametrize("keep", [True, False])
def test_another_matrix_is_refused(tmp_path, keep):
    A = matrix()
    save(ALISTA(A, 2), tmp_path / "a.szd", matrix=keep)
    slightly = A.clone()
    slightly[3, 4] *= 1 + 1e-5
    for other in (slightly, matrix(seed=1), A[:, :-1], A.flip(1), aslinearoperator(matrix(seed=1).numpy())):
        with pytest.raises(SzilardError, match="another A") as caught:
            load(tmp_path / "a.szd", other)
        assert "\n" not in str(caught.value)


def test_a_copy_in_float32_is_the_same_matrix(tmp_path):
    solver = changed(ALISTA(matrix(), 2))
    save(solver, tmp_path / "a.szd")
    assert torch.equal(load(tmp_path / "a.szd", matrix(torch.float32))(B).x, solver(B).x)
    save(solver, tmp_path / "b.szd", matrix=False)
    found = load(tmp_path / "b.szd", matrix(torch.float32).numpy())
    assert found.operator.dtype == torch.float64
    torch.testing.assert_close(found(B).x, solver(B).x, rtol=1e-4, atol=1e-5)


def test_the_hash_is_one_for_every_layout_and_platform():
    A = torch.arange(6.0).reshape(2, 3)
    assert matrix_hash(A) == "5722c1f27b52dc056de9e085837b5cd8"
    assert matrix_hash(A.double()) == matrix_hash(A.t().contiguous().t()) == matrix_hash(A)
    assert matrix_hash(-(0 * A)) == matrix_hash(0 * A)
    assert matrix_hash(A.reshape(3, 2)) != matrix_hash(A)


def test_columns_that_were_scaled(tmp_path):
    A = matrix() * torch.linspace(1, 3, N, dtype=torch.float64)
    with pytest.warns(match="scales them"):
        solver = changed(HyperLISTA(A))
    save(solver, tmp_path / "a.szd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load(tmp_path / "a.szd", A)
    assert torch.equal(found(B).x, solver(B).x)


def test_a_solver_that_was_converted(tmp_path):
    solver = changed(LISTA(matrix(torch.float32), 0.1, 2)).double()
    save(solver, tmp_path / "a.szd")
    assert torch.equal(load(tmp_path / "a.szd")(B).x, solver(B).x)


def test_operators_are_recognised_by_their_products(tmp_path):
    A = matrix()
    functions = Functions(lambda x: x @ A.t(), lambda r: r @ A, (M, N), torch.float64)
    solver = changed(StepLISTA(functions, 0.1, 3))
    save(solver, tmp_path / "a.szd")
    for same in (functions, aslinearoperator(A.numpy()), A):
        torch.testing.assert_close(load(tmp_path / "a.szd", same)(B).x, solver(B).x)
    other = Functions(lambda x: 1.001 * x @ A.t(), lambda r: 1.001 * r @ A, (M, N), torch.float64)
    with pytest.raises(SzilardError, match="another A"):
        load(tmp_path / "a.szd", other)
    with pytest.raises(SzilardError, match="cannot keep"):
        save(solver, tmp_path / "b.szd", matrix=True)


class Own(ISTA):
    name = "own"
    summary = "a user's"

    def __init__(self, A, penalty=0.1, layers=3, label="x"):
        super().__init__(A, penalty, layers)
        self.label = label


def test_algorithms_of_users(tmp_path):
    save(Own(matrix(), label="y"), tmp_path / "a.szd")
    assert load(tmp_path / "a.szd", algorithms=[Own]).label == "y"
    with pytest.raises(SzilardError, match="named own"):
        load(tmp_path / "a.szd")
    with pytest.raises(SzilardError, match="option label"):
        save(Own(matrix(), label=object()), tmp_path / "a.szd")


def test_convolutions(tmp_path):
    filters = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    operator = Convolution(filters / filters.norm(dim=1, keepdim=True), 12)
    solver = changed(ALISTA(operator, 2))
    save(solver, tmp_path / "a.szd")
    assert torch.equal(load(tmp_path / "a.szd", operator)(B).x, solver(B).x)
    with pytest.raises(SzilardError, match="another A"):
        load(tmp_path / "a.szd", Convolution(filters.flip(0), 12))
    solver = changed(ConvALISTA(operator, 2, learned_filters=True))
    save(solver, tmp_path / "b.szd")
    assert torch.equal(load(tmp_path / "b.szd", operator)(B).x, solver(B).x)


def test_what_it_was_trained_on_is_kept(tmp_path):
    solver = ALISTA(matrix(), 2)
    solver.training_report = {"seed": 4}
    save(solver, tmp_path / "a.szd")
    assert load(tmp_path / "a.szd").training_report == {"seed": 4}


def test_parameters_that_are_not_finite_are_not_kept(tmp_path):
    solver = ALISTA(matrix(), 2)
    with torch.no_grad():
        solver.steps[1].fill_(float("nan"))
    with pytest.raises(SzilardError, match=r"steps\.1"):
        save(solver, tmp_path / "a.szd")
    assert not list(tmp_path.iterdir())


# -- files that nobody should trust -----------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    """A file's tensors and metadata, and a function that opens a file of others."""
    save(changed(ALISTA(matrix(), 2)), tmp_path / "a.szd")
    document = file.read(tmp_path / "a.szd")

    def attempt(tensors, entry, **options):
        path = tmp_path / "b.szd"
        file.write(path, file.from_state_dict(tensors, meta={ENTRY: entry}))
        return load(path, **options)

    return file.to_state_dict(document), dict(document.meta[ENTRY]), attempt


def refused(attempt, tensors, entry, words, **options):
    with pytest.raises(SzilardError, match=words) as caught:
        attempt(tensors, entry, **options)
    assert "\n" not in str(caught.value)


def test_the_file_is_opened_as_it_was(kept):
    tensors, entry, attempt = kept
    assert isinstance(attempt(tensors, entry), ALISTA)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "newer"),
        ({"version": "1"}, "version"),
        ({"algorithm": 3}, "algorithm"),
        ({"algorithm": "load"}, "named load"),
        ({"layers": -1}, "layers"),
        ({"layers": True}, "layers"),
        ({"layers": 1 << 40}, "layers"),
        ({"layers": 3}, r"lacks a tensor (steps|thresholds)\.2"),
        ({"layers": 1}, r"has a tensor (steps|thresholds)\.1"),
        ({"options": []}, "options"),
        ({"options": {"threshold": {}}}, "options"),
        ({"options": {"A": 1}}, "options"),
        ({"options": {"self": 1}}, "options"),
        ({"options": {"damping": "much"}}, "damping"),
        ({"options": {"selection": [1, 2, 3]}}, "selection"),
        ({"options": {"threshold": -1}}, "threshold"),
        ({"dtype": "int8"}, "dtype"),
        ({"dtype": "float32"}, "float64"),
        ({"matrix_dtype": None}, "matrix_dtype"),
        ({"matrix": {}}, "matrix"),
        ({"training": 1}, "training"),
        ({"algorithm": "tilista"}, "tensor V|options"),
    ],
)
def test_metadata_that_break_a_rule(kept, change, words):
    tensors, entry, attempt = kept
    refused(attempt, tensors, entry | change, words)


@pytest.mark.parametrize("key", ["shape", "hash", "probes"])
def test_fingerprints_that_break_a_rule(kept, key):
    tensors, entry, attempt = kept
    for value in ([1], 5, [M, True], [M, -N], ["a"] * 16, "x" * 32, [0.0] * 15):
        changed_entry = copy.deepcopy(entry)
        changed_entry["matrix"][key] = value
        refused(attempt, tensors, changed_entry, "damaged|not the one")


def test_tensors_that_break_a_rule(kept):
    tensors, entry, attempt = kept
    one = torch.ones((), dtype=torch.float64)
    refused(attempt, tensors | {"steps.0": one * float("nan")}, entry, "steps.0 of .* not finite")
    refused(
        attempt, tensors | {"steps.0": torch.ones(3, dtype=torch.float64)}, entry, r"is torch.float64 \[3\]"
    )
    refused(attempt, tensors | {"steps.0": one.float()}, entry, "torch.float32")
    refused(attempt, tensors | {"steps.0": one.long()}, entry, "not float32 or float64")
    refused(attempt, tensors | {"weight.W": one}, entry, "weight.W")
    refused(attempt, tensors | {"extra": one}, entry, "has a tensor extra")
    refused(attempt, {**tensors, "A": tensors["A"] * 2}, entry, "not the one of its solver")
    refused(attempt, {**tensors, "A": tensors["A"].t().contiguous()}, entry, "not the one of its solver")
    left = {name: value for name, value in tensors.items() if name != "thresholds.1"}
    refused(attempt, left, entry, "lacks a tensor thresholds.1")


def test_claims_of_sizes_need_no_memory(kept):
    tensors, entry, attempt = kept
    large = copy.deepcopy(entry)
    large["matrix"] |= {"shape": [1 << 20, 1 << 20], "hash": None, "probes": [0.0] * 16}
    left = {name: value for name, value in tensors.items() if name != "A"}
    refused(attempt, left, large | {"algorithm": "lista", "options": {}}, "another A", A=matrix())
    with pytest.raises(SzilardError, match="does not hold its matrix"):
        attempt(left, large)
    many = entry | {"algorithm": "lista", "layers": 1 << 20, "options": {}}
    refused(attempt, tensors, many, "max_bytes")


def test_a_tall_matrix_of_equal_entries_needs_no_memory(kept):
    tensors, entry, attempt = kept
    tall = torch.ones(1 << 17, 1)
    claim = copy.deepcopy(entry)
    claim["matrix"] = fingerprint.of_operator(as_operator(tall))
    refused(attempt, tensors | {"A": tall}, claim, "max_bytes")


def test_other_files(tmp_path):
    file.write(tmp_path / "n.szd", file.from_state_dict({"w": torch.ones(2)}))
    with pytest.raises(SzilardError, match="does not hold a solver"):
        load(tmp_path / "n.szd")
    with pytest.raises(SzilardError, match="does not exist"):
        load(tmp_path / "none.szd")


def test_damaged_bytes(tmp_path):
    path = tmp_path / "a.szd"
    save(changed(StepLISTA(matrix(), 0.1, 2)), path, matrix=False)
    good = path.read_bytes()
    draws = np.random.default_rng(0)
    for at in draws.choice(len(good), 60, replace=False):
        bad = bytearray(good)
        bad[at] ^= 1 << int(draws.integers(8))
        path.write_bytes(bytes(bad))
        with pytest.raises(SzilardError):
            load(path, matrix())
    for end in range(0, len(good), 37):
        path.write_bytes(good[:end])
        with pytest.raises(SzilardError):
            load(path, matrix())
