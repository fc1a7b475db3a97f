"""The face that every solver shows: ``init``, ``step``, and a call that runs all layers."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve.adjoint import check_adjoint
from szilard.solve.checks import measurements, warn_repeated, whole
from szilard.solve.operators import Functions, Linear, Matrix, Operator, as_operator
from szilard.solve.state import State

_UNIT = 1e-4  # columns whose norm is within this of 1 have unit norm
_UNLIKE = 2.0  # ratio of two norms of columns, beyond which it is told


class Solver(nn.Module):
    """Finds codes x with few entries and A x ≈ b, for a batch of measurements.

    Args:
        A: a matrix ``[m, n]`` whose columns are the atoms, or an operator
            (:func:`~szilard.solve.operators.as_operator`).
        layers: how many steps a call does.

    A subclass is one file: it sets ``name``, and defines ``step``, and ``start`` if it carries a memory.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    unit_columns: ClassVar[bool] = (
        False  # the algorithm is defined for columns of unit norm: others are scaled
    )
    needs_matrix: ClassVar[bool] = False
    equivariant: ClassVar[bool] = False  # measurements that are twice as large have codes twice as large
    greedy: ClassVar[bool] = False  # a layer adds an entry, so that supports are never stable
    goes_on: ClassVar[bool] = False  # more layers than its own number are as good as the first ones
    without_matrix: ClassVar[str] = "ista, fista or step_lista"

    scales: Tensor | None

    def __init__(self, A: Any, layers: int = 16) -> None:
        super().__init__()
        if not whole(layers) or layers < 0:
            raise SzilardError(f"layers={layers!r}; give a number of steps that is not negative")
        self.layers = int(layers)
        operator = as_operator(A)
        if isinstance(operator, Functions | Linear):
            check_adjoint(operator)
        self.given = (
            operator,
        )  # as it was given, for its fingerprint; in a tuple, so that it is not a submodule
        scales = None
        if self.needs_matrix:
            operator.matrix(self.name, self.without_matrix)
        if isinstance(operator, Matrix):
            warn_repeated(operator.A)
        if self.unit_columns:
            operator, scales = _with_unit_columns(operator, self.name)
        self.operator: Operator = operator
        self.register_buffer("scales", scales)  # norms of the given columns ``[n]``; None: not scaled

    # -- what an algorithm defines ------------------------------------------------------------------------

    def start(self, state: State) -> Any:
        """The memory before the first layer."""
        return None

    def step(self, state: State) -> State:
        """One layer."""
        raise NotImplementedError

    def finished(self, state: State) -> bool:
        """Whether further layers would change nothing that matters, so that a call stops before its last one."""
        return False

    # -- the face -----------------------------------------------------------------------------------------

    def init(self, b: Any) -> State:
        """The state before the first layer, x = 0.

        Args:
            b: measurements ``[B, m]``, one sample a row.

        Raises:
            SzilardError: if they do not fit A.
        """
        b = measurements(b, self.operator.shape, self.operator.dtype, self.operator.device)
        zero = b.new_zeros(len(b), self.operator.shape[1])
        state = State(zero, zero, -b, 0, b)
        return state._replace(memory=self.start(state))

    def forward(self, b: Any, layers: int | None = None) -> State:
        """The state after ``layers`` steps (the solver's own number if None), its codes in the units of A.

        Args:
            b: measurements ``[B, m]``, one sample a row.
            layers: how many steps.
        """
        state = self.init(b)
        for _ in range(self.layers if layers is None else layers):
            if self.finished(state):
                break
            state = self.step(state)
        return state._replace(x=self.codes(state), previous=self.codes(state, state.previous))

    def codes(self, state: State, x: Tensor | None = None) -> Tensor:
        """The codes of a state ``[B, n]`` in the units of the given matrix."""
        x = state.x if x is None else x
        return x if self.scales is None else x / self.scales

    def moved(self, state: State, x: Tensor, memory: Any, active: float = 1.0) -> State:
        """The next state, with the residual of new codes."""
        residual = self.operator.product(x, active) - state.b
        return State(x, state.x, residual, state.layer + 1, state.b, memory)


def _with_unit_columns(operator: Operator, name: str) -> tuple[Operator, Tensor | None]:
    norms = operator.column_norms()
    if norms is None or (norms - 1).abs().max() <= _UNIT:
        return operator, None
    if float(norms.max()) > _UNLIKE * float(norms.min()):
        warnings.warn(
            f"columns of A have norms from {float(norms.min()):.3g} to {float(norms.max()):.3g}; {name} scales them to "
            "1, and its codes back; scale them before if codes of small columns should not count more",
            SzilardWarning,
            stacklevel=4,
        )
    return operator.unit_columns(), norms.to(operator.dtype)


def per_sample(value: float | Tensor, like: Tensor) -> Tensor:
    """A number for each sample ``[B]``, in the dtype and on the device of a batch ``[B, ...]``."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(len(like))
