"""Which supports are accepted: they explain b, they are independent, and nothing else nearby or by chance does, too."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from szilard.solve.exchange import Exchange
from szilard.solve.operators import Matrix
from szilard.solve.solver import Solver
from szilard.solve.support import Supports, chance
from szilard.solve.trials import Case, Trial, Trials

_CHANCE = -20.0  # logarithm of the chance that is allowed, 2e-9
_TINY = 0.1  # entries that explain less than this share of the tolerance are dropped
_SURE = 2.0  # times the standard error of a fit
_EXACT = {torch.float32: 1e-2, torch.float64: 1e-3}  # largest error of codes without noise


class Accepted(NamedTuple):
    """Supports that were accepted, of B samples."""

    good: Tensor  #: ``[B]``, bool
    x: Tensor  #: least-squares codes ``[B, n]`` in the units of the given matrix, float64; 0 where not accepted
    steps: Tensor  #: of conjugate gradients ``[B]``


class SupportJudge:
    """Judges supports for one solver.

    Args:
        solver: whose matrix it is.
        tolerance: ‖b - A x‖ / ‖b‖ that counts as rounding.
        error: the largest ‖x - x*‖ / ‖x*‖ of synthetic codes under noise.
        solve: solves synthetic measurements in one of the guard's ways, and says which are accepted.
        sizes_matter: whether the answer depends on the size of b.
    """

    def __init__(
        self,
        solver: Solver,
        tolerance: float,
        error: float,
        solve: Callable[[Trial, Case], tuple[Tensor, Tensor]],
        sizes_matter: bool,
    ) -> None:
        self.tolerance, self.error = tolerance, error
        self.exact = min(error, _EXACT[solver.operator.dtype])
        given = solver.given[0]
        #: the operator that was given; a matrix in float64, so that its columns are not rounded twice
        self.given = copy.deepcopy(given).to(solver.operator.device)
        if isinstance(self.given, Matrix):
            self.given = self.given.double()
        scaled = solver.scales is not None
        unit = self.given.unit_columns() if scaled else self.given
        self.scales = self.given.column_norms() if scaled else None
        self.supports = Supports(unit)
        self.exchange = Exchange(self.given.unit_columns()) if isinstance(self.given, Matrix) else None
        self.norms = self.given.column_norms() if self.exchange else None
        self.trials = Trials(self.given, solve, error, self.exact, sizes_matter)

    @property
    def column_norm(self) -> float:
        """Root mean square of the norms of the given columns."""
        norm = self.supports.column_norm
        return norm if self.scales is None else norm * float(self.scales.square().mean().sqrt())

    def judge(self, x: Tensor, b: Tensor, bound: Tensor, noisy: bool, route: str | None) -> Accepted:
        """Fits the supports of codes, and accepts those that pass every test.

        Args:
            x: codes ``[B, n]`` in any units; only which are zero matters.
            b: measurements ``[B, m]``.
            bound: the largest residual that noise or rounding explain ``[B]``.
            noisy: whether it is noise.
            route: which part of the guard found them; None: leave out the trials.
        """
        n = x.shape[1]
        size = b.double().norm(dim=1)
        share = (bound / size).nan_to_num(0.0).clamp(self.tolerance, 1.0)
        few = (chance((x != 0).sum(1), b.shape[1], n, share) < _CHANCE) | (size == 0)
        found = Accepted(
            torch.zeros_like(few),
            x.new_zeros(x.shape, dtype=torch.float64),
            torch.zeros_like(few, dtype=torch.long),
        )
        some = few.nonzero()[:, 0]
        if not len(some):
            return found
        fit = self.supports.fit(x[some], b[some])
        z, limit = fit.z, bound[some]
        if not noisy:
            z = z.where(z.abs() > (_TINY * limit / self.supports.column_norm)[:, None], 0.0)
        rest = b[some].double() - self.supports.product(z)
        good = fit.converged & fit.independent & (rest.norm(dim=1) <= limit)
        if noisy:
            deviation = limit / (b.shape[1] ** 0.5 + 2)
            good &= _SURE * deviation * fit.gain <= self.error * z.norm(dim=1)
        x_given = z if self.scales is None else z / self.scales
        if self.exchange is not None and self.norms is not None:
            error = self.error if noisy else self.exact
            good &= self.exchange.decided(x_given * self.norms, rest, limit, error)
        if route is not None:
            rows = good.nonzero()[:, 0]
            share = share[some] if noisy else torch.zeros_like(limit)
            entries = (z[rows] != 0).sum(1)
            good[rows] = self.trials.believed(route, entries, share[rows], size[some][rows])
        kept = some[good]
        found.good[kept], found.x[kept], found.steps[kept] = True, x_given[good], fit.steps[good]
        return found
