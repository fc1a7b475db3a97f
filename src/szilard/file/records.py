"""What a file holds: one record for each tensor of a state dict, or for each support, in its order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from szilard.coding import LARGEST
from szilard.file import dtypes, random, steps
from szilard.file.error import Broken

Shape = tuple[int, ...]
DEPTH = 8  #: powers of two that a coefficient of a product may be
MOST_PIECE = 64  #: entries of a piece of a product: the work of multiplying is that many times its size


@dataclass(frozen=True, eq=False)
class Raw:
    """A tensor by its exact bytes.

    Attributes:
        dtype: PyTorch's name of the type, "int64".
        data: little-endian, in row order.
    """

    name: str
    dtype: str
    shape: Shape
    data: bytes | memoryview

    def value(self) -> np.ndarray:
        """The tensor in its carrier type (:mod:`szilard.file.dtypes`)."""
        return np.frombuffer(self.data, dtypes.named(self.dtype).carrier).reshape(self.shape).copy()


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor of equal entries.

    Attributes:
        data: bytes of one of them.
    """

    name: str
    dtype: str
    shape: Shape
    data: bytes

    def value(self) -> np.ndarray:
        """As :meth:`Raw.value`."""
        one = np.frombuffer(self.data, dtypes.named(self.dtype).carrier)
        return np.broadcast_to(one.reshape((1,) * len(self.shape)), self.shape).copy()


@dataclass(frozen=True, eq=False)
class Alias:
    """A tensor that shares its storage with an earlier one, such as a tied weight.

    Attributes:
        target: name of the earlier tensor.
    """

    name: str
    target: str


@dataclass(frozen=True, eq=False)
class Levels:
    """A quantised tensor: value = level * step * 2^(row/8) * 2^(column/8), rounded to float32 at each product.

    As a matrix it has ``shape[0]`` rows; a vector is one row.

    Attributes:
        dtype: float32, float16, bfloat16 or float64.
        levels: int32 of ``shape``, magnitude below 2^23.
        step: code of the step, see :mod:`szilard.file.steps`.
        row_scale: int8 ``[rows]``, or None for 1.
        col_scale: int8 ``[cols]``, or None for 1.
    """

    name: str
    dtype: str
    shape: Shape
    levels: np.ndarray
    step: int
    row_scale: np.ndarray | None = None
    col_scale: np.ndarray | None = None

    def value(self) -> np.ndarray:
        """As :meth:`Raw.value`."""
        scale = np.full((1, 1), steps.value(self.step))
        with np.errstate(
            over="ignore", under="ignore", invalid="ignore"
        ):  # whoever made the record sees to that
            if self.row_scale is not None:
                scale = scale * steps.scales(self.row_scale)[:, None]
            if self.col_scale is not None:
                scale = scale * steps.scales(self.col_scale)[None, :]
            values = self.levels.reshape(matrix(self.shape)).astype(np.float32)
            values *= scale
            return dtypes.from_float32(values.reshape(self.shape), dtypes.named(self.dtype))


@dataclass(frozen=True, eq=False)
class Mask:
    """A support, which stands for two tensors: ``name.crow`` and ``name.col``, int32 in CSR.

    Attributes:
        shape: rows and columns of the weight as a matrix.
        mask: bool ``[rows, cols]``: which entries exist.
    """

    name: str
    shape: Shape
    mask: np.ndarray

    def crow(self) -> np.ndarray:
        """Where each row begins among the columns, int32 ``[rows + 1]``."""
        counts = self.mask.sum(1, dtype=np.int64)
        return np.concatenate([[0], counts.cumsum()]).astype(np.int32)

    def col(self) -> np.ndarray:
        """Columns of the existing entries, int32 ``[nnz]``."""
        return self.mask.nonzero()[1].astype(np.int32)


