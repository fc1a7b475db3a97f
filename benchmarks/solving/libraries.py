"""Solvers of the lasso and OMP from other libraries: celer, skglm and scikit-learn, a sample at a time.

Their objective is 1/(2m) ‖b - A x‖² + α ‖x‖₁, so that λ = m α. Importing this module imports none of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import metadata, util

import numpy as np

PIP = (
    "pip install 'celer>=0.7,<0.8' 'skglm>=0.5,<0.6' (make bench-peers), or --peers FOLDER of these packages"
)
#: What each row of a table is computed by.
PACKAGES = {"celer": "celer", "skglm": "skglm", "scikit-learn": "sklearn", "scikit-learn, OMP": "sklearn"}
LASSOS = ("celer", "skglm", "scikit-learn")
_DISTRIBUTIONS = {"celer": "celer", "skglm": "skglm", "sklearn": "scikit-learn"}
_MOST = 10_000  # iterations
#: A function of a matrix ``[m, n]`` in Fortran order and measurements ``[B, m]`` to codes ``[B, n]``.
Call = Callable[[np.ndarray, np.ndarray], np.ndarray]


def missing() -> list[str]:
    """Rows whose package is not installed."""
    return sorted(row for row, package in PACKAGES.items() if util.find_spec(package) is None)


def versions() -> dict[str, str]:
    """Packages that are installed, with their versions."""
    found = {}
    for package in dict.fromkeys(PACKAGES.values()):
        if util.find_spec(package) is not None:
            found[_DISTRIBUTIONS[package]] = metadata.version(_DISTRIBUTIONS[package])
    return found


def lasso(library: str, penalty: float, tolerance: float) -> Call:
    """A library's lasso, fitted to one sample after the other.

    Args:
        library: of :data:`LASSOS`.
        penalty: λ of ½‖b - A x‖² + λ‖x‖₁.
        tolerance: in the library's own meaning.
    """

    def call(A: np.ndarray, b: np.ndarray) -> np.ndarray:
        model = _model(library, penalty / len(A), tolerance)
        found = np.empty((len(b), A.shape[1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samples that do not converge; their errors count
            for row, sample in enumerate(b):
                found[row] = model.fit(A, sample).coef_  # type: ignore[attr-defined]
        return found

    return call


def _model(library: str, alpha: float, tolerance: float) -> object:
    if library == "celer":
        import celer

        return celer.Lasso(alpha=alpha, tol=tolerance, fit_intercept=False, max_iter=100)  # outer iterations
    if library == "skglm":
        import skglm

        return skglm.Lasso(alpha=alpha, tol=tolerance, fit_intercept=False)
    from sklearn.linear_model import Lasso

    return Lasso(alpha=alpha, tol=tolerance, fit_intercept=False, max_iter=_MOST)


def omp(tolerance: float) -> Call:
    """scikit-learn's OMP with the Gram matrix, which is computed once; it stops at ‖b - A x‖² ≤ (tolerance ‖b‖)²."""
    from sklearn.linear_model import orthogonal_mp_gram

    def call(A: np.ndarray, b: np.ndarray) -> np.ndarray:
        gram, products, squares = A.T @ A, b @ A, (b**2).sum(1)
        found = np.empty_like(products)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samples that end early; their errors count
            for row, (product, square) in enumerate(zip(products, squares, strict=True)):
                limit = float(tolerance**2 * square)
                found[row] = orthogonal_mp_gram(gram, product, tol=limit, norms_squared=np.array([square]))
        return found

    return call
