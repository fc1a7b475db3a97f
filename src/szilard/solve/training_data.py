"""What learned solvers are trained on, and how far from it their answers are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import float_tensor, measurements
from szilard.solve.operators import Operator
from szilard.solve.samples import CodePrior
from szilard.solve.solver import Solver
from szilard.solve.state import State

LEAST_RATIO = 1e-30  # added to ratios of which the logarithm is taken


class Batch(NamedTuple):
    """Samples for training or validation."""

    codes: Tensor | None  # ``[B, n]`` in the units of the given matrix; None: only measurements are known
    b: Tensor  # ``[B, m]``


class Given(Operator):
    """The matrix as it was given, by the solver's own with its columns scaled to unit norm."""

    def __init__(self, solver: Solver) -> None:
        super().__init__()
        self.inner, self.scales = solver.operator, solver.scales
        self.shape, self.dtype = solver.operator.shape, solver.operator.dtype

    @property
    def device(self) -> torch.device:
        return self.inner.device

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return self.inner.product(x if self.scales is None else x * self.scales, active)


class Data:
    """Batches for training, and a set apart for validation.

    Args:
        solver: whose operator is measured with.
        given: a prior, of which each batch is drawn anew; a pair of codes and measurements; or measurements.
        validation: samples of the validation set, at most a fifth of given ones.
        seed: of draws and of the order of given samples.
    """

    def __init__(self, solver: Solver, given: Any, validation: int, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.apart: Batch
        self._draw: Callable[[int], Batch]
        if isinstance(given, CodePrior):
            operator = Given(solver)
            self._draw = lambda count: Batch(*given.draw(operator, count, self._generator))
            self.apart = self._draw(validation)
            self.words = f"fresh samples, {given}"
            return
        codes, b = given if isinstance(given, tuple | list) and len(given) == 2 else (None, given)
        samples = _checked(solver, codes, b)
        order = torch.randperm(len(samples.b), generator=self._generator)
        held = min(validation, len(order) // 5)
        self.apart = _rows(samples, order[:held])
        left = order[held:]
        self._draw = lambda count: _rows(
            samples, left[torch.randint(len(left), (count,), generator=self._generator)]
        )
        self.words = f"{len(left)} samples given{'' if samples.codes is not None else ' without codes'}"

    def draw(self, count: int) -> Batch:
        """The next batch."""
        return self._draw(count)


def _checked(solver: Solver, codes: Any, b: Any) -> Batch:
    operator = solver.operator
    b = measurements(b, operator.shape, operator.dtype, operator.device)
    if len(b) < 5:
        raise SzilardError(
            f"there are {len(b)} samples to train on and to validate with; give at least 5, or a CodePrior"
        )
    if codes is None:
        return Batch(None, b)
    codes = float_tensor(codes, "the codes")
    if codes.shape != (len(b), operator.shape[1]):
        raise SzilardError(
            f"the codes have shape {tuple(codes.shape)}; {len(b)} measurements of a matrix with "
            f"{operator.shape[1]} columns need {(len(b), operator.shape[1])}"
        )
    if not torch.isfinite(codes).all() or not codes.any():
        raise SzilardError("the codes are not finite, or all zero; remove those rows")
    return Batch(codes.to(b), b)


def _rows(batch: Batch, index: Tensor) -> Batch:
    index = index.to(batch.b.device)
    return Batch(None if batch.codes is None else batch.codes[index], batch.b[index])


class Loss:
    """The distance of a state from a batch.

    With codes it is the logarithm of Σ‖x - x*‖² / Σ‖x*‖² over the batch, or that ratio; without, the mean of
    ½‖b - A x‖² + λ‖x‖₁, as a share of its value at x = 0.

    Args:
        solver: whose codes are judged.
        logarithm: of the ratio.
        penalty: λ, for measurements without codes.
    """

    def __init__(self, solver: Solver, logarithm: bool, penalty: float | None) -> None:
        self.solver, self.logarithm, self.penalty = solver, logarithm, penalty

    def __call__(self, state: State, batch: Batch) -> Tensor:
        return self.of(self.solver.codes(state), state.residual, batch)

    def of(self, codes: Tensor, residual: Tensor, batch: Batch) -> Tensor:
        """The distance of codes ``[B, n]`` in the units of the given matrix, and of A x - b ``[B, m]``."""
        if batch.codes is None:
            assert self.penalty is not None
            objective = 0.5 * residual.square().sum() + self.penalty * codes.abs().sum()
            return objective / (0.5 * batch.b.square().sum()).clamp_min(LEAST_RATIO)
        ratio = (codes - batch.codes).square().sum() / batch.codes.square().sum().clamp_min(LEAST_RATIO)
        return (ratio + LEAST_RATIO).log() if self.logarithm else ratio