@dataclass(frozen=True, eq=False)
class Random:
    """One draw of a Gaussian posterior, by minimal random coding (Havasi, Peharz and Hernández-Lobato 2019).

    The entries lie in blocks, in an order that the seed makes. Of each block the file has the number of one among
    ``2^bits`` candidates, draws from N(0, s²) with s = 295.6 * step that the seed makes, too
    (:mod:`szilard.file.random`). A draw is a level, and value = level * step, rounded to float32.

    Attributes:
        dtype: as of :class:`Levels`.
        indices: unsigned integers ``[blocks]``, below ``2^bits``.
        step: code of the step.
        seed: below 2^32.
        bits: of an index, from 8 to 20.
        size: entries of a block, from 1 to 256; the last may have fewer.
    """

    name: str
    dtype: str
    shape: Shape
    indices: np.ndarray
    step: int
    seed: int
    bits: int
    size: int

    def levels(self) -> np.ndarray:
        """The candidates that were taken, int32 of the shape."""
        return random.draw(math.prod(self.shape), self.size, self.indices, self.seed).reshape(self.shape)

    def value(self) -> np.ndarray:
        """As :meth:`Raw.value`."""
        return Levels(self.name, self.dtype, self.shape, self.levels(), self.step).value()


@dataclass(frozen=True, eq=False)
class Product:
    """W = C B, row by row: coefficients that are powers of two or zero, times a small basis (Zhao et al. 2020).

    As a matrix, W has ``shape[0]`` rows. A row is cut into pieces of S entries, and each piece is a row of C times the
    basis of its group of rows. A code k stands for sign(k) 2^(1 - |k|), and 0 for 0.

    Attributes:
        dtype: as of :class:`~szilard.file.records.Levels`.
        codes: int32 ``[pieces, S]``, magnitudes up to 8.
        basis: int32 ``[groups, S, S]`` of levels; ``shape[0]`` is a multiple of ``groups``.
        step: code of the basis' step.
    """

    name: str
    dtype: str
    shape: Shape
    codes: np.ndarray
    basis: np.ndarray
    step: int

    def levels(self) -> Levels:
        """The product as levels of a step that is 2^7 times finer.

        Raises:
            Broken: factors that do not fit, or a product beyond what a file may hold.
        """
        size = self.basis.shape[-1]
        groups = len(self.basis)
        if size > MOST_PIECE:
            raise Broken(f"the pieces of {self.name} are longer than {MOST_PIECE}")
        if not steps.LOWEST <= self.step - 16 * (DEPTH - 1) <= steps.HIGHEST - 16 * (DEPTH - 1):
            raise Broken(f"the step of {self.name} is beyond float32")
        pieces = math.prod(self.shape) // max(size, 1)
        if (
            self.basis.shape != (groups, size, size)
            or self.codes.shape != (pieces, size)
            or pieces * size != math.prod(self.shape)
            or not groups
            or not self.shape
            or self.shape[0] % groups
            or pieces % groups
        ):
            raise Broken(f"the factors of {self.name} do not fit together")
        if np.abs(self.codes).max(initial=0) > DEPTH:
            raise Broken(f"a coefficient of {self.name} is no power of two that the format knows")
        magnitude = np.left_shift(1, DEPTH - np.abs(self.codes).astype(np.int64))
        coefficients = np.where(self.codes == 0, 0, np.sign(self.codes) * magnitude)
        found = np.matmul(coefficients.reshape(groups, -1, size), self.basis.astype(np.int64))
        if np.abs(found).max(initial=0) > LARGEST:
            raise Broken(f"the product {self.name} is beyond what levels can be")
        levels = found.reshape(self.shape).astype(np.int32)
        return Levels(self.name, self.dtype, self.shape, levels, self.step - 16 * (DEPTH - 1))

    def value(self) -> np.ndarray:
        """As :meth:`szilard.file.records.Raw.value`."""
        return self.levels().value()


Record = Raw | Constant | Alias | Levels | Mask | Random | Product


@dataclass(frozen=True, eq=False)
class Document:
    """The content of a file.

    Attributes:
        records: in the order of the state dict.
        meta: whatever else belongs to the network, as small JSON: how it is built, how inputs are read.
    """

    records: Sequence[Record]
    meta: Mapping[str, Any] = field(default_factory=dict)


def matrix(shape: Shape) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix; a vector or a scalar is one row."""
    return (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def tensor_names(record: Record) -> tuple[str, ...]:
    """Names of the tensors that a record stands for."""
    return (f"{record.name}.crow", f"{record.name}.col") if isinstance(record, Mask) else (record.name,)
