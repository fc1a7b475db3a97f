"""Orthogonal matching pursuit, against scikit-learn's."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from sklearn.linear_model import orthogonal_mp

from szilard.errors import SzilardError
from szilard.solve import OMP
from szilard.solve.operators import as_operator
from szilard.solve.samples import CodePrior, batch_error_db


def problem(dtype=torch.float64, count=12, density=0.08, snr=None):
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(50, 100, generator=generator, dtype=torch.float64)
    A = (A / A.norm(dim=0)).to(dtype)
    x, b = CodePrior(density, snr=snr).draw(as_operator(A), count, generator)
    return A, x, b


@pytest.mark.parametrize("entries", [1, 3, 10, 25])
def test_the_same_entries_as_scikit_learn(entries):
    A, _, b = problem(snr=20)
    wanted = torch.from_numpy(orthogonal_mp(A.numpy(), b.t().numpy(), n_nonzero_coefs=entries).T)
    state = OMP(A, entries)(b)
    assert state.layer == entries
    torch.testing.assert_close(state.x, wanted, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(state.residual, state.x @ A.t() - b, atol=1e-11, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_stop_by_themselves(dtype):
    A, x, b = problem(dtype)
    counts = (x != 0).sum(1)
    state = OMP(A)(b)
    assert state.x.dtype == dtype
    assert batch_error_db(state.x, x) < (-200 if dtype == torch.float64 else -110)
    assert ((state.x != 0).sum(1) >= counts).all()
    assert state.layer < 40  # of 50
    alone = torch.cat([OMP(A)(row[None]).x for row in b])
    torch.testing.assert_close(state.x, alone)


def test_noise_stops_it_early():
    A, x, b = problem(snr=20)
    noise = float((b - x @ A.t()).norm(dim=1).max())
    state = OMP(A, noise=noise)(b)
    assert (state.residual.norm(dim=1) <= noise).all()
    earlier = OMP(A, state.layer - 1, noise=noise)(b)
    assert not (earlier.residual.norm(dim=1) <= noise).all()
    assert ((state.x != 0).sum(1) <= (OMP(A)(b).x != 0).sum(1)).all()


def test_zero_measurements_and_dependent_columns_end_it():
    A = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8], [0.0, 0.0, 0.0]]).double()
    b = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5]]).double()
    state = OMP(A)(b)
    assert not state.x[0].any()
    torch.testing.assert_close(state.x[1] @ A.t(), torch.tensor([1.0, 2.0, 0.0]).double())
    assert (state.x[1] != 0).sum() == 2


def test_columns_are_scaled_and_codes_scaled_back():
    A, _, b = problem()
    sizes = torch.linspace(0.5, 20, 100).double()
    with pytest.warns(UserWarning, match="scales them to 1"):
        solver = OMP(A * sizes)
    torch.testing.assert_close(solver(b).x, OMP(A)(b).x / sizes)


def test_what_it_refuses():
    A, _, _ = problem()
    with pytest.raises(SzilardError, match="omp needs the matrix itself"):
        OMP(scipy.sparse.linalg.aslinearoperator(np.eye(3)))
    with pytest.raises(SzilardError, match="tolerance=-1"):
        OMP(A, tolerance=-1)
