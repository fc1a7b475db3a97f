"""Values of quantised tensors, for the kinds of levels, random levels and products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from szilard.file import dtypes, inplace, steps
from szilard.file.decoding import Decoding, Keep
from szilard.file.error import Broken, SzilardFileError, printable
from szilard.file.pieces import Shape, fit, gathered, matrix, tiles
from szilard.file.records import Record, TensorRecord, Value


@dataclass(frozen=True, eq=False)
class Levels(TensorRecord):
    """A quantised tensor: value = level * step * 2^(row/8) * 2^(column/8), rounded to float32 at each product.

    As a matrix it has ``shape[0]`` rows; a vector is one row.

    Attributes:
        dtype: float32, float16, bfloat16 or float64.
        levels: signed integers of ``shape``, magnitude below 2^23.
        step: code of the step, see :mod:`szilard.file.steps`.
        row_scale: int8 ``[rows]``, or None for 1.
        col_scale: int8 ``[cols]``, or None for 1.
    """

    levels: np.ndarray
    step: int
    row_scale: np.ndarray | None = None
    col_scale: np.ndarray | None = None

    def pieces(self) -> Iterator[np.ndarray]:
        """The entries in row order, some at a time, in the carrier type. Their range must have been checked."""
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
        """As :meth:`~szilard.file.kinds.raw.Raw.value`."""
        return gathered(self.pieces(), self.shape, dtypes.named(self.dtype))


class Pieces(Protocol):
    """A record whose entries are made some at a time."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> Shape: ...

    def pieces(self) -> Iterator[np.ndarray]:
        """The entries in row order, in the carrier type."""
        ...


def check_type(name: str, dtype: dtypes.DType, what: str) -> None:
    """Check that quantised values can be of a type.

    Raises:
        SzilardFileError: they cannot.
    """
    if not dtype.holds_levels:
        raise SzilardFileError(f"{name} is of type {dtype.name}, which {what} cannot be; store it raw")


def check_step(name: str, code: int) -> None:
    """Check that a step is a normal float32.

    Raises:
        SzilardFileError: it is not.
    """
    if not steps.LOWEST <= code <= steps.HIGHEST:
        raise SzilardFileError(
            f"the step code {code} of {name} is outside the range of float32; scale the tensor"
        )


def keep_levels(record: Levels, decoding: Decoding) -> Record | None:
    """Hash levels and return what is kept of them, in the memory of their array, which must not be shared.

    Raises:
        Broken: a value is not finite.
    """
    dtype = dtypes.named(record.dtype)
    if decoding.keep == Keep.VALUES and dtype.size <= 4 and record.levels.dtype == np.int32:
        flat = inplace.overwrite(record.levels, hashed_pieces(record, decoding), dtype.carrier)
        return Value(record.name, record.dtype, record.shape, flat.reshape(record.shape))
    if decoding.keep == Keep.VALUES:
        return make_value(record, decoding)
    for _ in hashed_pieces(record, decoding):
        pass
    if decoding.keep == Keep.RECORDS and dtype.size < 4 and fit(record.levels, np.iinfo(np.int16).max):
        narrow = inplace.narrowed(record.levels, np.dtype(np.int16))
        return replace(record, levels=narrow.reshape(record.shape))
    return record


def make_value(record: Pieces, decoding: Decoding) -> Value:
    """Hash a record and return its tensor, in new memory.

    Raises:
        Broken: a value is not finite.
    """
    array = gathered(hashed_pieces(record, decoding), record.shape, dtypes.named(record.dtype))
    return Value(record.name, record.dtype, record.shape, array)


def hashed_pieces(record: Pieces, decoding: Decoding) -> Iterator[np.ndarray]:
    """The entries, some at a time, each added to the hash before it is returned.

    Raises:
        Broken: a value is not finite.
    """
    dtype = dtypes.named(record.dtype)
    with decoding.content.open(record.name, dtype, record.shape) as hashed:
        for piece in record.pieces():
            if not dtypes.all_finite(piece, dtype):
                raise Broken(f"the tensor {printable(record.name)} has values outside the range of its type")
            hashed.update(piece)
            yield piece
