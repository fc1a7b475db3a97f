"""What is measured: a matrix, a linear operator of scipy or pylops, or a pair of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.checks import float_matrix
from szilard.solve.weight import MatrixWeight, OperatorWeight
from szilard.sparse import ops

POWER_STEPS = 60  # of the power iteration for the largest singular value of an operator


class Operator(nn.Module):
    """A linear map of codes ``[B, n]`` to measurements ``[B, m]``: ``product``, and its transpose, ``adjoint``.

    Attributes:
        shape: (m, n).
        dtype: of codes and measurements, float32 or float64.
    """

    shape: tuple[int, int]
    dtype: torch.dtype

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        """A x for every sample.

        Args:
            x: ``[B, n]``.
            active: share of the entries of x that are not zero; a small one is exploited.

        Returns:
            ``[B, m]``.
        """
        raise NotImplementedError

    def adjoint(self, residual: Tensor) -> Tensor:
        """Aᵀ r for every sample: ``[B, m] -> [B, n]``."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where codes and measurements are."""
        return torch.device("cpu")

    def matrix(self, algorithm: str, instead: str) -> Tensor:
        """A as ``[m, n]``.

        Args:
            algorithm: the name of the algorithm that needs it.
            instead: names of the algorithms that do not.

        Raises:
            SzilardError: if there is no matrix.
        """
        raise SzilardError(
            f"{algorithm} needs the matrix itself, and A is an operator of shape {self.shape[0]} x {self.shape[1]}; "
            f"take {instead}, or give the matrix"
        )

    def weight(self, algorithm: str, instead: str, damping: float = 0.0) -> OperatorWeight:
        """The analytic weight, for columns of unit norm.

        Args:
            algorithm: the name of the algorithm that needs it.
            instead: names of the algorithms that do not.
            damping: for operators of a rank below m (:func:`~szilard.solve.weight.analytic_weight`).

        Raises:
            SzilardError: if there is neither a matrix nor a closed form, or the rank is below m without damping.
        """
        return MatrixWeight(self.matrix(algorithm, instead), damping)

    def column_norms(self) -> Tensor | None:
        """Norms of the columns of A ``[n]``, float64; None if they are not known."""
        return None

    def unit_columns(self) -> Operator:
        """A with each column divided by its norm, if norms are known."""
        return self

    def largest_eigenvalue(self) -> float:
        """The largest eigenvalue of AᵀA, by power iteration from a fixed start; at most 1 % too large."""
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(1, self.shape[1], generator=generator, dtype=torch.float64).to(
            self.device, self.dtype
        )
        value = 0.0
        for _ in range(POWER_STEPS):
            v = v / v.norm()
            v = self.adjoint(self.product(v))
            value = float(v.norm())
            if value == 0:
                raise SzilardError("the operator maps a random vector to zero; check product and adjoint")
        return 1.01 * value


class Matrix(Operator):
    """A dense matrix ``[m, n]``; its columns are the atoms."""

    A: Tensor
    rows: Tensor

    def __init__(self, A: Tensor) -> None:
        super().__init__()
        self.register_buffer("A", A.contiguous())
        self.register_buffer("rows", A.t().contiguous(), persistent=False)  # one row an atom
        self.shape = (A.shape[0], A.shape[1])

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.A.dtype

    @property
    def device(self) -> torch.device:
        return self.A.device

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return ops.product(x, self.rows, active)

    def adjoint(self, residual: Tensor) -> Tensor:
        return residual @ self.A

    def matrix(self, algorithm: str, instead: str) -> Tensor:
        return self.A

    def column_norms(self) -> Tensor:
        return self.A.double().norm(dim=0)

    def unit_columns(self) -> Matrix:
        return Matrix((self.A.double() / self.column_norms()).to(self.dtype))

    def largest_eigenvalue(self) -> float:
        return float(torch.linalg.matrix_norm(self.A.double(), 2)) ** 2


class Functions(Operator):
    """Two functions of batches: ``product`` takes ``[B, n]`` and ``adjoint`` takes ``[B, m]``."""

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        adjoint: Callable[[Tensor], Tensor],
        shape: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self._product, self._adjoint, self.shape, self.dtype = product, adjoint, shape, dtype
        self._device = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self._device

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return self._product(x)

    def adjoint(self, residual: Tensor) -> Tensor:
        return self._adjoint(residual)


class Linear(Operator):
    """An object with ``matvec``, ``rmatvec`` and ``shape``: ``LinearOperator`` of scipy or of pylops.

    Samples are mapped one after the other, on the CPU in numpy; gradients do not pass through.
    """

    def __init__(self, linear: Any) -> None:
        super().__init__()
        self.linear = linear
        self.shape = (int(linear.shape[0]), int(linear.shape[1]))
        given = np.dtype(getattr(linear, "dtype", None) or np.float64)
        if given.kind == "c":
            raise SzilardError("A is complex; give real and imaginary parts as rows of one real operator")
        self.dtype = torch.float32 if given == np.float32 else torch.float64

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return self._each(self.linear.matvec, x)

    def adjoint(self, residual: Tensor) -> Tensor:
        return self._each(self.linear.rmatvec, residual)

    def _each(self, function: Callable[[Any], Any], rows: Tensor) -> Tensor:
        size = self.shape[0] if function == self.linear.matvec else self.shape[1]
        out = np.empty((len(rows), size), np.float64)
        for index, row in enumerate(rows.detach().double().numpy()):
            out[index] = np.asarray(function(row)).reshape(-1)
        return torch.from_numpy(out).to(self.dtype)


def as_operator(A: Any) -> Operator:
    """An operator from what users have.

    Args:
        A: a matrix ``[m, n]`` (tensor, array or nested list) whose columns are the atoms; an object with ``matvec``,
            ``rmatvec`` and ``shape``; or an :class:`Operator`, such as :class:`Functions` of two functions.

    Raises:
        SzilardError: if it is none of these, is not finite, has a column of zeros, or has another dtype than float32
            and float64.
    """
    if isinstance(A, Operator):
        return A
    if isinstance(A, Tensor | np.ndarray | list):
        return Matrix(float_matrix(A))
    if all(hasattr(A, name) for name in ("matvec", "rmatvec", "shape")):
        return Linear(A)
    raise SzilardError(
        f"A is a {type(A).__name__}; give a matrix, an object with matvec, rmatvec and shape, or "
        "szilard.solve.Functions(product, adjoint, shape)"
    )
