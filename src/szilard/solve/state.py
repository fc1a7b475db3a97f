"""What a solver carries from layer to layer."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class State(NamedTuple):
    """The state of a solver for a batch of B samples, between two layers.

    ``x`` and ``previous`` are in the solver's own units: where its columns were scaled to unit norm,
    :meth:`~szilard.solve.solver.Solver.codes` returns the codes in the units of the given matrix. The state that
    ``solver(b)`` returns is in the units of the given matrix.
    """

    x: Tensor  #: codes ``[B, n]``
    previous: Tensor  #: the codes one layer before, ``[B, n]``
    residual: Tensor  #: A x - b, ``[B, m]``
    layer: int  #: how many layers were done
    b: Tensor  #: the measurements, ``[B, m]``
    memory: Any = None  #: what else the algorithm carries

    def relative_residual(self) -> Tensor:
        """‖b - A x‖₂ / ‖b‖₂ of each sample, ``[B]``: 0 where b is zero and explained."""
        size = self.b.norm(dim=1)
        off = self.residual.norm(dim=1)
        return (off / size).where((size > 0) | (off > 0), 0.0)

    def rows(self, index: Tensor) -> State:
        """The state of some samples; tensors of the memory that have a row for each sample are cut as well.

        Args:
            index: numbers of samples, int64, or a mask ``[B]``.
        """
        return State(
            self.x[index],
            self.previous[index],
            self.residual[index],
            self.layer,
            self.b[index],
            _rows(self.memory, index, len(self.b)),
        )

    def __repr__(self) -> str:
        worst = float(self.relative_residual().max()) if len(self.x) else 0.0
        count, codes = self.x.shape
        return f"State({count} samples, {codes} codes each, layer {self.layer}, largest relative residual {worst:.2g})"


def _rows(memory: Any, index: Tensor, count: int) -> Any:
    if isinstance(memory, Tensor):
        return memory[index] if memory.ndim and len(memory) == count else memory
    if isinstance(memory, tuple):
        parts = [_rows(part, index, count) for part in memory]
        return type(memory)(*parts) if hasattr(memory, "_fields") else tuple(parts)
    return memory
