"""What a file holds: one record for each tensor of a state dict, or for each support, in its order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from szilard.coding import LARGEST
from szilard.file import dtypes, random, steps
from szilard.file.error import Broken, printable

Shape = tuple[int, ...]
DEPTH = 8  #: powers of two that a coefficient of a product may be
MOST_PIECE = 64  #: entries of a piece of a product: the work of multiplying is that many times its size
_SOME = 1 << 16  # entries that are made at a time
_EXACT = 1 << 24  # up to here float32 counts


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
        levels: signed integers of ``shape``, magnitude below 2^23.
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

    def pieces(self) -> Iterator[np.ndarray]:
        """The entries in row order, some at a time, in the carrier type. Whoever made the record sees that they fit."""
        dtype = dtypes.named(self.dtype)
        levels = self.levels.reshape(matrix(self.shape))
        for top, end, left, right in tiles(*levels.shape):
            yield self._tile(levels[top:end, left:right], slice(top, end), slice(left, right), dtype)

    def _tile(self, levels: np.ndarray, rows: slice, cols: slice, dtype: dtypes.DType) -> np.ndarray:
        scale = np.full((1, 1), steps.value(self.step))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if self.row_scale is not None:
                scale = scale * steps.scales(self.row_scale[rows])[:, None]
            if self.col_scale is not None:
                scale = scale * steps.scales(self.col_scale[cols])[None, :]
            values = levels.astype(np.float32)
            values *= scale
            return dtypes.from_float32(values, dtype).reshape(-1)

    def value(self) -> np.ndarray:
        """As :meth:`Raw.value`."""
        return gathered(self.pieces(), self.shape, dtypes.named(self.dtype))


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
        found = np.zeros(self.shape[0] + 1, np.int32)
        for top, end, left, right in tiles(*self.shape):
            found[top + 1 : end + 1] += self.mask[top:end, left:right].sum(1, dtype=np.int32)
        return np.cumsum(found, dtype=np.int32, out=found)

    def col(self) -> np.ndarray:
        """Columns of the existing entries, int32 ``[nnz]``."""
        tops = tiles(*self.shape)
        found = np.empty(sum(int(np.count_nonzero(self.mask[t:e, a:b])) for t, e, a, b in tops), np.int32)
        at = 0
        for top, end, left, right in tiles(*self.shape):
            piece = self.mask[top:end, left:right].nonzero()[1]
            found[at : at + len(piece)] = piece
            found[at : at + len(piece)] += left
            at += len(piece)
        return found


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
        codes: signed integers ``[pieces, S]``, magnitudes up to 8.
        basis: signed integers ``[groups, S, S]`` of levels; ``shape[0]`` is a multiple of ``groups``.
        step: code of the basis' step.
    """

    name: str
    dtype: str
    shape: Shape
    codes: np.ndarray
    basis: np.ndarray
    step: int

    def check(self) -> None:
        """Whether the factors fit together, by their shapes, their step and the coefficients.

        Raises:
            Broken: they do not.
        """
        check_product(self.name, self.shape, self.codes.shape, self.basis.shape, self.step)
        if self.codes.size and (int(self.codes.min()) < -DEPTH or int(self.codes.max()) > DEPTH):
            raise Broken(f"a coefficient of {printable(self.name)} is no power of two that the format knows")
        if max(-int(self.basis.min()), int(self.basis.max())) > LARGEST:
            raise Broken(f"the basis of {printable(self.name)} is beyond what levels can be")

    def level_pieces(self) -> Iterator[np.ndarray]:
        """The product as levels, int32, in row order, some at a time; the factors have been checked.

        Raises:
            Broken: one is beyond what a file may hold.
        """
        groups, size = len(self.basis), self.basis.shape[-1]
        if not self.codes.size:
            return
        # Sums of integers that a float holds exactly, in whatever order they are taken.
        most = max(-int(self.basis.min()), int(self.basis.max())) * size << DEPTH - 1
        dtype = np.float32 if most <= _EXACT else np.float64
        powers = _POWERS.astype(dtype)
        codes = self.codes.reshape(groups, -1, size)
        rows = codes.shape[1]
        together = max(1, _SOME // (max(rows, size) * size))  # groups at a time
        long = max(1, _SOME // size)  # rows at a time
        for group in range(0, groups, together):
            basis = self.basis[group : group + together].astype(dtype)
            for row in range(0, rows, long):
                found = np.matmul(powers[codes[group : group + together, row : row + long] + DEPTH], basis)
                if max(-found.min(), found.max()) > LARGEST:
                    raise Broken(f"the product {printable(self.name)} is beyond what levels can be")
                yield found.reshape(-1).astype(np.int32)

    def pieces(self) -> Iterator[np.ndarray]:
        """As :meth:`Levels.pieces`."""
        for levels in self.level_pieces():
            yield from self._levels(levels, levels.shape).pieces()

    def levels(self) -> Levels:
        """The product as levels of a step that is 2^7 times finer.

        Raises:
            Broken: factors that do not fit, or a product beyond what a file may hold.
        """
        self.check()
        found = np.empty(math.prod(self.shape), np.int32)
        fill(found, self.level_pieces())
        return self._levels(found.reshape(self.shape), self.shape)

    def value(self) -> np.ndarray:
        """As :meth:`szilard.file.records.Raw.value`."""
        self.check()
        return gathered(self.pieces(), self.shape, dtypes.named(self.dtype))

    def _levels(self, levels: np.ndarray, shape: Shape) -> Levels:
        return Levels(self.name, self.dtype, shape, levels, self.step - 16 * (DEPTH - 1))


#: What a coefficient of code k stands for, at place k + DEPTH.
_POWERS = np.array([int(math.copysign(1 << DEPTH - abs(k), k)) if k else 0 for k in range(-DEPTH, DEPTH + 1)])


def check_product(name: str, shape: Shape, codes: Shape, basis: Shape, step: int) -> None:
    """Whether the factors of a product fit together, by their shapes and the code of the basis' step.

    Raises:
        Broken: they do not.
    """
    if len(codes) != 2 or len(basis) != 3 or not shape or not basis[0] or not basis[2]:
        raise Broken(f"the factors of {printable(name)} do not fit together")
    pieces, size = codes
    groups = basis[0]
    if size > MOST_PIECE:
        raise Broken(f"the pieces of {printable(name)} are longer than {MOST_PIECE}")
    if not steps.LOWEST <= step - 16 * (DEPTH - 1) <= steps.HIGHEST - 16 * (DEPTH - 1):
        raise Broken(f"the step of {printable(name)} is beyond float32")
    if (
        basis != (groups, size, size)
        or pieces * size != math.prod(shape)
        or shape[0] % groups
        or pieces % groups
    ):
        raise Broken(f"the factors of {printable(name)} do not fit together")


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that has been made.

    Attributes:
        array: in the carrier type, of the shape.
    """

    name: str
    dtype: str
    array: np.ndarray

    @property
    def shape(self) -> Shape:
        """Of the tensor."""
        return self.array.shape

    def value(self) -> np.ndarray:
        """The tensor itself, no copy."""
        return self.array


@dataclass(frozen=True, eq=False)
class Csr:
    """A support that has been made: the two tensors of a :class:`Mask`."""

    name: str
    starts: np.ndarray
    columns: np.ndarray

    def crow(self) -> np.ndarray:
        """As :meth:`Mask.crow`, no copy."""
        return self.starts

    def col(self) -> np.ndarray:
        """As :meth:`Mask.col`, no copy."""
        return self.columns


Record = Raw | Constant | Alias | Levels | Mask | Random | Product | Value | Csr


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
    return (f"{record.name}.crow", f"{record.name}.col") if isinstance(record, Mask | Csr) else (record.name,)


def tiles(rows: int, cols: int) -> Iterator[tuple[int, int, int, int]]:
    """A matrix in row order as tiles of some entries each: first row, row behind the last, the same of columns."""
    if not rows or not cols:
        return
    tall, wide = max(1, _SOME // cols), min(cols, _SOME)
    for top in range(0, rows, tall):
        for left in range(0, cols, wide):
            yield top, min(top + tall, rows), left, min(left + wide, cols)


def fill(room: np.ndarray, pieces: Iterable[np.ndarray]) -> None:
    """Put pieces one behind the other into a flat array that has just the room for them."""
    at = 0
    for piece in pieces:
        room[at : at + len(piece)] = piece
        at += len(piece)


def gathered(pieces: Iterable[np.ndarray], shape: Shape, dtype: dtypes.DType) -> np.ndarray:
    """A tensor of its entries in row order."""
    found = np.empty(math.prod(shape), dtype.carrier)
    fill(found, pieces)
    return found.reshape(shape)
