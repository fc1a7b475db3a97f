"""What users give: sparse and read-only arrays, functions that return something else, options that are no numbers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import szilard
from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import (
    ALISTA,
    FISTA,
    ISTA,
    OMP,
    CodePrior,
    ContinuationFISTA,
    ConvALISTA,
    Convolution,
    Denoiser,
    Functions,
    Guard,
    HyperLISTA,
    Lasso,
    SparseCoder,
    learn_filters,
    save,
    train,
)
from szilard.solve.checks import check_dense


def matrix(m=12, n=20, seed=0):
    A = torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return A / A.norm(dim=0)


def functions(product=lambda x: x, adjoint=lambda r: r, dtype=torch.float64):
    A = matrix().to(dtype)
    return Functions(lambda x: product(x @ A.t()), lambda r: adjoint(r @ A), (12, 20), dtype)


# -- arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda A: A.to_sparse(),
        lambda A: A.to_sparse_csr(),
        lambda A: scipy.sparse.csr_array(A.numpy()),
        lambda A: scipy.sparse.csc_matrix(A.numpy()),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_sparse_matrices_are_matrices(form):
    A = matrix() * (torch.rand(12, 20, generator=torch.Generator().manual_seed(3)) < 0.6)
    A /= A.norm(dim=0)
    b = A[:, [3]].t()
    for kind in (OMP, ALISTA):
        torch.testing.assert_close(kind(form(A))(b).x, kind(A)(b).x)
    torch.testing.assert_close(OMP(A)(b.to_sparse()).x, OMP(A)(b).x)


def test_a_sparse_matrix_that_is_too_large_is_refused_before_it_is_made_dense():
    check_dense((1000, 2000), "A")
    with pytest.raises(
        SzilardError, match=r"A is sparse, and too large .*1000000 x 2000000.*aslinearoperator"
    ):
        OMP(scipy.sparse.coo_array(([1.0], ([0], [0])), shape=(10**6, 2 * 10**6)))


def test_read_only_arrays_are_taken_without_a_word(tmp_path):
    A, b = matrix().numpy(), np.eye(12)[:4] + 1
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "b.npy", b)
    mapped = np.load(tmp_path / "A.npy", mmap_mode="r"), np.load(tmp_path / "b.npy", mmap_mode="r")
    for array in (A, b):
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", SzilardWarning)
        for matrix_, rows in ((A, b), mapped):
            Guard(OMP(matrix_), noise=0.1)(rows)
            train(ALISTA(matrix_, 2), (np.broadcast_to(np.eye(20)[0], (9, 20)), matrix_.T[:9]), steps=2)
            SparseCoder(matrix_.T).fit(rows).transform(rows)
            Lasso().fit(matrix_, rows[0][:12])
    assert not A.flags.writeable


# -- operators ------------------------------------------------------------------------------------------------


def test_functions_may_return_another_precision():
    b = torch.ones(2, 12, dtype=torch.float64)
    wanted = FISTA(functions(), 0.1, 30)(b)
    for cast in (lambda y: y.float(), lambda y: y.double()):
        for dtype in (torch.float64, torch.float32):
            state = FISTA(functions(cast, cast, dtype), 0.1, 30)(b)
            assert state.x.dtype == state.residual.dtype == dtype
            torch.testing.assert_close(state.x.double(), wanted.x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"product": lambda y: y.t()}, r"product returned shape \(12, 1\) and needs \(1, 12\)"),
        ({"adjoint": lambda x: x[:, 1:]}, r"adjoint returned shape \(2, 19\) and needs \(2, 20\)"),
        ({"product": lambda y: y.numpy()}, "product returned a ndarray; return a tensor"),
        ({"product": lambda y: y + 0j}, "product returned complex numbers"),
        (
            {"adjoint": lambda x: 2 * x},
            r"adjoint is not the transpose of product: .* differ by 0\.5 of their size",
        ),
        ({"adjoint": lambda x: x.flip(1)}, "adjoint is not the transpose"),
        ({"product": lambda y: y * float("nan")}, "adjoint is not the transpose"),
    ],
)
def test_functions_that_are_no_operator_are_one_sentence(changes, words):
    for make in (lambda A: ISTA(A, 0.1), lambda A: ContinuationFISTA(A, 0.1)):
        with pytest.raises(SzilardError, match=words):
            make(functions(**changes))


def test_an_operator_of_scipy_is_tested_too():
    A = matrix().numpy()
    ISTA(aslinearoperator(A.astype(np.float32)), 0.1)
    wrong = LinearOperator((12, 20), matvec=lambda x: A @ x, rmatvec=lambda r: A.T @ r * 1.01, dtype=A.dtype)
    with pytest.raises(SzilardError, match="not the transpose"):
        ISTA(wrong, 0.1)

    class Short:
        shape, dtype = (12, 20), np.dtype(float)

        def matvec(self, x):
            return (A @ x)[:5]

        def rmatvec(self, r):
            return A.T @ r

    with pytest.raises(SzilardError, match="matvec of A returned 5 numbers of float64 and needs 12"):
        ISTA(Short(), 0.1)


# -- gradients that are switched off ----------------------------------------------------------------------------


def test_training_works_where_gradients_are_switched_off():
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", SzilardWarning)
        one = ALISTA(matrix(), 2).fit(CodePrior(0.1), steps=20)
        filters = learn_filters(
            [torch.rand(40, generator=torch.Generator().manual_seed(1))], 2, 5, 0.1, steps=2
        )
        pictures = [torch.rand(16, 16, generator=torch.Generator().manual_seed(2))]
        kernels = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(4))
        losses = Denoiser(ConvALISTA(Convolution(kernels, (16, 16)), 2)).fit(pictures, 0.1, steps=2)
        assert not torch.is_grad_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        other = ALISTA(matrix(), 2).fit(CodePrior(0.1), steps=20)
    assert one.training_report["steps"] >= 18
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert filters.isfinite().all()
    assert len(losses) == 2


# -- options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: HyperLISTA(matrix()).tune(snr="a"), "snr='a'; give a ratio in dB"),
        (lambda: HyperLISTA(matrix()).tune(density="a"), "density='a'"),
        (lambda: HyperLISTA(matrix()).tune(samples="a"), "samples='a'; give a whole number"),
        (lambda: HyperLISTA(matrix()).tune(evaluations=2.5), "evaluations=2.5; give a whole number"),
        (lambda: HyperLISTA(matrix(), layers="a"), "layers='a'"),
        (lambda: CodePrior(snr=float("nan")), "snr=nan"),
        (lambda: CodePrior(amplitude=None), "amplitude=None"),
        (lambda: CodePrior(density=True), "density=True"),
        (lambda: ISTA(matrix(), "a"), "penalty='a'"),
        (lambda: ContinuationFISTA(matrix(), "a"), "penalty=a"),
        (lambda: ContinuationFISTA(matrix(), None), "penalty=None"),
        (lambda: SparseCoder(matrix().T.numpy(), density=7).fit(np.ones((3, 12))), "density=7"),
        (
            lambda: SparseCoder(matrix().T.numpy(), density="a", tune=True).fit(np.ones((3, 12))),
            "density='a'",
        ),
    ],
)
def test_options_that_are_no_numbers_are_one_sentence(call, words):
    with pytest.raises(SzilardError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    assert CodePrior(np.float32(0.25), np.float64(2), np.int64(30)).density == 0.25
    assert HyperLISTA(matrix(), layers=np.int64(3)).layers == 3
    assert ISTA(matrix(), np.float32(0.5)).penalty == ISTA(matrix(), torch.tensor(0.5)).penalty == 0.5


@pytest.mark.parametrize("name", ["q.npz", "q", "q.szd.gz"])
def test_a_file_of_another_ending_is_refused(name, tmp_path):
    with pytest.raises(SzilardError, match=r"another ending than \.szd"):
        save(ALISTA(matrix(), 2), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_names_of_the_package_are_listed():
    assert dir(szilard.solve) == sorted(szilard.solve.__all__)


def test_norms_of_columns_are_told_only_if_they_differ():
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        HyperLISTA(matrix() * 1.21)
        HyperLISTA(matrix() * torch.linspace(0.6, 1.1, 20))
    with pytest.warns(SzilardWarning, match=r"norms from 0\.4 to 1\.1"):
        HyperLISTA(matrix() * torch.linspace(0.4, 1.1, 20))


def test_many_columns_are_tuned_on_fewer_samples(monkeypatch):
    counts = []
    draw = CodePrior.draw
    monkeypatch.setattr(CodePrior, "draw", lambda *given: (counts.append(given[2]), draw(*given))[1])
    for n in (20, 600, 4000):
        HyperLISTA(matrix(4, n), layers=1).tune(evaluations=1)
    HyperLISTA(matrix(4, 4000), layers=1).tune(samples=9, evaluations=1)
    assert counts == [48, 192, 40, 160, 8, 32, 9, 36]
