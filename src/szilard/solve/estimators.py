"""Estimators of scikit-learn: a sparse coder with a guard, and the lasso by FISTA with continuation."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve.answer import Answer
from szilard.solve.checks import check_density, float_tensor
from szilard.solve.continuation import ContinuationFISTA
from szilard.solve.duality import relative_gap
from szilard.solve.guard import Guard
from szilard.solve.hyperlista import HyperLISTA
from szilard.solve.omp import OMP
from szilard.solve.solver import Solver

ALGORITHMS = ("hyperlista", "omp", "lasso")
_DAMPING = 1e-6  # of the weight, for dictionaries whose atoms do not span all features
_FLOATS = (np.float64, np.float32)


class SparseCoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Codes with few entries, X ≈ codes @ dictionary, each certified by the guard (:class:`~szilard.solve.Guard`).

    Args:
        dictionary: atoms in rows ``[n_components, n_features]``; None: ``fit`` learns it from X
            (:class:`sklearn.decomposition.MiniBatchDictionaryLearning`).
        algorithm: ``hyperlista``, ``omp`` (exact for few entries, slower for many), or ``lasso`` (the minimum of
            ½‖x - codes @ dictionary‖² + λ‖codes‖₁).
        density: share of entries that are not zero, in (0, 1), for tuning.
        snr: signal-to-noise ratio of X in dB: what is left of a row may be as large as its noise. None: no noise.
        tune: whether ``fit`` searches HyperLISTA's numbers for this dictionary, density and noise.
        penalty: λ of ``lasso`` and of samples that fall back to it; None: from the noise.
        layers: of HyperLISTA, or the most entries of OMP; None: 16, or min(n_features, n_components).
        n_components: atoms of a learned dictionary; None: n_features.
        alpha: weight of the ℓ₁ norm while a dictionary is learned.
        passes: the most over X while a dictionary is learned.
        random_state: of learning and tuning.

    Attributes:
        components_: the dictionary ``[n_components, n_features]``, in the dtype of X.
        solver_: the :class:`~szilard.solve.solver.Solver` of the transposed dictionary.
    """

    def __init__(
        self,
        dictionary: Any = None,
        algorithm: str = "hyperlista",
        *,
        density: float = 0.1,
        snr: float | None = 20.0,
        tune: bool = False,
        penalty: float | None = None,
        layers: int | None = None,
        n_components: int | None = None,
        alpha: float = 1.0,
        passes: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.dictionary = dictionary
        self.algorithm = algorithm
        self.density = density
        self.snr = snr
        self.tune = tune
        self.penalty = penalty
        self.layers = layers
        self.n_components = n_components
        self.alpha = alpha
        self.passes = passes
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Take or learn the dictionary, and prepare its solver.

        Args:
            X: ``[n_samples, n_features]``.
            y: not used.
        """
        if self.algorithm not in ALGORITHMS:
            raise SzilardError(f"algorithm={self.algorithm!r}; give {', '.join(ALGORITHMS)}")
        check_density(self.density)
        X = validate_data(self, X, dtype=list(_FLOATS))
        random = check_random_state(self.random_state)
        if self.dictionary is None:
            self.components_ = self._learn(X, random)
        else:
            self.components_ = check_array(self.dictionary, dtype=X.dtype)
            if self.components_.shape[1] != X.shape[1]:
                raise SzilardError(
                    f"atoms have {self.components_.shape[1]} features and X has {X.shape[1]}; give a dictionary "
                    "with an atom in each row"
                )
        self.solver_ = self._solver(int(random.randint(2**31 - 1)))
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Codes ``[n_samples, n_components]`` of X, in its dtype; a warning says how many have no certificate."""
        answer, dtype = self._encode(X)
        return answer.x.numpy().astype(dtype, copy=False)

    def encode(self, X: Any) -> Answer:
        """Codes with residuals and certificates (:class:`~szilard.solve.Answer`)."""
        return self._encode(X)[0]

    def inverse_transform(self, codes: Any) -> NDArray[Any]:
        """codes @ dictionary, ``[n_samples, n_features]``."""
        check_is_fitted(self)
        codes = check_array(codes, dtype=list(_FLOATS))
        if codes.shape[1] != len(self.components_):
            raise SzilardError(
                f"codes have {codes.shape[1]} columns and there are {len(self.components_)} atoms"
            )
        return codes @ self.components_.astype(codes.dtype, copy=False)

    def _encode(self, X: Any) -> tuple[Answer, Any]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=list(_FLOATS), reset=False)
        b = float_tensor(X.astype(self.components_.dtype, copy=False), "X")
        lasso = self.algorithm == "lasso"
        guard = Guard(
            self.solver_,
            penalty=self.penalty,
            snr=self.snr,
            layers=0 if lasso else None,
            # Not beyond the number of entries that was asked for.
            fall_back=not (self.algorithm == "omp" and self.layers is not None),
        )
        return guard(b), X.dtype

    def _learn(self, X: NDArray[Any], random: np.random.RandomState) -> NDArray[Any]:
        learner = MiniBatchDictionaryLearning(
            self.n_components, alpha=self.alpha, max_iter=self.passes, random_state=random
        )
        atoms = learner.fit(X).components_.astype(X.dtype)
        norms = np.linalg.norm(atoms, axis=1, keepdims=True)
        unused = norms[:, 0] <= np.finfo(X.dtype).tiny
        atoms[unused] = random.standard_normal((int(unused.sum()), X.shape[1]))
        return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)

    def _solver(self, seed: int) -> Solver:
        A = torch.from_numpy(self.components_.T.copy())
        if self.algorithm == "omp":
            return OMP(A, self.layers)
        if self.algorithm == "lasso":
            return OMP(A, 0)  # does nothing: the guard finds minima, with a penalty for each sample
        spanned = int(torch.linalg.matrix_rank(A)) == len(A)
        solver = HyperLISTA(
            A, 16 if self.layers is None else self.layers, damping=0.0 if spanned else _DAMPING
        )
        return solver.tune(self.density, self.snr, seed=seed) if self.tune else solver

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class Lasso(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """The minimum of 1/(2m) ‖y - X w - w₀‖² + α ‖w‖₁, by FISTA with continuation, to a duality gap.

    It is scikit-learn's objective for m samples, so that λ = m α. All targets are solved together, in float64.

    Args:
        alpha: α, not negative.
        fit_intercept: whether there is a w₀.
        max_iter: the most iterations.
        tol: the duality gap at which a target is solved, as a share of its objective.

    Attributes:
        coef_: w ``[n_features]``, or ``[n_targets, n_features]`` if y has two dimensions; in the dtype of X.
        intercept_: w₀, a number or ``[n_targets]``.
        dual_gap_: the gap in units of the objective, a number or ``[n_targets]``.
        n_iter_: iterations.
    """

    def __init__(
        self, alpha: float = 1.0, *, fit_intercept: bool = True, max_iter: int = 10000, tol: float = 1e-6
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any) -> Self:
        """Fit w.

        Args:
            X: ``[n_samples, n_features]``.
            y: ``[n_samples]`` or ``[n_samples, n_targets]``.
        """
        if not 0 <= self.alpha < float("inf"):
            raise SzilardError(f"alpha={self.alpha}; give a number that is not negative")
        X, y = validate_data(self, X, y, dtype=list(_FLOATS), multi_output=True, y_numeric=True)
        A, b = X.astype(np.float64), y.astype(np.float64).reshape(len(y), -1)
        means = A.mean(0) if self.fit_intercept else np.zeros(A.shape[1])
        middle = b.mean(0) if self.fit_intercept else np.zeros(b.shape[1])
        spread = np.abs(A).max(0)
        A, b = A - means, b - middle
        varies = np.linalg.norm(A, axis=0) > 1e-12 * spread * len(A) ** 0.5  # constant features say nothing
        w = np.zeros((b.shape[1], A.shape[1]))
        gap, self.n_iter_ = np.zeros(len(w)), 1
        if varies.any():
            w[:, varies], gap, self.n_iter_ = self._solve(A[:, varies], b.T)
        single = y.ndim == 1
        intercept = middle - w @ means
        self.coef_ = (w[0] if single else w).astype(X.dtype)
        self.intercept_ = X.dtype.type(intercept[0]) if single else intercept.astype(X.dtype)
        self.dual_gap_ = float(gap[0]) if single else gap
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """X w + w₀: ``[n_samples]``, or ``[n_samples, n_targets]``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=list(_FLOATS), reset=False)
        return X @ self.coef_.T + self.intercept_

    @torch.no_grad()
    def _solve(self, A: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], int]:
        penalty, m = len(A) * self.alpha, len(A)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "columns", SzilardWarning
            )  # repeated features are no concern here
            solver = ContinuationFISTA(torch.from_numpy(A), penalty, self.max_iter, self.tol)
        state = solver(torch.from_numpy(np.ascontiguousarray(b)))
        relative = relative_gap(solver.operator, state.x, state.residual, state.b, penalty)
        objective = state.residual.square().sum(1) / 2 + penalty * state.x.abs().sum(1)
        if bool((relative > self.tol).any()):
            warnings.warn(
                f"the lasso has a relative duality gap of {float(relative.max()):.1e} after {state.layer} iterations; "
                "scale the features alike, or give a larger alpha, tol or max_iter",
                SzilardWarning,
                stacklevel=4,
            )
        return state.x.numpy(), (relative * objective / m).numpy(), max(state.layer, 1)
