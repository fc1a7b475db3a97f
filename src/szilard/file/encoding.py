"""The target of the kinds of records: the streams, the raw bytes and the hash of one file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from szilard.coding import Encoder
from szilard.coding.static import StaticEncoder
from szilard.file import dtypes
from szilard.file.digest import Content
from szilard.file.error import Broken, SzilardFileError
from szilard.file.limits import MOST_DIMENSIONS, MOST_ELEMENTS
from szilard.file.pieces import Shape


class Encoding:
    """The state of writing one file; kinds are called record by record, in order.

    Args:
        static: names of the records whose levels are coded under a table.

    Attributes:
        adaptive: the stream of integers under adaptive models.
        raw: the pieces of the raw part.
        content: the hash of the tensors that a reader will make.
        numbers: numbers of the earlier tensors, by name.
        aliases: names of the tensors that share an earlier one.
        held: exact bytes of the tensors whose size is not in the tables (:attr:`szilard.file.fields.Fields.sized`).
    """

    def __init__(self, static: frozenset[str]) -> None:
        self.adaptive = Encoder()
        self.raw: list[bytes] = []
        self.content = Content()
        self.numbers: dict[str, int] = {}
        self.aliases: set[str] = set()
        self.held: list[int] = []
        self.by_table = static
        self._static: StaticEncoder | None = None

    @property
    def static(self) -> StaticEncoder:
        """The stream of integers under tables, made at first use."""
        if self._static is None:
            self._static = StaticEncoder()
        return self._static

    def finish(self, adaptive: bool) -> tuple[bytes, bytes]:
        """Both streams; the first only if ``adaptive``, else empty."""
        return (
            self.adaptive.finish() if adaptive else b"",
            b"" if self._static is None else self._static.finish(),
        )

    def hash(self, name: str, dtype: dtypes.DType, shape: Shape, pieces: Iterable[np.ndarray]) -> None:
        """Add a tensor to the hash, piece by piece.

        Raises:
            SzilardFileError: an entry is outside the range of the type.
        """
        try:
            self.content.tensor(name, dtype, shape, _finite(name, dtype, pieces))
        except Broken as error:  # raised while a product was computed
            raise SzilardFileError(f"{error}; make the factors again") from error


def size_of(name: str, shape: Shape) -> int:
    """Number of entries of a tensor.

    Raises:
        SzilardFileError: it is too large for the format.
    """
    if len(shape) > MOST_DIMENSIONS or math.prod(max(size, 1) for size in shape) > MOST_ELEMENTS:
        raise SzilardFileError(f"{name} of shape {list(shape)} is larger than the format allows; split it")
    return math.prod(shape)


def _finite(name: str, dtype: dtypes.DType, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The pieces of a tensor; raises for NaN or infinite entries."""
    for piece in pieces:
        if not dtypes.all_finite(piece, dtype):
            raise SzilardFileError(f"{name} has values outside the range of its type; take a smaller step")
        yield piece
