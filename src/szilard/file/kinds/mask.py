"""Kind 5, mask: the entries that exist, in the adaptive stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from szilard.coding import Model
from szilard.file import inplace
from szilard.file.decoding import Decoding, Keep
from szilard.file.error import Broken
from szilard.file.fields import Cost, Fields
from szilard.file.pieces import Shape, tiles
from szilard.file.records import Csr, Record, SupportRecord

MOST_MASK = (1 << 31) - 1  #: entries of a support: its columns are int32


@dataclass(frozen=True, eq=False)
class Mask(SupportRecord):
    """A support, which becomes two tensors: ``name.crow`` and ``name.col``, int32 in CSR.

    Attributes:
        shape: rows and columns of the weight as a matrix.
        mask: bool ``[rows, cols]``: which entries exist.
    """

    shape: Shape
    mask: np.ndarray

    def crow(self) -> np.ndarray:
        """Row pointers into the columns, int32 ``[rows + 1]``."""
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


@dataclass(frozen=True, slots=True)
class MaskFields(Fields):
    """The shape of a mask. :class:`~szilard.file.kinds.full_mask.FullMaskFields` writes it if an entry is missing."""

    word: ClassVar[str] = "support"
    typed: ClassVar[bool] = False
    dimensions: ClassVar[int | None] = 2
    sized: ClassVar[bool] = False

    @property
    def symbols(self) -> int:
        """As :attr:`Fields.symbols`."""
        return self.elements

    @property
    def decisions(self) -> int:
        """As :attr:`Fields.decisions`: one for each entry."""
        return self.elements

    @property
    def output_bytes(self) -> int:
        """As :attr:`Fields.output_bytes`."""
        return support_bytes(self.shape[0], self.elements)

    def tensors(self, name: str) -> tuple[str, ...]:
        """As :meth:`Fields.tensors`."""
        return support_names(name)

    def check(self) -> None:
        """As :meth:`Fields.check`."""
        if not self.elements:
            raise Broken("an empty support is not stored as a full one")
        check_size(self.elements)

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        rows, cols = self.shape
        before = decoding.adaptive.bits
        coded = decoding.adaptive.levels(rows, cols, Model.MASK)
        bits = decoding.adaptive.bits - before
        mask = Mask(name, self.shape, inplace.narrowed(coded, np.dtype(bool)).reshape(rows, cols))
        decoding.content.mask(name, self.shape, mask.mask)
        decoding.held.append(support_bytes(rows, int(np.count_nonzero(mask.mask))))
        record = Csr(name, mask.crow(), mask.col()) if decoding.keep == Keep.VALUES else mask
        return record, (bits, 0.0)


def support_names(name: str) -> tuple[str, str]:
    """Names of the two tensors of a support."""
    return f"{name}.crow", f"{name}.col"


def support_bytes(rows: int, count: int) -> int:
    """Bytes of both tensors, with ``count`` entries."""
    return 4 * (rows + 1 + count)


def check_size(count: int) -> None:
    """Check that a file can hold a support of ``count`` entries.

    Raises:
        Broken: it cannot.
    """
    if count > MOST_MASK:
        raise Broken("a support is larger than the format allows")
