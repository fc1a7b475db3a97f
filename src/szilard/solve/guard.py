r"""The guard: answers of a fast solver that are certified, or solved again by a slow one, or reported.

For each sample, the first of these that holds is its certificate:

- **support**: x is the least-squares fit on its support S, the columns A_S are independent, ‖b - A x‖ is within the
  noise (or within rounding), and a support of this size would not come so near to other measurements by chance
  (:func:`~szilard.solve.support.chance`);
- **lasso**: x is the minimum of ½‖b - A x‖² + λ‖x‖₁ within a duality gap;
- **none**: neither; there is a warning.

A solver of that minimum (:class:`~szilard.solve.ista.ISTA` and its kind) is asked for it, so that its answers have the
certificate lasso or none.

What a support certificate can say with noise: if S holds all entries of the truth, x is off by at most the noise over
the smallest singular value of A_S; it cannot say that S does, because entries below the noise leave no trace.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve.answer import LASSO, NONE, SUPPORT, Answer, Notes
from szilard.solve.checks import measurements
from szilard.solve.continuation import ContinuationFISTA
from szilard.solve.duality import relative_gap
from szilard.solve.learned import Learned
from szilard.solve.noise import Noise, for_each, not_negative
from szilard.solve.solver import Solver
from szilard.solve.state import State
from szilard.solve.support import Supports, chance
from szilard.solve.unscaled import Unscaled

_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
_GAP = 1e-4
_SHARE = 3e-4  # of ‖Aᵀb‖_∞, for λ where no noise is known
_STABLE = 2  # layers without a change of the support, before it is tried
_CHANCE = -20.0  # logarithm of the chance that is allowed, 2e-9
_TINY = 0.1  # entries that explain less than this share of the tolerance are dropped


class Guard:
    """Calls a solver, and certifies each answer or solves the sample again.

    Args:
        solver: any :class:`~szilard.solve.solver.Solver`.
        noise: standard deviation σ of the noise, in the units of b; a number, or one for each sample ``[B]``. A
            residual of at most σ (√m + 2) is within the noise: Gaussian noise is, in 99.7 % of samples. None: ``snr``.
        penalty: λ for samples that fall back; a number, or one for each sample. None: σ √(2 log n) times a column's
            norm; without noise 3e-4 ‖Aᵀb‖_∞.
        snr: signal-to-noise ratio of each sample in dB, instead of ``noise``; None: no noise but rounding.
        tolerance: ‖b - A x‖ / ‖b‖ that counts as rounding; None: 1e-5 in float32, 1e-9 in float64.
        gap: the largest relative duality gap of a minimum.
        layers: the most layers of the solver; None: twice its own number, or that number if its layers were trained.
        iterations: the most of FISTA with continuation, for samples that fall back.
        debias: whether minima of F are fitted on their support, for a support certificate. None: unless the solver
            itself has a penalty, because then its minimum was asked for.

    Raises:
        SzilardError: for numbers that are negative.
    """

    def __init__(
        self,
        solver: Solver,
        noise: float | Tensor | None = None,
        penalty: float | Tensor | None = None,
        *,
        snr: float | None = None,
        tolerance: float | None = None,
        gap: float = _GAP,
        layers: int | None = None,
        iterations: int = 3000,
        debias: bool | None = None,
    ) -> None:
        dtype = solver.operator.dtype
        self.solver, self.noise = solver, Noise(noise, snr)
        self.penalty = None if penalty is None else not_negative(penalty, "penalty")
        self.tolerance = _TOLERANCE[dtype] if tolerance is None else tolerance
        self.gap = gap
        own = solver.layers
        self.layers = (own if isinstance(solver, Learned) else 2 * own) if layers is None else layers
        self.iterations = iterations
        own_penalty = getattr(solver, "penalty", None)
        self.debias = own_penalty is None if debias is None else debias
        if own_penalty is not None and penalty is None and not self.debias:
            if getattr(solver, "relative", False):
                raise SzilardError(
                    "the solver's penalty is relative; give the guard penalty=, or debias=True"
                )
            self.penalty = not_negative(own_penalty, "penalty")
        self._supports = Supports(solver.operator)
        wide = self._supports.operator  # in float64 if it is a matrix
        self._given = wide if solver.scales is None else Unscaled(wide, solver.scales.to(wide.dtype))

    @torch.no_grad()
    def __call__(self, b: Any) -> Answer:
        """Certified codes of measurements ``[B, m]``.

        Raises:
            SzilardError: if b does not fit A, or noise or penalty do not fit b.
        """
        operator = self.solver.operator
        b = measurements(b, operator.shape, operator.dtype, operator.device)
        work = Notes(b, operator.shape[1], self.noise.largest_residual(b, self.tolerance))
        left = (
            self._solve(work, b)
            if self.debias or not hasattr(self.solver, "penalty")
            else self._minimise(work, b)
        )
        fell = len(left)
        if fell:
            self._fall_back(work, b, left)
        return self._answer(work, b, fell)

    def _solve(self, work: Notes, b: Tensor) -> Tensor:
        """Layers of the solver; accepts what it can, and returns the other samples."""
        left = torch.arange(len(b), device=b.device)
        state = self.solver.init(b)
        support = state.x != 0
        stable = torch.zeros(len(b), dtype=torch.long, device=b.device)
        while len(left) and state.layer < self.layers and not self.solver.finished(state):
            state = self.solver.step(state)
            now = state.x != 0
            stable = (stable + 1).where((now == support).all(1), 0)
            support = now
            work.layers[left] = state.layer
            last = state.layer == self.layers or self.solver.finished(state)
            ready = (
                stable <= _STABLE if last else stable == _STABLE
            )  # one that was longer stable has been tried
            tried = ready.nonzero()[:, 0]
            accepted = tried[self._accept(work, state.x[tried], b[left[tried]], left[tried])]
            if len(accepted):
                keep = torch.ones_like(left, dtype=torch.bool).index_fill_(0, accepted, False)
                left, stable, support, state = left[keep], stable[keep], support[keep], state.rows(keep)
        return left

    def _minimise(self, work: Notes, b: Tensor) -> Tensor:
        """The solver's own minimum where its gap is small enough; returns the other samples."""
        state = self.solver(b, self.layers)
        penalty = self._penalty(b)
        gap = relative_gap(self.solver.operator, state.x, state.residual, state.b, penalty)
        work.x[:], work.gap[:], work.penalty[:], work.layers[:] = state.x.double(), gap, penalty, state.layer
        good = gap <= self.gap
        for row in good.nonzero()[:, 0].tolist():
            work.certificate[row] = LASSO
        return (~good).nonzero()[:, 0]

    def _accept(self, work: Notes, x: Tensor, b: Tensor, samples: Tensor) -> Tensor:
        """Fits samples on the supports of x, in the solver's units; notes and marks those with a certificate."""
        good = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        m, n = self.solver.operator.shape
        bound, size = work.bound[samples], b.double().norm(dim=1)
        share = torch.maximum(bound / size, bound.new_tensor(self.tolerance)).nan_to_num(0.0)
        few = chance((x != 0).sum(1), m, n, share) < _CHANCE
        some = (few | (size == 0)).nonzero()[:, 0]
        if not len(some):
            return good
        fit = self._supports.fit(x[some], b[some])
        z = fit.z
        if not self.noise:
            least = _TINY * bound[some] / self._supports.column_norm
            z = z.where(z.abs() > least[:, None], 0.0)
        off = (b[some].double() - self._supports.product(z)).norm(dim=1)
        fits = (fit.converged & fit.independent & (off <= bound[some])).nonzero()[:, 0]
        accepted = some[fits]
        good[accepted] = True
        rows = samples[accepted]
        scales = self.solver.scales
        work.x[rows] = z[fits] if scales is None else z[fits] / scales.double()
        work.steps[rows] = fit.steps[fits]
        for row in rows.tolist():
            work.certificate[row] = SUPPORT
        return good

    def _fall_back(self, work: Notes, b: Tensor, left: Tensor) -> None:
        penalty = self._penalty(b)[left]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SzilardWarning
            )  # all codes may be zero, and repeated columns were told
            fista = ContinuationFISTA(self._given, penalty, self.iterations, self.gap)
            state: State = fista(b[left])
        gap = relative_gap(fista.operator, state.x, state.residual, state.b, penalty)
        work.x[left] = state.x.double()
        work.gap[left], work.penalty[left] = gap, penalty
        for row in left[gap <= self.gap].tolist():
            work.certificate[row] = LASSO
        if self.debias:
            scales = self.solver.scales
            self._accept(work, state.x if scales is None else state.x * scales, b[left], left)

    def _penalty(self, b: Tensor) -> Tensor:
        if self.penalty is not None:
            return for_each(self.penalty, b, "penalty")
        largest = self._given.adjoint(b.to(self._given.dtype)).abs().amax(1).double()
        deviation = self.noise.deviation(b)
        if deviation is None:
            return _SHARE * largest
        n = self.solver.operator.shape[1]
        norm = self._supports.column_norm
        if self.solver.scales is not None:
            norm *= float(self.solver.scales.double().square().mean().sqrt())
        return torch.maximum(deviation * norm * (2 * torch.tensor(n).log()).sqrt().item(), 1e-6 * largest)

    def _answer(self, work: Notes, b: Tensor, fell: int) -> Answer:
        x = work.x.to(b.dtype)
        off = (b.double() - self._given.product(x.to(self._given.dtype)).double()).norm(dim=1)
        size = b.double().norm(dim=1)
        counts = {name: work.certificate.count(name) for name in (SUPPORT, LASSO, NONE)}
        counts["fallback"] = fell
        if counts[NONE]:
            first = work.certificate.index(NONE)
            warnings.warn(
                f"{counts[NONE]} of {len(b)} samples have no certificate (the first is row {first}, with a duality "
                f"gap of {float(work.gap[first]):.1e}); do not trust their codes, or give more iterations or a larger "
                "penalty",
                SzilardWarning,
                stacklevel=4,
            )
        return Answer(
            x,
            (off / size).where((size > 0) | (off > 0), 0.0),
            tuple(work.certificate),
            work.penalty,
            work.gap,
            work.steps,
            work.layers,
            counts,
        )
