r"""The guard: answers of a fast solver that are certified, or solved again by a slow one, or reported.

For each sample, the first of these that holds is its certificate:

- **support**: x is the least-squares fit on its support S, the columns A_S are independent, ‖b - A x‖ is within the
  noise (or within rounding), and three things speak against another support: one of this size would not come so near
  to other measurements by chance (:func:`~szilard.solve.support.chance`), no other column can stand in for one of its
  large entries (:mod:`~szilard.solve.exchange`), and the same solver was right on synthetic codes with as many entries
  and as much noise by the same matrix (:mod:`~szilard.solve.trials`);
- **lasso**: x is the minimum of ½‖b - A x‖² + λ‖x‖₁ within a duality gap;
- **none**: neither; there is a warning.

A solver of that minimum (:class:`~szilard.solve.ista.ISTA` and its kind) is asked for it, so that its answers have the
certificate lasso or none.

A support certificate is evidence, no proof: real codes may be of no kind that was tried. Under noise, entries below it
leave no trace.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve.answer import LASSO, NONE, SUPPORT, Answer, Notes
from szilard.solve.checks import measurements
from szilard.solve.continuation import ContinuationFISTA
from szilard.solve.duality import relative_gap
from szilard.solve.noise import Noise, for_each, not_negative
from szilard.solve.solver import Solver
from szilard.solve.state import State
from szilard.solve.support_judge import SupportJudge
from szilard.solve.trials import Case, Trial

_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
_GAP = 1e-4
_CLOSER = 0.7  # of the gap, so that rounding of the answer does not leave it above
_SHARE = 3e-4  # of ‖Aᵀb‖_∞, for λ where no noise is known
_STABLE = 2  # layers without a change of the support, before it is tried
_FAR = 30.0  # times the smallest norm of a column, from which on minima are hard to find
_EVERY = 10  # layers between two duality gaps of the solver's own minimum
_SOLVER, _FALLBACK = "solver", "fallback"


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
        layers: the most layers of the solver; None: its own number, or twice that for HyperLISTA.
        iterations: the most of FISTA with continuation, for samples that fall back.
        debias: whether minima of F are fitted on their support, which then may have a support certificate. That is
            slow, because synthetic codes are solved in the same way.
        fall_back: whether samples that are not certified are solved again; False keeps the solver's codes.
        error: the largest ‖x - x*‖ / ‖x*‖ that a support certificate allows, judged on synthetic codes, under noise.
            Without noise it is 0.001, in float32 0.01.

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
        debias: bool = False,
        fall_back: bool = True,
        error: float = 0.3,
    ) -> None:
        if not isinstance(solver, Solver):
            raise SzilardError(
                f"Guard takes a solver, not a {type(solver).__name__}; give HyperLISTA(A), for example"
            )
        if not 0 < error < math.inf:
            raise SzilardError(f"error={error}; give a positive number")
        self.solver, self.noise = solver, Noise(noise, snr)
        self.penalty = None if penalty is None else not_negative(penalty, "penalty")
        self.tolerance = _TOLERANCE[solver.operator.dtype] if tolerance is None else tolerance
        self.gap, self.iterations, self.fall_back = gap, iterations, fall_back
        self.layers = (2 if solver.goes_on else 1) * solver.layers if layers is None else layers
        own = getattr(solver, "penalty", None)
        self.debias = debias
        self.minimises = own is not None and not debias
        if own is not None and self.minimises:
            if penalty is not None or getattr(solver, "relative", False):
                raise SzilardError(
                    "the solver has a penalty of its own, and its minimum is asked for: leave out penalty=, give the "
                    "solver one that is not relative, or give debias=True"
                )
            self.penalty = not_negative(own, "penalty")
        sizes_matter = not solver.equivariant or getattr(solver, "noise", 0.0) > 0
        self._judge = SupportJudge(solver, self.tolerance, error, self._try, sizes_matter)
        self._given = self._judge.given

    @torch.no_grad()
    def __call__(self, b: Any) -> Answer:
        """Certified codes of measurements ``[B, m]``.

        Raises:
            SzilardError: if b does not fit A, or noise or penalty do not fit b.
        """
        operator = self.solver.operator
        b = measurements(b, operator.shape, operator.dtype, operator.device)
        work = Notes(
            b, operator.shape[1], self.noise.largest_residual(b, self.tolerance), self.noise.deviation(b)
        )
        left = (self._minimise if self.minimises else self._solve)(work, b)
        if len(left) and self.fall_back:
            self._fall_back(work, b, left)
        return self._answer(work, b, len(left) if self.fall_back else 0)

    def _try(self, trial: Trial, case: Case) -> tuple[Tensor, Tensor]:
        """Solves synthetic measurements in one of the two ways: codes, and which would have a support certificate."""
        operator = self.solver.operator
        b = trial.b.to(operator.device, operator.dtype)
        bound = trial.b.norm(dim=1) * (case.share or self.tolerance)
        work = Notes(b, operator.shape[1], bound.to(b.device), trial.deviation, trial=True)
        if case.route == _SOLVER:
            self._solve(work, b)
        else:
            self._fall_back(work, b, torch.arange(len(b), device=b.device))
        return work.x, torch.tensor([one == SUPPORT for one in work.certificate], device=b.device)

    def _solve(self, work: Notes, b: Tensor) -> Tensor:
        """Layers of the solver; accepts what it can, and returns the other samples, with the solver's codes."""
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
            # One that was longer stable has been tried.
            ready = stable <= _STABLE if last else stable == _STABLE
            if self.solver.greedy:
                ready |= state.residual.double().norm(dim=1) <= work.bound[left]
            tried = ready.nonzero()[:, 0]
            accepted = tried[self._accept(work, state.x[tried], b[left[tried]], left[tried], _SOLVER)]
            if len(accepted):
                keep = torch.ones_like(left, dtype=torch.bool).index_fill_(0, accepted, False)
                left, stable, support, state = left[keep], stable[keep], support[keep], state.rows(keep)
        work.x[left] = self.solver.codes(state).double()
        return left

    def _accept(self, work: Notes, x: Tensor, b: Tensor, samples: Tensor, route: str) -> Tensor:
        """Notes the samples whose support is accepted, and returns which ``[B]``."""
        noisy = work.deviation is not None
        found = self._judge.judge(x, b, work.bound[samples], noisy, None if work.trial else route)
        rows = samples[found.good]
        work.x[rows], work.steps[rows] = found.x[found.good], found.steps[found.good]
        work.certify(rows, SUPPORT)
        return found.good

    def _minimise(self, work: Notes, b: Tensor) -> Tensor:
        """The solver's own minimum, until its gap is small enough; returns the samples where it is not."""
        penalty = self._penalty(work, b)
        state = self.solver.init(b)
        good = torch.zeros(len(b), dtype=torch.bool, device=b.device)
        while len(b) and state.layer < self.layers and not good.all():
            state = self.solver.step(state)
            if state.layer % _EVERY == 0 or state.layer == self.layers:
                good = self._minima(work, state.x, b, penalty)
        work.layers[:] = state.layer
        return (~good).nonzero()[:, 0]

    def _minima(
        self, work: Notes, x: Tensor, b: Tensor, penalty: Tensor, rows: Tensor | None = None
    ) -> Tensor:
        """Notes codes as they will be returned, with their gaps, and returns which are minima ``[B]``."""
        rows = torch.arange(len(b), device=b.device) if rows is None else rows
        x = x.to(b.dtype).to(self._given.dtype)
        wide = b.to(self._given.dtype)
        gap = relative_gap(self._given, x, self._given.product(x) - wide, wide, penalty)
        work.x[rows], work.gap[rows], work.penalty[rows] = x.double(), gap, penalty
        good = gap <= self.gap
        work.certify(rows[good], LASSO)
        work.certify(rows[~good], NONE)
        return good

    def _fall_back(self, work: Notes, b: Tensor, left: Tensor) -> None:
        penalty = self._penalty(work, b)[left]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SzilardWarning
            )  # all codes may be zero, and repeated columns were told
            fista = ContinuationFISTA(self._given, penalty, self.iterations, _CLOSER * self.gap)
            state: State = fista(b[left])
        self._minima(work, state.x, b[left], penalty, left)
        if self.debias:
            self._accept(work, state.x, b[left], left, _FALLBACK)

    def _penalty(self, work: Notes, b: Tensor) -> Tensor:
        if self.penalty is not None:
            penalty = self.penalty.median() if work.trial else self.penalty
            return for_each(penalty, b, "penalty")
        largest = self._given.adjoint(b.to(self._given.dtype)).abs().amax(1).double()
        if work.deviation is None:
            return _SHARE * largest
        factor = self._judge.column_norm * math.sqrt(2 * math.log(self.solver.operator.shape[1]))
        return torch.maximum(work.deviation.to(largest) * factor, 1e-6 * largest)

    def _answer(self, work: Notes, b: Tensor, fell: int) -> Answer:
        x = work.x.to(b.dtype)
        off = (b.double() - self._given.product(x.to(self._given.dtype)).double()).norm(dim=1)
        size = b.double().norm(dim=1)
        counts = {name: work.certificate.count(name) for name in (SUPPORT, LASSO, NONE)}
        counts["fallback"] = fell
        if counts[NONE]:
            warnings.warn(work.warning(self._fix()), SzilardWarning, stacklevel=4)
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

    def _fix(self) -> str:
        """What can be done for samples without a certificate."""
        if not self.fall_back:
            return "allow more layers, or let them fall back (fall_back=True)"
        norms = self._given.column_norms()
        ratio = 1.0 if norms is None else float(norms.max() / norms.min())
        more = f", or scale the columns of A, whose norms differ by {ratio:.0f} times" if ratio > _FAR else ""
        return "give more iterations or a larger penalty" + more
