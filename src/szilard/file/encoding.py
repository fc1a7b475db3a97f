"""What the kinds write into: the streams, the raw bytes and the hash of one file."""

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
    """One file while it is written; kinds are called record by record, in order.

    Args:
        static: names of the records whose levels are coded under a table.

    Attributes:
        adaptive: the stream of integers under models that learn.
        raw: the pieces of the raw part.
        content: the hash of what a reader will make.
        numbers: by name, the numbers of the tensors that came before.
        aliases: names of those that share a tensor.
        held: exact bytes of the tensors whose size the tables leave open (:attr:`szilard.file.fields.Fields.sized`).
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
        """The stream of integers under tables, which is begun when it is needed."""
        if self._static is None:
            self._static = StaticEncoder()
        return self._static

    def finish(self, adaptive: bool) -> tuple[bytes, bytes]:
        """Both streams; the first only if anything was put into it."""
        return (
            self.adaptive.finish() if adaptive else b"",
            b"" if self._static is None else self._static.finish(),
        )

    def hash(self, name: str, dtype: dtypes.DType, shape: Shape, pieces: Iterable[np.ndarray]) -> None:
        """Take a tensor of numbers into the hash, piece by piece.

        Raises:
            SzilardFileError: an entry is beyond the type.
        """
        try:
            self.content.tensor(name, dtype, shape, _finite(name, dtype, pieces))
        except Broken as error:  # while a product was multiplied
            raise SzilardFileError(f"{error}; make the factors again") from error


def size_of(name: str, shape: Shape) -> int:
    """Entries of a tensor.

    Raises:
        SzilardFileError: the format has no room for it.
    """
    if len(shape) > MOST_DIMENSIONS or math.prod(max(size, 1) for size in shape) > MOST_ELEMENTS:
        raise SzilardFileError(f"{name} of shape {list(shape)} is larger than the format allows; split it")
    return math.prod(shape)


def _finite(name: str, dtype: dtypes.DType, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The pieces of a tensor, while they are numbers."""
    for piece in pieces:
        if not dtypes.all_finite(piece, dtype):
            raise SzilardFileError(f"{name} has values beyond its type; take a smaller step")
        yield piece
